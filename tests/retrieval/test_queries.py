"""Queries as people type them: which words are asked, and what is measured of what they find."""

import collections

import numpy as np
import pytest
import scipy.sparse as sp

from gcnxmodal.corpus import Pairs
from gcnxmodal.retrieval.database import Embeddings
from gcnxmodal.retrieval.queries import LENGTHS, MOST_TEXTS, Queries

WORDS = tuple(["kiwi", "fig", "apple", "pear", "plum", "lime", "date", "nut", "corn", "rice"])


def counts_of(n: int = 30, seed: int = 0) -> sp.csr_array:
    random = np.random.default_rng(seed)
    return sp.csr_array(random.poisson(0.6, (n, len(WORDS))).astype(np.float32))


def spelt(queries: Queries, words) -> list[tuple[int, tuple[str, ...]]]:
    return [
        (int(row), tuple(words[number] for number in numbers))
        for row, numbers in zip(queries.rows_S, queries.words_S, strict=True)
    ]


def test_queries_are_different_words_of_the_test_texts_that_have_as_many():
    counts, test = counts_of(), np.arange(10, 30)
    queries = Queries.draw(counts, WORDS, test)
    present = counts.toarray() > 0
    for row, numbers in zip(queries.rows_S, queries.words_S, strict=True):
        assert row in test
        assert len(set(numbers.tolist())) == len(numbers)
        assert present[row, numbers].all()
    for length in LENGTHS:
        asked = [row for row, words in spelt(queries, WORDS) if len(words) == length]
        assert asked == [row for row in test if present[row].sum() >= length]
    assert queries.whole_W.tolist() == [row for row in test if present[row].any()]


def test_the_order_of_the_vocabulary_decides_nothing():
    """So that systems with and without a word graph are asked the same."""
    counts, test = counts_of(), np.arange(30)
    order = np.random.default_rng(1).permutation(len(WORDS))
    other = Queries.draw(sp.csr_array(counts[:, order]), [WORDS[i] for i in order], test)
    first = Queries.draw(counts, WORDS, test)
    assert spelt(other, [WORDS[i] for i in order]) == spelt(first, WORDS)
    assert len({words for _, words in spelt(first, WORDS) if len(words) == 1}) > 3


def test_measures_are_those_of_slow_numpy():
    random = np.random.default_rng(0)
    counts, n = counts_of(40), 40
    labels = random.random((n, 4)) < 0.3
    queries = Queries.draw(counts, WORDS, np.arange(5, n))
    found = np.array([random.permutation(n - 5)[:10] for _ in range(len(queries))])
    measured = queries.measure(found, labels)
    rows = [*queries.whole_W, *queries.rows_S]
    lengths = ["whole"] * len(queries.whole_W) + [str(len(words)) for words in queries.words_S]
    assert list(measured) == ["whole", *map(str, LENGTHS)]
    for length, values in measured.items():
        these = [q for q, of in enumerate(lengths) if of == length]
        right = [np.mean([(labels[rows[q]] & labels[5 + item]).any() for item in found[q]]) for q in these]
        hits = collections.Counter(int(item) for q in these for item in found[q])
        hubs = sum(count for _, count in hits.most_common(10)) / (10 * len(these))
        assert values == {
            "queries": len(these),
            "precision@10": pytest.approx(np.mean(right)),
            "hubs": pytest.approx(hubs),
        }


def test_without_labels_the_own_picture_counts_and_each_is_ranked_once():
    counts = counts_of(6)
    # Three pictures with two texts each.
    group = np.array([0, 0, 1, 1, 2, 2])
    pairs = Pairs(group, np.arange(6), group)
    queries = Queries.draw(counts, WORDS, np.arange(6), pairs)
    assert queries.items_M.tolist() == [0, 2, 4]
    texts = np.eye(3, dtype=np.float32)[group]
    database = Embeddings(texts, texts)
    short = texts[queries.rows_S]
    none = np.zeros((6, 0), bool)
    measured = queries.measure_rows(texts[queries.whole_W], short, database, none, pairs)
    assert {of["recall@10"] for of in measured.values()} == {1.0}
    first = queries.measure(np.zeros((len(queries), 1), int), none, pairs)
    assert first["whole"]["recall@10"] == pytest.approx(np.mean(group[queries.whole_W] == 0))
    assert first["1"]["hubs"] == 1.0


def test_of_a_large_test_split_so_many_texts_are_asked():
    n = MOST_TEXTS + 500
    queries = Queries.draw(sp.csr_array(np.ones((n, 2), np.float32)), ("a", "b"), np.arange(n))
    assert len(queries.whole_W) == MOST_TEXTS
    assert len(queries.items_M) == n
