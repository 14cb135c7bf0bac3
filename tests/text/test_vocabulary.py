import collections
import inspect
import json

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import WEIGHTINGS, Tokenizer, Vocabulary, weight_counts

TEXTS = st.lists(st.text("abcd ", max_size=20), min_size=1, max_size=8).filter(
    lambda t: any(map(str.strip, t))
)


def test_most_common_words_come_first_and_ties_in_code_point_order():
    vocabulary = Vocabulary.fit(["pear fig kiwi", "kiwi fig apple", "kiwi"], 3, Tokenizer())
    assert vocabulary.words == ("kiwi", "fig", "apple")


@given(TEXTS, st.integers(1, 6), st.randoms())
@settings(deadline=None)
def test_vocabulary_does_not_depend_on_the_order_of_the_texts(texts, size, random):
    shuffled = random.sample(texts, len(texts))
    assert Vocabulary.fit(texts, size, Tokenizer()) == Vocabulary.fit(shuffled, size, Tokenizer())


def test_a_vocabulary_larger_than_the_texts_takes_every_word():
    assert Vocabulary.fit(["b a"], 100, Tokenizer()).words == ("a", "b")


def test_fitting_can_see_no_other_texts_than_training_texts():
    assert list(inspect.signature(Vocabulary.fit).parameters) == ["training_texts", "size", "tokenizer"]
    vocabulary = Vocabulary.fit(["red green"], 10, Tokenizer())
    before = vocabulary.to_dict()
    counts = vocabulary.counts(["blue blue red", "violet"])
    assert vocabulary.to_dict() == before
    assert counts.toarray().tolist() == [[0, 1], [0, 0]]


@given(TEXTS, TEXTS)
@settings(deadline=None)
def test_counts_and_sequences_hold_the_words_of_each_text(training, texts):
    vocabulary = Vocabulary.fit(training, 3, Tokenizer())
    counts = vocabulary.counts(texts)
    assert counts.shape == (len(texts), len(vocabulary))
    assert counts.dtype == np.float32
    assert all((np.diff(row) > 0).all() for row in np.split(counts.indices, counts.indptr[1:-1]))
    for text, row, sequence in zip(texts, counts.toarray(), vocabulary.sequences(texts), strict=True):
        known = [word for word in Tokenizer()(text) if word in vocabulary.words]
        assert [vocabulary.words[i] for i in sequence] == known
        assert dict(zip(vocabulary.words, row, strict=True)) == {
            word: collections.Counter(known)[word] for word in vocabulary.words
        }


def test_no_texts_have_an_empty_table_of_counts():
    assert Vocabulary(("a", "b"), Tokenizer()).counts([]).shape == (0, 2)


def test_reordered_vocabulary_permutes_the_columns_of_the_counts():
    vocabulary = Vocabulary(("a", "b", "c"), Tokenizer())
    order = np.array([2, 0, 1])
    reordered = vocabulary.reordered(order)
    assert reordered.words == ("c", "a", "b")
    texts = ["a b b", "c"]
    np.testing.assert_array_equal(
        reordered.counts(texts).toarray(), vocabulary.counts(texts).toarray()[:, order]
    )


def test_a_saved_vocabulary_treats_a_query_the_same():
    vocabulary = Vocabulary.fit(["Ünï the Cat's CAT"], 5, Tokenizer(lower_case=False, stop_words=True))
    loaded = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert loaded == vocabulary
    query = ["the cat CAT"]
    np.testing.assert_array_equal(loaded.counts(query).toarray(), vocabulary.counts(query).toarray())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vocabulary.fit(["a"], 0, Tokenizer()), "size is 0"),
        (lambda: Vocabulary.fit(["...", ""], 5, Tokenizer()), "the 2 training texts hold no word"),
        (lambda: Vocabulary((), Tokenizer()), "no word"),
        (lambda: Vocabulary(("a", "b", "a"), Tokenizer()), "'a' is there 2 times"),
    ],
)
def test_a_bad_vocabulary_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


COUNTS = sp.csr_array(np.array([[3, 4, 0], [0, 0, 0], [1, 0, 1]], np.float32))
ROWS = np.array([0, 2])


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("counts", [[3, 4, 0], [0, 0, 0], [1, 0, 1]]),
        ("l1", [[3 / 7, 4 / 7, 0], [0, 0, 0], [0.5, 0, 0.5]]),
        ("l2", [[0.6, 0.8, 0], [0, 0, 0], [0.5**0.5, 0, 0.5**0.5]]),
        ("log1p", [[np.log(4), np.log(5), 0], [0, 0, 0], [np.log(2), 0, np.log(2)]]),
    ],
)
def test_weightings_follow_their_formula(weighting, expected):
    weighted = weight_counts(COUNTS, weighting, ROWS)
    assert weighted.dtype == np.float32
    np.testing.assert_allclose(weighted.toarray(), expected, rtol=1e-6)


def test_tfidf_follows_its_formula():
    idf = np.log(3 / (1 + np.array([2, 1, 1]))) + 1  # n = 2 training rows; df = 2, 1, 1
    expected = COUNTS.toarray() * idf
    expected[[0, 2]] /= np.linalg.norm(expected[[0, 2]], axis=1, keepdims=True)
    np.testing.assert_allclose(weight_counts(COUNTS, "tfidf", ROWS).toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_no_weighting_lets_test_rows_change_training_rows(weighting):
    other = sp.csr_array(np.array([[3, 4, 0], [9, 9, 9], [1, 0, 1]], np.float32))
    mine, others = (weight_counts(counts, weighting, ROWS).toarray()[ROWS] for counts in (COUNTS, other))
    np.testing.assert_array_equal(mine, others)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weighting_leaves_the_counts_as_they_were(weighting):
    counts = COUNTS.copy()
    weight_counts(counts, weighting, ROWS)
    np.testing.assert_array_equal(counts.toarray(), COUNTS.toarray())


def test_an_unknown_weighting_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="'bm25' is not known; choose one of counts, l1, l2, log1p, tfidf"):
        weight_counts(COUNTS, "bm25", ROWS)
