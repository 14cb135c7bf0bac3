"""Ranking, MAP under the named protocols, curves."""
