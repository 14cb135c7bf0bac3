import jax.numpy as jnp
import numpy as np
import pytest
import reference.retrieval_numpy as reference
from worked_example import HITS

from gcnxmodal.retrieval.metrics import (
    curve_ranks,
    hits_by_rank,
    interpolated_precision,
    mean_curves,
    per_class_map,
)

BOTH = pytest.mark.parametrize("array", [np.asarray, jnp.asarray])


def curves_of(hits):
    relevant = np.asarray(hits).sum(axis=1)
    found = np.asarray(hits_by_rank(hits))
    return mean_curves(np.asarray(interpolated_precision(hits)), found, relevant, hits.shape[1])


@BOTH
def test_interpolated_precision_equals_the_example_done_by_hand(array):
    expected = [
        4 * [1] + 3 * [2 / 3] + 4 * [3 / 6],  # recall 1/3, 2/3, 1 at precision 1, 2/3, 3/6
        6 * [1] + 5 * [2 / 8],  # recall 1/2, 1 at precision 1, 2/8
        11 * [2 / 3],  # recall 1/2, 1 at precision 1/2, 2/3: the later is the better
        11 * [0],
    ]
    np.testing.assert_allclose(interpolated_precision(array(HITS)), expected, rtol=1e-6)


@BOTH
def test_precision_and_recall_by_rank_equal_the_example_done_by_hand(array):
    curves = curves_of(array(HITS))
    assert curves["scope"] == [1, 2, 3, 4, 5, 6, 7, 8]
    hits = np.array([2, 3, 5, 5, 5, 6, 6, 7])  # of all four queries, among the first r
    np.testing.assert_allclose(curves["precision_at_scope"], hits / np.arange(1, 9) / 4)
    recall = [5 / 6, 4 / 3, 13 / 6, 13 / 6, 13 / 6, 5 / 2, 5 / 2, 3]
    np.testing.assert_allclose(curves["pr_by_rank"]["recall"], np.array(recall) / 4)
    assert curves["pr_by_rank"]["precision"] == curves["precision_at_scope"]


def test_mean_interpolated_curve_equals_the_example_done_by_hand():
    curves = curves_of(HITS)
    assert curves["recall"] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    three = [
        (1 + 1 + 2 / 3) / 4,
        (2 / 3 + 1 + 2 / 3) / 4,
        (2 / 3 + 1 / 4 + 2 / 3) / 4,
        (1 / 2 + 1 / 4 + 2 / 3) / 4,
    ]
    np.testing.assert_allclose(curves["precision"], np.repeat(three, [4, 2, 1, 4]), rtol=1e-6)


@BOTH
def test_interpolated_precision_equals_its_definition(array):
    random = np.random.default_rng(0)
    hits = random.random((60, 90)) < random.uniform(0, 0.4, (60, 1))
    hits[:10] = False
    hits[np.arange(10), np.arange(10)] = True
    hits[50, :] = False
    falling = -np.arange(90)
    expected = [reference.interpolated_precision(falling, query) for query in hits]
    np.testing.assert_allclose(interpolated_precision(array(hits)), expected, rtol=1e-6)


def test_ten_relevant_items_are_one_each_tenth_of_recall():
    # 0.1 * 10 is above 1 in float32: compared there, recall 0.1 would only be reached by the second hit.
    hits = np.zeros((1, 40), bool)
    hits[0, [0, *range(30, 39)]] = True
    assert interpolated_precision(hits)[0, :2].tolist() == [1, 1]


def test_curve_ranks_are_all_up_to_1000_and_reach_the_last_item():
    assert curve_ranks(693).tolist() == list(range(1, 694))
    ranks = curve_ranks(20_000)
    assert ranks[:1000].tolist() == list(range(1, 1001))
    assert ranks[-1] == 20_000
    assert len(ranks) <= 1100
    assert (np.diff(ranks) > 0).all()


def test_class_map_counts_a_query_in_each_of_its_classes():
    found = per_class_map(
        np.array([1.0, 0.5, 0.0]), np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], bool)
    )
    assert found == [1.0, 0.5, 0.0, None]
