"""SCANet: stacked co-attention between the two paths of GIN.

Lu et al. 2018, "Fine-Grained Correlation Learning with Stacked Co-attention Networks for Cross-Modal
Information Retrieval".
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.nn.image_encoders import flip_and_shift
from gcnxmodal.systems import dual_path
from gcnxmodal.systems.co_attention import AttentionScale, CoAttention, stack
from gcnxmodal.systems.dual_path import DualPath, half_squares


class SCANet(DualPath):
    """`DualPath` whose features pass A layers of co-attention before they are scored.

        (f_T, f_I) -> co-attention 1 ... A -> score(T, I) = activation(w . dropout(f_T * f_I) + b)

    Without layers it is GIN. With one, the score is still an inner product of a function of the text and one
    of the image. From two on the attention depends on the pair.

    Source: SCANet Section 3 and Figure 2.

    Args:
        text, image: the paths, as `DualPath` takes them.
        layers: A.
        attention_scale, attention_relu: as `CoAttention` takes them.
        options: as `DualPath` takes them.

    Attributes:
        used: the number of layers in use, if not all; may be traced.
    """

    def __init__(
        self,
        text: Any,
        image: Any,
        *,
        layers: int = 2,
        attention_scale: AttentionScale = "none",
        attention_relu: bool = True,
        dimension: int = 1024,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        super().__init__(text, image, dimension=dimension, rngs=rngs, **options)
        precision = options.get("precision", "float32")
        self.attention = nnx.List(
            [
                CoAttention(
                    dimension, scale=attention_scale, relu=attention_relu, precision=precision, rngs=rngs
                )
                for _ in range(layers)
            ]
        )
        self.used: Any = nnx.data(None)

    @property
    def separable(self) -> bool:
        """Whether the score is an inner product of `fold_texts` and `fold_images`."""
        return len(self.attention) < 2 and self.used is None

    def score_pairs(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"], key: Array | None = None
    ) -> Float[Array, " B"]:
        """Scores of B aligned pairs; with a key, dropout is on."""
        return super().score_pairs(*stack(self.attention, texts_BD, images_BD, self.used), key)

    def score_grid(
        self, texts_QD: Float[Array, "Q D"], images_MD: Float[Array, "M D"], key: Array | None = None
    ) -> Float[Array, "Q M"]:
        """Scores of every text with every image; with a key, dropout is on."""
        if self.separable:
            return super().score_grid(texts_QD, images_MD, key)
        weight_D = self.score_head.kernel[:, 0]
        if key is not None:
            # As for GIN, a mask a text.
            weight_D = (weight_D * self.keep(key, texts_QD.shape))[:, None, :]
        bias_1 = self.score_head.bias.get_value()  # pyright: ignore[reportOptionalMemberAccess]
        texts_QMD, images_QMD = stack(self.attention, texts_QD[:, None], images_MD[None], self.used)
        return self.activated(jnp.sum(weight_D * texts_QMD * images_QMD, axis=-1) + bias_1)

    def fold_texts(self, texts_QD: Float[Array, "Q D"]) -> Float[Array, "Q D"]:
        """w * p_T * f_T, with p_T of the first layer.

        The product of one layer is p_I * f_T * p_T * f_I, which regroups into a text's and an image's part.
        With more layers it is what the score would be without them: good enough to shortlist by.
        """
        folded_QD = super().fold_texts(texts_QD)
        return folded_QD * self.attention[0].attend_texts(texts_QD) if self.attention else folded_QD

    def fold_images(self, images_MD: Float[Array, "M D"]) -> Float[Array, "M D"]:
        """p_I * f_I, with p_I of the first layer."""
        return self.attention[0].attend_images(images_MD) * images_MD if self.attention else images_MD

    def penalty(self) -> Float[Array, ""]:
        """`DualPath.penalty`, and the same of the co-attention layers in use."""
        value = super().penalty()
        for number, layer in enumerate(self.attention):
            own = half_squares(layer)
            value += own if self.used is None else jnp.where(number < self.used, own, 0.0)
        return value


def loss(
    model: SCANet,
    texts_BT: Array,
    images_Md: Array,
    match: Array,
    key: Array,
    *,
    used: Array | int | None = None,
    augment: bool = False,
    **weights: Any,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """`dual_path.loss` of the model with the first `used` of its layers, or all; of pictures as they are, or
    with `augment` flipped and shifted."""
    model.used = used
    if augment:
        key, own = jax.random.split(key)
        images_Md = flip_and_shift(own, images_Md)
    return dual_path.loss(model, texts_BT, images_Md, match, key, **weights)


def score_aligned(
    model: SCANet, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"]
) -> Float[Array, " B"]:
    """Scores of B aligned pairs as they rank: without bias and activation."""
    texts_BD, images_BD = stack(model.attention, texts_BD, images_BD)
    return jnp.sum(texts_BD * images_BD * model.score_head.kernel[:, 0], axis=-1)


def score_all_pairs(
    model: SCANet, texts_QD: Float[Array, "Q D"], images_MD: Float[Array, "M D"]
) -> Float[Array, "Q M"]:
    """Scores of every text with every image as they rank: without bias and activation.

    Of A >= 2 layers: Q M (A - 1) 4 D^2 operations; the products of the first layer are made once a text and
    once an image. A text at a time meets all images, so that an intermediate is [M, D], and lies in the cache
    of a CPU.
    """
    if model.separable:
        return jnp.matmul(
            model.fold_texts(texts_QD), model.fold_images(images_MD).T, precision=jax.lax.Precision.HIGHEST
        )
    first, *rest = model.attention
    folded_QD, folded_MD = model.fold_texts(texts_QD), model.fold_images(images_MD)
    p_QD, p_MD = first.attend_texts(texts_QD), first.attend_images(images_MD)

    def one(text: tuple[Array, Array, Array]) -> Array:
        text_D, p_D, folded_D = text
        texts_MD, images_mD = p_MD * text_D, p_D * images_MD
        product_MD = folded_D * folded_MD
        for number, layer in enumerate(rest):
            p_T, p_I = layer.attend_texts(texts_MD), layer.attend_images(images_mD)
            product_MD = product_MD * p_T * p_I
            if number + 1 < len(rest):
                texts_MD, images_mD = p_I * texts_MD, p_T * images_mD
        return jnp.sum(product_MD, axis=-1)

    return jax.lax.map(one, (texts_QD, p_QD, folded_QD))
