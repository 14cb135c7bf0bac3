"""Common spaces that each modality enters by one linear map of its principal axes.

First the axes and what the methods share; then axes along which views vary together (CCA of two views, of
three, over pairs of like labels; PLS; BLM); then discriminant analysis of both (GMLDA, GMMFA, MvDA).
"""

import abc
import collections
import dataclasses
import hashlib
from dataclasses import KW_ONLY
from typing import ClassVar, Literal

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import normalize

from gcnxmodal.baselines.base import (
    Baseline,
    Count,
    Features,
    Groups,
    NonNegative,
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

    def linear(self, side: Side) -> tuple[np.ndarray, np.ndarray]:
        """W [d, D] and b [D]: `project` is W^T z + b, with z the features centred and at unit length."""
        axes, onto = self._axes[side], self._map[side]
        return axes.axes_dp @ onto, -axes.origin_p @ onto


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


# --- Axes along which views vary together ---


@dataclasses.dataclass(eq=False, repr=False)
class CCA(LinearSpace):
    """Regularised CCA on the principal axes of each modality (Hotelling 1936; Rasiwasia et al. 2010).

    With P and Q the centred principal components of images and texts [n, p], [n, q], whose covariances are
    diagonal:

        (P^T P / n + ridge I)^(-1/2)  (P^T Q / n)  (Q^T Q / n + ridge I)^(-1/2)  =  U diag(rho) V^T

    and item i of the common space is (whitened P_i) U diag(rho^power). The labels are not used. The defaults
    were chosen once, on a held-out fifth of Wikipedia's training items, and hold for all data sets: with
    features of unit length `ridge` means the same for each of them.

    Args:
        components: canonical axes kept; None for all. With power > 0 the weak ones hardly count.
        ridge: added to the variance along each principal axis.
        power: each axis is scaled by its correlation to this power (Gong et al. 2014); 0 for plain CCA.
        energy, unit_length, axes: see `LinearSpace`.
    """

    space: ClassVar = {"components": (5, 10, 20, None), "ridge": (1e-3, 3e-3, 1e-2, 1e-1)}

    _: KW_ONLY
    ridge: NonNegative = 3e-3
    power: NonNegative = 2.0

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        white_p, white_q = (1 / np.sqrt(np.mean(x * x, axis=0) + self.ridge) for x in (P, Q))
        cross = white_p[:, None] * (P.T @ Q / len(P)) * white_q
        U, self.correlations_, Vt = scipy.linalg.svd(cross, full_matrices=False)
        scale = self.correlations_[: self.components] ** self.power
        image_map = white_p[:, None] * U[:, : self.components] * scale
        return image_map, white_q[:, None] * Vt.T[:, : self.components] * scale


@dataclasses.dataclass(eq=False, repr=False)
class CorrelationMatching(CCA):
    """CM of Rasiwasia et al. 2010: `CCA` with every axis alike (power 0), cosine the score."""

    _: KW_ONLY
    power: NonNegative = 0.0


@dataclasses.dataclass(eq=False, repr=False)
class CCA3V(LinearSpace):
    """Three-view CCA (Gong et al., IJCV 2014, with linear kernels).

    With X = [P, Q, L] the centred principal components and labels, S their covariance and S_D its three
    diagonal blocks:

        (S + ridge I) w = lambda (S_D + ridge I) w

    and item i of the common space is P_i W_img diag(lambda^power) (a text: Q_i W_txt ...), cosine the score.

    Args:
        components: axes kept; None for all whose lambda is above 1, along which the views agree.
        ridge: added to the variance along each axis.
        power: p of the paper, which has 4.
        energy, unit_length, axes: see `LinearSpace`.
    """

    space: ClassVar = {"power": (0.0, 1.0, 2.0, 4.0), "ridge": (1e-3, 3e-3, 1e-2, 1e-1)}

    _: KW_ONLY
    ridge: NonNegative = 3e-3
    power: NonNegative = 4.0

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        p, q = P.shape[1], Q.shape[1]
        X = np.hstack([P, Q, labels_nC - labels_nC.mean(axis=0)])
        S = X.T @ X / len(X)
        views = (slice(0, p), slice(p, p + q), slice(p + q, None))
        ridge = self.ridge * np.eye(len(S))
        S_D = np.asarray(scipy.linalg.block_diag(*(S[view, view] for view in views)))
        self.eigenvalues_, W = top_eigenpairs(S + ridge, S_D + ridge, self.components)
        if self.components is None:
            agree = self.eigenvalues_ > 1
            agree[0] = True
            self.eigenvalues_, W = self.eigenvalues_[agree], W[:, agree]
        W = W * self.eigenvalues_**self.power
        return W[:p], W[p : p + q]


@dataclasses.dataclass(eq=False, repr=False)
class MLCCA(LinearSpace):
    """Multi-label CCA (Ranjan, Rasiwasia, Jawahar, ICCV 2015) with the cosine of label vectors as weight.

    Every image i meets every text j with weight f_ij = cos(l_i, l_j). With P and Q the centred principal
    components and W = sum_ij f_ij:

        C_xy = sum_ij f_ij P_i Q_j^T / W,  C_xx = sum_ij f_ij P_i P_i^T / W,  C_yy = sum_ij f_ij Q_j Q_j^T / W

    and CCA of these. The pairs are never formed: f = M M^T with M the label vectors at length 1, so
    C_xy = (M^T P)^T (M^T Q) / W costs O(n C (p + q)).

    Args:
        components: canonical axes kept; None for all, of which there are as many as classes.
        ridge, power: as in `CCA`.
        energy, unit_length, axes: see `LinearSpace`.
    """

    space: ClassVar = {"power": (0.0, 1.0, 2.0), "ridge": (1e-3, 3e-3, 1e-2, 1e-1)}

    _: KW_ONLY
    ridge: NonNegative = 3e-3
    # Paper: axes as they are (power 0); here scaled, because that ranks better: .208 / .261 against
    # .201 / .245 (text / image query, a fifth of Wikipedia's training items held out, official features).
    # Its author's code weighs some pairs by exp(-distance of label vectors / sigma), and has a quarter of
    # the mean variance as ridge; here the cosine, because it factorises.
    power: NonNegative = 1.0

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        M = np.asarray(normalize(labels_nC.astype(np.float64)))
        weight_n = M @ M.sum(axis=0)  # sum_j f_ij
        total = max(weight_n.sum(), 1e-12)
        white_p, white_q = (
            _inverse_root((x.T * weight_n) @ x / total + self.ridge * np.eye(x.shape[1])) for x in (P, Q)
        )
        cross = (M.T @ P).T @ (M.T @ Q) / total
        U, correlations, Vt = scipy.linalg.svd(white_p @ cross @ white_q, full_matrices=False)
        nonzero = correlations > 1e-9 * correlations[0]  # not more than classes; the other axes are arbitrary
        nonzero[0] = True
        self.correlations_ = correlations[nonzero][: self.components]
        U, V = U[:, nonzero][:, : self.components], Vt.T[:, nonzero][:, : self.components]
        scale = self.correlations_**self.power
        return white_p @ U * scale, white_q @ V * scale


@dataclasses.dataclass(eq=False, repr=False)
class PLS(LinearSpace):
    """PLS by singular vectors of the cross-covariance (Bookstein 1994; Sharma and Jacobs 2011).

    With P and Q the centred principal components of images and texts:

        P^T Q / n  =  U diag(covariance) V^T

    and item i of the common space is P_i U (a text: Q_i V): CCA without whitening. The labels are not used.

    Args:
        components: pairs of axes kept; None for all.
        energy, unit_length, axes: see `LinearSpace`.
    """

    space: ClassVar = {"components": (5, 10, 20, None)}

    # Paper: deflation of the views after each pair of axes; here all pairs at once, which keeps U and V
    # orthonormal, because the first pair is the same and retrieval needs no orthogonal score vectors.

    _: KW_ONLY
    energy: Share = 1.0

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        U, self.covariances_, Vt = scipy.linalg.svd(P.T @ Q / len(P), full_matrices=False)
        return U[:, : self.components], Vt.T[:, : self.components]


@dataclasses.dataclass(eq=False, repr=False)
class BLM(LinearSpace):
    """Bilinear model (Tenenbaum and Freeman 2000, the asymmetric one), as Sharma et al. 2012 have it.

    Item i has a content b_i [D]; the modalities are styles A, P_i = A_img b_i and Q_i = A_txt b_i. The least
    squares of both are the singular vectors of the stacked views

        [P, Q]  =  B diag(s) [A_img; A_txt]^T

    and an item of the common space is P_i A_img (a text: Q_i A_txt). With alpha = 1 these are the
    eigenvectors of what Sharma's code has in their place; the labels are not used.

        [[P^T P, alpha P^T Q], [alpha Q^T P, Q^T Q]]

    Args:
        components: D; None for all. Later axes vary in one modality only and harm: .177 / .214 with 5,
            .150 / .198 with 32 (text / image query, a fifth of Wikipedia's training items held out).
        alpha: weight of the pairs; 1 for the bilinear model, and the larger the closer to `PLS`.
        energy, unit_length, axes: see `LinearSpace`. The views should have about the same variance.
    """

    space: ClassVar = {"components": (3, 5, 10, 20)}

    components: Count | None = 5
    _: KW_ONLY
    alpha: NonNegative = 1.0
    energy: Share = 1.0

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        C = self.alpha * P.T @ Q
        A = np.block([[P.T @ P, C], [C.T, Q.T @ Q]])
        _, styles_mD = top_eigenpairs(A, np.eye(len(A)), self.components)
        return styles_mD[: P.shape[1]], styles_mD[P.shape[1] :]


def _inverse_root(C: np.ndarray) -> np.ndarray:
    """C^(-1/2) of a symmetric positive definite matrix; along axes without variance, 0."""
    values, vectors = scipy.linalg.eigh(C)
    known = values > 1e-10 * max(values[-1], 1e-300)
    return (vectors[:, known] / np.sqrt(values[known])) @ vectors[:, known].T


# --- Discriminant analysis ---

BLOCK = 512
"""Rows whose distances to all items are held at a time: 4 MB for a thousand items."""


@dataclasses.dataclass(eq=False, repr=False)
class _GeneralizedMultiview(LinearSpace):
    """Generalized multiview analysis (Sharma et al., CVPR 2012).

    With A what shall be large and B what shall be small of each modality, and C = P^T Q / n:

        [[A_img, alpha C], [alpha C^T, A_txt]] w = lambda [[B_img, 0], [0, gamma B_txt]] w

    w = [w_img; w_txt], ridge on each B, gamma = tr B_img / tr B_txt as in the paper and its code.

    Args:
        components: directions kept.
        alpha: weight of the pairs (Sharma's code: 10).
        align: what is a pair: an item's image and text, or a class's mean image and mean text.
        ridge: added to each B.
        energy, unit_length, axes: see `LinearSpace`.
    """

    # Checked against public copies of the authors' code (`Newgma.m`, `myMFA.m`, their Readme): gamma, alpha
    # of 10, axes of 95 % energy, 5 and 20 neighbours unasked; C is of pairs or of class means (`align`).

    space: ClassVar = {"components": (8, 32), "alpha": (1.0, 10.0, 100.0), "ridge": (1e-3, 1e-2, 1e-1)}

    components: Count | None = 32
    _: KW_ONLY
    alpha: NonNegative = 10.0
    align: Literal["pairs", "classes"] = "pairs"
    ridge: NonNegative = 1e-3

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        (A_p, B_p), (A_q, B_q) = (self._criterion(x, labels_nC) for x in (P, Q))
        B_p, B_q = (B + self.ridge * np.eye(len(B)) for B in (B_p, B_q))
        gamma = np.trace(B_p) / np.trace(B_q)
        C = self.alpha * self._pairs(P, Q, labels_nC)
        A = np.block([[A_p, C], [C.T, A_q]])
        B = np.block([[B_p, np.zeros_like(C)], [np.zeros_like(C.T), gamma * B_q]])
        self.eigenvalues_, W = top_eigenpairs(A, B, self.components)
        return W[: P.shape[1]], W[P.shape[1] :]

    def _pairs(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> np.ndarray:
        """C: over the pairs, or over the classes' means as if each of them were n_c pairs."""
        if self.align == "pairs":
            return P.T @ Q / len(P)
        shares_nC = class_shares(labels_nC)
        sums_p, sums_q = shares_nC.T @ P, shares_nC.T @ Q
        return (sums_p.T / np.maximum(shares_nC.sum(axis=0), 1e-12)) @ sums_q / len(P)

    @abc.abstractmethod
    def _criterion(self, x_np: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A and B of one modality, over n."""


@dataclasses.dataclass(eq=False, repr=False)
class GMLDA(_GeneralizedMultiview):
    """Generalized multiview LDA (Sharma et al., CVPR 2012): A the scatter between classes, B that within.

        [[A_img, alpha C], [alpha C^T, A_txt]] w = lambda [[B_img, 0], [0, gamma B_txt]] w,   C = P^T Q / n

    Args:
        components, alpha, align, ridge: see `_GeneralizedMultiview`.
        energy, unit_length, axes: see `LinearSpace`.
    """

    def _criterion(self, x_np: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return class_scatter(x_np, class_shares(labels_nC))


@dataclasses.dataclass(eq=False, repr=False)
class GMMFA(_GeneralizedMultiview):
    """Generalized multiview marginal Fisher analysis (Sharma et al., CVPR 2012; MFA: Yan et al., PAMI 2007).

    As `GMLDA` with scatters of neighbours: B = sum (x_i - x_j)(x_i - x_j)^T / n over items that share a label
    where one is among the other's nearest such, and A the same over items that share none.

    Args:
        like, unlike: neighbours of an item that share a label with it, and that share none.
        others: as of `GMLDA`.
    """

    _: KW_ONLY
    like: Count = 5
    unlike: Count = 20

    def _criterion(self, x_np: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        like, unlike = neighbour_graphs(x_np, labels_nC, self.like, self.unlike)
        # Over the number of neighbours too: both are then means, of the size of GMLDA's scatters.
        return neighbour_scatter(x_np, unlike) / self.unlike, neighbour_scatter(x_np, like) / self.like


@dataclasses.dataclass(eq=False, repr=False)
class MvDA(LinearSpace):
    """Multi-view discriminant analysis (Kan et al., ECCV 2012 and PAMI 2016).

    The maps maximise the scatter between classes over that within them, of all images P W_img and texts
    Q W_txt together, each class having one mean over both modalities. That is Fisher's criterion of the 2n
    rows of

        Z = [[P, 0], [0, Q]]:   S_B w = lambda (S_W + ridge I) w,   w = [w_img; w_txt]

    Args:
        components: directions kept; None for all, one fewer than classes.
        ridge: added to S_W over 2n; without it more features than items have no solution.
        energy, unit_length, axes: see `LinearSpace`.
    """

    space: ClassVar = {"ridge": (1e-4, 1e-3, 1e-2, 1e-1)}

    _: KW_ONLY
    ridge: NonNegative = 1e-3

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        shares_nC = class_shares(labels_nC)
        Z = np.asarray(scipy.linalg.block_diag(P, Q))
        between, within = class_scatter(Z, np.vstack([shares_nC, shares_nC]))
        within += self.ridge * np.eye(len(within))
        self.eigenvalues_, W = top_eigenpairs(between, within, self.components)
        return W[: P.shape[1]], W[P.shape[1] :]


def neighbour_graphs(
    x_np: Float[np.ndarray, "n p"], labels_nC: Bool[np.ndarray, "n C"], like: int, unlike: int
) -> tuple[sp.csr_array, sp.csr_array]:
    """Symmetric 0/1 graphs: i and j, which share a label (share none), are joined if one is among the `like`
    (`unlike`) nearest such items of the other by Euclidean distance."""
    # Paper: of unlike pairs the shortest of each class, and in the authors' code the `unlike` shortest of
    # all; here of each item, because 20 pairs in all leave A with rank 20 at the most.
    n = len(x_np)
    square_n = np.sum(x_np * x_np, axis=1)
    labels = labels_nC.astype(np.float32)
    joined: tuple[list, list] = ([], [])
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        distance = square_n[rows, None] + square_n - 2 * x_np[rows] @ x_np.T
        share = labels[rows] @ labels.T > 0
        itself = rows[:, None] == np.arange(n)
        for edges, allowed, k in zip(
            joined, (share & ~itself, ~share & ~itself), (like, unlike), strict=True
        ):
            among = np.where(allowed, distance, np.inf)
            near = np.argsort(among, axis=1, kind="stable")[:, :k]
            is_allowed = np.take_along_axis(allowed, near, axis=1)
            edges.append(np.stack([np.broadcast_to(rows[:, None], near.shape)[is_allowed], near[is_allowed]]))
    return _symmetric(np.hstack(joined[0]), n), _symmetric(np.hstack(joined[1]), n)


def neighbour_scatter(x_np: Float[np.ndarray, "n p"], graph: sp.csr_array) -> Float[np.ndarray, "p p"]:
    """sum over edges {i, j} of (x_i - x_j)(x_i - x_j)^T / n  =  X^T (D - W) X / n."""
    degree_n = np.asarray(graph.sum(axis=1)).ravel()
    return ((x_np.T * degree_n) @ x_np - x_np.T @ (graph @ x_np)) / len(x_np)


def _symmetric(edges_2e: np.ndarray, n: int) -> sp.csr_array:
    directed = sp.csr_array((np.ones(edges_2e.shape[1]), tuple(edges_2e)), shape=(n, n))
    return sp.csr_array(directed.maximum(directed.T))
