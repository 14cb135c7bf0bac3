"""CNN-5, the image encoder that is trained from pixels, and the augmentation of its pictures."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt8

from gcnxmodal.nn.layers import Precision, Window

CHANNELS = (32, 64, 128, 128, 256)
SMALLEST = 2 ** len(CHANNELS)  # pixels: one is left after all layers
SHIFT = 8  # a picture moves by up to an eighth of its side


class CNN5(nnx.Module):
    """Five times a 3 x 3 convolution, a ReLU and a 2 x 2 maximum; then all that is left in a row.

    Source: SCANet Section 4.4, "CNN with five convolution layers (CNN-5) ... trained end-to-end".

    Args:
        resolution: side of the pictures in pixels, at least 32.
    """

    # Paper: nothing but the number of layers; here the usual widths of so small a network, without
    # normalisation by batch and without augmentation.
    def __init__(self, resolution: int, *, precision: Precision = "float32", rngs: nnx.Rngs):
        options: Any = {"kernel_init": nnx.initializers.he_uniform(), "precision": precision, "rngs": rngs}
        layers = [
            Window((3, 3), before, after, padding="SAME", **options)
            for before, after in zip((3, *CHANNELS), CHANNELS, strict=False)
        ]
        self.convolutions = nnx.List(layers)
        self.width = (resolution // SMALLEST) ** 2 * CHANNELS[-1]

    def __call__(self, pixels_BRR3: UInt8[Array, "B R R 3"]) -> Float[Array, "B V"]:
        """Features of RGB pictures, 0 to 255."""
        x_BHWC = pixels_BRR3.astype(jnp.float32) / 127.5 - 1
        for convolution in self.convolutions:
            x_BHWC = _halved(jax.nn.relu(convolution(x_BHWC)))
        return x_BHWC.reshape(len(x_BHWC), -1)


def _halved(x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """The largest of each 2 x 2; an odd last row or column is left out."""
    B, H, W, C = x_BHWC.shape
    x_BHWC = x_BHWC[:, : H // 2 * 2, : W // 2 * 2]
    # Not a reduce_window: its gradient, a select-and-scatter, is slow on every platform.
    return x_BHWC.reshape(B, H // 2, 2, W // 2, 2, C).max(axis=(2, 4))


def flip_and_shift(key: Array, pixels_BRR3: UInt8[Array, "B R R 3"]) -> UInt8[Array, "B R R 3"]:
    """Each picture mirrored or not, and moved by up to R/8 pixels either way; its edge fills the gap."""
    B, R = pixels_BRR3.shape[:2]
    reach = R // SHIFT
    flip_key, shift_key = jax.random.split(key)
    flip_B = jax.random.bernoulli(flip_key, shape=(B, 1, 1, 1))
    pixels_BRR3 = jnp.where(flip_B, pixels_BRR3[:, :, ::-1], pixels_BRR3)
    padded = jnp.pad(pixels_BRR3, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    start_B2 = jax.random.randint(shift_key, (B, 2), 0, 2 * reach + 1)

    def cut(picture: Array, start_2: Array) -> Array:
        return jax.lax.dynamic_slice(picture, (start_2[0], start_2[1], 0), (R, R, 3))

    return jax.vmap(cut)(padded, start_B2)
