"""Metrics of rankings: average precision, also expected over ties; the rank of a query's own pair; curves.

Functions of hits take NumPy and JAX arrays alike: hits_QR[q, r] says whether the item that query q ranks r-th
(from 0) is relevant. A query without a relevant item counts with precision 0 and recall 0.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int
from scipy.special import gammaln

Norm = Literal["hits", "relevant", "min"]
"""The divisor Z of AP: relevant items within R, all relevant items, or the lesser of R and all relevant."""

RECALL_LEVELS = 11
"""Recall 0, 0.1, ..., 1."""


def average_precision(
    hits_QR: Bool[Array | np.ndarray, "Q R"], relevant_Q: Int[Array | np.ndarray, " Q"], norm: Norm = "hits"
) -> Float[Array | np.ndarray, " Q"]:
    """Average precision of each query's ranking, cut at R; 0 for a query without a relevant item.

        AP = 1/Z sum_{r <= R} P(r) rel(r),    P(r) = hits among the first r / r

    Args:
        hits_QR: as `ranked_relevance` ranks them, as far as they count.
        relevant_Q: relevant items in the whole database; the norm "hits" does not read it.

    Items (relevant, not, relevant, relevant): AP = (1 + 2/3 + 3/4) / 3, and within R = 2 it is 1 over 1 hit,
    3 relevant, or min(2, 3):

    >>> hits, relevant = np.array([[True, False]]), np.array([3])
    >>> precisions = [average_precision(hits, relevant, norm) for norm in ("hits", "relevant", "min")]
    >>> [round(float(ap_Q[0]), 4) for ap_Q in precisions]
    [1.0, 0.3333, 0.5]
    """
    xp = hits_QR.__array_namespace__()
    if isinstance(hits_QR, np.ndarray):
        sum_Q, count_Q = _precision_sums(hits_QR)
    else:
        count_QR = xp.cumsum(hits_QR, axis=1, dtype=xp.int32)
        precision_QR = count_QR.astype(xp.float32) / xp.arange(1, hits_QR.shape[1] + 1, dtype=xp.float32)
        sum_Q, count_Q = xp.sum(precision_QR * hits_QR, axis=1), count_QR[:, -1]
    if norm == "hits":
        Z_Q = count_Q
    else:
        Z_Q = relevant_Q if norm == "relevant" else xp.minimum(relevant_Q, hits_QR.shape[1])
    return sum_Q / xp.maximum(Z_Q, 1).astype(xp.float32)


def _precision_sums(
    hits_QR: Bool[np.ndarray, "Q R"],
) -> tuple[Float[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
    """sum_r P(r) rel(r) and the number of hits of each query."""
    # Most ranks are no hit: to visit the hits only takes a third of the time of a running count over all.
    sum_Q, count_Q = np.zeros(len(hits_QR), np.float32), np.zeros(len(hits_QR), np.int32)
    for query, hits_R in enumerate(hits_QR):
        ranks = 1 + np.flatnonzero(hits_R)
        count_Q[query] = len(ranks)
        sum_Q[query] = np.sum(np.arange(1, len(ranks) + 1) / ranks)
    return sum_Q, count_Q


def expected_average_precision(
    all_QT: Int[np.ndarray, "Q T"],
    relevant_QT: Int[np.ndarray, "Q T"],
    cutoff: int | None = None,
    norm: Norm = "hits",
) -> Float[np.ndarray, " Q"]:
    """The mean of AP over all orders of the items that tie, from the groups of ties alone.

    Group t of a query has n items, r of them relevant, and comes after N items with H hits. Its i-th item, at
    rank N + i, is relevant with probability r / n, and if it is, (i - 1) (r - 1) / (n - 1) of the i - 1 items
    before it in the group are, on average. So the group adds to the expected sum of P(r) rel(r)

        r/n sum_{i=1..c} (H + 1 + (i - 1) (r - 1) / (n - 1)) / (N + i)
            = r/n ((H + 1) a + (r - 1) / (n - 1) b)

        a = sum_{i=1..c} 1 / (N + i),    b = sum_{i=1..c} (i - 1) / (N + i) = c - (N + 1) a

    with c = n, or as many of its ranks as lie within the cut-off. With Z fixed (all ranks, or the norms
    "relevant" and "min") that is all. With the norm "hits" and a cut-off inside a group, Z is random too: k
    of the group's first c items are relevant with the hypergeometric probability p(k; n, r, c), and given k
    they are a random k of those c. Then, exactly, with S the sum over the groups before,

        E[AP] = sum_k p(k) (S + k/c ((H + 1) a + (k - 1) / (c - 1) b)) / (H + k)

    McSherry and Najork 2008 have the first formula, for all ranks.

    One relevant item tied with one other, then a relevant one: hits at ranks 1, 3 or 2, 3, each half the
    time, so (1 + 2/3) / 2 / 2 + (1/2 + 2/3) / 2 / 2:

    >>> expected_average_precision(np.array([[2, 1]]), np.array([[1, 1]])).round(6).tolist()
    [0.708333]

    Args:
        all_QT, relevant_QT: items and relevant items of each group, in the order of the ranking. Groups may
            be empty.

    Returns:
        float64; 0 for a query without a relevant item. b is a difference: of M items, its error is about
        1e-16 M.
    """
    M = int(all_QT.sum(axis=1).max())
    R = M if cutoff is None else min(cutoff, M)
    N_QT, H_QT = (np.cumsum(n_QT, axis=1) - n_QT for n_QT in (all_QT, relevant_QT))
    c_QT = np.clip(R - N_QT, 0, all_QT)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, M + 1))])
    a_QT = harmonic[N_QT + c_QT] - harmonic[N_QT]
    b_QT = c_QT - (N_QT + 1) * a_QT
    again_QT = (relevant_QT - 1) / np.maximum(all_QT - 1, 1)
    sum_QT = relevant_QT / np.maximum(all_QT, 1) * ((H_QT + 1) * a_QT + again_QT * b_QT)
    relevant_Q = relevant_QT.sum(axis=1)
    if norm != "hits":
        Z_Q = relevant_Q if norm == "relevant" else np.minimum(relevant_Q, R)
        return sum_QT.sum(axis=1) / np.maximum(Z_Q, 1)
    cut_QT = (c_QT > 0) & (c_QT < all_QT)
    whole_Q = np.sum(np.where(cut_QT, 0, sum_QT), axis=1)
    hits_Q = np.sum(np.where(c_QT == all_QT, relevant_QT, 0), axis=1)
    ap_Q = whole_Q / np.maximum(hits_Q, 1)
    for q, t in np.argwhere(cut_QT):
        n, r, c = int(all_QT[q, t]), int(relevant_QT[q, t]), int(c_QT[q, t])
        k = np.arange(max(0, c - (n - r)), min(r, c) + 1)
        log_p = _log_choose(r, k) + _log_choose(n - r, c - k)
        p = np.exp(log_p - log_p.max())
        inside = k / c * ((H_QT[q, t] + 1) * a_QT[q, t] + (k - 1) / max(c - 1, 1) * b_QT[q, t])
        ap_Q[q] = p @ ((whole_Q[q] + inside) / np.maximum(hits_Q[q] + k, 1)) / p.sum()
    return ap_Q


def _log_choose(n, k):
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


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


def ndcg(
    hits_QR: Bool[Array | np.ndarray, "Q R"], relevant_Q: Int[Array | np.ndarray, " Q"]
) -> Float[Array | np.ndarray, " Q"]:
    """Normalised discounted cumulative gain of each query's ranking, cut at R, with gains of 0 and 1.

        DCG = sum_{r <= R} rel(r) / log2(1 + r),    nDCG = DCG / (that of all relevant items ranked first)

    Source: Jaervelin and Kekaelaeinen 2002, with the discount that is common today.

    The second of two relevant items at rank 3, of three ranks: (1 + 1/2) / (1 + 1/log2(3)):

    >>> round(float(ndcg(np.array([[True, False, True]]), np.array([2]))[0]), 6)
    0.919721
    """
    xp = hits_QR.__array_namespace__()
    discount_R = xp.asarray(1 / np.log2(1 + np.arange(1, hits_QR.shape[1] + 1)))
    best_R = xp.cumsum(discount_R)
    first_Q = xp.minimum(xp.maximum(relevant_Q, 1), hits_QR.shape[1])
    return xp.sum(hits_QR * discount_R, axis=1) / best_R[first_Q - 1]


PAIR_MEASURE = "recall@10"
"""The one by which systems are judged where there are no classes."""

PAIR_MEASURES = ("recall@1", "recall@5", "recall@10", "median_rank", "mean_reciprocal_rank", "ndcg@10")


def pair_summary(
    ranks_Q: Int[np.ndarray, " Q"], ndcg_Q: Float[np.ndarray, " Q"] | None = None
) -> dict[str, float]:
    """How early queries find the first of their own pairs, `PAIR_MEASURES`: recall@{1, 5, 10}, the share of
    queries that find one so early; the median rank; the mean of 1 / rank; and nDCG of the first 10.

    >>> summary = pair_summary(np.array([1, 4, 7, 40]))
    >>> [round(value, 4) for value in summary.values()]
    [0.25, 0.5, 0.75, 5.5, 0.3545, 0.441]

    Args:
        ndcg_Q: within the first 10; by default that of queries with one pair each, 1 / log2(1 + rank).
    """
    if ndcg_Q is None:
        ndcg_Q = np.where(ranks_Q <= 10, 1 / np.log2(1.0 + ranks_Q), 0)
    recall = {f"recall@{k}": float(np.mean(ranks_Q <= k)) for k in (1, 5, 10)}
    return {
        **recall,
        "median_rank": float(np.median(ranks_Q)),
        "mean_reciprocal_rank": float(np.mean(1 / np.asarray(ranks_Q, np.float64))),
        "ndcg@10": float(np.mean(ndcg_Q, dtype=np.float64)),
    }


def by_measure(exact_pair: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """`pair_summary` of both directions as a table of MAP is: a row a measure, with the average.

    >>> by_measure({"text_query": {"recall@1": 0.5}, "image_query": {"recall@1": 0.25}})
    {'recall@1': {'text_query': 0.5, 'image_query': 0.25, 'average': 0.375}}
    """
    there = next(iter(exact_pair.values()), {})
    measures = [name for name in PAIR_MEASURES if name in there]  # files have them in the order of letters
    rows = {name: {way: of[name] for way, of in exact_pair.items()} for name in measures}
    return {name: {**row, "average": sum(row.values()) / len(row)} for name, row in rows.items()}


def headline_scores(results: Mapping[str, Any]) -> dict[str, Any]:
    """What results lead with: MAP by protocol; where nothing is measured by class, `by_measure` of the pairs.

    Either way {name: {"text_query", "image_query", "average"}}.
    """
    return dict(results["protocols"]) or by_measure(results.get("exact_pair", {}))


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
