"""Evaluate embeddings, or the scores of all pairs, under every protocol."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.chunks import (
    MAX_BYTES,
    check_embeddings,
    measure_rankings,
    relevant_counts,
    top_k,
)
from gcnxmodal.retrieval.curves import (
    hits_by_rank,
    interpolated_precision,
    mean_curves,
    per_class_map,
)
from gcnxmodal.retrieval.metrics import average_precision_of_hits, exact_pair_ranks, pair_summary
from gcnxmodal.retrieval.protocols import PROTOCOLS, Protocol, database_split

Sides = Mapping[str, tuple[Any, Any]]
"""By split, (queries, database): embeddings of both, or scores and None."""


def evaluate_embeddings(
    texts_nD: Float[Array | np.ndarray, "n D"],
    images_nD: Float[Array | np.ndarray, "n D"],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    max_bytes: int = MAX_BYTES,
    protocols: Mapping[str, Protocol] = PROTOCOLS,
) -> dict[str, Any]:
    """Every protocol and curve of a system that scores a pair by text . image.

    Items are relevant to each other if they share a label. Curves, exact pairs and MAP by class are those of
    the `standard` protocol. "text_query" ranks images for a text, "image_query" texts for an image.

    Args:
        texts_nD, images_nD: embeddings of all items of the corpus.
        splits: rows of "test", of "train", and of "retrieval" if a protocol ranks it.
        max_bytes: memory for scores; the results do not depend on it.
        protocols: by name. Hashing systems are compared under `{**PROTOCOLS, **HASHING_PROTOCOLS}`.

    Returns:
        JSON values: protocols {name: {"text_query", "image_query", "average"}}; exact_pair {direction:
        {"recall@1", "recall@5", "recall@10", "median_rank"}}; curves {direction: see `curves.mean_curves`};
        per_class {direction: [C], None for a class without a test item}; queries_without_relevant {protocol:
        how many queries count 0 because nothing in the database is relevant to them}.

    Raises:
        InputError: if the arrays are not aligned or an embedding is not finite.
    """
    _check_aligned(texts_nD, images_nD, labels_nC)
    texts_nD, images_nD = check_embeddings(texts_nD, "texts"), check_embeddings(images_nD, "images")
    databases = ranked_splits(protocols, splits)
    texts, images = ({split: x[splits[split]] for split in databases} for x in (texts_nD, images_nD))
    sides: dict[str, Sides] = {
        "text_query": {split: (texts["test"], images[split]) for split in databases},
        "image_query": {split: (images["test"], texts[split]) for split in databases},
    }
    return _evaluate(sides, labels_nC, splits, max_bytes, protocols)


def evaluate_scores(
    scores: Mapping[str, Mapping[str, Float[Array | np.ndarray, "Q M"]]],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    max_bytes: int = MAX_BYTES,
    protocols: Mapping[str, Protocol] = PROTOCOLS,
) -> dict[str, Any]:
    """`evaluate_embeddings` of a system whose score is no inner product, from its scores.

    Args:
        scores: {"text_query", "image_query": {"test", "train": [Q, M]}}: of the test items' texts (images),
            by row, with the images (texts) of each split that a protocol ranks.

    Raises:
        InputError: if a score is not finite.
    """
    sides: dict[str, Sides] = {
        direction: {split: (_finite(matrix, direction), None) for split, matrix in matrices.items()}
        for direction, matrices in scores.items()
    }
    return _evaluate(sides, labels_nC, splits, max_bytes, protocols)


def ranked_splits(protocols: Mapping[str, Protocol], splits: Collection[str]) -> list[str]:
    """The splits that the protocols rank, and the test items, of which the curves are."""
    return sorted({"test", *(database_split(protocol, splits) for protocol in protocols.values())})


def _evaluate(
    sides: Mapping[str, Sides],
    labels_nC: Bool[np.ndarray, "n C"],
    splits: Mapping[str, Int[np.ndarray, " rows"]],
    max_bytes: int,
    protocols: Mapping[str, Protocol],
) -> dict[str, Any]:
    labels = {split: labels_nC[splits[split]] for split in ranked_splits(protocols, splits)}
    test = labels["test"]
    standard = {
        direction: Rankings(*measure_rankings(_measure_standard, *side["test"], test, test, max_bytes))
        for direction, side in sides.items()
    }
    scores, without_relevant = {}, {}
    for name, protocol in protocols.items():
        database = database_split(protocol, splits)
        item_labels = labels[database]
        without_relevant[name] = int(np.sum(relevant_counts(test, item_labels, max_bytes) == 0))
        precisions = {}
        for direction, side in sides.items():
            if protocol == PROTOCOLS["standard"]:  # measured above, with its curves
                precisions[direction] = standard[direction].average_precision
            else:
                ranked = side[database]
                precisions[direction] = protocol_average_precisions(
                    *ranked, test, item_labels, protocol, max_bytes
                )
        scores[name] = mean_scores(precisions)
    details = ranking_details(standard, test)
    return {"protocols": scores, **details, "queries_without_relevant": without_relevant}


def standard_map_of_scores(
    scores_MM: Float[Array | np.ndarray, "M M"],
    labels_MC: Bool[np.ndarray, "M C"],
    max_bytes: int = MAX_BYTES,
) -> dict[str, float]:
    """`standard_map` from the scores of the test items' texts, by row, with their images."""
    scores_MM = _finite(scores_MM, "scores")
    standard = PROTOCOLS["standard"]
    return mean_scores(
        {
            direction: protocol_average_precisions(scores, None, labels_MC, labels_MC, standard, max_bytes)
            for direction, scores in (("text_query", scores_MM), ("image_query", scores_MM.T))
        }
    )


def standard_map(
    texts_MD: Float[Array | np.ndarray, "M D"],
    images_MD: Float[Array | np.ndarray, "M D"],
    labels_MC: Bool[np.ndarray, "M C"],
    max_bytes: int = MAX_BYTES,
) -> dict[str, float]:
    """MAP of the test items under `standard` and nothing else: cheap enough for every epoch.

    Returns:
        {"text_query", "image_query", "average"}.

    Raises:
        InputError: if the arrays are not aligned or an embedding is not finite.
    """
    _check_aligned(texts_MD, images_MD, labels_MC)
    texts_MD, images_MD = check_embeddings(texts_MD, "texts"), check_embeddings(images_MD, "images")
    standard = PROTOCOLS["standard"]
    return mean_scores(
        {
            direction: protocol_average_precisions(
                queries, database, labels_MC, labels_MC, standard, max_bytes
            )
            for direction, queries, database in (
                ("text_query", texts_MD, images_MD),
                ("image_query", images_MD, texts_MD),
            )
        }
    )


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
    return np.asarray(average_precision_of_hits(hits_QR, relevant_Q, protocol.norm))


class Rankings(NamedTuple):
    """What the curves need of each query's ranking of the test items."""

    average_precision: np.ndarray  # [Q]
    interpolated: np.ndarray  # [Q, 11]
    hits_by_rank: np.ndarray  # [Q, G]
    relevant: np.ndarray  # [Q]
    pair_rank: np.ndarray  # [Q]


def ranking_details(
    standard: Mapping[str, Rankings], test_labels_MC: Bool[np.ndarray, "M C"]
) -> dict[str, dict[str, Any]]:
    """`exact_pair`, `curves` and `per_class` of the results, from the rankings of each direction."""
    M = len(test_labels_MC)
    return {
        "exact_pair": {
            direction: pair_summary(rankings.pair_rank) for direction, rankings in standard.items()
        },
        "curves": {
            direction: mean_curves(rankings.interpolated, rankings.hits_by_rank, rankings.relevant, M)
            for direction, rankings in standard.items()
        },
        "per_class": {
            direction: per_class_map(rankings.average_precision, test_labels_MC)
            for direction, rankings in standard.items()
        },
    }


def _measure_standard(hits_qM: Any, scores_qM: Any, query_q: Any) -> tuple[Any, ...]:
    relevant_q = hits_qM.sum(axis=1)
    return (
        average_precision_of_hits(hits_qM, relevant_q),
        interpolated_precision(hits_qM),
        hits_by_rank(hits_qM),
        relevant_q,
        exact_pair_ranks(scores_qM, query_q),
    )


def _measure_ap(hits_qM: Any, scores_qM: Any, query_q: Any) -> tuple[Any, ...]:
    return (average_precision_of_hits(hits_qM, hits_qM.sum(axis=1)),)


def mean_scores(precisions: Mapping[str, Float[np.ndarray, " Q"]]) -> dict[str, float]:
    """MAP of each direction, and their average."""
    maps = {direction: float(np.mean(ap_Q, dtype=np.float64)) for direction, ap_Q in precisions.items()}
    return {**maps, "average": sum(maps.values()) / len(maps)}


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


def _check_aligned(texts_nD, images_nD, labels_nC) -> None:
    shapes = [np.shape(x) for x in (texts_nD, images_nD, labels_nC)]
    if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise InputError(f"texts, images and labels are {shapes}; give each one row an item")
    if shapes[0][1] != shapes[1][1]:
        raise InputError(
            f"texts embed in {shapes[0][1]} dimensions and images in {shapes[1][1]}; make them equal"
        )
