"""Evaluate embeddings, scores of all pairs, or binary codes under every protocol.

"text_query" ranks images for a text, "image_query" texts for an image. Items are relevant to each other if
they share a label. Curves, exact pairs and MAP by class are those of the `standard` protocol. Of items
without labels nothing is measured by class: exact pairs are all there is.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from gcnxmodal.corpus import Pairs
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval import metrics
from gcnxmodal.retrieval.hamming import average_precisions, distance_histograms, nearest, pack_codes
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS, PROTOCOLS, Protocol, database_split
from gcnxmodal.retrieval.ranking import (
    MAX_BYTES,
    check_embeddings,
    measure_rankings,
    relevant_counts,
    rows_per_chunk,
    top_k,
)

ALL_PROTOCOLS = {**PROTOCOLS, **HASHING_PROTOCOLS}

PRECISION_AT = 1000
"""precision@N of codes is measured for every N up to this (GCH, Fig. 2)."""

COCO_PICTURES, COCO_FOLD = 5_000, 1_000
"""Of `caption_protocols`."""

Sides = Mapping[str, tuple[Any, Any]]
"""By split, (queries, database): embeddings of both, or scores and None."""

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Codes of queries and items [Q, W], [M, W], and their labels [Q, C], [M, C]."""


class Rankings(NamedTuple):
    """What the curves need of each query's ranking of the test items."""

    average_precision: np.ndarray  # [Q]
    interpolated: np.ndarray  # [Q, 11]
    hits_by_rank: np.ndarray  # [Q, G]
    relevant: np.ndarray  # [Q]
    pair_rank: np.ndarray  # [Q]


def evaluate_embeddings(
    texts_nD: Float[Array | np.ndarray, "n D"],
    images_nD: Float[Array | np.ndarray, "n D"],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    max_bytes: int = MAX_BYTES,
    protocols: Mapping[str, Protocol] = PROTOCOLS,
    pairs: Pairs | None = None,
) -> dict[str, Any]:
    """Every protocol and curve of a system that scores a pair by text . image.

    Args:
        texts_nD, images_nD: embeddings of all items of the corpus.
        splits: rows of "test", of "train", and of "retrieval" if a protocol ranks it.
        max_bytes: memory for scores; the results do not depend on it.
        protocols: by name. Hashing systems are compared under `{**PROTOCOLS, **HASHING_PROTOCOLS}`.
        pairs: which items belong together; by default each matches itself only.

    Returns:
        JSON values: protocols {name: {"text_query", "image_query", "average"}}; exact_pair {direction:
        {"recall@1", "recall@5", "recall@10", "median_rank", "mean_reciprocal_rank", "ndcg@10"}};
        caption_protocols, see there; curves {direction: see `metrics.mean_curves`};
        per_class {direction: [C], None for a class without a test item}; queries_without_relevant {protocol:
        how many queries count 0 because nothing in the database is relevant to them}. Of labels with C = 0
        all but the exact pairs are empty.

    Raises:
        InputError: if the arrays are not aligned or an embedding is not finite.
    """
    texts_nD, images_nD = _checked(texts_nD, images_nD, labels_nC)
    databases = ranked_splits(protocols, splits) if labels_nC.shape[1] else ["test"]
    texts, images = ({split: x[splits[split]] for split in databases} for x in (texts_nD, images_nD))
    sides: dict[str, Sides] = {
        "text_query": {split: (texts["test"], images[split]) for split in databases},
        "image_query": {split: (images["test"], texts[split]) for split in databases},
    }
    return _evaluate(sides, labels_nC, splits, max_bytes, protocols, pairs)


def evaluate_scores(
    scores: Mapping[str, Mapping[str, Float[Array | np.ndarray, "Q M"]]],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    max_bytes: int = MAX_BYTES,
    protocols: Mapping[str, Protocol] = PROTOCOLS,
    pairs: Pairs | None = None,
) -> dict[str, Any]:
    """`evaluate_embeddings` of a system whose score is no inner product, from its scores.

    Args:
        scores: {"text_query", "image_query": {"test", "train": [Q, M]}}: of the test items' texts (images),
            by row, with the images (texts) of each split that a protocol ranks; of labels with C = 0 only
            "test".

    Raises:
        InputError: if a score is not finite.
    """
    sides: dict[str, Sides] = {
        direction: {split: (_finite(matrix, direction), None) for split, matrix in matrices.items()}
        for direction, matrices in scores.items()
    }
    return _evaluate(sides, labels_nC, splits, max_bytes, protocols, pairs)


def evaluate_codes(
    text_codes_nW: UInt32[np.ndarray, "n W"],
    image_codes_nW: UInt32[np.ndarray, "n W"],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    bits: int,
    protocols: Mapping[str, Protocol] = ALL_PROTOCOLS,
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
    pairs: Pairs | None = None,
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
    among_test = _both_ways(text_codes_nW[test], image_codes_nW[test])
    of_pairs = _of_pairs(
        among_test,
        None if pairs is None else pairs.take(test),
        lambda queries, items, groups: _code_pairs(queries, items, groups, max_bytes, on_host),
        labelled=labels_nC.shape[1] > 0,
    )
    if not labels_nC.shape[1]:
        return {**_UNMEASURED, **of_pairs, "expected": {}, "lookup": {}, "precision_at": {}}
    standard, lookup, at, without_relevant = {}, {}, {}, {}
    precisions: dict[str, dict[str, np.ndarray]] = {name: {} for name in protocols}
    expected: dict[str, dict[str, np.ndarray]] = {name: {} for name in protocols}
    for direction, (queries_nW, items_nW) in _both_ways(text_codes_nW, image_codes_nW).items():
        data: dict[str, Data] = {
            split: (queries_nW[test], items_nW[splits[split]], labels_nC[test], labels_nC[splits[split]])
            for split in {*ranked_splits(protocols, splits), searched}
        }
        counts = {split: distance_histograms(*sides, max_bytes, on_host) for split, sides in data.items()}
        for name, protocol in protocols.items():
            split = database_split(protocol, splits)
            how = protocol.cutoff, protocol.norm
            precisions[name][direction] = average_precisions(*data[split], *how, max_bytes, on_host)
            expected[name][direction] = metrics.expected_average_precision(*counts[split], *how)
            without_relevant[name] = int(np.sum(counts[split][1].sum(axis=1) == 0))
        standard[direction] = _standard_rankings(data["test"], max_bytes, on_host)
        lookup[direction] = hash_lookup(*counts[searched], bits)
        at[direction] = precision_at(data[searched], counts[searched], max_bytes, on_host)
    return {
        **_results(precisions, without_relevant, standard, labels_nC[test]),
        **of_pairs,
        "expected": {name: mean_scores(of_directions) for name, of_directions in expected.items()},
        "lookup": lookup,
        "precision_at": at,
    }


def ranked_splits(protocols: Mapping[str, Protocol], splits: Collection[str]) -> list[str]:
    """The splits that the protocols rank, and the test items, of which the curves are."""
    return sorted({"test", *(database_split(protocol, splits) for protocol in protocols.values())})


def _evaluate(
    sides: Mapping[str, Sides],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    max_bytes: int,
    protocols: Mapping[str, Protocol],
    pairs: Pairs | None,
) -> dict[str, Any]:
    of_pairs = _of_pairs(
        {direction: side["test"] for direction, side in sides.items()},
        None if pairs is None else pairs.take(splits["test"]),
        lambda queries, items, groups: measure_rankings(_measure_pairs, queries, items, *groups, max_bytes),
        labelled=labels_nC.shape[1] > 0,
    )
    if not labels_nC.shape[1]:
        return {**_UNMEASURED, **of_pairs}
    labels = {split: labels_nC[splits[split]] for split in ranked_splits(protocols, splits)}
    test = labels["test"]
    standard = {
        direction: Rankings(*measure_rankings(_measure_standard, *side["test"], test, test, max_bytes))
        for direction, side in sides.items()
    }
    precisions, without_relevant = {}, {}
    for name, protocol in protocols.items():
        split = database_split(protocol, splits)
        without_relevant[name] = int(np.sum(relevant_counts(test, labels[split], max_bytes) == 0))
        if protocol == PROTOCOLS["standard"]:  # measured above, with its curves
            precisions[name] = {direction: of.average_precision for direction, of in standard.items()}
        else:
            precisions[name] = {
                direction: protocol_average_precisions(*side[split], test, labels[split], protocol, max_bytes)
                for direction, side in sides.items()
            }
    return {**_results(precisions, without_relevant, standard, test), **of_pairs}


_UNMEASURED: dict[str, Any] = {
    name: {} for name in ("protocols", "queries_without_relevant", "curves", "per_class")
}
"""What is measured by class, of items that have none."""

Ranker = Callable[[Any, Any, tuple[np.ndarray, np.ndarray]], tuple[np.ndarray, ...]]
"""(queries, database, their groups [Q, 1] and [M, 1]) -> the best rank of an item of the query's group [Q],
and nDCG of the first 10 [Q]."""


def _of_pairs(
    among_test: Mapping[str, tuple[Any, Any]], pairs_M: Pairs | None, rank: Ranker, *, labelled: bool
) -> dict[str, Any]:
    """The exact pairs of the test items, and the captions' protocols; of labelled items that match themselves
    only nothing, for there the curves bring them along."""
    if pairs_M is None:
        if labelled:
            return {}
        pairs_M = Pairs.alone(len(among_test["text_query"][0]))
    return {
        "exact_pair": exact_pairs(among_test, pairs_M, rank),
        **({"caption_protocols": of} if (of := caption_protocols(among_test, pairs_M, rank)) else {}),
    }


def exact_pairs(
    among: Mapping[str, tuple[Any, Any]], pairs_n: Pairs, rank: Ranker
) -> dict[str, dict[str, float]]:
    """How early the queries of each direction find an item of their group; see `Pairs`.

    Args:
        among: {direction: (queries, database)} of the same n items; or scores [n, n] and None.

    Returns:
        {direction: see `metrics.pair_summary`}
    """
    texts, images = pairs_n.first_rows("text"), pairs_n.first_rows("image")
    found = {}
    for direction, (queries, items) in among.items():
        asked, ranked = (texts, images) if direction == "text_query" else (images, texts)
        groups = pairs_n.group_n[asked][:, None], pairs_n.group_n[ranked][:, None]
        if items is None:
            sides = np.asarray(queries)[np.ix_(asked, ranked)], None
        else:
            sides = queries[asked], items[ranked]
        found[direction] = metrics.pair_summary(*rank(*sides, groups))
    return found


def caption_protocols(
    among: Mapping[str, tuple[Any, Any]], pairs_n: Pairs, rank: Ranker
) -> dict[str, dict[str, dict[str, float]]]:
    """COCO's two protocols of image-text retrieval, where 5,000 pictures or more have several captions each.

    coco_5k: the first 5,000 pictures with all their captions; coco_1k: the mean over five folds of 1,000 of
    them, in order. Arguments and values are those of `exact_pairs`; empty where there are fewer.

    Source: Karpathy and Fei-Fei 2015, Section 4.1; the folds are those of Faghri et al. 2018 (VSE++).
    """
    pictures = pairs_n.image_n[pairs_n.first_rows("image")]
    captions = len(pairs_n.first_rows("text"))
    if len(pictures) < COCO_PICTURES or captions < 2 * len(pictures):
        return {}

    def of(chosen: np.ndarray) -> dict[str, dict[str, float]]:
        rows = np.flatnonzero(np.isin(pairs_n.image_n, chosen))
        part = {
            direction: (np.asarray(queries)[np.ix_(rows, rows)], None)
            if items is None
            else (queries[rows], items[rows])
            for direction, (queries, items) in among.items()
        }
        return exact_pairs(part, pairs_n.take(rows), rank)

    folds = [of(pictures[start : start + COCO_FOLD]) for start in range(0, COCO_PICTURES, COCO_FOLD)]
    mean = {
        direction: {
            name: float(np.mean([fold[direction][name] for fold in folds])) for name in folds[0][direction]
        }
        for direction in among
    }
    return {"coco_1k": mean, "coco_5k": of(pictures[:COCO_PICTURES])}


def pairs_of_embeddings(
    texts_MD: np.ndarray, images_MD: np.ndarray, pairs_M: Pairs | None = None
) -> dict[str, dict[str, float]]:
    """`exact_pairs` of embeddings and nothing else: cheap enough for every epoch.

    Raises:
        InputError: if the arrays are not aligned or an embedding is not finite.
    """
    sides = _both_ways(*_checked(texts_MD, images_MD, np.zeros((len(texts_MD), 0), bool)))
    return exact_pairs(sides, pairs_M or Pairs.alone(len(texts_MD)), _rank_pairs)


def pairs_of_scores(scores_MM: np.ndarray, pairs_M: Pairs | None = None) -> dict[str, dict[str, float]]:
    """`pairs_of_embeddings` from the scores of the items' texts, by row, with their images."""
    scores_MM = _finite(scores_MM, "scores")
    sides = {"text_query": (scores_MM, None), "image_query": (scores_MM.T, None)}
    return exact_pairs(sides, pairs_M or Pairs.alone(len(scores_MM)), _rank_pairs)


def pairs_of_codes(
    text_codes_MW: np.ndarray, image_codes_MW: np.ndarray, pairs_M: Pairs | None = None
) -> dict[str, dict[str, float]]:
    """`pairs_of_embeddings` of packed codes."""
    sides = _both_ways(text_codes_MW, image_codes_MW)
    return exact_pairs(sides, pairs_M or Pairs.alone(len(text_codes_MW)), _code_pairs)


def _rank_pairs(queries: Any, items: Any, groups: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
    return measure_rankings(_measure_pairs, queries, items, *groups)


def _measure_pairs(hits_qM: Any, scores_qM: Any, query_q: Any) -> tuple[Any, ...]:
    xp = hits_qM.__array_namespace__()
    return 1 + xp.argmax(hits_qM, axis=1), metrics.ndcg(hits_qM[:, :10], hits_qM.sum(axis=1))


def _code_pairs(
    queries_QW: np.ndarray,
    items_MW: np.ndarray,
    groups: tuple[np.ndarray, np.ndarray],
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
) -> tuple[np.ndarray, ...]:
    group_Q1, group_M1 = groups
    M, parts = len(items_MW), []
    rows = rows_per_chunk(len(queries_QW), 2 * M, max_bytes)
    for start in range(0, len(queries_QW), rows):
        part = slice(start, start + rows)
        indices_qM, _ = nearest(queries_QW[part], items_MW, M, max_bytes, on_host)
        parts.append(_measure_pairs(group_M1[indices_qM, 0] == group_Q1[part], None, None))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _results(
    precisions: Mapping[str, Mapping[str, np.ndarray]],
    without_relevant: Mapping[str, int],
    standard: Mapping[str, Rankings],
    test_labels_MC: Bool[np.ndarray, "M C"],
) -> dict[str, Any]:
    """What `evaluate_embeddings` returns, from the AP by protocol and direction and the rankings of each."""
    M = len(test_labels_MC)
    return {
        "protocols": {name: mean_scores(of_directions) for name, of_directions in precisions.items()},
        "queries_without_relevant": without_relevant,
        "exact_pair": {direction: metrics.pair_summary(of.pair_rank) for direction, of in standard.items()},
        "curves": {
            direction: metrics.mean_curves(of.interpolated, of.hits_by_rank, of.relevant, M)
            for direction, of in standard.items()
        },
        "per_class": {
            direction: metrics.per_class_map(of.average_precision, test_labels_MC)
            for direction, of in standard.items()
        },
    }


def standard_map(
    texts_MD: Float[Array | np.ndarray, "M D"],
    images_MD: Float[Array | np.ndarray, "M D"],
    labels_MC: Bool[np.ndarray, "M C"],
) -> dict[str, float]:
    """MAP of the test items under `standard` and nothing else: cheap enough for every epoch.

    Returns:
        {"text_query", "image_query", "average"}.

    Raises:
        InputError: if the arrays are not aligned or an embedding is not finite.
    """
    return _standard_map(_both_ways(*_checked(texts_MD, images_MD, labels_MC)), labels_MC)


def standard_map_of_scores(
    scores_MM: Float[Array | np.ndarray, "M M"], labels_MC: Bool[np.ndarray, "M C"]
) -> dict[str, float]:
    """`standard_map` from the scores of the test items' texts, by row, with their images."""
    scores_MM = _finite(scores_MM, "scores")
    return _standard_map({"text_query": (scores_MM, None), "image_query": (scores_MM.T, None)}, labels_MC)


def standard_map_of_codes(
    text_codes_MW: UInt32[np.ndarray, "M W"],
    image_codes_MW: UInt32[np.ndarray, "M W"],
    labels_MC: Bool[np.ndarray, "M C"],
    on_host: bool | None = None,
) -> dict[str, float]:
    """`standard_map` of packed codes."""
    return mean_scores(
        {
            direction: average_precisions(*codes, labels_MC, labels_MC, on_host=on_host)
            for direction, codes in _both_ways(text_codes_MW, image_codes_MW).items()
        }
    )


def _standard_map(sides: Sides, labels_MC: Bool[np.ndarray, "M C"]) -> dict[str, float]:
    return mean_scores(
        {
            direction: protocol_average_precisions(*side, labels_MC, labels_MC, PROTOCOLS["standard"])
            for direction, side in sides.items()
        }
    )


def _both_ways(texts: Any, images: Any) -> dict[str, tuple[Any, Any]]:
    """Queries and database of each direction."""
    return {"text_query": (texts, images), "image_query": (images, texts)}


def protocol_average_precisions(
    queries_QD: Float[Array | np.ndarray, "Q D"],
    database_MD: Float[Array, "M D"] | None,
    query_labels_QC: Bool[np.ndarray, "Q C"],
    database_labels_MC: Bool[np.ndarray, "M C"],
    protocol: Protocol,
    max_bytes: int = MAX_BYTES,
) -> Float[np.ndarray, " Q"]:
    """AP of each query under a protocol's cut-off and norm; the caller passes the protocol's database.

    Without a database, `queries_QD` are the scores themselves [Q, M].
    """
    if protocol.cutoff is None:
        # Over all ranks the three norms are one: every relevant item is a hit.
        (ap_Q,) = measure_rankings(
            _measure_ap, queries_QD, database_MD, query_labels_QC, database_labels_MC, max_bytes
        )
        return ap_Q
    k = min(protocol.cutoff, len(database_labels_MC))
    indices_QR, _ = top_k(queries_QD, database_MD, k, max_bytes)
    hits_QR = np.zeros(indices_QR.shape, bool)
    for has_Q, has_M in zip(query_labels_QC.T, database_labels_MC.T, strict=True):
        hits_QR |= has_Q[:, None] & has_M[indices_QR]
    if protocol.norm == "hits":  # the norm of all named protocols; the others cost a product of the labels
        relevant_Q = hits_QR.sum(axis=1)
    else:
        relevant_Q = relevant_counts(query_labels_QC, database_labels_MC, max_bytes)
    return np.asarray(metrics.average_precision(hits_QR, relevant_Q, protocol.norm))


def _measure_standard(hits_qM: Any, scores_qM: Any, query_q: Any) -> tuple[Any, ...]:
    relevant_q = hits_qM.sum(axis=1)
    return (
        metrics.average_precision(hits_qM, relevant_q),
        metrics.interpolated_precision(hits_qM),
        metrics.hits_by_rank(hits_qM),
        relevant_q,
        metrics.exact_pair_ranks(scores_qM, query_q),
    )


def _measure_ap(hits_qM: Any, scores_qM: Any, query_q: Any) -> tuple[Any, ...]:
    return (metrics.average_precision(hits_qM, hits_qM.sum(axis=1)),)


def mean_scores(precisions: Mapping[str, Float[np.ndarray, " Q"]]) -> dict[str, float]:
    """MAP of each direction, and their average."""
    maps = {direction: float(np.mean(ap_Q, dtype=np.float64)) for direction, ap_Q in precisions.items()}
    return {**maps, "average": sum(maps.values()) / len(maps)}


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


def _standard_rankings(data: Data, max_bytes: int, on_host: bool | None) -> Rankings:
    """The rankings of the test items by the test items."""
    M, parts, start = len(data[1]), [], 0
    for indices_qM, hits_qM in _rankings(data, M, max_bytes, on_host):
        pair_q1 = np.arange(start, start + len(hits_qM))[:, None]
        pair_rank_q = 1 + np.argmax(indices_qM == pair_q1, axis=1)
        relevant_q = hits_qM.sum(axis=1)
        curves = metrics.interpolated_precision(hits_qM), metrics.hits_by_rank(hits_qM)
        parts.append((*curves, relevant_q, pair_rank_q))
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


def _finite(scores_QM: Float[Array | np.ndarray, "Q M"], name: str) -> Float[np.ndarray, "Q M"]:
    """The scores on the host: there is one a pair, and a device may have no room for all.

    Raises:
        InputError: if one is NaN or infinite.
    """
    scores_QM = np.asarray(scores_QM)
    for number, row_M in enumerate(scores_QM):
        if not np.isfinite(row_M).all():
            raise InputError(f"{name}: a score of query {number} is not finite; the model has diverged")
    return scores_QM


def _checked(texts_nD: Any, images_nD: Any, labels_nC: np.ndarray) -> tuple[Array, Array]:
    """The embeddings as float32 on the device; see `standard_map` for what is refused."""
    shapes = [np.shape(x) for x in (texts_nD, images_nD, labels_nC)]
    if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise InputError(f"texts, images and labels are {shapes}; give each one row an item")
    if shapes[0][1] != shapes[1][1]:
        raise InputError(
            f"texts embed in {shapes[0][1]} dimensions and images in {shapes[1][1]}; make them equal"
        )
    return check_embeddings(texts_nD, "texts"), check_embeddings(images_nD, "images")
