"""Search by a shortlist."""

import numpy as np
import pytest

from gcnxmodal.retrieval.shortlist import search

RANDOM = np.random.default_rng(0)
QUERIES, ITEMS = (
    RANDOM.integers(-2, 3, (6, 4)).astype(np.float32),
    RANDOM.integers(-2, 3, (30, 4)).astype(np.float32),
)
TRUE = RANDOM.integers(0, 5, (6, 30)).astype(np.float32)  # with ties; not the inner products


def score(queries, items):
    return TRUE[queries, items]


def test_a_shortlist_of_all_is_the_exact_ranking_with_ties_by_index():
    indices, scores = search(QUERIES, ITEMS, 10, shortlist=30, score=score)
    expected = np.argsort(-TRUE, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(TRUE, expected, axis=1))


@pytest.mark.parametrize("shortlist", [1, 5, 12])
def test_only_the_shortlist_is_scored_and_it_holds_at_least_k(shortlist):
    asked = []

    def counted(queries, items):
        asked.append(len(queries))
        return score(queries, items)

    indices, _ = search(QUERIES, ITEMS, 5, shortlist=shortlist, score=counted)
    size = max(5, shortlist)
    assert asked == [6 * size]
    by_product = np.argsort(-(QUERIES @ ITEMS.T), axis=1, kind="stable")[:, :size]
    for query in range(6):
        listed = np.sort(by_product[query])
        best = listed[np.argsort(-TRUE[query, listed], kind="stable")][:5]
        np.testing.assert_array_equal(indices[query], best)
