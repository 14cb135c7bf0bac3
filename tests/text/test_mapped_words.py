"""Words outside the vocabulary, read as the words of it that are near."""

from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors

from gcnxmodal.inputs import TextReader
from gcnxmodal.text.vectors import cut_words, load_vectors, map_words, word_vectors
from gcnxmodal.text.vocabulary import MappedWords, Tokenizer, Vocabulary, fit_idf

VOCABULARY = Vocabulary(tuple(f"in{i}" for i in range(12)), Tokenizer())
OUTSIDE = [f"out{i}" for i in range(1100)]  # more than a block


def made_up_vectors() -> KeyedVectors:
    random = np.random.default_rng(0)
    vectors = KeyedVectors(3)
    words = [*OUTSIDE, *VOCABULARY.words[:10]]  # two words of the vocabulary have no vector
    vectors.add_vectors(words, random.standard_normal((len(words), 3)).astype(np.float32))
    return vectors


def reader(mapped: MappedWords | None, weighting: str | None = "counts", **more) -> TextReader:
    vocabulary = more.pop("vocabulary", VOCABULARY)
    return TextReader(vocabulary, weighting, more.pop("idf", None), length=9, width=2, mapped=mapped)


def test_a_word_is_mapped_as_slow_numpy_says():
    vectors = made_up_vectors()
    mapped = map_words(vectors, VOCABULARY, most=2_000, k=4, least=0.9)
    inside = [word for word in VOCABULARY.words if word in vectors]
    expected = {}
    for word in OUTSIDE:
        cosines = {other: float(vectors.similarity(word, other)) for other in inside}
        nearest = sorted(cosines, key=lambda other: -cosines[other])[:4]
        if cosines[nearest[0]] >= 0.9:
            shares = {other: max(cosines[other], 0) for other in nearest if cosines[other] > 0}
            expected[word] = {other: share / sum(shares.values()) for other, share in shares.items()}
    assert list(mapped.words) == list(expected)
    assert 50 < len(expected) < len(OUTSIDE)
    for word, shares in expected.items():
        vertices, weights = mapped.of(word)
        assert [VOCABULARY.words[vertex] for vertex in vertices] == list(shares)
        np.testing.assert_allclose(weights, list(shares.values()), atol=1e-6)
    assert mapped.of("nowhere") is None


def test_only_the_first_words_of_the_source_are_mapped_and_only_what_a_tokeniser_can_give():
    vectors = KeyedVectors(2)
    vectors.add_vectors(["two words", "Upper", "a", "b", "in0"], np.ones((5, 2), np.float32))
    assert map_words(vectors, VOCABULARY, most=1).words == ("a",)
    assert map_words(vectors, VOCABULARY, most=9).words == ("a", "b")


def test_saved_arrays_give_the_same_words():
    mapped = map_words(made_up_vectors(), VOCABULARY, most=100)
    again = MappedWords.from_arrays(mapped.arrays())
    assert again.words == mapped.words
    np.testing.assert_array_equal(again.vertices, mapped.vertices)
    assert MappedWords.from_arrays(map_words(made_up_vectors(), VOCABULARY, most=0).arrays()).words == ()


def test_the_count_of_an_unknown_word_is_spread_and_weighted_like_the_others():
    mapped = MappedWords(("kitten",), np.array([[3, 1, -1]]), np.array([[0.75, 0.25, 0]], np.float32))
    read = reader(mapped).read(["in1 kitten kitten zzz", "zzz", "in2"])
    assert read.rows.toarray()[0, :4].tolist() == [0, 1.5, 0, 1.5]
    assert read.known.tolist() == [True, False, True]
    assert read.mapped == {"kitten": ("in3", "in1")}
    assert reader(None).read(["kitten in2"]).rows.toarray()[0].tolist() == [0, 0, 1, *[0] * 9]
    counts = VOCABULARY.counts(["in1 in2", "in1 in3"])
    idf = fit_idf(counts, "tfidf")
    row = reader(mapped, "tfidf", idf=idf).read(["kitten"]).rows.toarray()[0]
    expected = np.array([0.25 * idf[1], 0.75 * idf[3]])
    np.testing.assert_allclose(row[[1, 3]], expected / np.linalg.norm(expected), rtol=1e-6)


def test_of_words_in_order_the_nearest_stands_for_the_unknown_one():
    mapped = MappedWords(("kitten",), np.array([[3, 1]]), np.array([[0.75, 0.25]], np.float32))
    read = reader(mapped, None).read(["in1 kitten in2"])
    assert read.rows.tolist() == [[1, 3, 2]]
    assert read.mapped == {"kitten": ("in3",)}


def test_a_text_of_known_words_alone_is_read_as_ever():
    mapped = map_words(made_up_vectors(), VOCABULARY, most=100)
    texts = ["in1 in2 in1", "in11 unheard", ""]
    for weighting in ("counts", "l2", "log1p", None):
        reads = reader(mapped, weighting)
        ever, new = reads(texts), reads.read(texts).rows
        if weighting is None:
            np.testing.assert_array_equal(new, ever)
        else:
            np.testing.assert_array_equal(new.toarray(), ever.toarray())


@pytest.mark.parametrize("binary", [False, True])
def test_a_file_gives_the_first_other_words_beside_the_vocabulary(tmp_path: Path, binary: bool):
    vectors = KeyedVectors(3)
    words = ["of", "two words", "Of", "in3", "and", "to", "in1"]
    vectors.add_vectors([word.replace(" ", "_") for word in words], np.eye(7, 3, dtype=np.float32) + 1)
    vectors.save_word2vec_format(str(tmp_path / "v"), binary=binary)
    found = load_vectors(tmp_path / "v", VOCABULARY.words, 2, Tokenizer())
    assert found.index_to_key == ["in1", "in3", "of", "and"]
    assert load_vectors(tmp_path / "v", VOCABULARY.words).index_to_key == ["in1", "in3"]


def test_vectors_of_the_corpus_map_the_words_that_the_vocabulary_leaves_out():
    random = np.random.default_rng(0)
    pets, cars = ["cat", "dog", "paw", "fur", "kitten"], ["car", "road", "wheel", "fuel", "lorry"]
    texts = [" ".join(random.choice(part, 6)) for part in (pets, cars) for _ in range(200)] + ["once cat"]
    words = (*pets[:4], *cars[:4])
    vocabulary = Vocabulary(words, Tokenizer())
    vectors = word_vectors("corpus", vocabulary, texts, others=10)
    mapped = map_words(vectors, vocabulary, most=10)
    assert set(mapped.words) == {"kitten", "lorry"}
    assert {words[vertex] for vertex in mapped.of("kitten")[0]} == set(pets[:4])
    assert cut_words(vocabulary, texts) == {"kitten", "lorry"}
