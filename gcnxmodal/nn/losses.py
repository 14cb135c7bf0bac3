"""Losses that several methods share: of the scores of image-text pairs, of the codes of items."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def pairwise_similarity_loss(
    scores: Float[Array, "..."], match: Bool[Array, "..."], *, margin: float = 0.6, balance: float = 0.35
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Separate the scores of matching pairs from those of non-matching pairs, and make both narrow.

        loss = var+ + var- + balance * max(0, margin - (mean+ - mean-))

    with population means and variances over the Q1 matching and the Q2 non-matching pairs. A constant
    score has loss `balance * margin` exactly. A batch without one of the two kinds has no difference of
    means: its hinge is left out.

    Args:
        scores: one score a pair, any shape.
        match: True where text and image share a class, same shape.
        margin: m, the difference of means asked for.
        balance: lambda, the weight of the hinge against the variances.

    Returns:
        The loss, and `mean_match`, `mean_other`: the two means.

    Source: Kumar BG et al. 2016; GIN (Yu et al. 2018) Section 2.3, Eq. 9, m and lambda from Section 3.2.

    >>> scores, match = jnp.array([0.9, 0.5, 0.2, 0.0]), jnp.array([True, True, False, False])
    >>> loss, _ = pairwise_similarity_loss(scores, match)
    >>> round(float(loss), 4)  # var+ = .04, var- = .01, means .7 and .1: the hinge is 0
    0.05
    """
    mean_match, variance_match, any_match = _moments(scores, match)
    mean_other, variance_other, any_other = _moments(scores, ~match)
    hinge = jnp.maximum(0.0, margin - (mean_match - mean_other))
    hinge = jnp.where(any_match & any_other, hinge, 0.0)
    loss = variance_match + variance_other + balance * hinge
    return loss, {"mean_match": mean_match, "mean_other": mean_other}


def _moments(scores: Array, chosen: Array) -> tuple[Array, Array, Array]:
    """Mean and population variance of the chosen scores, and whether there are any."""
    weight = chosen.astype(scores.dtype)
    number = weight.sum()
    mean = (weight * scores).sum() / jnp.maximum(number, 1)
    variance = (weight * (scores - mean) ** 2).sum() / jnp.maximum(number, 1)
    return mean, variance, number > 0


def likelihood_loss(
    a_BK: Float[Array, "B K"], b_MK: Float[Array, "M K"], similar_BM: Float[Array, "B M"]
) -> Float[Array, ""]:
    """Negative log-likelihood of the similarities, a mean over the pairs of a batch.

        - mean_ij (S_ij Theta_ij - log(1 + exp(Theta_ij))),    Theta = 1/2 A B^T

    that is, of P(S_ij = 1) = sigmoid(Theta_ij); log(1 + exp) in the form that cannot overflow.

    Source: DCMH (Jiang and Li 2017), first term of its objective; GCH (Xu et al. 2019), first terms of Eq. 3,
    5 and 8. Both have the sum.

    >>> codes = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # Theta is 1 on the diagonal and -1 beside it
    >>> round(float(likelihood_loss(codes, codes, jnp.eye(2))), 4)  # log(1 + exp(-1)), four times
    0.3133
    """
    theta_BM = 0.5 * jnp.matmul(a_BK, b_MK.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.mean(jax.nn.softplus(theta_BM) - similar_BM * theta_BM)
