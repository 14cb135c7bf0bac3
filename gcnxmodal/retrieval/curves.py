"""Curves of rankings: precision by recall, by rank and by scope, and MAP by class.

A query without a relevant item counts with precision 0 and recall 0, as it does in MAP.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

RECALL_LEVELS = 11
"""Recall 0, 0.1, ..., 1."""


def curve_ranks(M: int) -> Int[np.ndarray, " G"]:
    """The ranks at which curves of a database of M items are drawn: all up to 1,000, then 100 more up to M.

    >>> curve_ranks(3)
    array([1, 2, 3])
    """
    first = np.arange(1, min(M, 1000) + 1)
    rest = np.geomspace(1000, M, 101)[1:].round().astype(int) if M > 1000 else first[:0]
    return np.unique(np.concatenate([first, rest]))


def interpolated_precision(hits_QM: Bool[Array | np.ndarray, "Q M"]) -> Float[Array | np.ndarray, "Q 11"]:
    """11-point interpolated precision of each query: the best precision at any recall >= 0, 0.1, ..., 1.

        p(l) = max_{r: recall(r) >= l} P(r)

    Relevant items at ranks 1 and 4: precision 1 up to recall 0.5, then 2/4.

    >>> interpolated_precision(np.array([[True, False, False, True]]))[0].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    xp = hits_QM.__array_namespace__()
    count_QM = xp.cumsum(hits_QM, axis=1, dtype=xp.int32)
    real = xp.float32 if isinstance(hits_QM, jax.Array) else xp.float64
    precision_QM = count_QM.astype(real) / xp.arange(1, hits_QM.shape[1] + 1, dtype=real)
    if isinstance(hits_QM, jax.Array):
        best_QM = lax.cummax(precision_QM, axis=1, reverse=True)
    else:
        best_QM = np.maximum.accumulate(precision_QM[:, ::-1], axis=1)[:, ::-1]
    # In whole numbers: 0.1 * 10 relevant items is above 1 in float32. The first rank whose recall reaches l.
    reach = RECALL_LEVELS - 1
    first_QL = xp.stack(
        [xp.argmax(count_QM * reach >= level * count_QM[:, -1:], axis=1) for level in range(RECALL_LEVELS)],
        axis=1,
    )
    return xp.take_along_axis(best_QM, first_QL, axis=1)


def hits_by_rank(hits_QM: Bool[Array | np.ndarray, "Q M"]) -> Int[Array | np.ndarray, "Q G"]:
    """The number of relevant items among each query's first r, for each rank r of `curve_ranks(M)`.

    >>> hits_by_rank(np.array([[True, False, True]])).tolist()
    [[1, 1, 2]]
    """
    xp = hits_QM.__array_namespace__()
    return xp.cumsum(hits_QM, axis=1, dtype=xp.int32)[:, curve_ranks(hits_QM.shape[1]) - 1]


def mean_curves(
    interpolated_QL: Float[np.ndarray, "Q 11"],
    hits_QG: Int[np.ndarray, "Q G"],
    relevant_Q: Int[np.ndarray, " Q"],
    M: int,
) -> dict[str, Any]:
    """The curves of all queries of a database of M items together: at each point, the mean over queries.

    Returns:
        recall, precision: the 11-point interpolated precision-recall curve.
        scope, precision_at_scope: precision among the first `scope` items (SSPE, Fig. 4); up to 1,000 this is
            precision@N.
        pr_by_rank: {"recall", "precision"} at each scope.
    """
    ranks_G = curve_ranks(M)
    precision_G = np.mean(hits_QG / ranks_G, axis=0).tolist()
    recall_G = np.mean(hits_QG / np.maximum(relevant_Q, 1)[:, None], axis=0).tolist()
    return {
        "recall": [level / (RECALL_LEVELS - 1) for level in range(RECALL_LEVELS)],
        "precision": np.mean(interpolated_QL, axis=0, dtype=np.float64).tolist(),
        "scope": ranks_G.tolist(),
        "precision_at_scope": precision_G,
        "pr_by_rank": {"recall": recall_G, "precision": precision_G},
    }


def per_class_map(
    average_precision_Q: Float[np.ndarray, " Q"], labels_QC: Bool[np.ndarray, "Q C"]
) -> list[float | None]:
    """MAP of each class: the mean over the queries that have it (among others, where there are many labels).

    None for a class that no query has.

    >>> per_class_map(np.array([1.0, 0.5]), np.array([[True, False, False], [True, True, False]]))
    [0.75, 0.5, None]
    """
    return [float(np.mean(average_precision_Q[has])) if has.any() else None for has in labels_QC.T]
