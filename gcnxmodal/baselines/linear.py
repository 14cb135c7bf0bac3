"""A common space that each modality enters by one linear map of its principal axes."""

import abc
import collections
import dataclasses
import hashlib
from dataclasses import KW_ONLY

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.decomposition import PCA, TruncatedSVD

from gcnxmodal.baselines.base import (
    Baseline,
    Count,
    Features,
    Groups,
    Share,
    Side,
    equal_rows,
    mean_of,
    unit_rows,
    unit_vectors,
)

MAX_AXES = 128
# Paper: the axes of 95 % of the energy (SSPE, Section 4.4), however many; here by default 128 at the most,
# because the spectrum of texts is flat: of Wikipedia's 10,055 words 95 % take 1,500 axes, by which CCA, whose
# defaults were chosen there, gains nothing. Elsewhere they are worth much, so SSPE's table has no such bound.
"""Principal axes kept of a modality, at the most, unless another number is asked for."""

Maps = tuple[np.ndarray, np.ndarray]
"""Of images [p, D] and of texts [q, D]."""


@dataclasses.dataclass(eq=False, repr=False)
class LinearSpace(Baseline):
    """Principal components of images P [n, p] and of texts Q [n, q], then one map each; cosine is the score.

    A method gives the maps. All in float64; embeddings are unit vectors.

    Attributes:
        components: axes of the common space.
        energy: share of the variance that the principal axes of each modality keep (SSPE, Section 4.4: .95).
        unit_length: scale each item's centred features to length 1 first (SSPE, Section 4.4).
        axes: principal axes of a modality, at the most (`MAX_AXES`); None for as many as `energy` takes.
    """

    components: Count | None = None
    _: KW_ONLY
    energy: Share = 0.95
    unit_length: bool = True
    axes: Count | None = MAX_AXES

    def _fit(self, images: Features, texts: Features, labels_nC: np.ndarray, groups: Groups | None) -> None:
        self._axes = axes_of_both(images, texts, self.energy, self.unit_length, self.axes)
        P, Q = self._axes["images"].project(images), self._axes["texts"].project(texts)
        image_map, text_map = self._maps(P, Q, labels_nC)
        self._map: dict[Side, np.ndarray] = {"images": image_map, "texts": text_map}

    @abc.abstractmethod
    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        """The maps of the method from centred principal components; their covariances are diagonal."""

    def _encode(self, features: Features, side: Side) -> Float[np.ndarray, "n D"]:
        return unit_vectors(self.project(features, side))

    def project(self, features: Features, side: Side) -> Float[np.ndarray, "n D"]:
        """Coordinates in the common space as the method has them, of no fixed length, float64."""
        features = self._checked(features, side)
        return self._axes[side].project(features) @ self._map[side]


@dataclasses.dataclass(frozen=True)
class PrincipalAxes:
    """A modality's centring, scaling and principal axes."""

    mean_d: np.ndarray
    unit_length: bool
    axes_dp: np.ndarray
    origin_p: np.ndarray

    def project(self, features: Features) -> Float[np.ndarray, "n p"]:
        """Principal components in float64, with mean zero over the training items."""
        return np.asarray(_prepare(features, self.mean_d, self.unit_length) @ self.axes_dp) - self.origin_p


RECENT = 4
"""Axes that are kept: candidates of a selection, and methods in turn, are fitted to the same features, and of
Wikipedia's 10,055 words the axes are nine tenths of the time of a linear method."""

_recent: collections.OrderedDict[tuple[bytes, float, bool, int | None], PrincipalAxes] = (
    collections.OrderedDict()
)


def axes_of_both(
    images: Features, texts: Features, energy: float, unit_length: bool, most: int | None
) -> dict[Side, PrincipalAxes]:
    """`principal_axes` of each modality."""
    return {
        "images": principal_axes(images, energy, unit_length, "images", most),
        "texts": principal_axes(texts, energy, unit_length, "texts", most),
    }


def principal_axes(
    features: Features, energy: float, unit_length: bool, name: str, most: int | None = MAX_AXES
) -> PrincipalAxes:
    """The axes of a modality's features that keep this share of their variance, `most` of them at the most.

    Those of features that are equal to recent ones (`RECENT`) are not sought again.

    Raises:
        InputError: if all rows are equal; `name` says of which modality.
    """
    key = _digest(features), energy, unit_length, most
    if key not in _recent:
        _recent[key] = _find(features, energy, unit_length, name, most)
    _recent.move_to_end(key)
    while len(_recent) > RECENT:
        _recent.popitem(last=False)
    return _recent[key]


def _find(features: Features, energy: float, unit_length: bool, name: str, most: int | None) -> PrincipalAxes:
    mean_d = mean_of(features)
    prepared = _prepare(features, mean_d, unit_length)
    total = _total_variance(prepared)
    if total <= 1e-12:
        raise equal_rows(name)
    count = min(*prepared.shape, *([] if most is None else [most]))
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
    needed_p = (missing_p > (1 - energy) * total) & (variance_p > 1e-10 * variance_p[0])
    axes_dp = np.asarray(axes_pd)[needed_p].T
    return PrincipalAxes(mean_d, unit_length, axes_dp, np.asarray(mean_of(prepared) @ axes_dp))


def _digest(features: Features) -> bytes:
    """Of all that decides the axes: equal features have equal digests, and others do not."""
    sparse = sp.issparse(features)
    arrays = (features.data, features.indices, features.indptr) if sparse else (features,)
    digest = hashlib.blake2b(f"{sparse} {features.shape} {[a.dtype.str for a in arrays]}".encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _prepare(features: Features, mean_d: Float[np.ndarray, " d"], unit_length: bool) -> Features:
    return unit_rows(features, mean_d) if unit_length else features.astype(np.float64)


def _total_variance(features: Features) -> float:
    square = features.multiply(features) if sp.issparse(features) else features**2
    return float(np.sum(mean_of(square) - mean_of(features) ** 2))


def top_eigenpairs(
    A: Float[np.ndarray, "m m"], B: Float[np.ndarray, "m m"], components: int | None
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "m D"]]:
    """Solutions of A w = lambda B w with the largest lambda, w^T B w = 1: `components` at the most.

    A and B are symmetric, B positive definite. Solutions with lambda <= 1e-9 of the largest are left out:
    their directions are arbitrary.
    """
    values, vectors = scipy.linalg.eigh(A, B)
    values, vectors = values[::-1][:components], vectors[:, ::-1][:, :components]
    nonzero = values > 1e-9 * max(values[0], 0.0)
    nonzero[0] = True
    return values[nonzero], vectors[:, nonzero]


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
