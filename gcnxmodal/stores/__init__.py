"""Where embeddings go."""
