"""MvDA: one Fisher criterion over the items of both modalities in the common space."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg

from gcnxmodal.baselines.linear_space import LinearSpace, Maps, class_scatter, class_shares, top_eigenpairs
from gcnxmodal.baselines.principal_axes import MAX_AXES


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

    def __init__(
        self,
        components: int | None = None,
        *,
        ridge: float = 1e-3,
        energy: float = 0.95,
        unit_length: bool = True,
        axes: int | None = MAX_AXES,
    ) -> None:
        self.components = components
        self.ridge = ridge
        self.energy = energy
        self.unit_length = unit_length
        self.axes = axes

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        shares_nC = class_shares(labels_nC)
        Z = np.asarray(scipy.linalg.block_diag(P, Q))
        between, within = class_scatter(Z, np.vstack([shares_nC, shares_nC]))
        within += self.ridge * np.eye(len(within))
        self.eigenvalues_, W = top_eigenpairs(between, within, self.components)
        return W[: P.shape[1]], W[P.shape[1] :]
