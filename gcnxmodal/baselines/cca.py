"""Canonical correlation analysis: the axes along which the two modalities correlate most."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg

from gcnxmodal.baselines.linear_space import LinearSpace, Maps
from gcnxmodal.baselines.principal_axes import MAX_AXES


class CCA(LinearSpace):
    """Regularised CCA on the principal axes of each modality (Hotelling 1936; Rasiwasia et al. 2010).

    With P and Q the centred principal components of images and texts [n, p], [n, q], whose covariances are
    diagonal:

        (P^T P / n + ridge I)^(-1/2)  (P^T Q / n)  (Q^T Q / n + ridge I)^(-1/2)  =  U diag(rho) V^T

    and item i of the common space is (whitened P_i) U diag(rho^power), cosine the score. All in
    float64; the labels are not used.

    The defaults were chosen once, on a held-out fifth of Wikipedia's training items, and hold for all data
    sets: with features of unit length `ridge` means the same for each of them.

    Args:
        components: canonical axes kept; None for all. With power > 0 the weak ones hardly count.
        energy: share of the variance that the principal axes of each modality keep (SSPE, Section 4.4: .95).
        ridge: added to the variance along each principal axis.
        power: each axis is scaled by its correlation to this power (Gong et al. 2014); 0 for plain CCA.
        unit_length: scale each item's centred features to length 1 first (SSPE, Section 4.4).
        axes: see `LinearSpace`.
    """

    space: ClassVar = {"components": (5, 10, 20, None), "ridge": (1e-3, 3e-3, 1e-2, 1e-1)}

    def __init__(
        self,
        components: int | None = None,
        *,
        energy: float = 0.95,
        ridge: float = 3e-3,
        power: float = 2.0,
        unit_length: bool = True,
        axes: int | None = MAX_AXES,
    ) -> None:
        self.components = components
        self.energy = energy
        self.ridge = ridge
        self.power = power
        self.unit_length = unit_length
        self.axes = axes

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        white_p, white_q = (1 / np.sqrt(np.mean(x * x, axis=0) + self.ridge) for x in (P, Q))
        cross = white_p[:, None] * (P.T @ Q / len(P)) * white_q
        U, self.correlations_, Vt = scipy.linalg.svd(cross, full_matrices=False)
        scale = self.correlations_[: self.components] ** self.power
        image_map = white_p[:, None] * U[:, : self.components] * scale
        return image_map, white_q[:, None] * Vt.T[:, : self.components] * scale
