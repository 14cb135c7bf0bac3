import shutil

import numpy as np
import pytest
import scipy.io

from gcnxmodal.data import wikipedia
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer

TRAIN = [("t1", "i1", 2), ("t2", "i2", 1), ("t3", "i3", 2), ("t4", "i4", 1)]
TEST = [("t5", "i5", 1), ("t6", "i6", 2)]
XML = '<?xml version="1.0" encoding="UTF-8" ?>\n<document>\n<text>\n{}\n</text>\n</document>\n'


@pytest.fixture
def root(tmp_path):
    """The official layout with four training and two test documents of the classes art and biology."""
    root = tmp_path / "wikipedia"
    (root / "texts").mkdir(parents=True)
    (root / "categories.list").write_text("art\nbiology\n")
    for split, lines in (("train", TRAIN), ("test", TEST)):
        text = "".join(f"{text}\t{image}\t{category}\n" for text, image, category in lines)
        (root / f"{split}set_txt_img_cat.list").write_text(text)
    for row, (text, _, category) in enumerate(TRAIN + TEST):
        content = f"{('painting', 'cell')[category - 1]} word{row} a &gt; b"
        (root / "texts" / f"{text}.xml").write_text(XML.format(content))
    random = np.random.default_rng(0)
    np.savez(root / "cnn_features.npz", train=random.random((4, 5)), test=random.random((2, 5)))
    sizes = {"I_tr": (4, 6), "I_te": (2, 6), "T_tr": (4, 3), "T_te": (2, 3)}
    scipy.io.savemat(root / "raw_features.mat", {name: random.random(size) for name, size in sizes.items()})
    return root


@pytest.fixture
def load(root, tmp_path):
    def load(image_feature="cnn", **options):
        options = {"words": 20, "tokenizer": Tokenizer(), "cache_dir": tmp_path / "cache", **options}
        return wikipedia.load(root, image_feature=image_feature, **options)

    return load


def test_items_come_in_the_order_of_the_lists(load, root):
    corpus = load()
    assert corpus.texts[0] == "cell word0 a > b"
    assert [text.split()[1] for text in corpus.texts] == [f"word{row}" for row in range(6)]
    assert [corpus.class_names[row.argmax()] for row in corpus.labels] == [
        *("biology", "art", "biology", "art"),
        *("art", "biology"),
    ]
    np.testing.assert_array_equal(corpus.splits["train"], [0, 1, 2, 3])
    np.testing.assert_array_equal(corpus.splits["test"], [4, 5])
    with np.load(root / "cnn_features.npz") as file:
        features = np.concatenate([file["train"], file["test"]]).astype(np.float32)
    np.testing.assert_array_equal(corpus.images, features, strict=True)
    assert corpus.pictures is None


def test_sift_is_the_official_mat_file(load, root):
    mat = scipy.io.loadmat(root / "raw_features.mat")
    expected = np.concatenate([mat["I_tr"], mat["I_te"]]).astype(np.float32)
    np.testing.assert_array_equal(load("sift").images, expected, strict=True)


@pytest.mark.parametrize("inside", [True, False])
def test_image_feature_may_be_any_npz_inside_or_outside_the_folder(load, root, tmp_path, inside):
    file = (root if inside else tmp_path) / "vgg.npz"
    np.savez(file, train=np.full((4, 7), 3), test=np.full((2, 7), 3))
    np.testing.assert_array_equal(load("vgg.npz" if inside else str(file)).images, np.full((6, 7), 3.0))


def test_pictures_lie_in_the_folder_of_their_class(load, root, monkeypatch):
    names = ["biology/i1", "art/i2", "biology/i3", "art/i4", "art/i5", "biology/i6"]
    for name in names:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / f"{name}.jpg").touch()
    paths = [root / "images" / f"{name}.jpg" for name in names]

    def features(pictures, resolution, *, cache_dir):
        assert (pictures, resolution) == (paths, 96)
        return np.ones((6, 2), np.float32)

    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", features)
    assert load("efficientnet-lite0", resolution=96).images.shape == (6, 2)
    assert load("cnn").pictures == tuple(map(str, paths))
    paths[3].unlink()
    assert load("cnn").pictures is None
    with pytest.raises(InputError, match=r"images/art/i4\.jpg: there is no such file; unpack"):
        load("efficientnet-lite0")


def test_test_texts_change_no_bit_of_vocabulary_and_training_counts(load, root):
    before = load()
    for text, _, _ in TEST:
        (root / "texts" / f"{text}.xml").write_text(XML.format("cell " * 99 + "painting entirely new words"))
    after = load()
    assert before.vocabulary == after.vocabulary
    for part in ("data", "indices", "indptr"):
        one, other = (getattr(corpus.counts[:4], part) for corpus in (before, after))
        assert one.tobytes() == other.tobytes()
    assert "entirely new words" in after.texts[4]


def test_document_without_vocabulary_words_is_kept_and_counted(load, root):
    (root / "texts" / "t6.xml").write_text(XML.format(""))
    corpus = load()
    assert corpus.wordless == 1
    assert corpus.texts[5] == ""


def test_official_features_are_in_float64_with_their_labels(root):
    found = wikipedia.official_features(root)
    mat = scipy.io.loadmat(root / "raw_features.mat")
    for name in ("I_tr", "I_te", "T_tr", "T_te"):
        np.testing.assert_array_equal(found[name], mat[name], strict=True)
    np.testing.assert_array_equal(found["labels_tr"].argmax(1), [1, 0, 1, 0])
    np.testing.assert_array_equal(found["labels_te"].argmax(1), [0, 1])


NEEDED = ["trainset_txt_img_cat.list", "testset_txt_img_cat.list", "categories.list", "texts/t3.xml"]


@pytest.mark.parametrize("name", [*NEEDED, "cnn_features.npz"])
def test_missing_file_is_named_with_where_to_get_it(load, root, name):
    (root / name).unlink()
    with pytest.raises(InputError) as error:
        load()
    assert str(error.value).startswith(f"{root / name}: there is no such file")
    assert "'Cross-Modal Multimedia Retrieval', http://www.svcl.ucsd.edu/projects/crossmodal/" in str(
        error.value
    )


def test_missing_or_empty_folder_is_named(load, root, tmp_path):
    options = {"words": 5, "tokenizer": Tokenizer(), "image_feature": "cnn", "cache_dir": tmp_path / "cache"}
    with pytest.raises(
        InputError, match=r"--data\.root is not set; name the folder with the unpacked Wikipedia"
    ):
        wikipedia.load(None, **options)
    with pytest.raises(InputError, match=r"nowhere: there is no such folder; --data\.root must name"):
        wikipedia.load(tmp_path / "nowhere", **options)
    with pytest.raises(InputError, match=r"categories\.list: this is not a folder; --data\.root must name"):
        wikipedia.load(root / "categories.list", **options)
    shutil.rmtree(root)
    root.mkdir()
    with pytest.raises(InputError, match=r"wikipedia: this folder is empty; --data\.root must name"):
        wikipedia.load(root, **options)


BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE document [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n'
    "<document><text>&b;</text></document>"
)
OUTSIDE = BOMB.replace('"ha"', 'SYSTEM "categories.list"')
TRAIN_LIST, TEST_LIST = "trainset_txt_img_cat.list", "testset_txt_img_cat.list"
BAD_FILES = {
    "entities": ("texts/t3.xml", BOMB, "document type definition, which is never read; remove <!DOCTYPE"),
    "external entity": ("texts/t3.xml", OUTSIDE, "document type definition, which is never read"),
    "broken xml": (
        "texts/t3.xml",
        "<document>\n<text>a & b</text></document>",
        "not well-formed .*line 2.*; mend",
    ),
    "no text": (
        "texts/t3.xml",
        "<document><body/></document>",
        "no element <text> in <document>; fetch it again",
    ),
    "text not utf-8": (
        "texts/t3.xml",
        XML.format("ü").encode("latin-1"),
        r"byte 58 .0xfc, line 4. is not UTF-8; save",
    ),
    "list not utf-8": (TEST_LIST, b"t5\ti\xe9\t1\n", r"byte 4 .0xe9, line 1. is not UTF-8; save the file as"),
    "two fields": (TRAIN_LIST, "t1\ti1\t1\nt2 i2 1\n", "line 2 has 1 fields; expected text id, image id and"),
    "class 0": (TRAIN_LIST, "t1\ti1\t0\n", "line 1: class is '0'; expected 1 to 2, the lines of categories"),
    "class 3": (TRAIN_LIST, "t1\ti1\t3\n", "line 1: class is '3'; expected 1 to 2"),
    "class by name": (TRAIN_LIST, "t1\ti1\tart\n", "line 1: class is 'art'; expected 1 to 2"),
    "text in both": (
        TEST_LIST,
        "t5\ti5\t1\nt3\ti6\t2\n",
        f"line 2: text id t3 .*line 3 of {TRAIN_LIST}.* remove one",
    ),
    "image in both": (TEST_LIST, "t5\ti1\t1\nt6\ti6\t2\n", "line 1: image id i1 was there before"),
    "listed twice": (
        TEST_LIST,
        "t5\ti5\t1\nt5\ti5\t1\n",
        "line 2: text id t5 was there before .line 1 of test",
    ),
    "fewer documents": (
        TRAIN_LIST,
        "t1\ti1\t1\nt2\ti2\t2\n",
        r"cnn_features\.npz: array 'train' has 4 rows, expected 2",
    ),
    "empty test list": (TEST_LIST, "\n", "the test split is empty"),
    "class of test only": (
        TRAIN_LIST,
        "t1\ti1\t1\nt2\ti2\t1\n",
        "class 'biology' has no training item; add some",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_file_is_refused_by_name(load, root, name, content, message):
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"(?s)^{root}.*{message}"):
        load()
    assert not list(root.parent.glob("cache/**/*.npz"))


NAN = np.where(np.arange(20).reshape(4, 5) == 13, np.nan, 1)
BAD_FEATURES = {
    "rows": (
        {"train": np.ones((4, 5)), "test": np.ones((3, 5))},
        "array 'test' has 3 rows, expected 2; give one",
    ),
    "width": (
        {"train": np.ones((4, 5)), "test": np.ones((2, 6))},
        "array 'test' has 6 features an item but 'train' has 5",
    ),
    "nan": (
        {"train": NAN, "test": np.ones((2, 5))},
        "array 'train', row 2, column 3 is nan .* extract these",
    ),
    "name": ({"train": np.ones((4, 5))}, "has no array 'test', only train; save it"),
    "pickled": (
        {"train": np.array([{}] * 4), "test": np.ones((2, 5))},
        "array 'train' holds pickled .* save a plain",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_FEATURES.values(), ids=BAD_FEATURES.keys())
def test_bad_features_are_refused_by_name(load, root, arrays, message):
    np.savez(root / "cnn_features.npz", **arrays)
    with pytest.raises(InputError, match=rf"cnn_features\.npz: {message}"):
        load()


def test_official_features_must_match_the_lists(root):
    mat = {"I_tr": np.ones((4, 2)), "I_te": np.ones((2, 2)), "T_tr": np.ones((3, 2)), "T_te": np.ones((2, 2))}
    scipy.io.savemat(root / "raw_features.mat", mat)
    with pytest.raises(InputError, match=r"raw_features\.mat: array 'T_tr' has 3 rows, expected 4"):
        wikipedia.official_features(root)


def test_unknown_image_feature_lists_the_known(load):
    with pytest.raises(
        InputError, match=r"--data\.image-feature is 'vgg'; wikipedia has 'sift' \(raw_.* 'cnn' \("
    ):
        load("vgg")


def test_empty_vocabulary_names_the_folder(load, root):
    for text, _, _ in TRAIN:
        (root / "texts" / f"{text}.xml").write_text(XML.format("..."))
    with pytest.raises(InputError, match=f"^{root}: vocabulary: the 4 training texts hold no word; check"):
        load()


def test_real_archive_has_its_published_sizes(shared_data, tmp_path):
    root = shared_data / "wikipedia"
    if not root.is_dir():
        pytest.skip("the Wikipedia archive is not in ../shared/data")
    corpus = wikipedia.load(
        root, words=10_055, tokenizer=Tokenizer(), image_feature="cnn", cache_dir=tmp_path / "cache"
    )
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {"train": 2173, "test": 693}
    assert corpus.counts.shape == (2866, 10_055)
    assert corpus.images.shape == (2866, 128)
    assert corpus.class_names[0] == "art"
    # Rasiwasia et al. 2010, Table 1: training and test documents of each category.
    train, test = (corpus.labels[corpus.splits[name]].sum(axis=0).tolist() for name in ("train", "test"))
    assert (sum(train), sum(test)) == (2173, 693)
    assert (train[0], test[0]) == (138, 34)
    assert (train[-1], test[-1]) == (347, 104)
    assert wikipedia.official_features(root)["T_te"].shape == (693, 10)


@pytest.mark.parametrize("category", ["9" * 5000, "3", "0", "²", "-1"], ids=range(5))
def test_a_class_that_is_none_of_the_list_is_refused_whatever_its_digits(load, root, category):
    (root / "trainset_txt_img_cat.list").write_text(f"t1\ti1\t{category}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"trainset_txt_img_cat\.list: line 1: class is '.*expected 1 to 2"):
        load()
