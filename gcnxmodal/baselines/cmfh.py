"""CMFH: both modalities factorised with one latent matrix, which each reaches by a linear map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from gcnxmodal.baselines.hash_codes import LinearCodes, check_range
from gcnxmodal.baselines.principal_axes import MAX_AXES


class CMFH(LinearCodes):
    """Collective matrix factorisation hashing (Ding, Guo, Zhou, CVPR 2014); the labels are not used.

    With X_1 = P^T [p, n] and X_2 = Q^T [q, n] the components, a row a feature, minimises

        sum_t lambda_t ||X_t - U_t Y||^2 + mu sum_t ||Y - W_t X_t||^2
            + gamma (||Y||^2 + sum_t ||U_t||^2 + ||W_t||^2),    lambda_1 + lambda_2 = 1

    over Y [K, n], U_t and W_t in turn, each in closed form:

        U_t = X_t Y^T (Y Y^T + gamma / lambda_t I)^(-1)
        Y = (sum_t lambda_t U_t^T U_t + (2 mu + gamma) I)^(-1) sum_t (lambda_t U_t^T + mu W_t) X_t
        W_t = Y X_t^T (X_t X_t^T + gamma / mu I)^(-1)

    and the code of an item is sgn(W_t x), here without a bias because x is centred. The equations are those
    of the authors' public code, but for gamma / lambda_t and gamma / mu, which it has as gamma.

    Args:
        bits: K, of a code.
        image_weight: lambda_1.
        mu: weight of the linear maps.
        gamma: weight of the regularisation.
        iterations: rounds of the three steps, at the most; one that lowers the objective by less than 1e-6
            of it is the last.
        axes: see `HashCodes`.
        seed: of the maps W_t that it starts from, so that the order of the items does not matter.

    Attributes:
        objective_: after each round.
    """

    # From memory of the paper: lambda .5, mu 100, gamma .01.
    space: ClassVar = {"mu": (100.0, 1.0), "gamma": (0.01, 1.0)}

    def __init__(
        self,
        bits: int,
        *,
        image_weight: float = 0.5,
        mu: float = 100.0,
        gamma: float = 0.01,
        iterations: int = 300,
        axes: int | None = MAX_AXES,
        seed: int = 0,
    ) -> None:
        self.bits = bits
        self.image_weight = image_weight
        self.mu = mu
        self.gamma = gamma
        self.iterations = iterations
        self.axes = axes
        self.seed = seed

    def _check_options(self) -> None:
        check_range("image_weight", self.image_weight, 0, 1, open_ends=True)
        check_range("mu", self.mu, 0, open_ends=True)
        check_range("gamma", self.gamma, 0, open_ends=True)
        check_range("iterations", self.iterations, 1)

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        views, weights = (P.T, Q.T), (self.image_weight, 1 - self.image_weight)
        eye = np.eye(self.bits)
        random = np.random.default_rng(self.seed)
        W = [random.standard_normal((self.bits, len(X))) for X in views]
        # (X_t X_t^T + gamma / mu I)^(-1) X_t, once: X_t X_t^T is diagonal.
        solved = [X / (np.sum(X * X, axis=1) + self.gamma / self.mu)[:, None] for X in views]
        Y = (W[0] @ P.T + W[1] @ Q.T) / 2
        objective: list[float] = []
        for _ in range(self.iterations):
            U = [
                np.linalg.solve(Y @ Y.T + self.gamma / weight * eye, Y @ X.T).T
                for X, weight in zip(views, weights, strict=True)
            ]
            left = sum(weight * U_t.T @ U_t for weight, U_t in zip(weights, U, strict=True))
            right = sum(
                (weight * U_t.T + self.mu * W_t) @ X
                for weight, U_t, W_t, X in zip(weights, U, W, views, strict=True)
            )
            Y = np.linalg.solve(left + (2 * self.mu + self.gamma) * eye, right)
            W = [Y @ S.T for S in solved]
            objective.append(cmfh_objective(views, Y, U, W, weights, self.mu, self.gamma))
            if len(objective) > 1 and objective[-2] - objective[-1] < 1e-6 * objective[-1]:
                break
        self.objective_ = np.array(objective)
        self.image_map_, self.text_map_ = W[0].T, W[1].T


def cmfh_objective(
    views: Sequence[np.ndarray],
    Y: Float[np.ndarray, "K n"],
    U: Sequence[np.ndarray],
    W: Sequence[np.ndarray],
    weights: Sequence[float],
    mu: float,
    gamma: float,
) -> float:
    """What `CMFH` minimises; `views` are [p, n] and [q, n]."""
    total = gamma * np.sum(Y * Y)
    for X, U_t, W_t, weight in zip(views, U, W, weights, strict=True):
        total += weight * np.sum((X - U_t @ Y) ** 2) + mu * np.sum((Y - W_t @ X) ** 2)
        total += gamma * (np.sum(U_t * U_t) + np.sum(W_t * W_t))
    return float(total)
