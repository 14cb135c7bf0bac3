"""The skip-gram loss with negative sampling of SSPE: neighbours near, negatives far.

Shapes: B vertices, k neighbours each with one negative, D of an embedding.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def skip_gram_loss(
    vertices_BD: Float[Array, "B D"],
    neighbours_BkD: Float[Array, "B k D"],
    negatives_BkD: Float[Array, "B k D"],
    has_neighbours_B: Bool[Array, " B"] | None = None,
    has_negatives_B: Bool[Array, " B"] | None = None,
) -> Float[Array, " B"]:
    """Of each vertex, a sum over its neighbours j, each with its negative l.

        - sum_j (log sigmoid(f_i . f_j) + log sigmoid(- f_i . f_l))

    in the form that cannot overflow: - log sigmoid(x) = softplus(-x).

    Args:
        has_neighbours_B: whether a vertex has any; one without costs nothing. By default all have.
        has_negatives_B: whether there is any negative for it; else its neighbours count alone.

    Source: SSPE (Wu et al. 2018), Eq. 2 and 3.

    >>> one, other = jnp.array([[1.0, 0.0]]), jnp.array([[[2.0, 5.0]]])
    >>> round(float(skip_gram_loss(one, other, -other)[0]), 4)  # 2 log(1 + exp(-2))
    0.2539
    """
    # Paper: the negatives of all neighbours are subtracted again for each neighbour (the sums are nested);
    # here each neighbour has its own, because "only one negative vertex for each neighbourhood vertex" (4.4).
    near_Bk, far_Bk = _products(vertices_BD, neighbours_BkD), _products(vertices_BD, negatives_BkD)
    attraction_B, repulsion_B = jax.nn.softplus(-near_Bk).sum(axis=1), jax.nn.softplus(far_Bk).sum(axis=1)
    if has_negatives_B is not None:
        repulsion_B = jnp.where(has_negatives_B, repulsion_B, 0.0)
    loss_B = attraction_B + repulsion_B
    return loss_B if has_neighbours_B is None else jnp.where(has_neighbours_B, loss_B, 0.0)


def _products(vertices_BD: Array, others_BkD: Array) -> Float[Array, "B k"]:
    return jnp.einsum("bd,bkd->bk", vertices_BD, others_BkD, precision=jax.lax.Precision.HIGHEST)
