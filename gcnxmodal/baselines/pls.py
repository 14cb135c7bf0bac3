"""Partial least squares and the bilinear model: axes along which the views vary together."""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import ClassVar

import numpy as np
import scipy.linalg

from gcnxmodal.baselines.base import Count, NonNegative, Share
from gcnxmodal.baselines.linear import LinearSpace, Maps, top_eigenpairs


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
