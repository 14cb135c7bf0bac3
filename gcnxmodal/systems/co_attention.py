"""Stacked co-attention: what one modality attends to weighs the features of the other."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.nn.layers import Precision, linear

AttentionScale = Literal["none", "half-d"]


class CoAttention(nnx.Module):
    """One layer of co-attention on features f_T, f_I in R^D.

        h_T = relu(W_T f_T + b_T),   p_T = softmax(h_T);   the same for I
        f_T <- p_I * f_T,            f_I <- p_T * f_I      (element-wise)

    Source: SCANet (Lu et al. 2018) Section 3.3, Eq. 4-9 (a tilde is missing in Eq. 8 and 9).

    Args:
        dimension: D.
        scale: what p is multiplied by: "none", nothing (the equations); "half-d", D/2 (surviving code).
        relu: whether h passes a ReLU (the equations) or not (surviving code).
        precision: of the two products.
    """

    def __init__(
        self,
        dimension: int,
        *,
        scale: AttentionScale = "none",
        relu: bool = True,
        precision: Precision = "float32",
        rngs: nnx.Rngs,
    ):
        self.text_attention = linear(dimension, dimension, precision, rngs)
        self.image_attention = linear(dimension, dimension, precision, rngs)
        # Paper: a softmax, whose D entries sum to 1, so that a layer shrinks features about D-fold; the code
        # multiplies it by D/2.
        self.scale = dimension / 2 if scale == "half-d" else 1.0
        self.relu = relu

    def __call__(
        self, texts: Float[Array, "*Q D"], images: Float[Array, "*M D"]
    ) -> tuple[Float[Array, "... D"], Float[Array, "... D"]]:
        """The updated features of both; arguments broadcast.

        For every text with every image give [Q, 1, D] and [1, M, D]: the products of a first layer are then
        computed once a text and once an image, and only its results are [Q, M, D].
        """
        p_T, p_I = self.attend_texts(texts), self.attend_images(images)
        return p_I * texts, p_T * images

    def attend_texts(self, texts: Float[Array, "*Q D"]) -> Float[Array, "*Q D"]:
        """p_T: the weights that a text gives to the features of its image."""
        return self._distribution(self.text_attention, texts)

    def attend_images(self, images: Float[Array, "*M D"]) -> Float[Array, "*M D"]:
        """p_I: the weights that an image gives to the features of its text."""
        return self._distribution(self.image_attention, images)

    def _distribution(self, layer: nnx.Linear, features: Array) -> Array:
        h = layer(features.reshape(-1, features.shape[-1])).reshape(features.shape)
        h = jax.nn.relu(h) if self.relu else h
        return self.scale * jax.nn.softmax(h, axis=-1)


def stack(
    layers: nnx.List,
    texts: Float[Array, "*Q D"],
    images: Float[Array, "*M D"],
    used: Array | int | None = None,
) -> tuple[Array, Array]:
    """The features after all layers, or after the first `used` of them.

    `used` may be traced: then models of different depth are one program (all layers are computed).
    """
    for number, layer in enumerate(layers):
        updated = layer(texts, images)
        if used is not None:
            before = texts, images
            updated = tuple(
                jnp.where(number < used, new, old) for new, old in zip(updated, before, strict=True)
            )
        texts, images = updated
    return texts, images
