import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from small_folder import write_folder

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.data import folder
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import feature_scaler, word_inputs
from gcnxmodal.text.vocabulary import Tokenizer

TEXT = TextConfig(words=40, neighbours=4)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path / "cache"))


def load(root: Path):
    return folder.load(
        root, words=40, tokenizer=Tokenizer(), image_feature="features", cache_dir=root.parent / "cache"
    )


def mutate_test_texts(root: Path) -> None:
    path = root / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["split"] == "test":
            row["text"] = "word00 word00 entirely different words"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_no_test_text_can_change_vocabulary_vectors_or_graph(tmp_path: Path):
    root = write_folder(tmp_path / "data")
    before = word_inputs(load(root), DataConfig(), TEXT)
    mutate_test_texts(root)
    (vectors,) = (tmp_path / "cache" / "vectors").iterdir()
    vectors.unlink()  # trained anew, not read back
    after = word_inputs(load(root), DataConfig(), TEXT)
    assert before.corpus.vocabulary == after.corpus.vocabulary
    jax.tree.map(np.testing.assert_array_equal, before.layout, after.layout)
    train = before.corpus.splits["train"]
    np.testing.assert_array_equal(before.texts[train].toarray(), after.texts[train].toarray())
    test = before.corpus.splits["test"]
    assert (before.texts[test].toarray() != after.texts[test].toarray()).any()


def test_kept_word_vectors_give_the_same_graph_and_a_damaged_file_is_made_again(folder: Path):
    first = word_inputs(load(folder), DataConfig(), TEXT)
    kept = word_inputs(load(folder), DataConfig(), TEXT)
    (vectors,) = (folder.parent / "cache" / "vectors").iterdir()
    vectors.write_bytes(vectors.read_bytes()[:100])
    again = word_inputs(load(folder), DataConfig(), TEXT)
    for other in (kept, again):
        jax.tree.map(np.testing.assert_array_equal, first.layout, other.layout)


def test_another_seed_trains_other_vectors(folder: Path):
    one, two = (
        word_inputs(load(folder), DataConfig(), dataclasses.replace(TEXT, vector_seed=seed))
        for seed in (0, 1)
    )
    assert one.corpus.vocabulary.words != two.corpus.vocabulary.words  # ordered by another graph


def test_counts_follow_the_words_when_the_vocabulary_is_reordered(folder: Path):
    corpus = load(folder)
    inputs = word_inputs(corpus, DataConfig(), TEXT)
    for row in range(5):
        expected = dict(zip(corpus.vocabulary.words, corpus.counts[[row]].toarray()[0], strict=True))
        found = dict(zip(inputs.corpus.vocabulary.words, inputs.texts[[row]].toarray()[0], strict=True))
        assert found == expected


def test_scaling_uses_training_items_only_and_does_what_it_says():
    random = np.random.default_rng(0)
    images = (random.standard_normal((50, 6)) * [1, 2, 3, 4, 5, 0] + 7).astype(np.float32)
    train = np.arange(30)
    changed = images.copy()
    changed[30:] *= 100
    for scale in ("raw", "unit", "standard"):
        scaled = feature_scaler(images, scale, train)(images)
        assert scaled.dtype == np.float32
        np.testing.assert_array_equal(feature_scaler(changed, scale, train)(changed)[train], scaled[train])
    unit, standard = (feature_scaler(images, scale, train)(images)[train] for scale in ("unit", "standard"))
    assert unit.var(axis=0).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(standard.var(axis=0), [1, 1, 1, 1, 1, 0], atol=1e-5)
    assert np.isfinite(standard).all()


@pytest.mark.parametrize("scale", ["unit", "standard"])
@pytest.mark.parametrize("size", [1e-20, 1e-7, 1e19, 1e20])
def test_scaled_features_are_the_same_at_any_size(scale: str, size: float):
    random = np.random.default_rng(0)
    images, train = random.standard_normal((50, 6)).astype(np.float32) + 3, np.arange(30)
    images[:, 5] = 0.1  # constant
    scaled = feature_scaler(images * np.float32(size), scale, train)(images * np.float32(size))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, feature_scaler(images, scale, train)(images), atol=1e-5)
    assert (np.abs(scaled[:, 5]) < 1e-6).all()
    assert not (scaled[:, :5] == 0).any()


def test_a_small_feature_beside_large_ones_is_not_taken_for_constant():
    images = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32) * [1e12, 1e-12]
    scaled = feature_scaler(images.astype(np.float32), "standard", np.arange(50))(images)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)


def test_too_many_neighbours_are_refused_before_vectors_are_trained(folder: Path):
    with pytest.raises(InputError, match=r"--text.neighbours is 40 but the training texts have 40 words"):
        word_inputs(load(folder), DataConfig(), dataclasses.replace(TEXT, neighbours=40))
    assert not (folder.parent / "cache" / "vectors").exists()


def test_a_corpus_of_one_class_is_refused(tmp_path: Path):
    root = write_folder(tmp_path / "one", classes=1)
    with pytest.raises(InputError, match="one class only"):
        word_inputs(load(root), DataConfig(), TEXT)


def test_word_vectors_follow_the_words_at_unit_length(folder: Path):
    corpus = load(folder)
    inputs = word_inputs(corpus, DataConfig(), TEXT, "words")
    assert inputs.layout is None  # nothing reads a word graph here: none is made
    assert inputs.corpus.vocabulary == corpus.vocabulary
    lengths = np.linalg.norm(inputs.vectors, axis=1)
    assert ((np.abs(lengths - 1) < 1e-5) | (lengths == 0)).all()
    assert (lengths > 0).sum() == inputs.graph_report["words_with_vector"]
    words = inputs.corpus.vocabulary.words
    for row, text in enumerate(corpus.texts[:5]):
        read = [words[number] for number in inputs.texts[row] if number >= 0]
        assert read == corpus.vocabulary.tokenizer(text)[: TEXT.length]
