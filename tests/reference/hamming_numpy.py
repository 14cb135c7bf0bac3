"""Evaluation of binary codes as its definitions read: booleans, a stable argsort, one query at a time."""

import itertools

import numpy as np
import reference.retrieval_numpy as retrieval


def sides(text_bits_nK, image_bits_nK, labels_nC, test, items):
    """By direction: distances [Q, M] and relevance [Q, M] of the test items to the items."""
    relevant_QM = (labels_nC[test][:, None] & labels_nC[items]).any(axis=2)
    return {
        direction: ((queries[test][:, None] != database[items]).sum(axis=2), relevant_QM)
        for direction, queries, database in (
            ("text_query", text_bits_nK, image_bits_nK),
            ("image_query", image_bits_nK, text_bits_nK),
        )
    }


def average_precisions(distance_QM, relevant_QM, cutoff=None, norm="hits") -> list[float]:
    pairs = zip(-distance_QM, relevant_QM, strict=True)
    return [retrieval.average_precision(*pair, cutoff, norm) for pair in pairs]


def mean_over_orders(distance_QM, relevant_QM, measure) -> np.ndarray:
    """`measure` of each query's relevance in ranked order, meaned over every order of its ties; few items."""
    means = []
    for distance_M, relevant_M in zip(distance_QM, relevant_QM, strict=True):
        groups = [np.flatnonzero(distance_M == d) for d in np.unique(distance_M)]
        orders = itertools.product(*(itertools.permutations(group) for group in groups))
        means.append(np.mean([measure(relevant_M[np.concatenate(order)]) for order in orders], axis=0))
    return np.array(means)


def hits(distance_QM, relevant_QM):
    """Relevance in ranked order."""
    order_QM = np.argsort(distance_QM, axis=1, kind="stable")
    return np.take_along_axis(relevant_QM, order_QM, axis=1)


def lookup(distance_QM, relevant_QM, radius: int) -> list[tuple[float, float]]:
    """Precision and recall of each query's ball; 0, 0 without a hit in it."""
    balls = []
    for distance_M, relevant_M in zip(distance_QM, relevant_QM, strict=True):
        hits, within = np.sum(relevant_M[distance_M <= radius]), np.sum(distance_M <= radius)
        balls.append((hits / within, hits / np.sum(relevant_M)) if hits else (0.0, 0.0))
    return balls


def unpack_codes(codes_nW, bits):
    """The first `bits` bits of packed codes: the inverse of `hamming.pack_codes`."""
    bytes_nB = np.ascontiguousarray(codes_nW, "<u4").view(np.uint8)
    return np.unpackbits(bytes_nB, axis=1, count=bits, bitorder="little").astype(bool)
