"""What the text paths that read words in order share: their word vectors."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from gcnxmodal.nn.layers import Constant


class WordSequence(nnx.Module):
    """A text path on the vectors of a text's words: `read` of what `look_up` finds.

    Args:
        vectors: word vectors [N, e]; they are not trained.
    """

    width: int

    def __init__(self, vectors: Float[Array, "N e"]):
        self.vectors = Constant(vectors)

    def __call__(self, words_BL: Int[Array, "B L"]) -> Float[Array, "B V"]:
        """Features of texts given as word numbers; -1 fills up."""
        return self.read(self.look_up(words_BL), words_BL >= 0)

    def look_up(self, words_BL: Int[Array, "B L"]) -> Float[Array, "B L e"]:
        """The vectors of the words; zero where there is none."""
        vectors_BLe = self.vectors.get_value()[jnp.maximum(words_BL, 0)]
        return jnp.where(words_BL[..., None] >= 0, vectors_BLe, 0.0)

    def read(self, vectors_BLe: Float[Array, "B L e"], there_BL: Bool[Array, "B L"]) -> Any:
        """Features [B, V] of the vectors of words in order, of those that are there."""
        raise NotImplementedError
