"""Binary codes from the principal axes of each modality: CMFH, SCM of hashing papers, and STMH."""

import abc
import dataclasses
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float
from sklearn.preprocessing import normalize

from gcnxmodal.baselines.base import (
    Baseline,
    Count,
    Features,
    Groups,
    NonNegative,
    OpenShare,
    Positive,
    Range,
    Seed,
    Side,
)
from gcnxmodal.baselines.linear import MAX_AXES, Maps, axes_of_both

EPSILON = 1e-12
"""Under the root of ||x_i - F g_i||, so that it has a derivative at 0."""


@dataclasses.dataclass(eq=False, repr=False)
class HashCodes(Baseline):
    """Principal components of images P [n, p] and of texts Q [n, q], then K numbers an item: signs are bits.

    Features are centred and of unit length first, and only the axes that keep `ENERGY` of the variance are
    used, as in the other baselines (SSPE, Section 4.4), `axes` at the most; all in float64. An embedding has
    K float32 numbers; a bit is one where its number is positive.

    Attributes:
        bits: K, of a code.
        axes: principal axes of a modality, at the most; None for as many as `ENERGY` takes.
    """

    # Paper: centred features as they are; here their principal axes, 128 at the most by default, because few
    # serve CMFH, which does not look at the labels, and all cost time. SCM loses by them: see its `space`.
    ENERGY: ClassVar = 0.95

    bits: Count = 16
    _: KW_ONLY
    axes: Count | None = MAX_AXES

    def _fit(self, images: Features, texts: Features, labels_nC: np.ndarray, groups: Groups | None) -> None:
        self._axes = axes_of_both(images, texts, self.ENERGY, True, self.axes)
        self._learn(self._axes["images"].project(images), self._axes["texts"].project(texts), labels_nC)

    def _encode(self, features: Features, side: Side) -> Float[np.ndarray, "n K"]:
        return self._numbers(self._axes[side].project(features), side)

    @abc.abstractmethod
    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        """Learn from centred principal components; their covariances are diagonal."""

    @abc.abstractmethod
    def _numbers(self, components_np: np.ndarray, side: Side) -> Float[np.ndarray, "n K"]:
        """What the bits of items are the signs of, from P or Q."""


@dataclasses.dataclass(eq=False, repr=False)
class LinearCodes(HashCodes):
    """Codes that are the signs of one linear map a modality.

    Attributes:
        image_map_, text_map_: [p, K] and [q, K], from principal components.
    """

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        self.image_map_, self.text_map_ = self._maps(P, Q, labels_nC)

    @abc.abstractmethod
    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        """The maps of the method from centred principal components; their covariances are diagonal."""

    def _numbers(self, components_np: np.ndarray, side: Side) -> Float[np.ndarray, "n K"]:
        return components_np @ (self.image_map_ if side == "images" else self.text_map_)


def unit_labels(labels_nC: Bool[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """Label vectors of length 1, whose inner products are cosines; without a label, zero."""
    return np.asarray(normalize(np.asarray(labels_nC, np.float64)))


@dataclasses.dataclass(eq=False, repr=False)
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
        bits, axes: see `HashCodes`.
        image_weight: lambda_1.
        mu: weight of the linear maps.
        gamma: weight of the regularisation.
        iterations: rounds of the three steps, at the most; one that lowers the objective by less than 1e-6
            of it is the last.
        random_state: of the maps W_t that it starts from, so that the order of the items does not matter.

    Attributes:
        objective_: after each round.
    """

    # From memory of the paper: lambda .5, mu 100, gamma .01.
    space: ClassVar = {"mu": (100.0, 1.0), "gamma": (0.01, 1.0)}

    _: KW_ONLY
    image_weight: OpenShare = 0.5
    mu: Positive = 100.0
    gamma: Positive = 0.01
    iterations: Count = 300
    random_state: Seed = 0

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        views, weights = (P.T, Q.T), (self.image_weight, 1 - self.image_weight)
        eye = np.eye(self.bits)
        random = np.random.default_rng(self.random_state)
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
        return W[0].T, W[1].T


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


@dataclasses.dataclass(eq=False, repr=False)
class SemanticCorrelation(LinearCodes):
    """Semantic correlation maximisation (Zhang, Li, AAAI 2014): linear maps W, V whose signs reconstruct S.

        min ||sgn(P W) sgn(Q V)^T - K S||_F^2,    S_ij = 2 cos(l_i, l_j) - 1

    l_i the labels of item i. Without the signs, and with W^T P^T P W = n I and V^T Q^T Q V = n I, that is to
    maximise tr(W^T P^T S Q V). S [n, n] is never formed: with L the label vectors at length 1,

        P^T S Q = 2 (P^T L) (L^T Q) - (P^T 1) (1^T Q)

    where the last term is zero for centred P and Q. The equations are those of the authors' public code.

    Args:
        bits, axes: see `HashCodes`.
        ridge: added to the variance along each principal axis.

    Attributes:
        values_: of each bit, w^T P^T R Q v / n^2 with R what is left of S (seq: of K S) to explain.
    """

    # Paper: all features; here 128 axes or all, because all are ahead by up to .15 on emoji, but on Corel5k
    # in text queries only (benchmarks/README.md).
    space: ClassVar = {"ridge": (1e-3, 1e-4, 1e-2), "axes": (MAX_AXES, None)}

    _: KW_ONLY
    # Paper: no ridge; code: 1e-6 added to sums of squares; here to the variance of rows of unit length, as
    # in CCA, because the weak axes are noise: on validation items of the emoji corpus .360 / .417 for
    # .350 / .393 (seq, 16 bits, `hashing@500`).
    ridge: NonNegative = 1e-3

    def _whitened(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, ...]:
        """White maps of each modality [p], [q], and P^T S Q / n^2 between whitened components [p, q]."""
        white_p, white_q = (1 / np.sqrt(np.mean(x * x, axis=0) + self.ridge) for x in (P, Q))
        return white_p, white_q, white_p[:, None] * similar_covariance(P, Q, labels_nC) * white_q


@dataclasses.dataclass(eq=False, repr=False)
class SCMOrth(SemanticCorrelation):
    """SCM with orthogonal projections: all bits of `SemanticCorrelation` from one decomposition.

    P^T S Q has at most as many directions as there are classes, and as a modality has axes. Bits beyond that
    have none: their columns are zero, so that they are the same for all items and change no distance;
    `values_` has only the others.
    """

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        white_p, white_q, cross = self._whitened(P, Q, labels_nC)
        U, values, Vt = scipy.linalg.svd(cross, full_matrices=False)
        count = min(self.bits, int(np.sum(values > max(1e-9 * values[0], 1e-12))))
        self.values_ = values[:count]
        # Paper: as many bits as asked for; here columns of zeros beyond the rank, because directions with
        # the value 0 are arbitrary, and differ between two computers.
        missing = ((0, 0), (0, self.bits - count))
        image_map = np.pad(white_p[:, None] * U[:, :count], missing)
        return image_map, np.pad(white_q[:, None] * Vt[:count].T, missing)


@dataclasses.dataclass(eq=False, repr=False)
class SCMSeq(SemanticCorrelation):
    """SCM with sequential learning: a bit at a time, each for what is left by the signs of those before it.

    R_1 = K S,    R_(t+1) = R_t - sgn(P w_t) sgn(Q v_t)^T,    w_t, v_t: maximise w^T P^T R_t Q v

    Where nothing is left to explain the other bits have zeros, as those beyond the rank in `SCMOrth`.
    """

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        white_p, white_q, cross = self._whitened(P, Q, labels_nC)
        cross = self.bits * cross
        image_map, text_map, values = np.zeros((P.shape[1], self.bits)), np.zeros((Q.shape[1], self.bits)), []
        # Paper: by its code, axes of CCA in place of all bits from the first value that rises on; here no
        # other axes, because those do not look at the labels, and a value may rise where signs overshoot.
        for k in range(self.bits):
            U, singular, Vt = scipy.linalg.svd(cross, full_matrices=False)
            if singular[0] <= 1e-12 * self.bits:  # of K S: nothing is left
                break
            image_map[:, k], text_map[:, k] = white_p * U[:, 0], white_q * Vt[0]
            values.append(singular[0])
            seen_p, seen_q = (
                white * (x.T @ np.where(x @ map_[:, k] > 0, 1.0, -1.0)) / len(x)
                for white, x, map_ in ((white_p, P, image_map), (white_q, Q, text_map))
            )
            cross = cross - np.outer(seen_p, seen_q)
        self.values_ = np.array(values)
        return image_map, text_map


def similar_covariance(
    P: Float[np.ndarray, "n p"], Q: Float[np.ndarray, "n q"], labels_nC: Bool[np.ndarray, "n C"]
) -> Float[np.ndarray, "p q"]:
    """P^T S Q / n^2 in O(n (p + q) C) for S = 2 cos(labels) - 1."""
    L = unit_labels(labels_nC)
    n = len(P)
    return 2 * (P.T @ L / n) @ (L.T @ Q / n) - np.outer(P.mean(axis=0), Q.mean(axis=0))


@dataclasses.dataclass(eq=False, repr=False)
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
        random_state: of the maps that G and B start from, so that the order of the items does not matter.

    Attributes:
        objective_: after each round.
    """

    space: ClassVar = {"lam": (0.5, 0.05, 5.0), "gamma": (1e-4, 1e-2)}

    bits: Annotated[int, Range(2)] = 16  # half of the bits of each code are ones
    _: KW_ONLY
    image_weight: OpenShare = 0.5
    lam: Positive = 0.5
    gamma: Positive = 1e-4
    iterations: Count = 50
    random_state: Seed = 0

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        r, lam, gamma, eye = self.image_weight, self.lam, self.gamma, np.eye(self.bits)
        random = np.random.default_rng(self.random_state)
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
    def _numbers(self, components_np: np.ndarray, side: Side) -> Float[np.ndarray, "n K"]:
        if side == "images":
            return above_half(components_np @ self._image_map)
        return above_half(-_squared_distances(components_np, self.factors_.M))


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
