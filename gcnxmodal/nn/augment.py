"""Pictures varied at random in training: flipped, and moved a little."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8

SHIFT = 8  # a picture moves by up to an eighth of its side


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
