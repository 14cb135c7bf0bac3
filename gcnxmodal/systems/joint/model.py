"""The model: two towers with several members each, an embedding for pairs and posteriors of the classes."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.nn.layers import PRECISIONS, Features, linear, unit
from gcnxmodal.systems.base import Model
from gcnxmodal.systems.gin import Explanation, gradient_times_input
from gcnxmodal.systems.joint.config import JointModel
from gcnxmodal.systems.joint.yardsticks import SIDES, Linear

# Lengths of an encoded text as its embedding and its classes read it: they decide how fast these learn.
TEXT_LENGTH = 2.0
CLASS_LENGTH = 4.0


class Joint(Model):
    """Two towers of M members each, with unit embeddings and class posteriors.

        t = text(T) / ||text(T)||                       the text encoder, at unit length
        i = sqrt(d) image(I) / ||image(I)||             the image encoder, at root mean square 1
        j_m = relu(H_m i + h_m)                         a hidden layer of the image tower, of member m
        u_m = W_m t + b_m,   v_m = W'_m j_m + b'_m      in R^D
        p_m(c | T) = softmax_c(V_m u_m + U t + g_m),   p_m(c | I) = softmax_c(V_m v_m + U_m j_m + g'_m)
        p(c | T) ~ ((1 - a) mean_m p_m(c | T) + a p_SM(c | T))^(1 / temperature),   p(c | I) alike

    Both towers share the class vectors V_m, and may read them directly too (U t, U_m j_m). p_SM is SM's
    classifier, with its own share a for each side, and e are CCA's unit vectors, with the share b. An
    embedding is the M unit vectors of a text or an image, CCA's, and the posterior, so that the score of a
    pair is an inner product:

        score(T, I) = (1 - s) ((1 - b) mean_m cos(u_m, v_m) + b e_T . e_I) + s sum_c p(c | T) p(c | I)

    with s the share of the classes. The last sum is the probability that both have one class, if the
    posteriors are right. Without labels there is no such part and s = 0.

    Args:
        text, image: encoders from rows to [B, width].
        classes: C; 0 without labels.
        config: see `JointModel`.
        yardsticks: the maps of SM and CCA that have a share, such as "texts_by_sm".
    """

    def __init__(
        self,
        text: Any,
        image: Any,
        classes: int,
        config: JointModel,
        yardsticks: Mapping[str, Linear] = MappingProxyType({}),
        *,
        rngs: nnx.Rngs,
    ):
        M, D, H = config.members, config.dimension, config.image_hidden
        self.text, self.image = text, image
        self.members, self.dimension, self.classes = M, D, classes
        self.reads_words = config.text != "features"
        self.class_share = config.class_share if classes else 0.0
        self.text_temperature, self.image_temperature = config.text_temperature, config.image_temperature
        self.sm_texts, self.sm_images, self.cca = config.sm_texts, config.sm_images, config.cca
        self.texts_by_sm, self.images_by_sm = (yardsticks.get(f"{side}_by_sm") for side in SIDES)
        self.texts_by_cca, self.images_by_cca = (yardsticks.get(f"{side}_by_cca") for side in SIDES)
        K = 0 if self.texts_by_cca is None else self.texts_by_cca.bias.get_value().shape[0]
        self.pair_size = M * D + K
        self.precision = config.precision
        self.text_head = linear(text.width, M * D, config.precision, rngs)
        self.text_classes = nnx.Param(jnp.zeros((text.width, classes)))
        self.image_hidden = linear(image.width, M * H, config.precision, rngs) if H else None
        glorot = nnx.initializers.glorot_uniform(batch_axis=0)
        self.image_kernel = nnx.Param(glorot(rngs.params(), (M, H or image.width, D)))
        self.image_bias = nnx.Param(jnp.zeros((M, D)))
        both = config.direct_classes == "both"
        self.image_classes = nnx.Param(jnp.zeros((M, H or image.width, classes))) if both else None
        self.class_vectors = nnx.Param(0.1 * jax.random.normal(rngs.params(), (M, D, classes)))
        self.text_class_bias = nnx.Param(jnp.zeros((1, M, classes)))
        self.image_class_bias = nnx.Param(jnp.zeros((1, M, classes)))
        # Both start as SigLIP's (Section 3.2). CLIP's scale starts at 1 / .07.
        self.log_scale = nnx.Param(jnp.full(M, math.log(10.0)))
        self.score_bias = nnx.Param(jnp.full(M, -10.0))

    def encode_texts(self, texts_BT: Array) -> Float[Array, "B E"]:
        """M unit vectors, CCA's unit vector and the class posterior, E = M D + K + C."""
        return self._text_embedding(self.text(texts_BT), texts_BT)

    def encode_images(self, images_Bd: Array) -> Float[Array, "B E"]:
        """See `encode_texts`."""
        read = self.read_images(images_Bd)
        sm = self.images_by_sm, self.sm_images
        return self._embedding(*read, images_Bd, self.images_by_cca, sm, self.image_temperature)

    def fold_texts(self, texts_QE: Float[Array, "Q E"]) -> Float[Array, "Q E"]:
        """Each part times the root of its weight in the score."""
        share, cca = self.class_share, self.cca
        weights = (1 - share) * (1 - cca) / self.members, (1 - share) * cca, share
        ends = self.members * self.dimension, self.pair_size
        parts = jnp.split(texts_QE, ends, axis=1)
        scaled = (part * math.sqrt(weight) for part, weight in zip(parts, weights, strict=True))
        return jnp.concatenate(list(scaled), axis=1)

    def fold_images(self, images_ME: Float[Array, "M E"]) -> Float[Array, "M E"]:
        """See `fold_texts`."""
        return self.fold_texts(images_ME)

    @property
    def preferences(self) -> dict[str, slice]:
        """ "pair": which text belongs to which picture; "class": which are of one kind."""
        parts = {"pair": slice(0, self.pair_size), "class": slice(self.pair_size, None)}
        return parts if self.classes else {}

    def explain(self, texts_BT: Array, images_Bd: Array) -> Explanation | None:
        """Scores of aligned pairs and what each word adds, gradient times input; see `GIN.explain`."""
        if not self.reads_words:
            return None
        images_BE = self.fold_images(self.encode_images(images_Bd))

        def score(encoded_BV: Array) -> tuple[Array, Array]:
            # Of a text encoder that is no identity, what a word adds by SM's classifier is left out.
            read = encoded_BV if isinstance(self.text, Features) else texts_BT
            texts_BE = self.fold_texts(self._text_embedding(encoded_BV, read))
            return jnp.sum(texts_BE * images_BE, axis=-1), texts_BE

        scores_B, _, words_BT = gradient_times_input(self.text, texts_BT, score)
        none = jnp.zeros((0, *images_BE.shape))
        return Explanation(scores_B, words_BT, none, none)

    def read_texts(self, encoded_BV: Float[Array, "B V"]) -> tuple[Array, Array]:
        """Unit vectors [B, M, D] and class logits [B, M, C] of encoded texts."""
        t_BV = unit(encoded_BV)
        u_BMD = self.text_head(TEXT_LENGTH * t_BV).reshape(-1, self.members, self.dimension)
        units_BMD, logits_BMC = self._read(u_BMD, self.text_class_bias)
        direct_BC = jnp.matmul(
            CLASS_LENGTH * t_BV, self.text_classes.get_value(), precision=PRECISIONS[self.precision]
        )
        return units_BMD, logits_BMC + direct_BC[:, None]

    def read_images(
        self, images_Bd: Array, key: Array | None = None, dropout: tuple[Any, Any] = (0.0, 0.0)
    ) -> tuple[Array, Array]:
        """Unit vectors [B, M, D] and class logits [B, M, C] of images; with a key, dropout is on.

        Args:
            dropout: of the encoded image and of the hidden layer.
        """
        x_Bd = self.image(images_Bd)
        x_Bd = unit(x_Bd) * math.sqrt(x_Bd.shape[1])
        keys = (None, None) if key is None else jax.random.split(key)
        x_Bd = _dropped(keys[0], x_Bd, dropout[0])
        if self.image_hidden is None:
            x_BMH = jnp.broadcast_to(x_Bd[:, None], (len(x_Bd), self.members, x_Bd.shape[1]))
        else:
            x_BMH = jax.nn.relu(self.image_hidden(x_Bd)).reshape(len(x_Bd), self.members, -1)
            x_BMH = _dropped(keys[1], x_BMH, dropout[1])
        v_BMD = self._members("bmh,mhd->bmd", x_BMH, self.image_kernel) + self.image_bias.get_value()
        units_BMD, logits_BMC = self._read(v_BMD, self.image_class_bias)
        if self.image_classes is None:
            return units_BMD, logits_BMC
        return units_BMD, logits_BMC + self._members("bmh,mhc->bmc", x_BMH, self.image_classes)

    def _read(self, x_BMD: Array, bias: nnx.Param) -> tuple[Array, Array]:
        logits_BMC = self._members("bmd,mdc->bmc", x_BMD, self.class_vectors) + bias.get_value()
        return unit(x_BMD), logits_BMC

    def _members(self, which: str, x: Array, weights: nnx.Param) -> Array:
        return jnp.einsum(which, x, weights.get_value(), precision=PRECISIONS[self.precision])

    def _text_embedding(self, encoded_BV: Array, texts_BT: Array) -> Float[Array, "B E"]:
        read = self.read_texts(encoded_BV)
        sm = self.texts_by_sm, self.sm_texts
        return self._embedding(*read, texts_BT, self.texts_by_cca, sm, self.text_temperature)

    def _embedding(
        self,
        units_BMD: Array,
        logits_BMC: Array,
        rows: Array,
        cca: Linear | None,
        sm: tuple[Linear | None, float],
        temperature: float,
    ) -> Float[Array, "B E"]:
        """The embedding of rows, read by the towers, by CCA, and by SM with its share."""
        parts = [units_BMD.reshape(len(units_BMD), -1), *([] if cca is None else [cca(rows)])]
        posterior_BC = jax.nn.softmax(logits_BMC, axis=-1).mean(axis=1)
        by_sm, share = sm
        if by_sm is not None:
            posterior_BC = (1 - share) * posterior_BC + share * by_sm(rows)
        return jnp.concatenate([*parts, sharpened(posterior_BC, temperature)], axis=1)


def sharpened(posterior_BC: Float[Array, "B C"], temperature: float) -> Float[Array, "B C"]:
    """p^(1 / temperature), with sum 1; at 1, p as it is."""
    if temperature == 1:
        return posterior_BC
    return jax.nn.softmax(jnp.log(jnp.maximum(posterior_BC, 1e-9)) / temperature, axis=-1)


def _dropped(key: Array | None, x: Array, rate: Any) -> Array:
    """Entries at zero with probability `rate`, the others scaled to keep the mean; without a key, x."""
    return x if key is None else x * jax.random.bernoulli(key, 1 - rate, x.shape) / (1 - rate)
