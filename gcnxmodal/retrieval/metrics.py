"""Figures of merit of rankings: average precision, and the rank of a query's own pair.

Functions of hits take NumPy and JAX arrays alike: hits_QR[q, r] says whether the item that query q ranks r-th
(from 0) is relevant.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gcnxmodal.retrieval.ranking import ranked_relevance

Norm = Literal["hits", "relevant", "min"]
"""The divisor Z of AP: relevant items within R, all relevant items, or the lesser of R and all relevant."""


def average_precision(
    scores_QM: Float[Array | np.ndarray, "Q M"],
    relevant_QM: Bool[Array | np.ndarray, "Q M"],
    cutoff: int | None = None,
    norm: Norm = "hits",
) -> Float[Array | np.ndarray, " Q"]:
    """Average precision of each query's ranking of the whole database.

        AP = 1/Z sum_{r <= R} P(r) rel(r),    P(r) = hits among the first r / r

    R is the cut-off, or M; a query without a relevant item has AP 0.

    Scores (0.9, 0.8, 0.7, 0.6) of items (relevant, not, relevant, relevant): AP = (1 + 2/3 + 3/4) / 3, and
    within R = 2 it is 1 over 1 hit, 3 relevant, or min(2, 3):

    >>> scores, relevant = np.float32([[0.9, 0.8, 0.7, 0.6]]), np.array([[True, False, True, True]])
    >>> found = [average_precision(scores, relevant, 2, norm) for norm in ("hits", "relevant", "min")]
    >>> [round(float(ap_Q[0]), 4) for ap_Q in found]
    [1.0, 0.3333, 0.5]

    Raises:
        InputError: if a score is NaN.
    """
    hits_QR = ranked_relevance(scores_QM, relevant_QM)[:, :cutoff]
    return average_precision_of_hits(hits_QR, relevant_QM.sum(axis=1), norm)


def average_precision_of_hits(
    hits_QR: Bool[Array | np.ndarray, "Q R"],
    relevant_Q: Int[Array | np.ndarray, " Q"],
    norm: Norm = "hits",
) -> Float[Array | np.ndarray, " Q"]:
    """`average_precision` of a ranking cut at R, and the number of relevant items in the whole database.

    `relevant_Q` may be anything for the norm "hits", which does not read it.
    """
    xp = hits_QR.__array_namespace__()
    if isinstance(hits_QR, np.ndarray):
        sum_Q, found_Q = _precision_sums(hits_QR)
    else:
        found_QR = xp.cumsum(hits_QR, axis=1, dtype=xp.int32)
        precision_QR = found_QR.astype(xp.float32) / xp.arange(1, hits_QR.shape[1] + 1, dtype=xp.float32)
        sum_Q, found_Q = xp.sum(precision_QR * hits_QR, axis=1), found_QR[:, -1]
    if norm == "hits":
        Z_Q = found_Q
    else:
        Z_Q = relevant_Q if norm == "relevant" else xp.minimum(relevant_Q, hits_QR.shape[1])
    return sum_Q / xp.maximum(Z_Q, 1).astype(xp.float32)


def _precision_sums(
    hits_QR: Bool[np.ndarray, "Q R"],
) -> tuple[Float[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
    """sum_r P(r) rel(r) and the number of hits of each query."""
    # Most ranks are no hit: to visit the hits only takes a third of the time of a running count over all.
    sum_Q, found_Q = np.zeros(len(hits_QR), np.float32), np.zeros(len(hits_QR), np.int32)
    for query, hits_R in enumerate(hits_QR):
        ranks = 1 + np.flatnonzero(hits_R)
        found_Q[query] = len(ranks)
        sum_Q[query] = np.sum(np.arange(1, len(ranks) + 1) / ranks)
    return sum_Q, found_Q


def exact_pair_ranks(
    scores_QM: Float[Array | np.ndarray, "Q M"], own_Q: Int[Array | np.ndarray, " Q"]
) -> Int[Array | np.ndarray, " Q"]:
    """The rank, from 1, at which each query finds its own pair, item own_Q[q] of the database.

    rank = 1 + items that score higher + items that score the same and have a lower index.

    >>> exact_pair_ranks(np.float32([[0.5, 0.9, 0.5], [0.5, 0.9, 0.5]]), np.array([0, 2])).tolist()
    [2, 3]
    """
    xp = scores_QM.__array_namespace__()
    own_score_Q1 = xp.take_along_axis(scores_QM, own_Q[:, None], axis=1)
    earlier_QM = xp.arange(scores_QM.shape[1]) < own_Q[:, None]
    ahead_QM = (scores_QM > own_score_Q1) | ((scores_QM == own_score_Q1) & earlier_QM)
    return 1 + xp.sum(ahead_QM, axis=1)


def pair_summary(ranks_Q: Int[np.ndarray, " Q"]) -> dict[str, float]:
    """recall@{1, 5, 10}: the share of queries that find their own pair so early; and the median rank.

    >>> pair_summary(np.array([1, 4, 7, 40]))
    {'recall@1': 0.25, 'recall@5': 0.5, 'recall@10': 0.75, 'median_rank': 5.5}
    """
    recall = {f"recall@{k}": float(np.mean(ranks_Q <= k)) for k in (1, 5, 10)}
    return {**recall, "median_rank": float(np.median(ranks_Q))}
