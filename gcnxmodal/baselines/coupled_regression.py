"""LCFS and JFSSL: regressions of both modalities onto the labels that select features."""

import abc
import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from gcnxmodal.baselines.base import (
    Baseline,
    Count,
    Features,
    Groups,
    NonNegative,
    Positive,
    Side,
    equal_rows,
    mean_of,
    unit_rows,
    unit_vectors,
)

ROUNDING = 1e-8
"""eps of the norms: ||u|| stands for sqrt(||u||^2 + eps), which has a gradient everywhere."""

SMALL = 1e-2
"""mu of the trace norm: a singular value s counts sqrt(s^2 + mu), which has a gradient at 0."""

Maps = list[np.ndarray]
"""U [p, C] of images and V [q, C] of texts."""


@dataclasses.dataclass(eq=False, repr=False)
class CoupledRegression(Baseline):
    """Maps U of images X [n, p] and V of texts T [n, q] onto the label vectors Y [n, C]; cosine is the score.

        min  ||X U - Y||_F^2 + ||T V - Y||_F^2 + sparsity (||U||_21 + ||V||_21) + coupling(X U, T V)

    with a convex coupling that the method names. ||U||_21 = sum_i ||u_i|| makes rows vanish: it selects
    features. Minimised by iteratively reweighted least squares: norms are replaced by quadratic functions
    that touch them at the current maps and lie above them elsewhere, so that no step raises the objective.

    A step is solved in features or in items, whichever are fewer: O(p^3 + n p C) with p <= n, after one
    O(n p^2) for X^T D X; else O(n^2 p) for the inner products of items, weighed anew in each step (less for
    CSR), which outweighs the O(n^3) of the solution. All in float64; nothing is random.

    Attributes:
        sparsity: weight of the l21 norms.
        unit_length: centre the features (dense ones) and scale each item to length 1; else as they are.
        tolerance, steps: the iterations end when a step lowers the objective by less than this share of it,
            or after so many.
        image_map_, text_map_: U and V.
        objective_: its value where it begins (`Problem.start`), and after each step.
    """

    # Paper: features as they are; here centred and of unit length, because that ranks better. The weights of
    # both methods are as good as any of the grid (both: `python -m benchmarks.lcfs_jfssl_defaults`).
    sparsity: Positive = 1.0
    _: KW_ONLY
    unit_length: bool = True
    tolerance: NonNegative = 1e-4
    steps: Count = 100

    def _fit(self, images: Features, texts: Features, labels_nC: np.ndarray, groups: Groups | None) -> None:
        for name, features in (("images", images), ("texts", texts)):
            if _all_equal(features):
                raise equal_rows(name)
        self._mean: dict[Side, np.ndarray] = {"images": mean_of(images), "texts": mean_of(texts)}
        problem = self._problem(self._prepare(images, "images"), self._prepare(texts, "texts"), labels_nC)
        maps = problem.start()
        self.objective_ = [problem.objective(maps)]
        for _ in range(self.steps):
            maps = problem.step(maps)
            self.objective_.append(problem.objective(maps))
            if self.objective_[-2] - self.objective_[-1] <= self.tolerance * self.objective_[-2]:
                break
        self.image_map_, self.text_map_ = maps

    def _encode(self, features: Features, side: Side) -> Float[np.ndarray, "n C"]:
        map_dC = self.image_map_ if side == "images" else self.text_map_
        return unit_vectors(self._prepare(features, side) @ map_dC)

    @abc.abstractmethod
    def _problem(self, images: Features, texts: Features, labels_nC: np.ndarray) -> "Problem":
        """What the method minimises, on features that are prepared."""

    def _prepare(self, features: Features, side: Side) -> Features:
        return unit_rows(features, self._mean[side]) if self.unit_length else features.astype(np.float64)


@dataclasses.dataclass(frozen=True)
class View:
    """A modality's features X [n, p] and D [n, n], by which its regression weighs items; None for I."""

    features: Features
    metric: Any = None

    @functools.cached_property
    def gram(self) -> Float[np.ndarray, "p p"]:
        """X^T D X."""
        return _dense(self.features.T @ self.weighed(self.features))

    def weighed(self, x: Any) -> Any:
        """D x."""
        return x if self.metric is None else self.metric @ x


@dataclasses.dataclass(frozen=True)
class Problem(abc.ABC):
    """An objective of two maps, and a step that does not raise it."""

    views: Sequence[View]  # of images and of texts
    labels: Float[np.ndarray, "n C"]
    sparsity: float

    @abc.abstractmethod
    def step(self, maps: Maps) -> Maps:
        """The maps that minimise what touches the objective from above at `maps`."""

    @abc.abstractmethod
    def coupling(self, F: Float[np.ndarray, "n C"], G: Float[np.ndarray, "n C"]) -> float:
        """The term of the outputs X U and T V."""

    def start(self) -> Maps:
        """U with (X^T D X + sparsity I) U = X^T Y: ||U||_F^2 for ||U||_21, no coupling but what D has of it.

        With D = I (LCFS) that is ridge regression.
        """
        return [
            solve(view, np.full(view.features.shape[1], self.sparsity), self.labels) for view in self.views
        ]

    def outputs(self, maps: Maps) -> list[np.ndarray]:
        """X U and T V."""
        return [np.asarray(view.features @ U) for view, U in zip(self.views, maps, strict=True)]

    def objective(self, maps: Maps) -> float:
        """The value that is minimised."""
        F, G = self.outputs(maps)
        loss = float(np.sum((F - self.labels) ** 2) + np.sum((G - self.labels) ** 2))
        return loss + self.sparsity * sum(float(np.sum(row_norms(U))) for U in maps) + self.coupling(F, G)

    def sparsity_weights(self, U: Float[np.ndarray, "p C"]) -> Float[np.ndarray, " p"]:
        """w with sum_i w_i ||u_i||^2 + const touching sparsity ||U||_21 at U from above."""
        return self.sparsity / (2 * row_norms(U))


def row_norms(U: Float[np.ndarray, "p C"]) -> Float[np.ndarray, " p"]:
    """sqrt(||u_i||^2 + eps)."""
    return np.sqrt(np.sum(U * U, axis=1) + ROUNDING)


def solve(
    view: View,
    weight_p: Float[np.ndarray, " p"],
    target_nC: Float[np.ndarray, "n C"],
    scale: float = 1.0,
    low_rank: tuple[Float[np.ndarray, "n r"], Float[np.ndarray, " r"]] | None = None,
) -> Float[np.ndarray, "p C"]:
    """U with (diag(w) + X^T A X) U = X^T target, A = scale D + Q diag(q) Q^T with low_rank = (Q, q).

    With more features than items in n dimensions, by the push-through identity:
    U = diag(w)^-1 X^T (I + A X diag(w)^-1 X^T)^-1 target.
    """
    X = view.features
    n, p = X.shape
    if p <= n:
        G = scale * view.gram
        if low_rank is not None:
            P = np.asarray(X.T @ low_rank[0])
            G += (P * low_rank[1]) @ P.T
        G[np.diag_indices(p)] += weight_p
        return scipy.linalg.solve(G, np.asarray(X.T @ target_nC), assume_a="pos")
    shrunk = sp.csr_array(X.multiply(1 / weight_p)) if sp.issparse(X) else X / weight_p
    K = _dense(shrunk @ X.T)
    AK = scale * np.asarray(view.weighed(K))
    if low_rank is not None:
        AK += (low_rank[0] * low_rank[1]) @ (low_rank[0].T @ K)
    AK[np.diag_indices(n)] += 1
    return np.asarray(shrunk.T @ scipy.linalg.solve(AK, target_nC))


def _all_equal(features: Features) -> bool:
    if sp.issparse(features):
        return bool((features.max(axis=0).toarray() == features.min(axis=0).toarray()).all())
    return bool((features == features[:1]).all())


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


@dataclasses.dataclass(eq=False, repr=False)
class LCFS(CoupledRegression):
    """Learning coupled feature spaces (Wang, He, Wang, Wang, Tan, ICCV 2013).

        min  ||X U - Y||_F^2 + ||T V - Y||_F^2 + sparsity (||U||_21 + ||V||_21) + low_rank ||[X U, T V]||_*

    ||M||_* is the sum of the singular values. With M = [X U, T V] [n, 2C] and S = (M M^T + mu I)^(-1/2) of
    the current maps, a step solves for each modality by itself

        (X^T (I + low_rank S / 2) X + sparsity diag(1 / (2 ||u_i||))) U = X^T Y

    S is I / sqrt(mu) but for 2C dimensions, and never formed. The equations are from memory of the paper and
    from papers that quote it; if it has 1/2 before the regressions, its weights are half of these.

    Args:
        sparsity: weight of the l21 norms (lambda_1).
        low_rank: weight of the trace norm (lambda_2). The authors' published demonstration on Wikipedia has
            .1 and .001 for the two, and 5 steps.
        unit_length, tolerance, steps: see `CoupledRegression`.
    """

    space: ClassVar = {"sparsity": (0.1, 1.0, 10.0), "low_rank": (1e-3, 0.1, 1.0)}

    _: KW_ONLY
    low_rank: NonNegative = 1.0

    def _problem(self, images: Features, texts: Features, labels_nC: np.ndarray) -> Problem:
        views = View(images), View(texts)
        return _LowRank(views, labels_nC.astype(np.float64), self.sparsity, self.low_rank)


@dataclasses.dataclass(frozen=True)
class _LowRank(Problem):
    low_rank: float

    def step(self, maps: Maps) -> Maps:
        Q, s, _ = np.linalg.svd(np.hstack(self.outputs(maps)), full_matrices=False)
        # I + low_rank S / 2: outside of the span of Q a multiple of I.
        half = self.low_rank / 2
        outside, inside_r = half / np.sqrt(SMALL), half / np.sqrt(s**2 + SMALL)
        return [
            solve(view, self.sparsity_weights(U), self.labels, 1 + outside, (Q, inside_r - outside))
            for view, U in zip(self.views, maps, strict=True)
        ]

    def coupling(self, F: np.ndarray, G: np.ndarray) -> float:
        s = np.linalg.svd(np.hstack([F, G]), compute_uv=False)
        return self.low_rank * float(np.sum(np.sqrt(s**2 + SMALL)))


@dataclasses.dataclass(eq=False, repr=False)
class JFSSL(CoupledRegression):
    """Joint feature selection and subspace learning (Wang, He, Wang, Wang, Tan, PAMI 2016).

        min  ||X U - Y||_F^2 + ||T V - Y||_F^2 + sparsity (||U||_21 + ||V||_21)
             + graph (1/2) sum_kl W_kl ||f_k - f_l||^2

    over the 2n outputs f, the rows of F = X U and then of G = T V. Blocks of W [2n, 2n] are W_xx, W_xt, W_tt:

        W_xt = S / mean_i sum_j S_ij           S_ij = cos(y_i, y_j), image i and text j: 1 for one class
        W_xx = within N / mean_i sum_j N_ij    N_ij = exp(-||x_i - x_j||^2 / (2 sigma^2)) for neighbours, or 0

    and W_tt like W_xx, from texts. i and j are neighbours if one is among the `neighbours` nearest of the
    other; 2 sigma^2 is the mean of ||x_i - x_j||^2 over all i and their nearest j, per modality.
    With L the Laplacian of W, a step solves for images and then for texts

        (X^T (I + graph L_xx) X + sparsity diag(1 / (2 ||u_i||))) U = X^T (Y + graph W_xt G)

    The class graph is never formed: W_xt = M M^T with M [n, C] from the labels; the neighbours are sparse.
    The equations are from memory of the paper and from a public re-implementation of it.

    Args:
        sparsity: weight of the l21 norms (lambda_1).
        graph: weight of the graph (lambda_2).
        within: sum of an item's weights to neighbours of its modality, on average, where that of its weights
            across is 1 (beta).
        neighbours: items that each is joined to within its modality.
        unit_length, tolerance, steps: see `CoupledRegression`.
    """

    space: ClassVar = {"sparsity": (0.1, 1.0, 10.0), "graph": (0.1, 1.0, 10.0)}

    _: KW_ONLY
    graph: NonNegative = 1.0
    within: NonNegative = 1.0
    neighbours: Count = 10

    def _problem(self, images: Features, texts: Features, labels_nC: np.ndarray) -> Problem:
        M = class_vectors(labels_nC)
        across = sp.diags_array(M @ M.sum(axis=0))
        views, laplacians = [], []
        for features in (images, texts):
            near = neighbour_weights(features, self.neighbours)
            degree = sp.diags_array(np.asarray(near.sum(axis=1)).ravel())
            L = sp.csr_array(across + self.within * (degree - near))
            laplacians.append(L)
            views.append(View(features, sp.csr_array(sp.eye_array(len(M)) + self.graph * L)))
        return _Graph(views, labels_nC.astype(np.float64), self.sparsity, self.graph, M, laplacians)


@dataclasses.dataclass(frozen=True)
class _Graph(Problem):
    graph: float
    classes: np.ndarray  # M [n, C]
    laplacians: Sequence[Any]  # of images and of texts: diagonal blocks of L, sparse [n, n]

    def step(self, maps: Maps) -> Maps:
        maps = list(maps)
        for side, other in ((0, 1), (1, 0)):
            output = self.views[other].features @ maps[other]
            target = self.labels + self.graph * self.classes @ (self.classes.T @ output)
            maps[side] = solve(self.views[side], self.sparsity_weights(maps[side]), target)
        return maps

    def coupling(self, F: np.ndarray, G: np.ndarray) -> float:
        within = sum(float(np.sum(x * (L @ x))) for x, L in zip((F, G), self.laplacians, strict=True))
        across = float(np.sum((self.classes.T @ F) * (self.classes.T @ G)))
        return self.graph * (within - 2 * across)


def class_vectors(labels_nC: Bool[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """M whose M M^T weighs pairs across the modalities by their labels; an item's sum to 1 on average."""
    # Paper: weight 1 if of one class; here the cosine of the label vectors, which is that where items have
    # one label, over the mean sum of an item's weights across, because `graph` then means the same for any n.
    M = np.asarray(normalize(labels_nC.astype(np.float64)))
    return M / np.sqrt(max(float(np.sum(M.sum(axis=0) ** 2)) / len(M), 1e-12))


def neighbour_weights(features: Features, k: int) -> sp.csr_array:
    """Symmetric Gaussian weights of pairs of which one is among the k nearest of the other by distance.

    2 sigma^2 is the mean squared distance of items and their k nearest; weights sum to 1 an item on average.
    """
    # Paper: Gaussian weights as they are, of a sigma that we do not know; here 2 sigma^2 from the data, and
    # weights over their mean sum, because `within` then means the same for any n, k and scale of features.
    n = features.shape[0]
    nearest = NearestNeighbors(n_neighbors=min(k, n - 1), algorithm="brute").fit(features)
    directed = nearest.kneighbors_graph(mode="distance")
    square = directed.data**2
    directed.data = np.exp(-square / max(float(np.mean(square)), 1e-300))
    graph = sp.csr_array(directed.maximum(directed.T))
    return sp.csr_array(graph * (n / graph.sum()))
