"""Text and image encoders, dense layers, losses and weights that several systems share."""
