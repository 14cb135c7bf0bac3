"""What is missing, malformed or out of range in NUS-WIDE is refused by file, line or option."""

import functools

import pytest
from nus_wide_folder import (
    ALL_TAGS,
    BAG,
    IMAGES,
    PHOTOS,
    SKY,
    TAG_LIST,
    TEST,
    TRAIN,
    change,
    load_nus_wide,
    write_nus_wide,
)

from gcnxmodal.data import nus_wide
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer


@pytest.fixture
def root(tmp_path):
    return write_nus_wide(tmp_path / "nus-wide")


@pytest.fixture
def load(root):
    return functools.partial(load_nus_wide, root)


NEEDED = {
    IMAGES: "ImageList",
    TRAIN: "ImageList",
    TEST: "ImageList",
    "ConceptsList/Concepts81.txt": "ConceptsList",
    SKY: "Groundtruth",
    ALL_TAGS: "NUS_WID_Tags",
    TAG_LIST: "NUS_WID_Tags",
    BAG: "NUS_WID_Low_Level_Features",
}


@pytest.mark.parametrize(("name", "archive"), NEEDED.items(), ids=NEEDED)
def test_missing_file_is_named_with_its_archive_and_page(load, root, name, archive):
    (root / name).unlink()
    with pytest.raises(InputError) as error:
        load()
    assert str(error.value).startswith(
        f"{root / name}: there is no such file; unpack the archive {archive} of "
    )
    assert "lms.comp.nus.edu.sg" in str(error.value)


BAD_LINES = {
    "no photo": (IMAGES, 3, "zoo", r"line 3 is 'zoo'; expected <folder>\\<number>_<photo id>\.jpg"),
    "outside": (IMAGES, 3, r"..\0001_5.jpg", r"line 3 is '\.\.\\0001_5\.jpg'; expected"),
    "no id": (IMAGES, 3, r"zoo\0001.jpg", r"line 3 is 'zoo\\0001\.jpg'; expected"),
    "unlisted": (TEST, 1, r"zoo\0009_99.jpg", r"line 1: photo 'zoo/0009_99\.jpg' is not in Imagelist\.txt"),
    "in both": (
        TEST,
        1,
        PHOTOS[0].path,
        r"line 1: photo 'actor/0001_.* is in TrainImagelist\.txt too; remove",
    ),
    "no concept": (
        "ConceptsList/Concepts81.txt",
        2,
        "../lake",
        r"'\.\./lake' is no name of a concept; unpack",
    ),
    "flag": (SKY, 4, "-1130179", "line 4 is '-1130179'; expected 0 or 1: unpack the archive Groundtruth"),
    "flag blank": (SKY, 4, "", "line 4 is ''; expected 0 or 1"),
    "fewer flags": (SKY, 4, None, r"has 10 lines, but Imagelist\.txt lists 11 photos; fetch both again"),
    "more flags": (SKY, 4, "1\r\n1", r"line 12 is one too many: Imagelist\.txt lists 11 photos"),
    "tags of another": (
        ALL_TAGS,
        2,
        "7 dog",
        r"line 2 starts with '7', but line 2 of .* is photo 174174086; fetch",
    ),
    "no tags": (ALL_TAGS, 2, "", "line 2 starts with '', but line 2 of"),
    "fewer tags": (ALL_TAGS, 11, None, r"has 10 lines, but Imagelist\.txt lists 11 photos"),
    "counts": (BAG, 6, "1 2 3", "line 6 has 3 fields; expected 500 whole numbers, by blanks: unpack"),
    "no count": (BAG, 6, "1 " * 499 + "x", "line 6 has 500 fields; expected 500 whole numbers"),
    "negative": (BAG, 6, "1 " * 499 + "-3", "line 6 has 500 fields; expected 500 whole numbers"),
    "fewer counts": (BAG, 1, None, r"has 10 lines, but Imagelist\.txt lists 11 photos; fetch both again"),
    "endless line": (BAG, 1, "1 " * 600_000, "line 1 is longer than 1,048,576 bytes; fetch the file again"),
}


@pytest.mark.parametrize(("name", "line", "to", "message"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_line_is_refused_by_file_and_number(load, root, name, line, to, message):
    change(root, name, line, to)
    with pytest.raises(InputError, match=f"^{root / name}: {message}"):
        load()
    assert not list(root.parent.glob("cache/**/*.npz"))


def test_photo_of_neither_list_is_refused(load, root):
    change(root, TEST, 1, None)
    with pytest.raises(InputError, match=r"Imagelist\.txt: line 3: photo 'zoo/0001_.*' is in neither Train"):
        load()


def test_empty_tag_list_is_refused(load, root):
    (root / TAG_LIST).write_text("\r\n")
    with pytest.raises(InputError, match=r"Final_Tag_List\.txt: there is no tag in it; unpack"):
        load()


BAD_OPTIONS = {
    "classes": ({"classes": 1}, "--data.classes is 1; it must be at least 2"),
    "more classes": (
        {"classes": 4},
        r"Concepts81\.txt: lists 3 concepts, but --data\.classes is 4; ask for fewer",
    ),
    "selection": (
        {"selection": "one-object"},
        "--data.selection is 'one-object'; choose one of one-class, all",
    ),
    "split": ({"split": "mine"}, "--data.split is 'mine'; choose one of official, drawn, retrieval"),
    "seed": ({"split": "official", "split_seed": 3}, "--data.split-seed is 3, but the official split is not"),
    "training pairs": ({"training_pairs": 0}, "training_pairs is 0; it must be at least 1"),
    "test pairs": ({"test_pairs": -1}, "test_pairs is -1; it must be at least 1"),
    "tag list": ({"tag_list": "5k"}, "--data.tag-list is '5k'; choose one of final, 1k"),
    "feature": (
        {"image_feature": "vgg"},
        r"--data\.image-feature is 'vgg'; nus-wide has 'bow' \(Bo.*'features' .*\.npz file",
    ),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_option_out_of_range_is_refused(load, options, message):
    with pytest.raises(InputError, match=message):
        load(**options)


def test_missing_folder_is_named(tmp_path):
    options = {"words": 5, "tokenizer": Tokenizer(), "image_feature": "bow", "cache_dir": tmp_path}
    with pytest.raises(
        InputError, match=r"--data\.root is not set; name the folder with the unpacked archives"
    ):
        nus_wide.load(None, **options)
