"""Rank and search by embeddings, codes and scores; measure rankings under the named protocols."""
