"""Canonical correlation analysis: the axes along which the two modalities correlate most."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from gcnxmodal.baselines.features import SOLVER_THREADS, Features, check_training_set, mean_of, unit_rows
from gcnxmodal.errors import InputError

MAX_AXES = 128
"""Principal axes kept of a modality, at the most. The spectrum of texts is flat: on Wikipedia's 10,055 words,
95 % energy takes 1,500 axes. They cost time and gain nothing (validation MAP .33 with 128 and with 512), and
without a ridge they ruin CCA, which whitens all alike (.17)."""


class CCA(BaseEstimator):
    """Regularised CCA on the principal axes of each modality (Hotelling 1936; Rasiwasia et al. 2010).

    With P and Q the centred principal components of images and texts [n, p], [n, q], whose covariances are
    diagonal:

        (P^T P / n + ridge I)^(-1/2)  (P^T Q / n)  (Q^T Q / n + ridge I)^(-1/2)  =  U diag(rho) V^T

    and item i of the common space is (whitened P_i) U diag(rho^power), cosine the score. All in float64.

    The defaults were chosen once, on a held-out fifth of Wikipedia's training items, and hold for all data
    sets: with features of unit length `ridge` means the same for each of them.

    Args:
        components: canonical axes kept; None for all. With power > 0 the weak ones hardly count.
        energy: share of the variance that the principal axes of each modality keep (SSPE, Section 4.4: .95).
        ridge: added to the variance along each principal axis.
        power: each axis is scaled by its correlation to this power (Gong et al. 2014); 0 for plain CCA.
        unit_length: scale each item's centred features to length 1 first (SSPE, Section 4.4).
    """

    def __init__(
        self,
        components: int | None = None,
        *,
        energy: float = 0.95,
        ridge: float = 3e-3,
        power: float = 2.0,
        unit_length: bool = True,
    ) -> None:
        self.components = components
        self.energy = energy
        self.ridge = ridge
        self.power = power
        self.unit_length = unit_length

    def fit(self, images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> CCA:
        """Fit on training items; the labels are not used.

        Args:
            images, texts: [n, d] and [n, N], dense or CSR; N and d may exceed n.

        Raises:
            InputError: if rows do not match, a feature is not finite, or all rows of a modality are equal.
        """
        check_training_set(images, texts, labels)
        with threadpool_limits(SOLVER_THREADS):
            self._image_axes = _principal_axes(images, self.energy, self.unit_length, "images")
            self._text_axes = _principal_axes(texts, self.energy, self.unit_length, "texts")
            P, Q = self._image_axes.project(images), self._text_axes.project(texts)
            white_p, white_q = (1 / np.sqrt(np.mean(x * x, axis=0) + self.ridge) for x in (P, Q))
            cross = white_p[:, None] * (P.T @ Q / len(P)) * white_q
            U, self.correlations_, Vt = scipy.linalg.svd(cross, full_matrices=False)
            scale = self.correlations_[: self.components] ** self.power
            self._image_map = white_p[:, None] * U[:, : self.components] * scale
            self._text_map = white_q[:, None] * Vt.T[:, : self.components] * scale
        return self

    def encode_images(self, images: Features) -> Float[np.ndarray, "n D"]:
        """Unit vectors in the canonical space, float32."""
        return _unit(self._image_axes.project(images) @ self._image_map)

    def encode_texts(self, texts: Features) -> Float[np.ndarray, "n D"]:
        """Unit vectors in the canonical space, float32."""
        return _unit(self._text_axes.project(texts) @ self._text_map)


@dataclasses.dataclass(frozen=True)
class _Axes:
    """A modality's centring, scaling and principal axes."""

    mean_d: np.ndarray
    unit_length: bool
    axes_dp: np.ndarray
    origin_p: np.ndarray

    def project(self, features: Features) -> Float[np.ndarray, "n p"]:
        return np.asarray(_prepare(features, self.mean_d, self.unit_length) @ self.axes_dp) - self.origin_p


def _principal_axes(features: Features, energy: float, unit_length: bool, name: str) -> _Axes:
    mean_d = mean_of(features)
    prepared = _prepare(features, mean_d, unit_length)
    total = _total_variance(prepared)
    if total <= 1e-12:
        raise InputError(f"{name}: all training items have the same features; CCA needs some that differ")
    count = min(MAX_AXES, *prepared.shape)
    # Exact for few features, randomised with a fixed seed for many. Twice the axes are sampled, because the
    # spectrum of texts is so flat that the last ones are not found otherwise.
    if sp.issparse(prepared):
        # Axes that hold most of the texts as they are, uncentred; the principal axes are sought among them.
        svd = TruncatedSVD(count, n_oversamples=MAX_AXES, random_state=0)
        pca = PCA(count).fit(svd.fit_transform(prepared))
        axes_pd = np.asarray(pca.components_) @ svd.components_
    else:
        pca = PCA(count, n_oversamples=MAX_AXES, random_state=0).fit(prepared)
        axes_pd = pca.components_
    variance_p = np.asarray(pca.explained_variance_) * (1 - 1 / prepared.shape[0])  # over n, as in `total`
    missing_p = total - (np.cumsum(variance_p) - variance_p)  # variance that the axes before leave out
    kept_p = (missing_p > (1 - energy) * total) & (variance_p > 1e-10 * variance_p[0])
    axes_dp = np.asarray(axes_pd)[kept_p].T
    return _Axes(mean_d, unit_length, axes_dp, np.asarray(mean_of(prepared) @ axes_dp))


def _prepare(features: Features, mean_d: Float[np.ndarray, " d"], unit_length: bool) -> Features:
    return unit_rows(features, mean_d) if unit_length else features.astype(np.float64)


def _total_variance(features: Features) -> float:
    square = features.multiply(features) if sp.issparse(features) else features**2
    return float(np.sum(mean_of(square) - mean_of(features) ** 2))


def _unit(x_nD: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    return np.asarray(normalize(x_nD), np.float32)
