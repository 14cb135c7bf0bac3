"""LCFS: regressions onto the labels whose outputs together have low rank."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from gcnxmodal.baselines.coupled_regression import CoupledRegression, Maps, Problem, View, solve
from gcnxmodal.baselines.features import Features
from gcnxmodal.errors import InputError

SMALL = 1e-2
"""mu of the trace norm: a singular value s counts sqrt(s^2 + mu), which has a gradient at 0. With 1e-4 the
maps are the same to .01 and take four times the steps."""


class LCFS(CoupledRegression):
    """Learning coupled feature spaces (Wang, He, Wang, Wang, Tan, ICCV 2013).

        min  ||X U - Y||_F^2 + ||T V - Y||_F^2 + sparsity (||U||_21 + ||V||_21) + low_rank ||[X U, T V]||_*

    ||M||_* is the sum of the singular values. With M = [X U, T V] [n, 2C] and S = (M M^T + mu I)^(-1/2) of
    the current maps, a step solves for each modality by itself

        (X^T (I + low_rank S / 2) X + sparsity diag(1 / (2 ||u_i||))) U = X^T Y

    S is I / sqrt(mu) but for 2C dimensions, and never formed. The equations are from memory of the paper and
    from papers that quote it; if it has 1/2 before the regressions, its weights are half of these.

    Args:
        sparsity: weight of the l21 norms (lambda_1).
        low_rank: weight of the trace norm (lambda_2). The authors' published demonstration on Wikipedia has
            .1 and .001 for the two, and 5 steps.
        unit_length, tolerance, steps: see `CoupledRegression`.
    """

    space: ClassVar = {"sparsity": (0.1, 1.0, 10.0), "low_rank": (1e-3, 0.1, 1.0)}

    def __init__(
        self,
        sparsity: float = 1.0,
        *,
        low_rank: float = 1.0,
        unit_length: bool = True,
        tolerance: float = 1e-4,
        steps: int = 100,
    ) -> None:
        # Paper: features as they are; here centred and of unit length, because that ranks better: .248 for
        # .230 (average MAP of a fifth of Wikipedia's training items, official features). The weights were
        # chosen on the same fifth.
        self.sparsity = sparsity
        self.low_rank = low_rank
        self.unit_length = unit_length
        self.tolerance = tolerance
        self.steps = steps

    def _problem(self, images: Features, texts: Features, labels_nC: np.ndarray) -> Problem:
        if not self.low_rank >= 0:
            raise InputError(f"low_rank is {self.low_rank}; it must not be negative")
        Y = labels_nC.astype(np.float64)
        return _LowRank((View(images), View(texts)), Y, self.sparsity, self.low_rank)


@dataclasses.dataclass(frozen=True)
class _LowRank(Problem):
    low_rank: float

    def step(self, maps: Maps) -> Maps:
        Q, s, _ = np.linalg.svd(np.hstack(self.outputs(maps)), full_matrices=False)
        # I + low_rank S / 2: outside of the span of Q a multiple of I.
        half = self.low_rank / 2
        outside, inside_r = half / np.sqrt(SMALL), half / np.sqrt(s**2 + SMALL)
        return [
            solve(view, self.sparsity_weights(U), self.labels, 1 + outside, (Q, inside_r - outside))
            for view, U in zip(self.views, maps, strict=True)
        ]

    def coupling(self, F: np.ndarray, G: np.ndarray) -> float:
        s = np.linalg.svd(np.hstack([F, G]), compute_uv=False)
        return self.low_rank * float(np.sum(np.sqrt(s**2 + SMALL)))
