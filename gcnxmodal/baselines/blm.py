"""The bilinear model: what a pair shows is its content, seen in the style of each modality."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gcnxmodal.baselines.linear_space import LinearSpace, Maps, top_eigenpairs
from gcnxmodal.baselines.principal_axes import MAX_AXES


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

    def __init__(
        self,
        components: int | None = 5,
        *,
        alpha: float = 1.0,
        energy: float = 1.0,
        unit_length: bool = True,
        axes: int | None = MAX_AXES,
    ) -> None:
        self.components = components
        self.alpha = alpha
        self.energy = energy
        self.unit_length = unit_length
        self.axes = axes

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        C = self.alpha * P.T @ Q
        A = np.block([[P.T @ P, C], [C.T, Q.T @ Q]])
        _, styles_mD = top_eigenpairs(A, np.eye(len(A)), self.components)
        return styles_mD[: P.shape[1]], styles_mD[P.shape[1] :]
