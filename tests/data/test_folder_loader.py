import csv
import io
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from gcnxmodal.config import DataConfig, TextConfig, experiment_dict
from gcnxmodal.data import metadata
from gcnxmodal.data.folder import find_pictures, load
from gcnxmodal.data.load import load_corpus
from gcnxmodal.data.metadata import read_rows
from gcnxmodal.errors import InputError
from gcnxmodal.stores.files import describe_items
from gcnxmodal.systems.gin import GINExperiment
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


def test_classes_may_have_commas_between_them_and_that_is_said(root, options, capsys):
    rows = [
        {**row, "labels": labels}
        for row, labels in zip(without("label"), ["b,a", "a", "c, b", "", "c"], strict=True)
    ]
    write(root, rows, ".csv")
    corpus = load(root, **options)
    assert corpus.class_names == ("a", "b", "c")
    assert "labels are read with commas between them, as 'b,a'" in capsys.readouterr().out
    rows[0]["labels"], rows[4]["labels"] = "one, with a comma;a", "a"
    write(root, rows, ".csv")
    assert load(root, **options).class_names == ("a", "c, b", "one, with a comma")


@pytest.mark.parametrize("number", [int, float])
def test_numbers_may_name_classes(root, options, number):
    write(root, [{**row, "label": number(row["label"] == "plant")} for row in ROWS])
    assert load(root, **options).class_names == ("0", "1")


def as_table(rows, between):
    table = io.StringIO()
    written = csv.DictWriter(table, rows[0], delimiter=between)
    written.writeheader()
    written.writerows(rows)
    return table.getvalue()


TABLES = {
    "semicolons": ("metadata.csv", as_table(ROWS, ";").encode(), {}, "fields are between semicolons"),
    "tabs": ("metadata.csv", as_table(ROWS, "\t").encode(), {}, "fields are between tabs"),
    "tsv": ("metadata.tsv", as_table(ROWS, "\t").encode(), {}, ""),
    "json": ("metadata.json", json.dumps(ROWS).encode(), {}, ""),
    "utf-16": ("metadata.csv", as_table(ROWS, ",").encode("utf-16"), {}, "read as UTF-16"),
    "cp1252": ("metadata.csv", as_table(ROWS, ",").encode("cp1252"), {"encoding": "cp1252"}, ""),
}


@pytest.mark.parametrize(("name", "content", "more", "said"), TABLES.values(), ids=TABLES.keys())
def test_tables_as_people_have_them_are_read_and_what_was_done_is_said(
    root, options, capsys, name, content, more, said
):
    (root / name).write_bytes(content)
    corpus = load(root, **options, **more)
    assert corpus.texts == tuple(row["text"] for row in ROWS)
    assert [corpus.class_names[of] for of in corpus.labels.argmax(axis=1)] == [row["label"] for row in ROWS]
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(said) == bool(printed)


def test_a_text_may_be_as_long_as_it_is(root, options):
    write(root, [{**ROWS[0], "text": "long " * 40_000}, *ROWS[1:]], ".csv")
    assert load(root, **options).texts[0] == "long " * 40_000


def test_another_encoding_that_is_wrong_is_refused(root, options):
    path = write(root, ROWS, ".csv")
    with pytest.raises(InputError, match=rf"{path}: is not ascii .*; mend it, or name another --data\.enc"):
        load(root, **options, encoding="ascii")
    with pytest.raises(InputError, match=r"--data\.encoding is 'utf-9', which Python does not know"):
        load(root, **options, encoding="utf-9")


def test_the_folders_of_a_split_have_a_table_each(root, options, capsys):
    (root / "features.npz").unlink()
    for part in ("train", "test"):
        of_part = [row for row in ROWS if row["split"] == part]
        (root / part).mkdir()
        write(root / part, [{name: of[name] for name in ("file_name", "text", "label")} for of in of_part])
        for folder in "ab":
            (root / part / folder).mkdir()
        for row in of_part:
            Image.new("RGB", (40, 40), "red").save(root / part / row["file_name"])
    options |= {"image_feature": "pixels", "resolution": 32}
    corpus = load(root, **options)
    assert "{test,train}/metadata.jsonl: the split is that of the folders" in capsys.readouterr().out
    assert [corpus.texts[row] for row in corpus.splits["test"]] == ["tree", "red crab"]
    assert corpus.pictures[0] == str(root / "test/b/4.png")
    assert len(corpus.splits["train"]) == 3
    assert len(find_pictures(root).pictures) == 5


def test_pictures_are_found_by_names_of_other_systems(root, options, capsys):
    rows = [{**row, "file_name": row["file_name"].replace("/", "\\")} for row in ROWS]
    rows[1]["file_name"] = "a/2.PNG"
    write(root, rows)
    draw(root, ROWS)
    corpus = load(root, **options)
    assert corpus.pictures == tuple(str(root / row["file_name"]) for row in ROWS)
    said = "5 pictures lie under another spelling of their file_name, such as 'a/1.png'"
    assert said in capsys.readouterr().out
    write(root, [*rows, {**rows[0], "file_name": "..\\..\\x.png"}])
    options |= {"image_feature": "pixels"}
    with pytest.raises(InputError, match=r"x\.png: there is no such file"):
        load(root, **options)


@pytest.mark.parametrize("name", ["Validation", "val", "valid", "dev"])
def test_parts_of_a_split_have_names_as_people_write_them(root, options, capsys, name):
    names = ["Train", name, "training", "TEST", "test"]
    write(root, [{**row, "split": part} for row, part in zip(ROWS, names, strict=True)])
    splits = load(root, **options).splits
    assert {part: rows.tolist() for part, rows in splits.items()} == {
        "train": [0, 2],
        "val": [1],
        "test": [3, 4],
    }
    assert "in test" not in capsys.readouterr().out
    names = ["train", "train", "train", name, name]
    write(root, [{**row, "split": part} for row, part in zip(ROWS, names, strict=True)])
    assert load(root, **options).splits["test"].tolist() == [3, 4]
    assert "no row is in test; those in val take its place" in capsys.readouterr().out


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


def test_equal_texts_are_on_one_side_of_a_drawn_split_and_counted_in_a_given_one(root, options, capsys):
    rows = [
        {"file_name": f"{row}.png", "text": f"text {of}", "label": f"c{row % 3}"}
        for row, of in enumerate([row // 2 for row in range(120)] + 40 * ["on all"])
    ]
    write(root, rows)
    np.savez(root / "features.npz", images=np.ones((160, 2)))
    corpus = load(root, **options)
    train, test = ({corpus.texts[row] for row in corpus.splits[part]} for part in ("train", "test"))
    assert train & test == {"text on all"}  # of a quarter of the rows: a filler
    assert len(corpus.splits["test"]) == pytest.approx(32, abs=3)
    assert "1 texts are in train and in test" in capsys.readouterr().out
    write(root, [{**row, "split": ("train", "test")[number % 2]} for number, row in enumerate(rows)])
    load(root, **options)
    assert "61 texts are in train and in test, which flatters" in capsys.readouterr().out


def test_an_item_has_the_same_id_whatever_pictures_are_added(root, options, tmp_path, monkeypatch):
    rows = [{**row, "file_name": f"a/{number}.png"} for number, row in enumerate(ROWS, 1)]
    write(root, rows)
    draw(root, rows)
    data = DataConfig(name="folder", root=Path("mine"), image_feature="features")
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    corpus = load_corpus(data, TextConfig(words=50))
    assert [item["id"] for item in describe_items(corpus, np.arange(2))] == ["a/1.png", "a/2.png"]
    assert corpus.pictures[0] == str(root / "a/1.png")  # from whatever folder the run is read
    kept = experiment_dict(GINExperiment(data=data, text=TextConfig(vector_file=Path("v.txt"))))
    assert (kept["data"]["root"], kept["text"]["vector_file"]) == (str(root), str(tmp_path / "v.txt"))


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
    for row, colour in zip(rows, itertools.cycle(COLOURS)):
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


def test_all_broken_pictures_are_named_at_once_and_left_out_by_option(root, options, capsys):
    colours = [f"{number}.png" for number in range(40)]
    rows = [
        {"file_name": name, "text": f"word{number % 5}", "label": f"class{number % 2}"}
        for number, name in enumerate(colours)
    ]
    rows[3]["label"] = "class of a broken picture"
    write(root, rows)
    draw(root, rows)
    for name in colours[2:14]:
        (root / name).write_bytes(b"not a picture")
    options |= {"image_feature": "pixels", "resolution": 32}
    says = r"(?s)12 of 40 pictures cannot be read:.*/2\.png: not .*and 2 more: all of them are in "
    with pytest.raises(InputError, match=says) as refused:
        load(root, **options)
    assert str(refused.value).endswith("drop their rows, or go on without them by --data.skip-broken")
    (listed,) = options["cache_dir"].glob("broken-pictures-*.txt")
    assert [line.split(":")[0] for line in listed.read_text().splitlines()] == [
        str(root / name) for name in colours[2:14]
    ]
    (root / colours[20]).unlink()
    with pytest.raises(InputError, match=r"20\.png: there is no such file; .* by --data\.skip-broken"):
        load(root, **options)
    for _ in range(2):  # made, and from the cache
        corpus = load(root, **options, skip_broken=True)
        assert "13 of 40 pictures cannot be read" in capsys.readouterr().out
    whole = [row for number, row in enumerate(rows) if number not in (*range(2, 14), 20)]
    assert corpus.texts == tuple(row["text"] for row in whole)
    assert corpus.class_names == ("class0", "class1")
    assert [corpus.class_names[of] for of in corpus.labels.argmax(axis=1)] == [row["label"] for row in whole]
    for row in range(27):
        expected = Image.open(corpus.pictures[row]).getpixel((0, 0))
        assert tuple(corpus.images[row, 5, 5]) == expected
    assert sorted(np.concatenate(list(corpus.splits.values()))) == list(range(27))


def test_skipping_broken_pictures_of_features_is_refused(root, options):
    write(root, ROWS)
    with pytest.raises(InputError, match=r"--data\.skip-broken is set, but --data\.image-feature features"):
        load(root, **options, skip_broken=True)


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
    "misspelt picture": (
        [{**row, "file_nam": "x"} for row in without("file_name")],
        "the field 'file_nam' is not known; did you mean 'file_name'",
    ),
    "no text": (without("text"), "there is no field 'text'; add it"),
    "text and texts": ([{**row, "texts": ["x"]} for row in ROWS], "give either the field 'text' or 'texts'"),
    "two candidates for texts": (
        [{**row, "caption": "x", "title": "y"} for row in without("text")],
        "there is no field 'text', and 'caption' and 'title' might each be it; name one by --data.text-field",
    ),
    "no texts in a list": (
        [{**row, "texts": ["x"] if number else []} for number, row in enumerate(without("text"))],
        r"row 1: the field 'texts' is \[\]; write a list of texts, at least one",
    ),
    "a number among texts": (
        [{**row, "texts": ["x", number]} for number, row in enumerate(without("text"))],
        r"row 1: the field 'texts' is \['x', 0\]; write a list of texts",
    ),
    "empty text": (changed(2, text=" "), "row 2: the field 'text' is ' ', without a letter or digit; write"),
    "text without a letter": (
        changed(4, text="?! ..."),
        r"row 4: the field 'text' is '\?! ...', without a letter or digit; write words, or remove the row",
    ),
    "picture with two labels": (
        [*ROWS, {**ROWS[1], "label": "plant"}],
        r"row 6: the picture 'a/2.png' has plant, and animal in row 2; give it the same in both",
    ),
    "group in both": (
        [{**row, "group": number // 2} for number, row in enumerate(ROWS)],
        r"row 4: the group '1' is in test, and in train .row 3.; keep it in one of them",
    ),
    "picture in two groups": (
        [{**row, "file_name": "x.png", "label": "x", "group": number} for number, row in enumerate(ROWS)],
        r"row 2: the picture 'x.png' is in the group '1', and in '0' .row 1.; keep it in one",
    ),
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
    "label a fraction": (changed(4, label=0.5), "row 4: the field 'label' is 0.5; expected a class name"),
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
    "another word for test": (
        [{**row, "split": row["split"].replace("test", "query")} for row in ROWS],
        "no row has 'test' in its field 'split', only query, train; both",
    ),
    "picture in both": (
        changed(5, file_name="a/2.png"),
        r"row 5: the picture 'a/2.png' is in test, and in train .row 2.; keep it in one of them",
    ),
    "class of test only": (
        changed(3, label="animal"),
        "class 'plant' has no training item; add some, or drop",
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
        r"byte 20 .0xe9, line 2. is not UTF-8; save the file as UTF-8, or if it is cp1252, add --data",
    ),
    "gbk": (
        "csv",
        HEADER + "红色的鱼,a,train\n".encode("gbk"),
        r"byte 17 .* is not UTF-8; save the file as UTF-8, or if it is gb18030, add --data.encoding gb18030",
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
    "no list": ("json", b'{"text": "a"}', r"is no list of objects; write \[{...}, ...\]"),
    "deep": ("json", b"[" * 100_000, "is not JSON .*; write a list of objects"),
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
        r"mine: there is no metadata\.csv, .*metadata\.jsonl or metadata\.parquet in this folder; write one"
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


def test_features_may_have_another_name_and_place(root, options, tmp_path):
    write(root, ROWS)
    (root / "features.npz").rename(root / "vgg.npz")
    expected = np.arange(15.0, dtype=np.float32).reshape(5, 3)
    for path in ("vgg.npz", str(root / "vgg.npz")):
        corpus = load(root, **{**options, "image_feature": path})
        np.testing.assert_array_equal(corpus.images, expected, strict=True)


def test_unknown_image_feature_lists_the_known(root, options):
    write(root, ROWS)
    with pytest.raises(InputError, match=r"is 'vgg'; folder has 'features' .*, 'pixels' or the path of an"):
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


CAPTIONED = [
    {"file_name": f"{number}.png", "texts": [f"first {word}", f"a second {word}"], "url": f"shop/{number}"}
    for number, word in enumerate(("fish", "tree", "crab", "leaf", "bird"))
]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_row_may_have_several_texts_and_needs_no_label(root, options, suffix):
    write(root, [{**row, "split": "test" if n > 2 else "train"} for n, row in enumerate(CAPTIONED)], suffix)
    corpus = load(root, **options)
    assert not corpus.labelled
    assert corpus.labels.shape == (10, 0)
    assert corpus.texts[:3] == ("first fish", "a second fish", "first tree")
    assert corpus.group_ids.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(corpus.images, np.repeat(np.arange(15.0).reshape(5, 3), 2, axis=0))
    assert corpus.splits["test"].tolist() == [6, 7, 8, 9]
    assert corpus.metadata[2] == {"url": "shop/1"}
    assert corpus.pairs.image_n.tolist() == corpus.group_ids.tolist()
    assert corpus.pairs.text_n.tolist() == list(range(10))


def test_rows_of_one_picture_are_one_group_with_and_without_labels(root, options):
    np.savez(root / "features.npz", images=np.ones((5, 2)))
    rows = [{**row, "file_name": "a/1.png" if n < 2 else row["file_name"]} for n, row in enumerate(ROWS)]
    write(root, rows)
    assert load(root, **options).group_ids.tolist() == [0, 0, 2, 3, 1]
    write(root, [{name: row[name] for name in ("file_name", "text", "split")} for row in rows])
    bare = load(root, **options)
    assert not bare.labelled
    assert bare.pairs.image_n.tolist() == [0, 0, 1, 2, 3]


def test_rows_of_a_group_belong_together(root, options):
    bare = without("split", "label")
    rows = [{**row, "text": "one text", "group": number % 3} for number, row in enumerate(bare)]
    write(root, rows)
    pairs = load(root, **options).pairs
    assert pairs.group_n.tolist() == [0, 1, 2, 0, 1]
    assert pairs.text_n.tolist() == [0, 1, 2, 0, 1]
    assert pairs.image_n.tolist() == [0, 1, 2, 3, 4]


def test_without_labels_the_split_is_drawn_over_groups(root, options):
    rows = [{"file_name": f"{row // 5}.png", "text": f"text {row}"} for row in range(100)]
    write(root, rows)
    np.savez(root / "features.npz", images=np.ones((100, 2)))
    corpus = load(root, **options)
    test = corpus.splits["test"]
    assert len(test) == 20
    assert (test.reshape(4, 5) == test[::5, None] + np.arange(5)).all()
    np.testing.assert_array_equal(load(root, **options).splits["test"], test)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_fields_are_found_under_common_names_and_by_option(root, options, suffix, capsys):
    rows = [{"image": row["file_name"], "caption": row["text"], "kind": row["label"]} for row in ROWS]
    path = write(root, rows, suffix)
    corpus = load(root, **options)
    assert capsys.readouterr().out == f"{path}: texts from 'caption', pictures from 'image'\n"
    assert corpus.texts == tuple(row["text"] for row in ROWS)
    assert corpus.group_ids.tolist() == [0, 1, 3, 4, 2]
    assert not corpus.labelled
    assert corpus.metadata[0] == {"kind": "animal"}
    named = load(root, **options, label_field="kind", text_field="caption", picture_field="image")
    assert capsys.readouterr().out == ""
    assert named.class_names == ("animal", "plant")
    assert named.metadata is None
    with pytest.raises(InputError, match=r"--data.split-field is 'part', but .* has no such field, only"):
        load(root, **options, split_field="part")


def test_fields_of_ones_own_are_kept_whatever_they_hold(root, options):
    own = [{"price": 1.5, "tags": ["a", "b"], "text_de": None, "lables": {"x": [1]}}] * 5
    write(root, [{**row, **more} for row, more in zip(ROWS, own, strict=True)])
    corpus = load(root, **options)
    assert list(corpus.metadata) == own
    assert load(root, **options).metadata == corpus.metadata  # from the cache


def test_text_features_stand_beside_texts_or_in_their_place(root, options):
    write(root, CAPTIONED)
    texts = np.arange(40, dtype=np.float64).reshape(10, 4)
    np.savez(root / "features.npz", images=np.ones((5, 2)), texts=texts)
    corpus = load(root, **options)
    np.testing.assert_array_equal(corpus.text_features, texts.astype(np.float32), strict=True)
    np.savez(root / "features.npz", images=np.ones((5, 2)), texts=texts[:5])
    with pytest.raises(InputError, match=r"features.npz: array 'texts' has 5 rows, expected 10"):
        load(root, **options)
    write(root, [{"file_name": row["file_name"]} for row in CAPTIONED])
    alone = load(root, **options)
    assert alone.texts == tuple(row["file_name"] for row in CAPTIONED)
    np.savez(root / "features.npz", images=np.ones((5, 2)), texts=np.full((5, 4), np.nan))
    with pytest.raises(InputError, match=r"features.npz: array 'texts', row 0, column 0 is nan"):
        load(root, **options)


def test_features_with_file_names_are_found_by_them(root, options, capsys):
    write(root, CAPTIONED)
    names = np.array([f"{number}.png" for number in (4, 2, 0, 1, 3, 9)])
    np.savez(root / "features.npz", images=np.arange(6)[:, None], file_names=names)
    assert load(root, **options).images[::2, 0].tolist() == [2, 3, 1, 4, 0]
    assert "features.npz: 1 of 6 rows are of no item, as 9.png; left out" in capsys.readouterr().out
    np.savez(root / "features.npz", images=np.ones((6, 1)), file_names=names, texts=np.ones((10, 2)))
    with pytest.raises(InputError, match="has arrays 'texts' and 'file_names', but a text has no name"):
        load(root, **options)
    write(root, [{key: value for key, value in row.items() if key != "file_name"} for row in CAPTIONED])
    np.savez(root / "features.npz", images=np.ones((5, 1)), file_names=names[:5])
    with pytest.raises(InputError, match="'file_names', but nothing in the data set names the pictures"):
        load(root, **options)


FLICKR = """image,caption
1.jpg,A dog runs .
1.jpg,"Brown, big dog ."
1.jpg,.
2.jpg,Two men .
3.jpg,Men at sea .
3.jpg,A boat .
4.jpg,Not on a list .
"""
BARS = """image_name| comment_number| comment
1.jpg| 0| A dog runs .
1.jpg| 1   A dog | runs, without a bar .
2.jpg| 0| Two men .
3.jpg| 0| Men at sea .
"""


def flickr(root, name, content, lists=True):
    (root / name).write_text(content)
    (root / "Images").mkdir()
    if lists:
        (root / "Flickr_8k.trainImages.txt").write_text("1.jpg\n2.jpg\n")
        (root / "Flickr_8k.testImages.txt").write_text("3.jpg\n")


@pytest.mark.parametrize("name", ["captions.txt", "captions.csv"])
def test_flickr8k_is_read_as_it_is_published(root, options, name):
    flickr(root, name, FLICKR)
    np.savez(root / "features.npz", images=np.arange(3)[:, None])
    corpus = load(root, **options)
    assert corpus.texts == ("A dog runs .", "Brown, big dog .", "Two men .", "Men at sea .", "A boat .")
    assert corpus.group_ids.tolist() == [0, 0, 1, 2, 2]
    assert corpus.images[:, 0].tolist() == [0, 0, 1, 2, 2]
    assert corpus.splits["train"].tolist() == [0, 1, 2]
    assert corpus.splits["test"].tolist() == [3, 4]
    assert corpus.metadata is None


def test_pictures_of_captions_are_each_encoded_once(root, options):
    flickr(root, "captions.txt", FLICKR)
    for number in (1, 2, 3):
        Image.new("RGB", (40, 40), COLOURS[number]).save(root / f"Images/{number}.jpg")
    found = find_pictures(root)
    assert found.pictures == [root / f"Images/{number}.jpg" for number in (1, 2, 3)]
    assert found.training.tolist() == [0, 1]
    np.savez(root / "features.npz", **found.arrays(np.arange(3)[:, None]))
    corpus = load(root, **options)
    assert corpus.images[:, 0].tolist() == [0, 0, 1, 2, 2]
    assert corpus.pictures[3] == str(root / "Images/3.jpg")


def test_flickr30k_is_read_as_it_is_published(root, options):
    flickr(root, "results.csv", BARS.replace("1   A dog | runs", "1   A dog runs"), lists=False)
    np.savez(root / "features.npz", images=np.arange(3)[:, None])
    corpus = load(root, **options)
    assert corpus.texts == ("A dog runs .", "A dog runs, without a bar .", "Two men .", "Men at sea .")
    (root / "results.csv").write_text(BARS.replace("| 0| Two men .", " Two men ."))
    with pytest.raises(InputError, match=r"results.csv: line 4 is '2.jpg Two men .'; expected image_name"):
        load(root, **options)


def test_a_list_of_captions_may_have_a_field_with_the_split(root, options):
    text = "image,caption,split\n1.jpg,a,train\n1.jpg,b,train\n2.jpg,c,test\n"
    flickr(root, "captions.csv", text, lists=False)
    np.savez(root / "features.npz", images=np.arange(2)[:, None])
    assert load(root, **options).splits["test"].tolist() == [2]
    (root / "captions.csv").write_text(text.replace("b,train", "b,test"))
    with pytest.raises(InputError, match=r"row 2: the field 'split' of '1.jpg' is 'test', and 'train'"):
        load(root, **options)
    (root / "captions.csv").write_text("picture,words\n1.jpg,a\n")
    with pytest.raises(InputError, match=r"header is picture,words; expected image,caption"):
        load(root, **options)


def datasets_rows(datasets):
    def png(colour):
        stream = io.BytesIO()
        Image.new("RGB", (40, 40), colour).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    values = {
        "image": [png(colour) for colour in COLOURS],
        "caption": [[f"a {colour} picture", f"all {colour}"] for colour in COLOURS],
        "kind": [0, 1, 0, 1, 1],
        "price": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    return datasets.Dataset.from_dict(
        values,
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "caption": datasets.Sequence(datasets.Value("string")),
                "kind": datasets.ClassLabel(names=["warm", "cold"]),
                "price": datasets.Value("float64"),
            }
        ),
    )


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("layout", ["saved", "dictionary", "shards"])
def test_data_sets_of_hugging_face_are_read_with_their_pictures(root, options, layout):
    datasets = pytest.importorskip("datasets")
    (root / "features.npz").unlink()
    rows = datasets_rows(datasets)
    if layout == "saved":
        rows.save_to_disk(root)
    elif layout == "dictionary":
        parts = {"train": rows.select(range(3)), "test": rows.select(range(3, 5))}
        datasets.DatasetDict(parts).save_to_disk(root)
    else:
        (root / "data").mkdir()
        rows.select(range(3)).to_parquet(root / "data" / "train-00000-of-00001.parquet")
        rows.select(range(3, 5)).to_parquet(root / "data" / "test-00000-of-00001.parquet")
    options["image_feature"] = "pixels"
    corpus = load(root, **options, resolution=32)
    if layout != "saved":
        assert corpus.splits["test"].tolist() == ([6, 7, 8, 9] if layout == "dictionary" else [0, 1, 2, 3])
    assert corpus.images.shape == (10, 32, 32, 3)
    assert len(set(corpus.pictures)) == 5
    assert corpus.metadata[0]["kind"] in ("warm", "cold")
    assert len(set(zip(corpus.pairs.group_n, corpus.pairs.image_n, strict=True))) == 5
    labelled = load(root, **options, resolution=32, label_field="kind")
    assert labelled.class_names == ("cold", "warm")


def test_data_sets_of_hugging_face_name_the_extra(root, options, monkeypatch):
    (root / "state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"needs the package datasets; pip install 'gcnxmodal\[datasets\]'"):
        load(root, **options)


@pytest.mark.parametrize("fault", ["empty rows", "empty picture", "no picture", "none"])
def test_pictures_of_a_data_set_that_the_cache_has_lost_are_written_again(tmp_path, monkeypatch, fault):
    (tmp_path / "state.json").write_text("{}")
    read = []

    def rows_of_parts(parts, folder, source):
        read.append(folder)
        content = {"bytes": b"a picture", "path": None}
        yield {"file_name": metadata._picture_file(content, folder, "row 1"), "text": "a"}

    monkeypatch.setattr(metadata, "_parts", lambda root, source: {})
    monkeypatch.setattr(metadata, "_rows_of_parts", rows_of_parts)
    (before,) = metadata.read_rows(tmp_path, tmp_path / "cache").rows
    picture = Path(before["file_name"])
    match fault:
        case "empty rows":
            picture.parents[1].joinpath("rows.jsonl").write_bytes(b"")
        case "empty picture":
            picture.write_bytes(b"")
        case "no picture":
            picture.unlink()
    (after,) = metadata.read_rows(tmp_path, tmp_path / "cache").rows
    assert (after, picture.read_bytes()) == (before, b"a picture")
    assert len(read) == (1 if fault == "none" else 2)


@pytest.mark.parametrize("field", ["text", "label", "note"])
def test_half_of_a_character_is_refused_with_its_row_and_field(root, options, field):
    rows = [{**row, "note": "fine"} for row in ROWS]
    rows[2][field] = f"{rows[2][field]} \ud83d"
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"row 3: the field '{field}' is no text: it has '\\ud83d'"):
        load(root, **options)


def test_what_is_skipped_in_a_bare_folder_is_counted_and_named(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "bare"
    (root / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.jfif", "c.heic", "below/d.HEIC", "notes", ".hidden.heic", "features.npz"):
        (root / name).touch()
    (root / "more").symlink_to(tmp_path / "elsewhere")
    source = find_pictures(root)
    assert source.pictures == [root / "a.png", root / "below" / "b.jfif"]
    assert source.layout == "a bare folder (skipped: 2 .heic, 1 without an ending, the linked folders more)"


def test_a_table_of_constants_of_any_length_is_refused_before_it_is_read(tmp_path):
    column = pyarrow.DictionaryArray.from_arrays(np.zeros(10**7, np.int32), ["a cat"]).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "metadata.parquet")
    with pytest.raises(InputError, match=r"parquet: a table of 10,000,000 values would take 640,000,000"):
        read_rows(tmp_path, tmp_path)


def test_a_table_with_text_that_is_no_utf8_is_refused_by_name(tmp_path):
    path = tmp_path / "metadata.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["kitten", "puppy"]}), path, compression="none")
    path.write_bytes(path.read_bytes().replace(b"kitten", b"kit\xfeen"))
    with pytest.raises(InputError, match=r"metadata\.parquet: cannot be read as Parquet .*; write it again"):
        read_rows(tmp_path, tmp_path)
