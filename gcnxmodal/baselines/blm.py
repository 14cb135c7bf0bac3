"""The bilinear model: what a pair shows is its content, seen in the style of each modality."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg

from gcnxmodal.baselines.linear_space import LinearSpace, Maps


class BLM(LinearSpace):
    """Bilinear model (Tenenbaum and Freeman 2000, the asymmetric one), as Sharma et al. 2012 have it.

    Item i has a content b_i [D]; the modalities are styles A, P_i = A_img b_i and Q_i = A_txt b_i. The least
    squares of both are the singular vectors of the stacked views

        [P, Q]  =  B diag(s) [A_img; A_txt]^T

    and an item of the common space is P_i A_img (a text: Q_i A_txt). The labels are not used.

    Args:
        components: D; None for all. Later axes vary in one modality only and harm: .177 / .214 with 5,
            .150 / .198 with 32 (text / image query, a fifth of Wikipedia's training items held out).
        energy, unit_length: see `LinearSpace`. The views should have about the same variance.
    """

    space: ClassVar = {"components": (3, 5, 10, 20)}

    def __init__(self, components: int | None = 5, *, energy: float = 1.0, unit_length: bool = True) -> None:
        self.components = components
        self.energy = energy
        self.unit_length = unit_length

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        _, _, styles_Dm = scipy.linalg.svd(np.hstack([P, Q]), full_matrices=False)
        styles_mD = styles_Dm[: self.components].T
        return styles_mD[: P.shape[1]], styles_mD[P.shape[1] :]
