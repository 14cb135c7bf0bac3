"""SCM of hashing papers: codes whose inner products are the similarities of the labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from gcnxmodal.baselines.hash_codes import LinearCodes, check_range, unit_labels
from gcnxmodal.baselines.principal_axes import MAX_AXES


class SemanticCorrelation(LinearCodes):
    """Semantic correlation maximisation (Zhang, Li, AAAI 2014): linear maps W, V whose signs reconstruct S.

        min ||sgn(P W) sgn(Q V)^T - K S||_F^2,    S_ij = 2 cos(l_i, l_j) - 1

    l_i the labels of item i. Without the signs, and with W^T P^T P W = n I and V^T Q^T Q V = n I, that is to
    maximise tr(W^T P^T S Q V). S [n, n] is never formed: with L the label vectors at length 1,

        P^T S Q = 2 (P^T L) (L^T Q) - (P^T 1) (1^T Q)

    where the last term is zero for centred P and Q. The equations are those of the authors' public code.

    Args:
        bits: K, of a code.
        ridge: added to the variance along each principal axis.
        axes: see `HashCodes`.

    Attributes:
        values_: of each bit, w^T P^T R Q v / n^2 with R what is left of S (seq: of K S) to explain.
    """

    # Paper: all features; here 128 axes or all, because all are ahead by up to .15 on emoji, but on Corel5k
    # in text queries only (benchmarks/README.md).
    space: ClassVar = {"ridge": (1e-3, 1e-4, 1e-2), "axes": (MAX_AXES, None)}

    def __init__(self, bits: int, *, ridge: float = 1e-3, axes: int | None = MAX_AXES) -> None:
        # Paper: no ridge; code: 1e-6 added to sums of squares; here to the variance of rows of unit length,
        # as in CCA, because the weak axes are noise: on validation items of the emoji corpus .360 / .417 for
        # .350 / .393 (seq, 16 bits, `hashing@500`).
        self.bits = bits
        self.ridge = ridge
        self.axes = axes

    def _check_options(self) -> None:
        check_range("ridge", self.ridge, 0)

    def _whitened(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, ...]:
        """White maps of each modality [p], [q], and P^T S Q / n^2 between whitened components [p, q]."""
        white_p, white_q = (1 / np.sqrt(np.mean(x * x, axis=0) + self.ridge) for x in (P, Q))
        return white_p, white_q, white_p[:, None] * similar_covariance(P, Q, labels_nC) * white_q


class SCMOrth(SemanticCorrelation):
    """SCM with orthogonal projections: all bits of `SemanticCorrelation` from one decomposition.

    P^T S Q has at most as many directions as there are classes, and as a modality has axes. Bits beyond that
    have none: their columns are zero, so that they are the same for all items and change no distance;
    `values_` has only the others.
    """

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        white_p, white_q, cross = self._whitened(P, Q, labels_nC)
        U, values, Vt = scipy.linalg.svd(cross, full_matrices=False)
        count = min(self.bits, int(np.sum(values > max(1e-9 * values[0], 1e-12))))
        self.values_ = values[:count]
        # Paper: as many bits as asked for; here columns of zeros beyond the rank, because directions with
        # the value 0 are arbitrary, and differ between two computers.
        missing = ((0, 0), (0, self.bits - count))
        self.image_map_ = np.pad(white_p[:, None] * U[:, :count], missing)
        self.text_map_ = np.pad(white_q[:, None] * Vt[:count].T, missing)


class SCMSeq(SemanticCorrelation):
    """SCM with sequential learning: a bit at a time, each for what is left by the signs of those before it.

    R_1 = K S,    R_(t+1) = R_t - sgn(P w_t) sgn(Q v_t)^T,    w_t, v_t: maximise w^T P^T R_t Q v

    Where nothing is left to explain the other bits have zeros, as those beyond the rank in `SCMOrth`.
    """

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        white_p, white_q, cross = self._whitened(P, Q, labels_nC)
        cross = self.bits * cross
        image_map, text_map, values = np.zeros((P.shape[1], self.bits)), np.zeros((Q.shape[1], self.bits)), []
        # Paper: by its code, axes of CCA in place of all bits from the first value that rises on; here no
        # other axes, because those do not look at the labels, and a value may rise where signs overshoot.
        for k in range(self.bits):
            U, singular, Vt = scipy.linalg.svd(cross, full_matrices=False)
            if singular[0] <= 1e-12 * self.bits:  # of K S: nothing is left
                break
            image_map[:, k], text_map[:, k] = white_p * U[:, 0], white_q * Vt[0]
            values.append(singular[0])
            seen_p, seen_q = (
                white * (x.T @ np.where(x @ map_[:, k] > 0, 1.0, -1.0)) / len(x)
                for white, x, map_ in ((white_p, P, image_map), (white_q, Q, text_map))
            )
            cross = cross - np.outer(seen_p, seen_q)
        self.image_map_, self.text_map_, self.values_ = image_map, text_map, np.array(values)


def similar_covariance(
    P: Float[np.ndarray, "n p"], Q: Float[np.ndarray, "n q"], labels_nC: Bool[np.ndarray, "n C"]
) -> Float[np.ndarray, "p q"]:
    """P^T S Q / n^2 in O(n (p + q) C) for S = 2 cos(labels) - 1."""
    L = unit_labels(labels_nC)
    n = len(P)
    return 2 * (P.T @ L / n) @ (L.T @ Q / n) - np.outer(P.mean(axis=0), Q.mean(axis=0))
