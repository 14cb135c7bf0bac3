"""Scores of all pairs in chunks, measures of scores instead of embeddings, and search by a shortlist."""

import jax.numpy as jnp
import numpy as np
import pytest

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval import database
from gcnxmodal.retrieval.database import search
from gcnxmodal.retrieval.evaluate import (
    evaluate_embeddings,
    evaluate_scores,
    standard_map,
    standard_map_of_scores,
)
from gcnxmodal.retrieval.ranking import top_k

RANDOM = np.random.default_rng(0)


def distance(scale, texts_qD, images_mD):
    """No inner product."""
    return -scale * jnp.abs(texts_qD[:, None] - images_mD[None]).sum(axis=-1)


@pytest.mark.parametrize(("texts", "images"), [(1, 1), (5, 7), (8, 6), (13, 12)])
def test_chunks_put_together_are_the_whole_matrix(monkeypatch, texts, images):
    monkeypatch.setattr(database, "TEXTS", 4)
    monkeypatch.setattr(database, "IMAGES", 6)
    f_T, f_I = (RANDOM.standard_normal((n, 3)).astype(np.float32) for n in (texts, images))
    expected = -2 * np.abs(f_T[:, None] - f_I).sum(axis=-1)
    found = database.score_matrix(distance, jnp.float32(2), f_T, f_I)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def embeddings():
    texts, images = (RANDOM.integers(-2, 3, (60, 4)).astype(np.float32) for _ in range(2))  # with ties
    labels = np.eye(3, dtype=bool)[RANDOM.integers(0, 3, 60)]
    return texts, images, labels, {"train": np.arange(20, 60), "test": np.arange(20)}


@pytest.mark.parametrize("max_bytes", [2**8, 2**28])
def test_measures_of_scores_are_those_of_the_embeddings_that_gave_them(max_bytes):
    texts, images, labels, splits = embeddings()
    test, train = splits["test"], splits["train"]
    scores = {
        "text_query": {"test": texts[test] @ images[test].T, "train": texts[test] @ images[train].T},
        "image_query": {"test": images[test] @ texts[test].T, "train": images[test] @ texts[train].T},
    }
    assert evaluate_scores(scores, labels, splits, max_bytes) == evaluate_embeddings(
        texts, images, labels, splits
    )
    among_test = scores["text_query"]["test"]
    expected = standard_map(texts[test], images[test], labels[test])
    assert standard_map_of_scores(among_test, labels[test]) == expected


def test_top_k_of_scores_is_that_of_their_embeddings():
    texts, images, *_ = embeddings()
    for one, other in zip(top_k(texts @ images.T, None, 7), top_k(texts, images, 7), strict=True):
        np.testing.assert_array_equal(one, other)


def test_scores_that_are_not_finite_are_refused():
    _, _, labels, splits = embeddings()
    scores = {"text_query": {"test": np.full((20, 20), np.nan, np.float32)}}
    with pytest.raises(InputError, match="text_query"):
        evaluate_scores(scores, labels, splits)


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
