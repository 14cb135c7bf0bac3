"""Regression of both modalities onto the labels that selects features: what LCFS and JFSSL share."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from gcnxmodal.baselines.features import SOLVER_THREADS, Features, check_training_set, mean_of, unit_rows
from gcnxmodal.errors import InputError

ROUNDING = 1e-8
"""eps of the norms: ||u|| stands for sqrt(||u||^2 + eps), which has a gradient everywhere."""

Maps = list[np.ndarray]
"""U [p, C] of images and V [q, C] of texts."""


class CoupledRegression(BaseEstimator, abc.ABC):
    """Maps U of images X [n, p] and V of texts T [n, q] onto the label vectors Y [n, C]; cosine is the score.

        min  ||X U - Y||_F^2 + ||T V - Y||_F^2 + sparsity (||U||_21 + ||V||_21) + coupling(X U, T V)

    with a convex coupling that the method names. ||U||_21 = sum_i ||u_i|| makes rows vanish: it selects
    features. Minimised by iteratively reweighted least squares: norms are replaced by quadratic functions
    that touch them at the current maps and lie above them elsewhere, so that no step raises the objective.

    A step costs O(min(n, p)^3): it is solved in features or in items, whichever are fewer. All in float64;
    nothing is random.

    Attributes:
        sparsity: weight of the l21 norms.
        unit_length: centre the features (dense ones) and scale each item to length 1; else as they are.
        tolerance, steps: the iterations end when a step lowers the objective by less than this share of it,
            or after so many.
        image_map_, text_map_: U and V.
        objective_: its value for ridge regressions, where it begins, and after each step.
    """

    sparsity: float
    unit_length: bool
    tolerance: float
    steps: int

    def fit(self, images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> CoupledRegression:
        """Fit on training items.

        Args:
            images, texts: [n, d] and [n, N], dense or CSR; N and d may exceed n.

        Raises:
            InputError: if rows do not match, a feature is not finite, all rows of a modality are equal, or a
                weight is out of range.
        """
        check_training_set(images, texts, labels)
        if not self.sparsity > 0:
            raise InputError(
                f"sparsity is {self.sparsity}; it must be above 0 for the regressions to have a solution"
            )
        for name, features in (("images", images), ("texts", texts)):
            if _all_equal(features):
                raise InputError(
                    f"{name}: all training items have the same features; "
                    "a common space needs some that differ"
                )
        self._image_mean, self._text_mean = mean_of(images), mean_of(texts)
        with threadpool_limits(SOLVER_THREADS):
            problem = self._problem(
                self._prepare(images, self._image_mean), self._prepare(texts, self._text_mean), labels
            )
            maps = problem.start()
            self.objective_ = [problem.objective(maps)]
            for _ in range(self.steps):
                maps = problem.step(maps)
                self.objective_.append(problem.objective(maps))
                if self.objective_[-2] - self.objective_[-1] <= self.tolerance * self.objective_[-2]:
                    break
        self.image_map_, self.text_map_ = maps
        return self

    def encode_images(self, images: Features) -> Float[np.ndarray, "n C"]:
        """Unit vectors in the space of the labels, float32."""
        return _unit(self._prepare(images, self._image_mean) @ self.image_map_)

    def encode_texts(self, texts: Features) -> Float[np.ndarray, "n C"]:
        """Unit vectors in the space of the labels, float32."""
        return _unit(self._prepare(texts, self._text_mean) @ self.text_map_)

    @abc.abstractmethod
    def _problem(self, images: Features, texts: Features, labels_nC: np.ndarray) -> Problem:
        """What the method minimises, on features that are prepared."""

    def _prepare(self, features: Features, mean_d: np.ndarray) -> Features:
        if self.unit_length:
            return unit_rows(features, mean_d)
        return features.astype(np.float64)


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

    views: tuple[View, View]
    labels: Float[np.ndarray, "n C"]
    sparsity: float

    @abc.abstractmethod
    def step(self, maps: Maps) -> Maps:
        """The maps that minimise what touches the objective from above at `maps`."""

    @abc.abstractmethod
    def coupling(self, F: Float[np.ndarray, "n C"], G: Float[np.ndarray, "n C"]) -> float:
        """The term of the outputs X U and T V."""

    def start(self) -> Maps:
        """Ridge regressions."""
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


def _unit(x_nC: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    return np.asarray(normalize(x_nC), np.float32)
