"""Cross-modal (image <-> text) retrieval with graph-convolutional text encoders, in JAX."""

__version__ = "0.1.0"
