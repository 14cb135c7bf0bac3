"""Retrieval measures as their definitions read: one query, one rank at a time, in float64."""

import numpy as np


def ranking(scores_M) -> list[int]:
    """Database indices by descending score, the lower index first among equals."""
    return sorted(range(len(scores_M)), key=lambda m: (-scores_M[m], m))


def average_precision(scores_M, relevant_M, cutoff=None, norm="hits") -> float:
    R = cutoff or len(scores_M)
    hits, total = 0, 0.0
    for r, m in enumerate(ranking(scores_M)[:R], start=1):
        if relevant_M[m]:
            hits += 1
            total += hits / r
    relevant = int(np.sum(relevant_M))
    Z = {"hits": hits, "relevant": relevant, "min": min(R, relevant)}[norm]
    return total / Z if Z else 0.0


def interpolated_precision(scores_M, relevant_M) -> list[float]:
    """The best precision at any rank whose recall is at least 0, 0.1, ..., 1."""
    relevant, hits, points = int(np.sum(relevant_M)), 0, []
    for r, m in enumerate(ranking(scores_M), start=1):
        hits += bool(relevant_M[m])
        points.append((hits, hits / r))
    return [max(p for hits, p in points if 10 * hits >= level * relevant) for level in range(11)]


def pair_rank(scores_M, own: int) -> int:
    return ranking(scores_M).index(own) + 1
