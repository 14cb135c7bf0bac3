import csv
import json
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from gcnxmodal.data.folder import load
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer

ROWS = [
    {"file_name": "a/1.png", "text": 'red, "quoted"\nfish', "label": "animal", "split": "train"},
    {"file_name": "a/2.png", "text": "blue fish", "label": "animal", "split": "train"},
    {"file_name": "b/3.png", "text": "grüner Baum", "label": "plant", "split": "train"},
    {"file_name": "b/4.png", "text": "tree", "label": "plant", "split": "test"},
    {"file_name": "a/5.png", "text": "red crab", "label": "animal", "split": "test"},
]
COLOURS = ("red", "green", "blue", "white", "black")


def without(*fields):
    return [{field: value for field, value in row.items() if field not in fields} for row in ROWS]


def write(root, rows, suffix=".jsonl"):
    path = root / f"metadata{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    elif suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def root(tmp_path):
    """Five items with features and no metadata yet."""
    root = tmp_path / "mine"
    root.mkdir()
    np.savez(root / "features.npz", images=np.arange(15, dtype=np.uint8).reshape(5, 3))
    return root


@pytest.fixture
def options(tmp_path):
    return {
        "words": 50,
        "tokenizer": Tokenizer(),
        "image_feature": "features",
        "cache_dir": tmp_path / "cache",
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_corpus(root, options, suffix):
    path = write(root, ROWS, suffix)
    corpus = load(root, **options)
    assert corpus.texts == tuple(row["text"] for row in ROWS)
    assert corpus.class_names == ("animal", "plant")
    np.testing.assert_array_equal(corpus.labels.argmax(axis=1), [0, 0, 1, 1, 0])
    np.testing.assert_array_equal(corpus.splits["train"], [0, 1, 2])
    np.testing.assert_array_equal(corpus.splits["test"], [3, 4])
    np.testing.assert_array_equal(corpus.images, np.arange(15.0, dtype=np.float32).reshape(5, 3), strict=True)
    assert set(corpus.vocabulary.words) == {"red", "quoted", "fish", "blue", "grüner", "baum"}
    assert corpus.wordless == 1
    assert corpus.pictures is None
    assert corpus.provenance["source"] == str(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_items_may_have_several_labels_or_none(root, options, suffix):
    several = [["b", "a"], ["a"], ["c", "b"], [], ["c"]]
    rows = [
        {**row, "labels": "; ".join(names) if suffix == ".csv" else names}
        for row, names in zip(without("label"), several, strict=True)
    ]
    write(root, rows, suffix)
    corpus = load(root, **options)
    assert corpus.class_names == ("a", "b", "c")
    expected = [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(corpus.labels, np.array(expected, bool))


def test_numbers_may_name_classes(root, options):
    write(root, [{**row, "label": int(row["label"] == "plant")} for row in ROWS])
    assert load(root, **options).class_names == ("0", "1")


def test_further_splits_are_kept(root, options):
    names = ["train", "val", "train", "test", "test"]
    write(root, [{**row, "split": name} for row, name in zip(ROWS, names, strict=True)])
    splits = load(root, **options).splits
    assert {name: rows.tolist() for name, rows in splits.items()} == {
        "train": [0, 2],
        "val": [1],
        "test": [3, 4],
    }


def test_byte_order_mark_of_spreadsheets_is_no_part_of_the_first_field(root, options):
    path = write(root, ROWS, ".csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load(root, **options)) == 5


def test_line_separators_inside_json_strings_do_not_end_a_row(root, options):
    write(root, [{**row, "text": f"one\u2028two\x85{row['text']}"} for row in ROWS])
    assert load(root, **options).texts[1] == "one\u2028two\x85blue fish"


def test_without_split_a_seeded_stratified_one_is_made_that_keeps_pictures_whole(root, options):
    rows = [
        {"file_name": f"{row // 2}.png", "text": f"text {row}", "label": f"class{row // 2 % 2}"}
        for row in range(80)
    ]
    write(root, rows)
    np.savez(root / "features.npz", images=np.ones((80, 2)))
    corpus = load(root, **options)
    test = corpus.splits["test"]
    assert len(test) == 16
    np.testing.assert_array_equal(corpus.labels[test].sum(axis=0), [8, 8])
    np.testing.assert_array_equal(test[::2] + 1, test[1::2])
    np.testing.assert_array_equal(load(root, **options).splits["test"], test)
    assert not np.array_equal(load(root, **options, split_seed=1).splits["test"], test)
    assert len(load(root, **options, test_fraction=0.5).splits["test"]) == 40


def test_test_texts_change_no_bit_of_vocabulary_and_training_counts(root, options):
    write(root, ROWS)
    before = load(root, **options)
    write(
        root, [{**row, "text": "fish fish zebra" if row["split"] == "test" else row["text"]} for row in ROWS]
    )
    after = load(root, **options)
    assert before.vocabulary == after.vocabulary
    for part in ("data", "indices", "indptr"):
        one, other = (getattr(corpus.counts[:3], part) for corpus in (before, after))
        assert one.tobytes() == other.tobytes()
    assert after.texts[3] == "fish fish zebra"


def draw(root, rows):
    for row, colour in zip(rows, COLOURS, strict=True):
        (root / row["file_name"]).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), colour).save(root / row["file_name"])


def test_pictures_become_features_in_the_order_of_the_metadata(root, options, monkeypatch):
    write(root, ROWS)
    draw(root, ROWS)

    def colours(pictures, resolution, *, cache_dir):
        assert (resolution, cache_dir) == (96, options["cache_dir"])
        return np.array([Image.open(picture).getpixel((0, 0)) for picture in pictures], np.float32)

    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", colours)
    corpus = load(root, **{**options, "image_feature": "efficientnet-lite0"}, resolution=96)
    expected = [[255, 0, 0], [0, 128, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]
    np.testing.assert_array_equal(corpus.images, np.array(expected, np.float32), strict=True)
    assert corpus.pictures == tuple(str(root / row["file_name"]) for row in ROWS)


def test_unreadable_picture_is_named_before_any_is_encoded(root, options, monkeypatch):
    write(root, ROWS)
    draw(root, ROWS)
    (root / "b/4.png").write_bytes(b"not a picture")
    monkeypatch.setattr(
        "gcnxmodal.data.picture_features._encoder", lambda *_: lambda _: pytest.fail("encoded")
    )
    options["image_feature"] = "efficientnet-lite0"
    with pytest.raises(
        InputError, match=r"b/4\.png: not a readable picture .* replace the file or drop its row"
    ):
        load(root, **options)


def test_missing_picture_is_named(root, options):
    path = write(root, ROWS)
    draw(root, ROWS)
    (root / "b/4.png").unlink()
    options["image_feature"] = "efficientnet-lite0"
    with pytest.raises(
        InputError, match=rf"b/4\.png: there is no such file; it is a file_name of {path.name}: mend"
    ):
        load(root, **options)


def test_pictures_beside_features_are_shown_if_all_are_there(root, options):
    write(root, ROWS)
    draw(root, ROWS)
    assert load(root, **options).pictures == tuple(str(root / row["file_name"]) for row in ROWS)
    (root / "b/4.png").unlink()
    assert load(root, **options).pictures is None


def test_changed_data_are_read_again_and_unchanged_ones_are_not(root, options, monkeypatch):
    write(root, ROWS)
    assert load(root, **options).images[0, 0] == 0
    np.savez(root / "features.npz", images=np.full((5, 4), 7))
    assert load(root, **options).images[0, 0] == 7
    write(root, without("file_name"))
    assert load(root, **options).groups is None
    monkeypatch.setattr("gcnxmodal.data.loader.assemble", lambda *args, **kwargs: pytest.fail("not cached"))
    assert load(root, **options).images[0, 0] == 7


def changed(row, **fields):
    return [{**item, **fields} if number == row else item for number, item in enumerate(ROWS, 1)]


BAD_ROWS = {
    "misspelt field": (
        [{**row, "lable": "x"} for row in without("label")],
        r"the field 'lable' is not known; did you mean 'label'\? the fields are .*: rename or remove it",
    ),
    "unknown field": (
        [{**row, "id": 1} for row in ROWS],
        "the field 'id' is not known; the fields are file_name",
    ),
    "no text": (without("text"), "there is no field 'text'; add it"),
    "no label": (without("label"), "give either the field 'label' .one class. or 'labels'"),
    "both labels": (
        [{**row, "labels": ["x"]} for row in ROWS],
        "give either the field 'label' .one class. or",
    ),
    "missing in one row": (
        [*ROWS[:4], without("split")[4]],
        "row 5: the field 'split' is in some rows only; give",
    ),
    "text is a number": (changed(2, text=3), "row 2: the field 'text' is 3; write a text"),
    "text is null": (changed(2, text=None), "row 2: the field 'text' is None; write a text"),
    "label empty": (changed(4, label=" "), "row 4: the field 'label' is ' '; expected a class name"),
    "label null": (changed(4, label=None), "row 4: the field 'label' is None; expected a class name"),
    "label true": (changed(4, label=True), "row 4: the field 'label' is True; expected a class name"),
    "labels a number": (
        [{**row, "labels": 3} for row in without("label")],
        r"row 1: the field 'labels' is 3; expected a list of class names .in CSV: a;b;c",
    ),
    "no label at all": (
        [{**row, "labels": []} for row in without("label")],
        "no row has a label in its field 'labels'",
    ),
    "absolute path": (
        changed(3, file_name="/etc/passwd"),
        "row 3: the field 'file_name' is '/etc/passwd'; expected a",
    ),
    "path outside": (
        changed(3, file_name="a/../../x.png"),
        "row 3: the field 'file_name' is .*; expected a path inside",
    ),
    "no path": (changed(3, file_name=""), "row 3: the field 'file_name' is ''; expected a path inside"),
    "split empty": (changed(3, split=""), "row 3: the field 'split' is ''; write train or test in every row"),
    "no test": (
        [{**row, "split": "train"} for row in ROWS],
        "no row has 'test' in its field 'split', only train; both",
    ),
    "capitals": (
        [{**row, "split": row["split"].title()} for row in ROWS],
        "no row has 'test' in its field 'split', only Test, Train; both",
    ),
    "picture in both": (
        changed(5, file_name="a/2.png"),
        r"row 5: the picture 'a/2.png' is in test, and in train .row 2.; keep it in one of them",
    ),
    "class of test only": (
        changed(3, label="animal"),
        "class 'plant' has no training item; add some, or drop",
    ),
    "no word": (
        [{**row, "text": "..."} for row in ROWS],
        "vocabulary: the 3 training texts hold no word; check the",
    ),
}


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_bad_row_is_refused_by_name(root, options, rows, message):
    path = write(root, rows)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        load(root, **options)
    assert not list(root.parent.glob("cache/**/*.npz"))


HEADER = b"text,label,split\n"
BAD_FILES = {
    "not utf-8": (
        "csv",
        HEADER + b"caf\xe9,a,train\n",
        r"byte 20 .0xe9, line 2. is not UTF-8; save the file as UTF-8",
    ),
    "too many fields": (
        "csv",
        HEADER + b"a, b,c,train\n",
        'line 2 has 4 fields, the header has 3; put texts .* "quotes"',
    ),
    "open quote": (
        "csv",
        HEADER + b'"a,b,train\n',
        "line 2: unexpected end of data; mend it, or write metadata.jsonl",
    ),
    "same field twice": ("csv", b"text,text\na,b\n", "a field is twice in the header text,text; rename one"),
    "very long text": (
        "csv",
        HEADER + b"a" * 200_000 + b",a,train\n",
        "line 2: field larger than .* or write metadata.jsonl",
    ),
    "header only": ("csv", HEADER, "there is no row in it; write one an item"),
    "empty": ("csv", b"", "there is no row in it; write one an item"),
    "broken json": ("jsonl", b'{"text": "a"}\n{"text": \n', "line 2 is not JSON .*; write one object a line"),
    "a list": ("jsonl", b'["text"]\n', "line 1 is no JSON object; write one"),
    "no parquet": ("parquet", b"PAR1 and then nothing", "cannot be read as Parquet .*; write it again"),
}


@pytest.mark.parametrize(("suffix", "content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_metadata_file_is_refused_by_name(root, options, suffix, content, message):
    path = root / f"metadata.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        load(root, **options)


def test_folder_without_metadata_says_what_to_write(root, options):
    message = (
        r"mine: there is no metadata\.csv, metadata\.jsonl or metadata\.parquet in this folder; write one"
    )
    with pytest.raises(InputError, match=message):
        load(root, **options)


def test_two_metadata_files_are_refused(root, options):
    write(root, ROWS, ".csv")
    write(root, ROWS, ".jsonl")
    with pytest.raises(InputError, match=r"metadata\.csv: metadata\.jsonl is there too; keep one of them"):
        load(root, **options)


def test_missing_or_empty_folder_is_named(tmp_path, options):
    with pytest.raises(InputError, match=r"--data\.root is not set; name the folder with your pictures"):
        load(None, **options)
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        load(tmp_path / "nowhere", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: this folder is empty"):
        load(tmp_path / "empty", **options)


def test_parquet_without_pyarrow_names_the_extra(root, options, monkeypatch):
    write(root, ROWS, ".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs the package pyarrow; pip install 'gcnxmodal\[parquet\]'"):
        load(root, **options)


BAD_FEATURES = {
    "rows": (np.ones((4, 3)), "array 'images' has 4 rows, expected 5; give one row an item"),
    "nan": (
        np.full((5, 3), np.nan),
        "array 'images', row 0, column 0 is nan .5 rows .*; extract these features",
    ),
    "pickled": (
        np.array([{}] * 5),
        "array 'images' holds pickled Python objects, .*; save a plain numeric array",
    ),
    "one dimension": (np.ones(5), r"array 'images' is float64 \[5\]; expected numbers \[n, d\]"),
}


@pytest.mark.parametrize(("array", "message"), BAD_FEATURES.values(), ids=BAD_FEATURES.keys())
def test_bad_features_are_refused_by_name(root, options, array, message):
    write(root, ROWS)
    np.savez(root / "features.npz", images=array)
    with pytest.raises(InputError, match=rf"features\.npz: {message}"):
        load(root, **options)


def test_missing_features_say_how_to_write_them(root, options):
    write(root, ROWS)
    (root / "features.npz").unlink()
    with pytest.raises(InputError, match=r"features\.npz: there is no such file; write it with numpy\.savez"):
        load(root, **options)


def test_pictures_need_file_names(root, options):
    write(root, without("file_name"))
    with pytest.raises(
        InputError, match=r"no field 'file_name'; add it, or put features into .*features\.npz"
    ):
        load(root, **{**options, "image_feature": "efficientnet-lite0"})


def test_unknown_image_feature_lists_the_known(root, options):
    write(root, ROWS)
    with pytest.raises(
        InputError, match="is 'vgg'; a folder has 'efficientnet-lite0', 'pixels' or 'features'"
    ):
        load(root, **{**options, "image_feature": "vgg"})


def test_corel5k_is_a_folder_with_several_labels_an_item(shared_data, options):
    root = shared_data / "corel5k"
    if not root.is_dir():
        pytest.skip("Corel5k is not in ../shared/data")
    corpus = load(root, **options)
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {"train": 3595, "test": 406}
    assert corpus.images.shape == (4001, 499)
    assert corpus.images.dtype == np.float32
    assert len(corpus.class_names) == 20
    assert np.bincount(corpus.labels.sum(axis=1)).tolist() == [0, 1711, 1739, 549, 2]
    for rows in corpus.splits.values():
        assert corpus.labels[rows].any(axis=0).all()
    assert corpus.texts[0] == "city sun"
    assert {corpus.class_names[column] for column in np.flatnonzero(corpus.labels[0])} == {"mountain", "sky"}
    # Presence of visual words: no value is scaled on the way.
    assert set(np.unique(corpus.images)) == {0, 1}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("with_split", [True, False])
def test_item_with_an_empty_list_of_labels_is_kept_without_one(root, options, suffix, with_split):
    rows = without("label") if with_split else without("label", "split", "file_name")
    names = [["animal"], [], ["plant", "animal"], ["plant"], []]
    listed = [";".join(found) if suffix == ".csv" else found for found in names]
    write(root, [{**row, "labels": found} for row, found in zip(rows, listed, strict=True)], suffix)
    corpus = load(root, **options)
    expected = [[True, False], [False, False], [True, True], [False, True], [False, False]]
    np.testing.assert_array_equal(corpus.labels, expected)
    assert sum(len(rows) for rows in corpus.splits.values()) == 5
