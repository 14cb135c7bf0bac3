"""Axes along which views vary together: CCA of two views, of three, over pairs of like labels; PLS; BLM."""

import dataclasses
from dataclasses import KW_ONLY
from typing import ClassVar

import numpy as np
import scipy.linalg
from sklearn.preprocessing import normalize

from gcnxmodal.baselines.base import Count, NonNegative, Share
from gcnxmodal.baselines.linear import LinearSpace, Maps, top_eigenpairs


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
