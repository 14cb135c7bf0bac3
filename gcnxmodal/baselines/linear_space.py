"""A common space that each modality enters by one linear map: what the linear baselines share."""

from __future__ import annotations

import abc

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from gcnxmodal.baselines.features import SOLVER_THREADS, Features, check_training_set, unit_vectors
from gcnxmodal.baselines.principal_axes import principal_axes

Maps = tuple[np.ndarray, np.ndarray]
"""Of images [p, D] and of texts [q, D]."""


class LinearSpace(BaseEstimator, abc.ABC):
    """Principal components of images P [n, p] and of texts Q [n, q], then one map each; cosine is the score.

    A method gives the maps. All in float64.

    Attributes:
        energy: share of the variance that the principal axes of each modality keep (SSPE, Section 4.4: .95).
        unit_length: scale each item's centred features to length 1 first (SSPE, Section 4.4).
        axes: principal axes of a modality, at the most (`MAX_AXES`); None for as many as `energy` takes.
    """

    energy: float
    unit_length: bool
    axes: int | None

    def fit(self, images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> LinearSpace:
        """Fit on training items.

        Args:
            images, texts: [n, d] and [n, N], dense or CSR; N and d may exceed n.

        Raises:
            InputError: if rows do not match, a feature is not finite, or all rows of a modality are equal.
        """
        check_training_set(images, texts, labels)
        with threadpool_limits(SOLVER_THREADS):
            self._image_axes = principal_axes(images, self.energy, self.unit_length, "images", self.axes)
            self._text_axes = principal_axes(texts, self.energy, self.unit_length, "texts", self.axes)
            P, Q = self._image_axes.project(images), self._text_axes.project(texts)
            self._image_map, self._text_map = self._maps(P, Q, labels)
        return self

    @abc.abstractmethod
    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        """The maps of the method from centred principal components; their covariances are diagonal."""

    def encode_images(self, images: Features) -> Float[np.ndarray, "n D"]:
        """Unit vectors in the common space, float32."""
        return unit_vectors(self.project_images(images))

    def encode_texts(self, texts: Features) -> Float[np.ndarray, "n D"]:
        """Unit vectors in the common space, float32."""
        return unit_vectors(self.project_texts(texts))

    def project_images(self, images: Features) -> Float[np.ndarray, "n D"]:
        """Coordinates in the common space as the method has them, of no fixed length, float64."""
        return self._image_axes.project(images) @ self._image_map

    def project_texts(self, texts: Features) -> Float[np.ndarray, "n D"]:
        """Coordinates in the common space as the method has them, of no fixed length, float64."""
        return self._text_axes.project(texts) @ self._text_map


def top_eigenpairs(
    A: Float[np.ndarray, "m m"], B: Float[np.ndarray, "m m"], components: int | None
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "m D"]]:
    """Solutions of A w = lambda B w with the largest lambda, w^T B w = 1: `components` at the most.

    A and B are symmetric, B positive definite. Solutions with lambda <= 1e-9 of the largest are left out:
    their directions are arbitrary.
    """
    values, vectors = scipy.linalg.eigh(A, B)
    values, vectors = values[::-1][:components], vectors[:, ::-1][:, :components]
    kept = values > 1e-9 * max(values[0], 0.0)
    kept[0] = True
    return values[kept], vectors[:, kept]


def class_shares(labels_nC: Bool[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """How much of each item belongs to each class: 1 / (its labels); rows sum to 1, or 0 without a label."""
    # Paper: one label an item, drawn at random from several (SSPE, Section 4.4); here an equal share in each
    # of them, which is the mean over such draws, because it needs no seed.
    return labels_nC / np.maximum(labels_nC.sum(axis=1, keepdims=True), 1)


def class_scatter(
    x_np: Float[np.ndarray, "n p"], shares_nC: Float[np.ndarray, "n C"]
) -> tuple[Float[np.ndarray, "p p"], Float[np.ndarray, "p p"]]:
    """Scatter between the classes and within them, over n (Fisher 1936), with shares as in `class_shares`:

    sum_c n_c (m_c - m)(m_c - m)^T  and  sum_ic s_ic (x_i - m_c)(x_i - m_c)^T,  n_c = sum_i s_ic.
    """
    size_C, weight_n = shares_nC.sum(axis=0), shares_nC.sum(axis=1)
    total = max(weight_n.sum(), 1e-12)
    x_np = x_np - weight_n @ x_np / total
    mean_Cp = shares_nC.T @ x_np / np.maximum(size_C, 1e-12)[:, None]
    between = (mean_Cp.T * size_C) @ mean_Cp
    within = (x_np.T * weight_n) @ x_np - between
    return between / len(x_np), within / len(x_np)
