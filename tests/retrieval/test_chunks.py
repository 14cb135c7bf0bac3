import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval import ranking
from gcnxmodal.retrieval.ranking import (
    BYTES_PER_SCORE,
    check_embeddings,
    measure_rankings,
    relevant_counts,
    top_k,
)


def embeddings(items: int, dimension: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((items, dimension)).astype(np.float32)


def labels(items: int, classes: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((items, classes)) < 0.3


def hits_and_scores(hits, scores, query):
    return hits, scores, query


def test_top_k_is_a_stable_argsort():
    random = np.random.default_rng(0)
    queries, database = (random.integers(-2, 3, (n, 4)).astype(np.float32) for n in (37, 300))
    scores = queries @ database.T  # small whole numbers: exact, and full of ties
    order = np.argsort(-scores, axis=1, kind="stable")[:, :25]
    indices, values = top_k(queries, database, 25)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, order, axis=1))


def test_top_k_ties_minus_zero_with_zero():
    indices, scores = top_k(np.float32([[-1]]), np.float32([[0], [-0.0], [0], [1]]), 4)
    assert indices.tolist() == [[0, 1, 2, 3]]
    assert not np.signbit(scores[0, :3]).any()


@pytest.mark.parametrize("max_bytes", [1, 200_000, 2_000_000])
def test_top_k_has_the_same_bits_in_blocks(max_bytes):
    queries, database = embeddings(61, 100, 0), embeddings(1111, 100, 1)
    for part, whole in zip(
        top_k(queries, database, 50, max_bytes), top_k(queries, database, 50), strict=True
    ):
        np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("max_bytes", [1, 300_000, 1_000_000])
def test_rankings_have_the_same_bits_in_chunks(max_bytes):
    data = embeddings(61, 100, 0), embeddings(1111, 100, 1), labels(61, 4, 2), labels(1111, 4, 3)
    in_chunks, whole = (measure_rankings(hits_and_scores, *data, budget) for budget in (max_bytes, 2**30))
    for part, expected in zip(in_chunks, whole, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_equal_items_score_the_same_wherever_they_stand():
    # A matrix product without padding computes the last columns with other instructions.
    query, item = embeddings(5, 301, 0), embeddings(1, 301, 1)
    database = np.repeat(item, 693, axis=0)
    indices, scores = top_k(query, database, 693)
    np.testing.assert_array_equal(indices, np.tile(np.arange(693), (5, 1)))
    assert (scores == scores[:, :1]).all()


def test_chunks_stay_within_the_budget(monkeypatch):
    sizes = []
    score = ranking._score_chunk
    monkeypatch.setattr(ranking, "_score_chunk", lambda *a: [sizes.append(x.size) or x for x in score(*a)])
    data = embeddings(200, 8, 0), embeddings(500, 8, 1), labels(200, 3, 2), labels(500, 3, 3)
    budget = BYTES_PER_SCORE * 512 * 40
    measure_rankings(hits_and_scores, *data, budget)
    assert len(sizes) == 5 * 2  # scores and relevance
    assert max(sizes) * BYTES_PER_SCORE <= budget


def test_rankings_are_the_same_on_a_device_that_is_not_the_host(monkeypatch):
    data = embeddings(30, 8, 0), embeddings(70, 8, 1), labels(30, 3, 2), labels(70, 3, 3)
    on_host = measure_rankings(hits_and_scores, *data)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for part, expected in zip(measure_rankings(hits_and_scores, *data), on_host, strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("max_bytes", [1, 2**30])
def test_relevant_counts_items_that_share_any_label(max_bytes):
    queries, database = labels(70, 5, 0), labels(200, 5, 1)
    expected = (queries.astype(int) @ database.T.astype(int) > 0).sum(axis=1)
    np.testing.assert_array_equal(relevant_counts(queries, database, max_bytes), expected)


@pytest.mark.parametrize("k", [0, 71])
def test_k_outside_the_database_is_refused(k):
    with pytest.raises(InputError, match=rf"k is {k} and the database has 70 items; choose k from 1 to 70"):
        top_k(embeddings(3, 4, 0), embeddings(70, 4, 1), k)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e19])
def test_embedding_whose_scores_could_not_be_ranked_is_refused(value):
    x = embeddings(9, 4, 0)
    x[6, 2] = value
    with pytest.raises(InputError, match="texts: embedding 6 is not finite"):
        check_embeddings(jnp.asarray(x), "texts")
