"""What GIN and SCANet share: a text path and an image path to R^D, a score of the pair, and its loss."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gcnxmodal.nn.layers import Precision, linear
from gcnxmodal.nn.losses import pairwise_similarity_loss

ScoreActivation = Literal["none", "relu", "sigmoid"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda scores: scores,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
}


class DualPath(nnx.Module):
    """Two paths to R^D and a score of the product.

        f_t = W_t text(T) + b_t,   f_i = W_i image(I) + b_i              in R^D
        score(T, I) = activation(w . dropout(f_t * f_i) + b)

    Args:
        text: a module from the rows of a text to [B, text.width].
        image: a module from the rows of an image to [B, image.width].
        dimension: D.
        dropout: probability that an entry of the product is dropped, in training.
        normalise: take relu(f) / ||relu(f)|| for f_t and f_i, so that the score is a weighted cosine.
        score_activation: on the score; it changes the loss, and no ranking, so retrieval leaves it out.
        precision: of the products of the text and image layers, see `nn/layers.py`; scores are float32.
    """

    def __init__(
        self,
        text: Any,
        image: Any,
        *,
        dimension: int = 1024,
        dropout: float = 0.2,
        normalise: bool = False,
        score_activation: ScoreActivation = "none",
        precision: Precision = "float32",
        rngs: nnx.Rngs,
    ):
        self.text, self.image = text, image
        self.text_head = linear(text.width, dimension, precision, rngs)
        self.image_head = linear(image.width, dimension, precision, rngs)
        self.score_head = linear(dimension, 1, "float32", rngs)
        self.dropout = dropout
        self.normalise = normalise
        self.score_activation = score_activation

    @property
    def separable(self) -> bool:
        """Whether the score is an inner product of `fold_texts` and `fold_images`."""
        return True

    def encode_texts(self, texts_BT: Array) -> Float[Array, "B D"]:
        """Text features f_t."""
        return self.scaled(self.text_head(self.text(texts_BT)))

    def encode_images(self, images_Bd: Array) -> Float[Array, "B D"]:
        """Image features f_i."""
        return self.scaled(self.image_head(self.image(images_Bd)))

    def score_pairs(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"], key: Array | None = None
    ) -> Float[Array, " B"]:
        """Scores of B aligned pairs; with a key, dropout is on."""
        # Paper: "inner product layer" and a fully connected layer; here the element-wise product that all
        # surviving code uses, because an inner product would leave the layer a single number.
        product_BD = texts_BD * images_BD
        if key is not None:
            product_BD = product_BD * self.keep(key, product_BD.shape)
        return self.activated(self.score_head(product_BD)[:, 0])

    def score_grid(
        self, texts_QD: Float[Array, "Q D"], images_MD: Float[Array, "M D"], key: Array | None = None
    ) -> Float[Array, "Q M"]:
        """Scores of every text with every image; with a key, dropout is on."""
        weighted_QD = self.fold_texts(texts_QD)
        if key is not None:
            # Paper: a mask a pair; here a mask a text, shared by the images it meets, because Q M masks of
            # D entries would cost more than the rest of the step.
            weighted_QD = weighted_QD * self.keep(key, weighted_QD.shape)
        bias_1 = self.score_head.bias.get_value()  # pyright: ignore[reportOptionalMemberAccess]
        images_MD = self.fold_images(images_MD)
        scores_QM = jnp.matmul(weighted_QD, images_MD.T, precision=jax.lax.Precision.HIGHEST)
        return self.activated(scores_QM + bias_1)

    def fold_texts(self, texts_QD: Float[Array, "Q D"]) -> Float[Array, "Q D"]:
        """w * f_t: with the score's weights folded into the texts, ranking is by inner product."""
        return texts_QD * self.score_head.kernel[:, 0]

    def fold_images(self, images_MD: Float[Array, "M D"]) -> Float[Array, "M D"]:
        """What `fold_texts` is multiplied with: f_i."""
        return images_MD

    def penalty(self) -> Float[Array, ""]:
        """Sum of 1/2 ||.||^2 over weights and biases of both heads and the score, not of the paths."""
        # Paper: "regularisation .005"; here, as the code, not on the graph filters, and so on no path's own
        # weights: an LSTM's or a convolution's are left out too.
        return half_squares(self.text_head, self.image_head, self.score_head)

    def scaled(self, features_BD: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """The features as they are scored: cut and at unit length, if so asked."""
        if not self.normalise:
            return features_BD
        features_BD = jax.nn.relu(features_BD)
        # A norm by jnp.linalg.norm has no gradient at zero.
        squares_B1 = jnp.sum(features_BD**2, axis=1, keepdims=True)
        return features_BD * jax.lax.rsqrt(jnp.maximum(squares_B1, 1e-12))

    def activated(self, scores: Array) -> Array:
        """The activation on scores."""
        return ACTIVATIONS[self.score_activation](scores)

    def keep(self, key: Array, shape: tuple[int, ...]) -> Array:
        """A mask of dropout, which keeps the mean."""
        # Paper: "dropout ratio of 0.2"; the code's keep_prob is 0.8: kept entries are scaled by 1 / 0.8.
        return jax.random.bernoulli(key, 1 - self.dropout, shape) / (1 - self.dropout)


def half_squares(*layers: nnx.Module) -> Float[Array, ""]:
    """1/2 ||.||^2 of all parameters of some layers."""
    leaves = jax.tree.leaves([nnx.state(layer, nnx.Param) for layer in layers])
    # Not vdot: it flattens what is sharded by columns, which gathers it.
    return 0.5 * sum((jnp.sum(leaf**2) for leaf in leaves), start=jnp.zeros(()))


def loss(
    model: DualPath,
    texts_BT: Array,
    images_Md: Array,
    match: Bool[Array, "..."],
    key: Array,
    *,
    margin: float = 0.6,
    balance: float = 0.35,
    l2: float = 0.005,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The training objective: the pairwise similarity loss of a batch, plus L2 on the dense layers.

    `match` of shape [B] scores B aligned pairs; of shape [B, M], every text with every image.

    Returns:
        The objective, and the metrics `loss` (without L2), `mean_match`, `mean_other`.

    Source: GIN (Yu et al. 2018) Eq. 9; SCANet (Lu et al. 2018) Eq. 10.
    """
    texts_BD, images_MD = model.encode_texts(texts_BT), model.encode_images(images_Md)
    scorer = model.score_pairs if match.ndim == 1 else model.score_grid
    scores = scorer(texts_BD, images_MD, key)
    value, metrics = pairwise_similarity_loss(scores, match, margin=margin, balance=balance)
    return value + l2 * model.penalty(), {"loss": value, **metrics}
