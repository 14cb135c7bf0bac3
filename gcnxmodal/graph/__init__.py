"""The word graph and the Chebyshev filter on it."""
