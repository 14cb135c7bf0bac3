import dataclasses

import numpy as np
import pytest

from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer, Vocabulary

TEXTS = ("red fish", "blue fish fish", "green tree", "blue tree leaf", "red leaf", "???")


@pytest.fixture
def corpus() -> Corpus:
    """Six items of two classes; the last one has no vocabulary word."""
    train, test = np.array([0, 1, 2, 3]), np.array([4, 5])
    vocabulary = Vocabulary.fit([TEXTS[row] for row in train], 10, Tokenizer())
    return Corpus(
        images=np.arange(18, dtype=np.float32).reshape(6, 3),
        counts=vocabulary.counts(TEXTS),
        labels=np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [0, 1]], bool),
        class_names=("animal", "plant"),
        splits={"train": train, "test": test},
        vocabulary=vocabulary,
        provenance={"source": "fixture", "options": {"words": 10}},
        texts=TEXTS,
        pictures=tuple(f"{row}.png" for row in range(6)),
        groups=np.array([0, 0, 1, 2, 3, 3]),
    )


@pytest.fixture
def hashing(corpus) -> Corpus:
    """The corpus with a database to rank; row 3 is in it and not trained on."""
    rows = {"train": np.array([0, 1, 2]), "test": np.array([4, 5]), "retrieval": np.arange(4)}
    return dataclasses.replace(corpus, splits=rows)


def assert_same(one: Corpus, other: Corpus) -> None:
    for field in ("images", "labels", "groups", "text_features"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), strict=True)
    for field in ("class_names", "vocabulary", "provenance", "texts", "pictures", "metadata"):
        assert getattr(one, field) == getattr(other, field)
    assert (one.counts != other.counts).nnz == 0
    assert one.counts.dtype == other.counts.dtype
    assert list(one.splits) == list(other.splits)
    for name in one.splits:
        np.testing.assert_array_equal(one.splits[name], other.splits[name], strict=True)


def test_saved_corpus_comes_back_the_same(corpus, tmp_path):
    corpus.save(tmp_path / "corpus.npz")
    assert_same(corpus, Corpus.load(tmp_path / "corpus.npz"))


def test_retrieval_split_is_kept_and_comes_back(hashing, tmp_path):
    hashing.save(str(tmp_path / "corpus.npz"))
    assert_same(hashing, Corpus.load(str(tmp_path / "corpus.npz")))


def test_validation_drops_the_retrieval_split_which_has_the_held_out_items(hashing):
    both = dataclasses.replace(hashing, labels=np.ones((6, 2), bool))
    split = both.validation(0.4, 0).splits
    assert set(split) == {"train", "test"}
    assert {*split["train"], *split["test"]} == {0, 1, 2}


def test_corpus_without_pictures_and_groups_comes_back_the_same(corpus, tmp_path):
    bare = dataclasses.replace(corpus, pictures=None, groups=None)
    bare.save(tmp_path / "corpus.npz")
    assert_same(bare, Corpus.load(tmp_path / "corpus.npz"))


def test_text_features_and_fields_of_the_user_come_back_the_same(corpus, tmp_path):
    metadata = tuple({"url": f"shop/{row}", "price": row / 4, "tags": ["a", None]} for row in range(6))
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    more = dataclasses.replace(corpus, text_features=features, metadata=metadata)
    more.save(tmp_path / "corpus.npz")
    assert_same(more, Corpus.load(tmp_path / "corpus.npz"))


def without_labels(corpus: Corpus, **values) -> Corpus:
    return dataclasses.replace(corpus, labels=np.zeros((6, 0), bool), class_names=(), **values)


def test_a_corpus_without_labels_matches_by_group(corpus, tmp_path):
    bare = without_labels(corpus, groups=np.array([7, 7, 3, 3, 9, 9]))
    assert corpus.labelled
    assert not bare.labelled
    assert bare.group_ids.dtype == np.int32
    assert bare.group_ids.tolist() == [1, 1, 0, 0, 2, 2]
    assert without_labels(corpus, groups=None).group_ids.tolist() == list(range(6))
    bare.save(tmp_path / "corpus.npz")
    assert_same(bare, Corpus.load(tmp_path / "corpus.npz"))


def test_rows_of_a_group_share_a_text_or_a_picture(corpus):
    groups = np.array([0, 0, 1, 1, 3, 3])
    texts = ("red fish", "a fish", "green tree", "green tree", "a fish", "a fish")
    pictures = ("a.png", "a.png", "b.png", "c.png", "a.png", "d.png")
    more = dataclasses.replace(corpus, groups=groups, texts=texts, pictures=pictures)
    pairs = more.pairs
    assert pairs.group_n.tolist() == [0, 0, 1, 1, 2, 2]
    assert pairs.text_n.tolist() == [0, 1, 2, 2, 3, 3]
    assert pairs.image_n.tolist() == [0, 0, 1, 2, 3, 4]
    assert pairs.first_rows("text").tolist() == [0, 1, 2, 4]
    assert pairs.first_rows("image").tolist() == [0, 2, 3, 4, 5]
    images = np.array([[1], [1], [2], [3], [1], [4]], np.float32)
    without_files = dataclasses.replace(more, pictures=None, images=images)
    assert without_files.pairs.image_n.tolist() == [0, 0, 1, 2, 3, 4]
    features = np.array([[0], [0], [1], [2], [0], [0]], np.float32)
    assert dataclasses.replace(more, text_features=features).pairs.text_n.tolist() == [0, 1, 2, 3, 4, 4]
    assert dataclasses.replace(corpus, groups=None).pairs is None
    assert dataclasses.replace(corpus, groups=np.arange(6)).pairs is None


def test_validation_needs_no_labels_and_keeps_groups_whole(corpus):
    bare = without_labels(corpus, splits={"train": np.arange(5), "test": np.array([5])}, groups=None)
    split = bare.validation(0.4, 0).splits
    assert (len(split["train"]), len(split["test"])) == (3, 2)
    grouped = dataclasses.replace(bare, groups=np.array([0, 0, 1, 2, 2, 9]))
    for seed in range(5):
        split = grouped.validation(0.34, seed).splits
        assert sorted([*split["train"], *split["test"]]) == [0, 1, 2, 3, 4]
        assert not set(grouped.groups[split["train"]]) & set(grouped.groups[split["test"]])


def test_document_without_vocabulary_words_is_kept_and_counted(corpus):
    assert len(corpus) == 6
    assert corpus.wordless == 1


def test_reordering_renumbers_words_and_counts_alike(corpus):
    order = np.random.default_rng(0).permutation(len(corpus.vocabulary))
    reordered = corpus.reordered(order)
    assert reordered.vocabulary.words == tuple(corpus.vocabulary.words[old] for old in order)
    np.testing.assert_array_equal(
        reordered.counts.toarray(), corpus.vocabulary.counts(TEXTS).toarray()[:, order]
    )
    np.testing.assert_array_equal(reordered.counts.toarray(), reordered.vocabulary.counts(TEXTS).toarray())
    indices = np.split(reordered.counts.indices, reordered.counts.indptr[1:-1])
    assert all((np.diff(row) > 0).all() for row in indices)


def test_validation_split_never_sees_test_items_and_keeps_groups_whole(corpus):
    more = dataclasses.replace(
        corpus,
        labels=np.tile(corpus.labels[:1], (6, 1)) | np.array([False, True]),
        splits={"train": np.arange(5), "test": np.array([5])},
        groups=np.array([0, 0, 1, 2, 2, 9]),
    )
    held_out = set()
    for seed in range(10):
        split = more.validation(0.34, seed).splits
        assert sorted([*split["train"], *split["test"]]) == [0, 1, 2, 3, 4]
        assert not set(more.groups[split["train"]]) & set(more.groups[split["test"]])
        held_out.add(tuple(split["test"]))
        np.testing.assert_array_equal(split["test"], more.validation(0.34, seed).splits["test"])
    assert held_out == {(0, 1), (2,), (3, 4)}


def test_validation_holds_out_of_every_class_its_share(corpus):
    """In the order of a hash: the same under every NumPy version."""
    classes = np.repeat([0, 1], [40, 10])
    many = dataclasses.replace(
        corpus,
        images=np.zeros((51, 3), np.float32),
        counts=corpus.vocabulary.counts(("red fish",) * 51),
        labels=np.eye(2, dtype=bool)[[*classes, 0]],
        splits={"train": np.arange(50), "test": np.array([50])},
        texts=("red fish",) * 51,
        pictures=None,
        groups=None,
    )
    split = many.validation(0.2, 0).splits
    assert np.bincount(classes[split["test"]]).tolist() == [8, 2]
    # Written down from the first run: another machine, Python or NumPy must give the same rows.
    assert split["test"].tolist() == [7, 15, 18, 20, 25, 33, 36, 37, 44, 46]


def test_validation_leaves_every_class_a_training_item(corpus):
    # Of the training items only row 3 is an animal and only row 0 a plant: they are never held out.
    rare = dataclasses.replace(corpus, labels=np.arange(6)[:, None] % 4 == np.array([3, 0]), groups=None)
    for seed in range(10):
        split = rare.validation(0.75, seed).splits
        assert {0, 3} & set(split["train"]) == {0, 3}
        assert set(split["train"]) | set(split["test"]) == {0, 1, 2, 3}


NAN = np.full((6, 3), 0, np.float32)
NAN[4, 2] = np.nan
INFINITE = np.where(np.isnan(NAN), np.float32(np.inf), NAN)
BAD = {
    "rows of images": ({"images": np.zeros((5, 3), np.float32)}, "images has 5 rows but there are 6 texts"),
    "dtype of images": ({"images": np.zeros((6, 3))}, r"float32 \[n, d\] .* not float64 \[6, 3\]"),
    "nan": ({"images": NAN}, "images row 4, column 2 is nan .* extract"),
    "infinite": ({"images": INFINITE}, "images row 4, column 2 is inf"),
    "type of labels": ({"labels": np.zeros(6, int)}, r"labels must be bool \[n, C\], not int64 \[6\]"),
    "columns of labels": ({"labels": np.ones((6, 3), bool)}, "3 columns but there are 2 class names"),
    "pictures": ({"pictures": ("a.png",)}, "pictures has 1 rows"),
    "metadata": ({"metadata": ({},)}, "metadata has 1 rows"),
    "rows of text features": (
        {"text_features": np.zeros((5, 3), np.float32)},
        "text_features has 5 rows but there are 6 texts",
    ),
    "dtype of text features": (
        {"text_features": np.zeros((6, 3))},
        r"text_features must be float32 \[n, e\], not float64",
    ),
    "nan in text features": ({"text_features": NAN}, "text_features row 4, column 2 is nan .* extract"),
    "empty split": (
        {"splits": {"train": np.arange(6), "test": np.array([], int)}},
        "the test split is empty",
    ),
    "no test split": ({"splits": {"train": np.arange(6)}}, "the test split is empty"),
    "row too large": (
        {"splits": {"train": np.arange(4), "test": np.array([4, 6])}},
        "test split names row 6, but there are 6 items",
    ),
    "row below 0": (
        {"splits": {"train": np.arange(4), "test": np.array([4, -1])}},
        "test split names row -1, but there are 6 items",
    ),
    "other split": (
        {"splits": {"train": np.arange(4), "test": np.array([4]), "validation": np.array([7])}},
        "validation split names row 7",
    ),
    "shared row": (
        {"splits": {"train": np.arange(4), "test": np.array([3, 4])}, "groups": None},
        "row 3 is in train and in test .* remove it from one",
    ),
    "shared group": ({"groups": np.array([0, 0, 1, 2, 2, 3])}, "group 2 has items in train and in test"),
    "query in the database": (
        {
            "splits": {"train": np.arange(4), "test": np.array([4]), "retrieval": np.arange(5)},
            "groups": None,
        },
        "row 4 is in retrieval and in test .* remove it from one",
    ),
    "group of a query in the database": (
        {"splits": {"train": np.arange(4), "test": np.array([4]), "retrieval": np.array([5])}},
        "group 3 has items in retrieval and in test",
    ),
    "class without training item": (
        {"labels": np.array([[1, 0]] * 4 + [[0, 1]] * 2, bool)},
        "class 'plant' has no training item; add some, or drop the class",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_bad_corpus_is_refused_by_name(corpus, change, message):
    with pytest.raises(InputError, match=f"^fixture: .*{message}"):
        dataclasses.replace(corpus, **change)


def test_counts_must_match_the_vocabulary(corpus):
    with pytest.raises(InputError, match=r"counts has 6 columns but the vocabulary has 5 words"):
        dataclasses.replace(corpus, vocabulary=Vocabulary(corpus.vocabulary.words[:5], Tokenizer()))


def test_pixels_are_images_too(corpus):
    pixels = np.zeros((6, 4, 4, 3), np.uint8)
    assert dataclasses.replace(corpus, images=pixels).images is pixels


@pytest.mark.parametrize("field", ["texts", "class_names"])
def test_half_of_a_character_is_refused_with_its_row(corpus, field):
    values = getattr(corpus, field)
    with pytest.raises(InputError, match=rf"fixture: {field} row 1 is no text: character 2 is '\\ud83d'"):
        dataclasses.replace(corpus, **{field: (values[0], "a \ud83d", *values[2:])})
