"""Evaluate binary codes under every protocol, and as a hash table is: by Hamming radius."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.chunks import MAX_BYTES, rows_per_chunk
from gcnxmodal.retrieval.curves import hits_by_rank, interpolated_precision
from gcnxmodal.retrieval.evaluate_embeddings import Rankings, mean_scores, ranked_splits, ranking_details
from gcnxmodal.retrieval.hamming import average_precisions, distance_histograms, nearest, pack_codes
from gcnxmodal.retrieval.metrics import expected_average_precision
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS, PROTOCOLS, Protocol, database_split

ALL_PROTOCOLS = {**PROTOCOLS, **HASHING_PROTOCOLS}

PRECISION_AT = 1000
"""precision@N is measured for every N up to this (GCH, Fig. 2)."""

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Codes of queries and items [Q, W], [M, W], and their labels [Q, C], [M, C]."""


def evaluate_codes(
    text_codes_nW: UInt32[np.ndarray, "n W"],
    image_codes_nW: UInt32[np.ndarray, "n W"],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    bits: int,
    protocols: Mapping[str, Protocol] = ALL_PROTOCOLS,
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
) -> dict[str, Any]:
    """`evaluate_embeddings` of packed codes, ranked by Hamming distance with ties by index.

    All of it is counted from distances, by `hamming`: nothing is as large as queries x items.

    Args:
        text_codes_nW, image_codes_nW: of all items of the corpus, from `hamming.pack_codes`.
        splits: rows of "test", "train", and where it is not the training split, "retrieval".
        bits: of a code; the rest of its last word is zero.
        max_bytes: memory for rankings; the results do not depend on it.
        on_host: count with numba or in XLA; by default, whichever `hamming` chooses.

    Returns:
        JSON values: those of `evaluate_embeddings`, and

        expected {protocol: {"text_query", "image_query", "average"}}: MAP expected if items at the same
            distance come in random order;
        lookup {direction: see `hash_lookup`} and precision_at {direction: see `precision_at`}, both of the
            database of the hashing protocols.

    Raises:
        InputError: if codes and labels are not aligned, or a code has a one beyond `bits`.
    """
    _check_bits(text_codes_nW, bits, "texts")
    _check_bits(image_codes_nW, bits, "images")
    test, searched = splits["test"], database_split(HASHING_PROTOCOLS["hashing"], splits)
    standard, lookup, at = {}, {}, {}
    ap: dict[str, dict[str, np.ndarray]] = {name: {} for name in protocols}
    expected: dict[str, dict[str, np.ndarray]] = {name: {} for name in protocols}
    without_relevant = {}
    for direction, queries_nW, items_nW in (
        ("text_query", text_codes_nW, image_codes_nW),
        ("image_query", image_codes_nW, text_codes_nW),
    ):
        data: dict[str, Data] = {
            split: (queries_nW[test], items_nW[splits[split]], labels_nC[test], labels_nC[splits[split]])
            for split in {*ranked_splits(protocols, splits), searched}
        }
        counts = {split: distance_histograms(*sides, max_bytes, on_host) for split, sides in data.items()}
        for name, protocol in protocols.items():
            split = database_split(protocol, splits)
            how = protocol.cutoff, protocol.norm
            ap[name][direction] = average_precisions(*data[split], *how, max_bytes, on_host)
            expected[name][direction] = expected_average_precision(*counts[split], *how)
            without_relevant[name] = int(np.sum(counts[split][1].sum(axis=1) == 0))
        standard[direction] = _standard(data["test"], max_bytes, on_host)
        lookup[direction] = hash_lookup(*counts[searched], bits)
        at[direction] = precision_at(data[searched], counts[searched], max_bytes, on_host)
    return {
        "protocols": {name: mean_scores(precisions) for name, precisions in ap.items()},
        **ranking_details(standard, labels_nC[test]),
        "queries_without_relevant": without_relevant,
        "expected": {name: mean_scores(precisions) for name, precisions in expected.items()},
        "lookup": lookup,
        "precision_at": at,
    }


def standard_map_of_codes(
    text_codes_MW: UInt32[np.ndarray, "M W"],
    image_codes_MW: UInt32[np.ndarray, "M W"],
    labels_MC: Bool[np.ndarray, "M C"],
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
) -> dict[str, float]:
    """MAP of the test items under `standard` and nothing else: cheap enough for every epoch.

    Returns:
        {"text_query", "image_query", "average"}.

    Raises:
        InputError: if codes and labels are not aligned.
    """
    both = {"text_query": (text_codes_MW, image_codes_MW), "image_query": (image_codes_MW, text_codes_MW)}
    how = PROTOCOLS["standard"].cutoff, PROTOCOLS["standard"].norm, max_bytes, on_host
    return mean_scores(
        {
            direction: average_precisions(*codes, labels_MC, labels_MC, *how)
            for direction, codes in both.items()
        }
    )


def hash_lookup(
    all_QT: Int[np.ndarray, "Q T"], relevant_QT: Int[np.ndarray, "Q T"], bits: int
) -> dict[str, list[Any]]:
    """Precision and recall of all items within each Hamming radius, from `hamming.distance_histograms`.

        precision(d) = relevant items within d / items within d,    recall(d) = ... / all relevant items

    Two queries, of which one finds a relevant item and another one at distance 0, and the other, whose only
    relevant item lies at distance 1, nothing:

    >>> lookup = hash_lookup(np.array([[2, 0], [0, 1]]), np.array([[1, 0], [0, 1]]), 1)
    >>> lookup["precision"], lookup["recall"], lookup["queries_with_hits"]
    ([0.5, 0.75], [1.0, 1.0], [1, 2])
    >>> lookup["precision_of_all"], lookup["recall_of_all"]
    ([0.25, 0.75], [0.5, 1.0])

    Returns:
        radius: 0..bits; precision, recall: means over the queries with a hit within it, None where no query
            has one; queries_with_hits: how many these are; precision_of_all, recall_of_all: means over all
            queries, of which those without a hit count 0.
    """
    # Paper: "radius varying from 0 to 1,000 with a stepsize of 1"; here 0..bits, because no two codes lie
    # farther apart.
    within_QR, hits_QR = (np.cumsum(counts[:, : bits + 1], axis=1) for counts in (all_QT, relevant_QT))
    precision_QR = hits_QR / np.maximum(within_QR, 1)
    recall_QR = hits_QR / np.maximum(hits_QR[:, -1:], 1)
    # `pr_curve`, which circulates with the code of DCMH and its successors and draws this figure, divides the
    # sums of both by the number of queries whose precision is positive: an empty ball is left out, and so is
    # one without a hit. That flatters small radii. So these means are the ones to compare with published
    # curves, and those over all queries, as hash tables are judged elsewhere, stand beside them.
    with_hits_R = np.sum(hits_QR > 0, axis=0)
    return {
        "radius": list(range(bits + 1)),
        "precision": _over(precision_QR.sum(axis=0), with_hits_R),
        "recall": _over(recall_QR.sum(axis=0), with_hits_R),
        "queries_with_hits": with_hits_R.tolist(),
        "precision_of_all": np.mean(precision_QR, axis=0).tolist(),
        "recall_of_all": np.mean(recall_QR, axis=0).tolist(),
    }


def precision_at(
    data: Data,
    counts: tuple[Int[np.ndarray, "Q T"], Int[np.ndarray, "Q T"]],
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
) -> dict[str, list[Any]]:
    """precision@N, the mean over queries, for N = 1..1,000 or the whole of a smaller database.

    Args:
        counts: `hamming.distance_histograms` of the same data.

    Returns:
        n; precision: ties by index; expected: of n items whose ties come in random order.
    """
    n_N = np.arange(1, min(len(data[1]), PRECISION_AT) + 1)
    hits_N = np.zeros(len(n_N), np.int64)
    for _, hits_qN in _rankings(data, len(n_N), max_bytes, on_host):
        hits_N += np.cumsum(hits_qN, axis=1).sum(axis=0)
    Q = len(data[0])
    return {
        "n": n_N.tolist(),
        "precision": (hits_N / (Q * n_N)).tolist(),
        "expected": (expected_hits(*counts, n_N).sum(axis=0) / (Q * n_N)).tolist(),
    }


def expected_hits(
    all_QT: Int[np.ndarray, "Q T"], relevant_QT: Int[np.ndarray, "Q T"], n_N: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "Q N"]:
    """Relevant items among the first n, expected over all orders of the items that tie.

    A group of ties with r relevant of m items brings r / m for each of its ranks: between the ends of the
    groups the count is a straight line.

    >>> expected_hits(np.array([[1, 4]]), np.array([[1, 2]]), np.array([1, 2, 5])).tolist()
    [[1.0, 1.5, 3.0]]
    """
    ends_QT, hits_QT = (np.cumsum(counts, axis=1) for counts in (all_QT, relevant_QT))
    hits_QN = np.empty((len(all_QT), len(n_N)))
    for q, (ends_T, hits_T) in enumerate(zip(ends_QT, hits_QT, strict=True)):
        hits_QN[q] = np.interp(n_N, np.r_[0, ends_T], np.r_[0, hits_T])
    return hits_QN


def _standard(data: Data, max_bytes: int, on_host: bool | None) -> Rankings:
    """The rankings of the test items by the test items."""
    M, parts, start = len(data[1]), [], 0
    for indices_qM, hits_qM in _rankings(data, M, max_bytes, on_host):
        own_q1 = np.arange(start, start + len(hits_qM))[:, None]
        pair_rank_q = 1 + np.argmax(indices_qM == own_q1, axis=1)
        relevant_q = hits_qM.sum(axis=1)
        parts.append((interpolated_precision(hits_qM), hits_by_rank(hits_qM), relevant_q, pair_rank_q))
        start += len(hits_qM)
    ap_Q = average_precisions(*data, None, "hits", max_bytes, on_host)
    return Rankings(ap_Q, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _rankings(
    data: Data, k: int, max_bytes: int, on_host: bool | None
) -> Iterator[tuple[Int[np.ndarray, "q k"], Bool[np.ndarray, "q k"]]]:
    """The k nearest items of each query and their relevance, for as many queries at a time as fit."""
    queries_QW, items_MW, labels_QC, item_labels_MC = data
    # Packed, a pair's labels are compared in one word.
    labels_QV, item_labels_MV = pack_codes(labels_QC), pack_codes(item_labels_MC)
    # An item and what curves need of it take some 40 bytes and 4 for each word, not those of a score.
    rows = rows_per_chunk(len(queries_QW), k * (1 + labels_QV.shape[1]), max_bytes)
    for start in range(0, len(queries_QW), rows):
        part = slice(start, start + rows)
        indices_qk, _ = nearest(queries_QW[part], items_MW, k, max_bytes, on_host)
        yield indices_qk, np.any(item_labels_MV[indices_qk] & labels_QV[part, None], axis=2)


def _over(sum_R: Float[np.ndarray, " R"], count_R: Int[np.ndarray, " R"]) -> list[float | None]:
    return [float(total / count) if count else None for total, count in zip(sum_R, count_R, strict=True)]


def _check_bits(codes_nW: UInt32[np.ndarray, "n W"], bits: int, name: str) -> None:
    words = -(-bits // 32)
    if codes_nW.dtype != np.uint32 or codes_nW.ndim != 2 or codes_nW.shape[1] != words:
        raise InputError(
            f"{name}: codes are {codes_nW.dtype} {codes_nW.shape}, and {bits} bits take {words} words; "
            f"pack them with `pack_codes`"
        )
    if bits % 32 and (codes_nW[:, -1] >> np.uint32(bits % 32)).any():
        raise InputError(f"{name}: a code has a one beyond its {bits} bits; pack them with `pack_codes`")
