"""GIN: a graph-convolutional text path and a linear image path, scored by a weighted inner product.

Yu et al. 2018, "Textual Relationship Modeling for Cross-Modal Information Retrieval".
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gcnxmodal.chebyshev.layer import ChebConv
from gcnxmodal.chebyshev.layout import SparseLayout
from gcnxmodal.models.dense import Precision, linear
from gcnxmodal.models.losses import pairwise_similarity_loss


class Constant(nnx.Variable):
    """Arrays a model needs and never trains: the word graph."""


class GIN(nnx.Module):
    """Dual-path network of GIN, Figure 2.

    Text path, for counts x in R^N on the word graph (Section 2.1, Eq. 5-7):
        f_t = W_t flatten(relu(cheb(relu(cheb(x))))) + b_t        in R^D
    Image path, for a fixed feature v in R^d (Section 2.2, Eq. 8; the paper kept one layer):
        f_i = W_i v + b_i                                         in R^D
    Score (Section 2.3; dropout on the product in training only):
        score(T, I) = w . dropout(f_t * f_i) + b

    Args:
        layout: the scaled Laplacian of the word graph, N vertices.
        image_size: d.
        filters: filters of each graph convolution.
        order: K, the number of Chebyshev orders (K = 3: orders 0, 1, 2).
        dimension: D.
        dropout: probability that an entry of the product is dropped.
        normalise: take relu(f) / ||relu(f)|| for f_t and f_i, so that the score is a weighted cosine.
        precision: of the products of the text and image layers, see `models/dense.py`; scores are float32.
    """

    def __init__(
        self,
        layout: SparseLayout,
        image_size: int,
        *,
        filters: tuple[int, ...] = (1, 1),
        order: int = 3,
        dimension: int = 1024,
        dropout: float = 0.2,
        normalise: bool = False,
        precision: Precision = "float32",
        rngs: nnx.Rngs,
    ):
        words = layout.neighbours.shape[0]
        self.graph = Constant(layout)
        widths = (1, *filters)
        self.convolutions = nnx.List(
            [
                ChebConv(before, after, order, rngs=rngs)
                for before, after in zip(widths, filters, strict=False)
            ]
        )
        for convolution in self.convolutions:
            _start_alive(convolution)
        self.text_head = linear(words * filters[-1], dimension, precision, rngs)
        self.image_head = linear(image_size, dimension, precision, rngs)
        self.score_head = linear(dimension, 1, "float32", rngs)
        self.dropout = dropout
        self.normalise = normalise

    def encode_texts(self, counts_BN: Float[Array, "B N"]) -> Float[Array, "B D"]:
        """Text features f_t of (weighted) word counts."""
        x_NFB = counts_BN.T[:, None, :]
        for convolution in self.convolutions:
            x_NFB = jax.nn.relu(convolution(x_NFB, self.graph.get_value()))
        x_VB = x_NFB.reshape(-1, x_NFB.shape[-1])
        return self._scaled(self.text_head(x_VB.T))

    def encode_images(self, images_Bd: Float[Array, "B d"]) -> Float[Array, "B D"]:
        """Image features f_i."""
        return self._scaled(self.image_head(images_Bd))

    def score_pairs(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"], key: Array | None = None
    ) -> Float[Array, " B"]:
        """Scores of B aligned pairs; with a key, dropout is on."""
        # Paper: "inner product layer" and a fully connected layer; here the element-wise product that all
        # surviving code uses, because an inner product would leave the layer a single number.
        product_BD = texts_BD * images_BD
        if key is not None:
            product_BD = product_BD * self._keep(key, product_BD.shape)
        return self.score_head(product_BD)[:, 0]

    def score_grid(
        self, texts_QD: Float[Array, "Q D"], images_MD: Float[Array, "M D"], key: Array | None = None
    ) -> Float[Array, "Q M"]:
        """Scores of every text with every image; with a key, dropout is on."""
        weighted_QD = self.fold_score(texts_QD)
        if key is not None:
            # Paper: a mask a pair; here a mask a text, shared by the images it meets, because Q M masks of
            # D entries would cost more than the rest of the step.
            weighted_QD = weighted_QD * self._keep(key, weighted_QD.shape)
        bias_1 = self.score_head.bias.get_value()  # pyright: ignore[reportOptionalMemberAccess]
        scores_QM = jnp.matmul(weighted_QD, images_MD.T, precision=jax.lax.Precision.HIGHEST)
        return scores_QM + bias_1

    def fold_score(self, texts_QD: Float[Array, "Q D"]) -> Float[Array, "Q D"]:
        """w * f_t: with the score's weights folded into the texts, ranking is by inner product with f_i."""
        return texts_QD * self.score_head.kernel[:, 0]

    def penalty(self) -> Float[Array, ""]:
        """Sum of 1/2 ||.||^2 over weights and biases of the dense layers, not the filters (as code)."""
        dense = (self.text_head, self.image_head, self.score_head)
        leaves = jax.tree.leaves([nnx.state(layer, nnx.Param) for layer in dense])
        # Not vdot: it flattens what is sharded by columns, which gathers it.
        return 0.5 * sum((jnp.sum(leaf**2) for leaf in leaves), start=jnp.zeros(()))

    def _scaled(self, features_BD: Float[Array, "B D"]) -> Float[Array, "B D"]:
        if not self.normalise:
            return features_BD
        features_BD = jax.nn.relu(features_BD)
        # A norm by jnp.linalg.norm has no gradient at zero.
        squares_B1 = jnp.sum(features_BD**2, axis=1, keepdims=True)
        return features_BD * jax.lax.rsqrt(jnp.maximum(squares_B1, 1e-12))

    def _keep(self, key: Array, shape: tuple[int, ...]) -> Array:
        # Paper: "dropout ratio of 0.2"; the code's keep_prob is 0.8: kept entries are scaled by 1 / 0.8.
        kept = jax.random.bernoulli(key, 1 - self.dropout, shape)
        return kept / (1 - self.dropout)


def _start_alive(convolution: ChebConv) -> None:
    """Make the order-0 weight of a layer of one filter positive, so that its ReLU lets counts through."""
    # Paper: nothing; code: Glorot uniform. Here with |theta_0| where there is one filter, because counts are
    # not negative: a negative theta_0 can leave every vertex of every text at zero, and nothing ever trains.
    theta_KFF = convolution.theta.get_value()
    if theta_KFF.shape[-1] == 1:
        convolution.theta.set_value(theta_KFF.at[0].set(jnp.abs(theta_KFF[0])))


def loss(
    model: GIN,
    counts_BN: Float[Array, "B N"],
    images_Md: Float[Array, "M d"],
    match: Bool[Array, "..."],
    key: Array,
    *,
    margin: float = 0.6,
    balance: float = 0.35,
    l2: float = 0.005,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """GIN's training objective: Eq. 9 on the pairs of a batch, plus L2 on the dense layers.

    `match` of shape [B] scores B aligned pairs; of shape [B, M], every text with every image.

    Returns:
        The objective, and the metrics `loss` (Eq. 9 alone), `mean_match`, `mean_other`.
    """
    texts, images = model.encode_texts(counts_BN), model.encode_images(images_Md)
    scorer = model.score_pairs if match.ndim == 1 else model.score_grid
    value, metrics = pairwise_similarity_loss(
        scorer(texts, images, key), match, margin=margin, balance=balance
    )
    return value + l2 * model.penalty(), {"loss": value, **metrics}
