"""CCA-3V: canonical correlation analysis with the labels as a third view."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg

from gcnxmodal.baselines.linear_space import LinearSpace, Maps, top_eigenpairs
from gcnxmodal.baselines.principal_axes import MAX_AXES


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

    def __init__(
        self,
        components: int | None = None,
        *,
        ridge: float = 3e-3,
        power: float = 4.0,
        energy: float = 0.95,
        unit_length: bool = True,
        axes: int | None = MAX_AXES,
    ) -> None:
        self.components = components
        self.ridge = ridge
        self.power = power
        self.energy = energy
        self.unit_length = unit_length
        self.axes = axes

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
