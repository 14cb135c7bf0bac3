"""SSPE: two branches to one space in which items of similar labels are near, and labels can be read off.

Shapes: B items, D of an embedding, C labels.

Source: SSPE (Wu et al. 2018) Sections 3.1, 3.2 and 4.4.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.nn.layers import Constant, Precision, linear

OutputActivation = Literal["tanh", "none"]


class Branch(nnx.Module):
    """f: from features, centred and at unit length, to an embedding.

        f(x) = a(W_2 tanh(W_1 c(x) + b_1) + b_2),    c(x) = (x - m) / ||x - m||

    Args:
        mean_d: m, of the training items.
        hidden: width of the first layer (64).
        dimension: D (32).
        output: a, "tanh" or "none".
    """

    def __init__(
        self,
        mean_d: Float[Array, " d"],
        hidden: int,
        dimension: int,
        output: OutputActivation,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        self.mean = Constant(mean_d)
        self.hidden = linear(len(mean_d), hidden, precision, rngs)
        self.last = linear(hidden, dimension, precision, rngs)
        self.output = output

    def __call__(self, x_Bd: Float[Array, "B d"]) -> Float[Array, "B D"]:
        embedded_BD = self.last(jnp.tanh(self.hidden(centred_units(x_Bd, self.mean.get_value()))))
        # Paper: "fully connected layers followed by tanh" (3.2); here so after the second layer too. The
        # paper names no layer: "none" is the other reading, whose products nothing bounds; at a high rate it
        # diverges, and that is no matter of logarithms.
        return jnp.tanh(embedded_BD) if self.output == "tanh" else embedded_BD


class SSPE(nnx.Module):
    """Both branches, and g, the linear map from embeddings to labels that they share.

    Args:
        image_mean, text_mean: of the training items' features.
        labels: C.
    """

    separable = True

    def __init__(
        self,
        image_mean: Float[Array, " d"],
        text_mean: Float[Array, " N"],
        labels: int,
        *,
        hidden: int = 64,
        dimension: int = 32,
        output: OutputActivation = "tanh",
        precision: Precision = "float32",
        rngs: nnx.Rngs,
    ):
        self.image = Branch(image_mean, hidden, dimension, output, precision, rngs)
        self.text = Branch(text_mean, hidden, dimension, output, precision, rngs)
        self.labels = linear(dimension, labels, precision, rngs)

    def encode_texts(self, texts_BN: Float[Array, "B N"]) -> Float[Array, "B D"]:
        """f_t."""
        return self.text(texts_BN)

    def encode_images(self, images_Bd: Float[Array, "B d"]) -> Float[Array, "B D"]:
        """f_v."""
        return self.image(images_Bd)

    def fold_texts(self, texts_QD: Float[Array, "Q D"]) -> Float[Array, "Q D"]:
        """At unit length: items are ranked by cosine (4.4)."""
        return _units(texts_QD)

    fold_images = fold_texts

    def label_error(
        self, embedded_BD: Float[Array, "B D"], labels_BC: Float[Array, "B C"]
    ) -> Float[Array, " B"]:
        """l_z = ||g(f) - z||^2 of each item."""
        return jnp.sum((self.labels(embedded_BD) - labels_BC) ** 2, axis=1)


def centred_units(x_Bd: Float[Array, "B d"], mean_d: Float[Array, " d"]) -> Float[Array, "B d"]:
    """(x - m) / ||x - m||, zero where x is m; nothing on the way can overflow.

    >>> [[x, y]] = centred_units(jnp.array([[4.0, 4.0]]), jnp.array([1.0, 0.0])).tolist()
    >>> round(x, 4), round(y, 4)
    (0.6, 0.8)
    """
    return _units(x_Bd / 16 - mean_d / 16)  # of the largest there are, the reciprocal is still no zero


def _units(x_BD: Array) -> Array:
    """Rows at unit length; zero stays zero. Divided by its largest entry first, a row has a square."""
    largest_B1 = jnp.max(jnp.abs(x_BD), axis=1, keepdims=True)
    x_BD = x_BD / jnp.maximum(largest_B1, 1e-30)
    return x_BD * jax.lax.rsqrt(jnp.maximum(jnp.sum(x_BD**2, axis=1, keepdims=True), 1e-12))
