"""Losses of GCH on a batch of codes that are not rounded yet: similarity, distance and label errors."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Objective = Literal["paper", "official"]
"""paper: the equations; official: what the public code has in their place."""


def similar(labels_BC: Bool[Array, "B C"]) -> Float[Array, "B B"]:
    """S: 1 where two items share a label, else 0."""
    labels_BC = labels_BC.astype(jnp.float32)
    return (labels_BC @ labels_BC.T > 0).astype(jnp.float32)


def likelihood_loss(
    a_BK: Float[Array, "B K"], b_BK: Float[Array, "B K"], similar_BB: Float[Array, "B B"]
) -> Float[Array, ""]:
    """Negative log-likelihood of the similarities, a mean over the pairs of a batch.

        - mean_ij (S_ij Theta_ij - log(1 + exp(Theta_ij))),    Theta = 1/2 A B^T

    that is, of P(S_ij = 1) = sigmoid(Theta_ij); log(1 + exp) in the form that cannot overflow.

    Source: GCH (Xu et al. 2019), first terms of Eq. 3, 5 and 8.

    >>> codes = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # Theta is 1 on the diagonal and -1 beside it
    >>> round(float(likelihood_loss(codes, codes, jnp.eye(2))), 4)  # log(1 + exp(-1)), four times
    0.3133
    """
    # Paper: a sum over all pairs; here its mean, and the other two terms divided by B^2 alike: the same
    # minimum, and Adam does not see the factor (SGD does).
    theta_BB = 0.5 * _product(a_BK, b_BK)
    return jnp.mean(jax.nn.softplus(theta_BB) - similar_BB * theta_BB)


def squared_likelihood_loss(
    a_BK: Float[Array, "B K"], b_BK: Float[Array, "B K"], similar_BB: Float[Array, "B B"]
) -> Float[Array, ""]:
    """What the public code of GCH has in place of `likelihood_loss`.

        mean_ij (S_ij Theta_ij - log(1 + exp(Theta_ij)))^2,    Theta = A B^T

    Written as it stands, exp(Theta) overflows in float32 from 89 on, that is from 89 bits.

    >>> codes = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(squared_likelihood_loss(codes, codes, jnp.eye(2))), 4)  # log(1 + exp(-2))^2
    0.0161
    """
    theta_BB = _product(a_BK, b_BK)
    return jnp.mean((similar_BB * theta_BB - jax.nn.softplus(theta_BB)) ** 2)


def similarity_loss(
    a_BK: Float[Array, "B K"],
    b_BK: Float[Array, "B K"],
    similar_BB: Float[Array, "B B"],
    objective: Objective,
) -> Float[Array, ""]:
    """The likelihood of an objective."""
    loss = likelihood_loss if objective == "paper" else squared_likelihood_loss
    return loss(a_BK, b_BK, similar_BB)


def squared_error(
    found_BX: Float[Array, "B X"], wanted_BX: Float[Array, "B X"], objective: Objective
) -> Float[Array, ""]:
    """||found - wanted||_F^2 divided by B^2 ("paper": as its likelihood) or by B X ("official").

    >>> round(float(squared_error(jnp.zeros((2, 3)), jnp.ones((2, 3)), "paper")), 4)
    1.5
    """
    total = jnp.sum((found_BX - wanted_BX) ** 2)
    return total / (len(found_BX) ** 2 if objective == "paper" else found_BX.size)


def _product(a_BK: Array, b_BK: Array) -> Array:
    return jnp.matmul(a_BK, b_BK.T, precision=jax.lax.Precision.HIGHEST)
