"""How pictures are scaled for the networks that torchvision trained on ImageNet."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

# Of the training pictures' pixels / 255, by colour; torchvision.transforms._presets.ImageClassification.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def normalise(pixels: Num[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
    """(pixels / 255 - mean) / deviation for pixels of 0..255."""
    return (pixels.astype(jnp.float32) / 255 - jnp.asarray(MEAN)) / jnp.asarray(DEVIATION)
