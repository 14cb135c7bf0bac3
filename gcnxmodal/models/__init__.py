"""One file a system, and the encoders they share."""
