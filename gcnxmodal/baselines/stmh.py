"""STMH: clusters of texts, a robust factorisation of images, and a map from its factors to the clusters."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

from gcnxmodal.baselines.hash_codes import HashCodes, check_range
from gcnxmodal.baselines.principal_axes import MAX_AXES
from gcnxmodal.errors import InputError

EPSILON = 1e-12
"""Under the root of ||x_i - F g_i||, so that it has a derivative at 0."""


class STMH(HashCodes):
    """Semantic topic multimodal hashing (Wang, Gao, Wang, He, IJCAI 2015); the labels are not used.

    Bit k of a text says whether it is of topic k. With x_i and t_i the components of image and text i,
    F [p, K] concepts of images, G [n, K] how much of each is in an image, M [q, K] topics of texts, B [n, K]
    of zeros and ones, half of each row ones, and R [K, K], minimises

        r sum_i ||x_i - F g_i||  +  (1 - r) sum_ik b_ik ||t_i - m_k||^2  +  lambda ||B - G R||^2
            + gamma (||F||^2 + ||G||^2 + ||M||^2 + ||R||^2)

    in turn: F, R and G by least squares, with d_i ||x_i - F g_i||^2 in place of the norm that is not squared,
    d_i = 1 / (2 ||x_i - F g_i||) of the round before; M as means; and each b_i by its K / 2 smallest costs.
    A new text has the bits of its K / 2 nearest topics; a new image x those of the K / 2 largest entries of
    R^T g, with g = (F^T F + gamma / r I)^(-1) F^T x.

    The equations are those of the authors' public code, but for what is marked below.

    Args:
        bits: K, of a code; two at least.
        image_weight: r.
        lam: lambda, weight of the common space.
        gamma: weight of the regularisation.
        iterations: rounds at the most; one that lowers the objective by less than 1e-6 of it is the last.
        axes: see `HashCodes`.
        seed: of the maps that G and B start from, so that the order of the items does not matter.

    Attributes:
        objective_: after each round.
    """

    space: ClassVar = {"lam": (0.5, 0.05, 5.0), "gamma": (1e-4, 1e-2)}

    def __init__(
        self,
        bits: int,
        *,
        image_weight: float = 0.5,
        lam: float = 0.5,
        gamma: float = 1e-4,
        iterations: int = 50,
        axes: int | None = MAX_AXES,
        seed: int = 0,
    ) -> None:
        self.bits = bits
        self.image_weight = image_weight
        self.lam = lam
        self.gamma = gamma
        self.iterations = iterations
        self.axes = axes
        self.seed = seed

    def _check_options(self) -> None:
        if self.bits < 2:
            raise InputError(
                "bits: 1; half of the bits of each code are ones, so that stmh needs two or more"
            )
        check_range("image_weight", self.image_weight, 0, 1, open_ends=True)
        check_range("lam", self.lam, 0, open_ends=True)
        check_range("gamma", self.gamma, 0, open_ends=True)
        check_range("iterations", self.iterations, 1)

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        r, lam, gamma, eye = self.image_weight, self.lam, self.gamma, np.eye(self.bits)
        random = np.random.default_rng(self.seed)
        G = _unit_variance(P @ random.standard_normal((P.shape[1], self.bits)))
        B = largest_half(Q @ random.standard_normal((Q.shape[1], self.bits)))
        d = np.ones(len(P))
        objective: list[float] = []
        for _ in range(self.iterations):
            weighted = d[:, None] * G
            F = np.linalg.solve(weighted.T @ G + gamma / r * eye, weighted.T @ P).T
            # Paper: by its code, T B (B^T B + gamma I)^(-1), which factorises texts; here the means, because
            # these minimise the distances to topics that the bits are chosen by.
            M = (1 - r) * (Q.T @ B) / ((1 - r) * B.sum(axis=0) + gamma)
            R = np.linalg.solve(G.T @ G + gamma / lam * eye, G.T @ B)
            G = _weights(r * d, F, P, lam * R @ R.T + gamma * eye, lam * B @ R.T)
            # Paper: by its code r is also in d, where it counts twice; here once, as in the objective.
            d = 0.5 / np.sqrt(np.sum((P - G @ F.T) ** 2, axis=1) + EPSILON)
            B = largest_half(2 * lam * G @ R - (1 - r) * _squared_distances(Q, M))
            objective.append(stmh_objective(P, Q, Factors(F, G, M, B, R), r, lam, gamma))
            if len(objective) > 1 and objective[-2] - objective[-1] < 1e-6 * objective[-1]:
                break
        self.objective_ = np.array(objective)
        self.factors_ = Factors(F, G, M, B, R)
        self._image_map = F @ np.linalg.solve(F.T @ F + gamma / r * eye, R)

    # Paper: training items have the bits B in both modalities; here those of their own features, because a
    # query must not be answered by what the other modality of an item says.
    def _image_numbers(self, P: np.ndarray) -> Float[np.ndarray, "n K"]:
        return above_half(P @ self._image_map)

    def _text_numbers(self, Q: np.ndarray) -> Float[np.ndarray, "n K"]:
        return above_half(-_squared_distances(Q, self.factors_.M))


class Factors(NamedTuple):
    """What is learnt: see `STMH`."""

    F: Float[np.ndarray, "p K"]
    G: Float[np.ndarray, "n K"]
    M: Float[np.ndarray, "q K"]
    B: Float[np.ndarray, "n K"]
    R: Float[np.ndarray, "K K"]


def stmh_objective(
    P: Float[np.ndarray, "n p"],
    Q: Float[np.ndarray, "n q"],
    factors: Factors,
    image_weight: float,
    lam: float,
    gamma: float,
) -> float:
    """What `STMH` minimises."""
    F, G, M, B, R = factors
    images = np.sum(np.sqrt(np.sum((P - G @ F.T) ** 2, axis=1) + EPSILON))
    texts = np.sum(B * _squared_distances(Q, M))
    small = sum(np.sum(x * x) for x in (F, G, M, R))
    common = np.sum((B - G @ R) ** 2)
    return float(image_weight * images + (1 - image_weight) * texts + lam * common + gamma * small)


def above_half(scores_nK: Float[np.ndarray, "n K"]) -> Float[np.ndarray, "n K"]:
    """Scores, less what lies midway between the K / 2 (rounded up) largest of a row and its others.

    Exactly the ones that `largest_half` chooses are positive, among equals too.

    >>> above_half(np.array([[1.0, 4.0, 2.0], [5.0, 6.0, 1.0]])).tolist()
    [[-0.5, 2.5, 0.5], [2.0, 3.0, -2.0]]
    """
    half = (scores_nK.shape[1] + 1) // 2
    descending = -np.sort(-scores_nK, axis=1)
    centred = scores_nK - descending[:, half - 1 : half + 1].mean(axis=1, keepdims=True)
    return np.where(largest_half(scores_nK) > 0, np.maximum(centred, 1e-30), np.minimum(centred, 0.0))


def largest_half(scores_nK: Float[np.ndarray, "n K"]) -> Float[np.ndarray, "n K"]:
    """1 for the K / 2 (rounded up) largest of each row, the first of equals, and 0 for the others."""
    order = np.argsort(-scores_nK, axis=1, kind="stable")[:, : (scores_nK.shape[1] + 1) // 2]
    chosen = np.zeros(scores_nK.shape)
    np.put_along_axis(chosen, order, 1.0, axis=1)
    return chosen


def _weights(
    d_n: np.ndarray, F: np.ndarray, P: np.ndarray, common: np.ndarray, wanted: np.ndarray
) -> Float[np.ndarray, "n K"]:
    """The g_i of (d_i F^T F + C) g_i = d_i F^T x_i + c_i, with C `common` and c_i a row of `wanted`.

    One decomposition solves all: with V^T F^T F V = diag(w) and V^T C V = I the matrix on the left is
    V^(-T) diag(d_i w + 1) V^(-1).
    """
    w, V = scipy.linalg.eigh(F.T @ F, common)
    right = (d_n[:, None] * (P @ F) + wanted) @ V
    return right / (d_n[:, None] * np.maximum(w, 0) + 1) @ V.T


def _squared_distances(Q: np.ndarray, M: np.ndarray) -> Float[np.ndarray, "n K"]:
    return np.sum(Q * Q, axis=1)[:, None] - 2 * Q @ M + np.sum(M * M, axis=0)


def _unit_variance(x_nK: np.ndarray) -> np.ndarray:
    return x_nK / np.maximum(x_nK.std(axis=0), 1e-12)
