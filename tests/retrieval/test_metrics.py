import jax.numpy as jnp
import numpy as np
import pytest
import reference.retrieval_numpy as reference
from sklearn.metrics import average_precision_score
from worked_example import RELEVANT, SCORES

from gcnxmodal.retrieval.metrics import (
    average_precision,
    exact_pair_ranks,
    pair_summary,
)
from gcnxmodal.retrieval.ranking import ranked_relevance

# By hand, from the hits (1, 3, 6), (1, 8), (2, 3) and none. Cut at 4 and 2, some hits are lost.
BY_HAND = {
    (None, "hits"): [(1 + 2 / 3 + 3 / 6) / 3, (1 + 2 / 8) / 2, (1 / 2 + 2 / 3) / 2, 0],
    (None, "relevant"): [(1 + 2 / 3 + 3 / 6) / 3, (1 + 2 / 8) / 2, (1 / 2 + 2 / 3) / 2, 0],
    (None, "min"): [(1 + 2 / 3 + 3 / 6) / 3, (1 + 2 / 8) / 2, (1 / 2 + 2 / 3) / 2, 0],
    (4, "hits"): [(1 + 2 / 3) / 2, 1, (1 / 2 + 2 / 3) / 2, 0],
    (4, "relevant"): [(1 + 2 / 3) / 3, 1 / 2, (1 / 2 + 2 / 3) / 2, 0],
    (4, "min"): [(1 + 2 / 3) / 3, 1 / 2, (1 / 2 + 2 / 3) / 2, 0],
    (2, "hits"): [1, 1, 1 / 2, 0],
    (2, "relevant"): [1 / 3, 1 / 2, 1 / 4, 0],
    (2, "min"): [1 / 2, 1 / 2, 1 / 4, 0],
}


def of_scores(scores, relevant, cutoff=None, norm="hits"):
    hits = ranked_relevance(scores, relevant)[:, :cutoff]
    return average_precision(hits, relevant.sum(axis=1), norm)


@pytest.mark.parametrize(("cutoff", "norm"), BY_HAND)
def test_average_precision_equals_the_example_done_by_hand(cutoff, norm):
    found = of_scores(SCORES, RELEVANT, cutoff, norm)
    np.testing.assert_allclose(found, BY_HAND[cutoff, norm], rtol=1e-6)


def test_average_precision_equals_scikit_learn():
    random = np.random.default_rng(0)
    scores = random.standard_normal((50, 300)).astype(
        np.float32
    )  # no ties: scikit-learn has no order among them
    relevant = random.random((50, 300)) < random.uniform(0.01, 0.6, (50, 1))
    relevant[:, 0] = True
    expected = [average_precision_score(*query) for query in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(of_scores(scores, relevant), expected, rtol=1e-5)


@pytest.mark.parametrize("norm", ["hits", "relevant", "min"])
@pytest.mark.parametrize("cutoff", [None, 1, 7, 1000])
def test_average_precision_equals_its_definition_with_many_ties(cutoff, norm):
    random = np.random.default_rng(1)
    scores = random.integers(-3, 4, (40, 60)).astype(np.float32)
    relevant = random.random((40, 60)) < 0.1
    expected = [
        reference.average_precision(*query, cutoff, norm) for query in zip(scores, relevant, strict=True)
    ]
    np.testing.assert_allclose(of_scores(scores, relevant, cutoff, norm), expected, rtol=1e-5)


@pytest.mark.parametrize("norm", ["hits", "relevant", "min"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.9])
def test_average_precision_is_the_same_on_the_host_and_on_a_device(norm, share):
    random = np.random.default_rng(1)
    hits = random.random((7, 400)) < share
    hits[0] = False
    relevant = hits.sum(axis=1) + 5
    on_host = average_precision(hits, relevant, norm)
    assert isinstance(on_host, np.ndarray)
    on_device = average_precision(jnp.asarray(hits), jnp.asarray(relevant), norm)
    np.testing.assert_allclose(on_host, on_device, rtol=2e-6)
    assert on_host[0] == 0


def test_average_precision_does_not_depend_on_the_order_of_items_without_ties():
    random = np.random.default_rng(2)
    scores = random.permutation(np.arange(80, dtype=np.float32)).reshape(1, 80)
    relevant = random.random((1, 80)) < 0.3
    order = random.permutation(80)
    np.testing.assert_array_equal(
        of_scores(scores[:, order], relevant[:, order]), of_scores(scores, relevant)
    )


def test_exact_pair_rank_counts_higher_scores_and_earlier_ties():
    own = np.array([2, 2, 2, 6])
    assert exact_pair_ranks(SCORES, own).tolist() == [3, 6, 3, 8]


def test_exact_pair_rank_is_the_place_in_the_ranking():
    random = np.random.default_rng(3)
    scores = random.integers(0, 5, (30, 30)).astype(np.float32)
    expected = [reference.pair_rank(scores[i], i) for i in range(30)]
    assert exact_pair_ranks(scores, np.arange(30)).tolist() == expected


def test_pair_summary_counts_ranks_from_one():
    assert pair_summary(np.array([1, 2, 5, 6, 10, 11])) == {
        "recall@1": 1 / 6,
        "recall@5": 3 / 6,
        "recall@10": 5 / 6,
        "median_rank": 5.5,
        "mean_reciprocal_rank": pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 6 + 1 / 10 + 1 / 11) / 6),
        "ndcg@10": pytest.approx(sum(1 / np.log2([2, 3, 6, 7, 11])) / 6),
    }
