"""Partial least squares: the axes along which the two modalities vary together most."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg

from gcnxmodal.baselines.linear_space import LinearSpace, Maps
from gcnxmodal.baselines.principal_axes import MAX_AXES


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

    def __init__(
        self,
        components: int | None = None,
        *,
        energy: float = 1.0,
        unit_length: bool = True,
        axes: int | None = MAX_AXES,
    ) -> None:
        self.components = components
        self.energy = energy
        self.unit_length = unit_length
        self.axes = axes

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        U, self.covariances_, Vt = scipy.linalg.svd(P.T @ Q / len(P), full_matrices=False)
        return U[:, : self.components], Vt.T[:, : self.components]
