"""Average precision expected under random tie-breaking, in closed form."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

from gcnxmodal.retrieval.metrics import Norm


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
    found_Q = np.sum(np.where(c_QT == all_QT, relevant_QT, 0), axis=1)
    ap_Q = whole_Q / np.maximum(found_Q, 1)
    for q, t in np.argwhere(cut_QT):
        n, r, c = int(all_QT[q, t]), int(relevant_QT[q, t]), int(c_QT[q, t])
        k = np.arange(max(0, c - (n - r)), min(r, c) + 1)
        log_p = _log_choose(r, k) + _log_choose(n - r, c - k)
        p = np.exp(log_p - log_p.max())
        inside = k / c * ((H_QT[q, t] + 1) * a_QT[q, t] + (k - 1) / max(c - 1, 1) * b_QT[q, t])
        ap_Q[q] = p @ ((whole_Q[q] + inside) / np.maximum(found_Q[q] + k, 1)) / p.sum()
    return ap_Q


def _log_choose(n, k):
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
