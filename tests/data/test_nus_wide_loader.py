import dataclasses
import functools
import tracemalloc

import numpy as np
import pytest
from nus_wide_folder import (
    ALL_TAGS,
    BAG,
    CONCEPTS,
    PHOTOS,
    TAG_LIST,
    TAGS,
    TEST,
    TRAIN,
    Photo,
    bag,
    change,
    load_nus_wide,
    write_nus_wide,
)

from gcnxmodal.data import nus_wide
from gcnxmodal.data.load import LOADERS, loader_options
from gcnxmodal.errors import InputError
from gcnxmodal.systems.sspe import SSPE_PRESETS
from gcnxmodal.text.vocabulary import Tokenizer


@pytest.fixture
def root(tmp_path):
    return write_nus_wide(tmp_path / "nus-wide")


@pytest.fixture
def load(root):
    return functools.partial(load_nus_wide, root)


def test_photos_of_exactly_one_of_the_largest_classes_with_a_tag_are_kept(load):
    corpus = load()
    # animal 5 and sky 5 are the largest; rows 3 (both), 4 and 9 (no tag), 6 (lake) and 7 (none) are not kept.
    assert corpus.class_names == ("animal", "sky")
    assert corpus.texts == ("dog dog", "blue cloud", "dog 2007", "cloud d80", "cloud water", "dog")
    np.testing.assert_array_equal(corpus.labels.argmax(axis=1), [0, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(corpus.splits["train"], [0, 1, 4, 5])
    np.testing.assert_array_equal(corpus.splits["test"], [2, 3])
    expected = np.array([bag(row) for row in (0, 1, 2, 5, 8, 10)], np.float32)
    np.testing.assert_array_equal(corpus.images, expected, strict=True)
    assert corpus.pictures is None
    assert corpus.provenance["photos"] == {
        "listed": 11,
        "with_their_classes": 8,
        "left_out_as_listed_twice": 0,
        "left_out_without_tag": 2,
        "official_train": 4,
        "official_test": 2,
        "official_train_of_several_classes": 0,
        "official_test_of_several_classes": 0,
    }


def test_several_labels_are_kept_on_request(load):
    corpus = load(selection="all")
    assert corpus.texts[3] == "dog blue"
    np.testing.assert_array_equal(corpus.labels[3], [True, True])
    assert len(corpus) == 7
    everything = load(selection="all", classes=3)
    assert everything.class_names == ("animal", "lake", "sky")
    assert everything.texts[-2] == "cloud water"
    np.testing.assert_array_equal(everything.labels[-2], [False, True, True])


def test_words_are_the_tags_of_training_photos_only(load, root):
    before = load()
    assert set(before.vocabulary.words) == {"dog", "blue", "cloud", "water"}
    change(root, ALL_TAGS, 6, "9 d80 d80 d80 2007 water water water water")
    after = load()
    assert after.texts[3] == "d80 d80 d80 2007 water water water water"
    assert before.vocabulary == after.vocabulary


def test_thousand_tags_come_from_their_own_matrix(load, root):
    corpus = load(tag_list="1k")
    # Without the tags after the third, rows 5 and 8 are about cloud, d80 and water: only row 8 keeps one.
    assert corpus.texts == ("dog", "blue", "dog", "water", "dog")
    change(root, "NUS_WID_Tags/AllTags1k.txt", 2, "0\t1")
    with pytest.raises(InputError, match=r"AllTags1k\.txt: line 2 has 2 fields; expected 3 of 0 or 1"):
        load(tag_list="1k")


def test_lists_may_name_photos_with_folders_before_them_and_capitals(load, root):
    before = load()
    for name in (TRAIN, TEST):
        lines = (root / name).read_text().splitlines()
        (root / name).write_text("".join(f"C:\\ImageData\\Flickr\\{line.title()}\n" for line in lines))
    after = load()
    assert before.texts == after.texts
    assert before.provenance["hash"] == after.provenance["hash"]


def test_unix_line_ends_and_no_blanks_give_the_same_corpus(load, root):
    before = load()
    for path in root.rglob("*.*"):
        content = b"\n".join(line.rstrip() for line in path.read_bytes().split(b"\r\n"))
        path.write_bytes(content.rstrip(b"\n"))
    assert load().provenance["hash"] == before.provenance["hash"]


def test_tags_in_another_encoding_are_left_out_and_break_nothing(load, root):
    change(root, ALL_TAGS, 2, b"174174086 caf\xe9 blue \xff\xfe\x85 cloud \xc2\x85")
    assert load().texts[1] == "blue cloud"
    change(root, TAG_LIST, 3, b"caf\xe9")
    assert load().texts[1] == "caf\u00e9 cloud"


def many(n):
    """`n` photos of each split, alternately of two classes, each with tags."""
    split = {True: "Train", False: "Test"}
    concept = ("animal", "sky")
    return tuple(
        Photo(rf"many\{row:04d}_{row + 100}.jpg", "dog blue", (concept[row // 2 % 2],), split[row % 2 == 0])
        for row in range(2 * n)
    )


def test_pairs_are_drawn_inside_the_official_lists_by_a_recorded_seed(load, root):
    write_nus_wide(root, many(60))
    draw = {"training_pairs": 40, "test_pairs": 10}
    one, other, again = load(**draw), load(**draw, split_seed=1), load(**draw)
    assert one.provenance["hash"] == again.provenance["hash"]
    assert one.provenance["split"]["order"].startswith("by SHA-256 of '0:")
    assert one.provenance["options"]["split_seed"] == 0
    for corpus in (one, other):
        assert {name: len(items) for name, items in corpus.splits.items()} == {"train": 40, "test": 10}
        assert not set(corpus.splits["train"]) & set(corpus.splits["test"])
        assert len(corpus) == 50
    assert one.images.tobytes() != other.images.tobytes()


def test_drawn_photos_stay_on_their_side_of_the_official_split(root, load):
    photos = many(30)
    write_nus_wide(root, photos)
    for photo in photos:
        path = root / "Flickr" / photo.path.replace("\\", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    official = {f"{root}/Flickr/{photo.path}".replace("\\", "/"): photo.split.lower() for photo in photos}
    corpus = load(training_pairs=20, test_pairs=5)
    for split, rows in corpus.splits.items():
        assert {official[corpus.pictures[row]] for row in rows} == {split}


def test_official_split_takes_all_photos_of_both_lists(load, root):
    write_nus_wide(root, many(60))
    corpus = load(split="official", training_pairs=40, test_pairs=10)
    assert corpus.provenance["split"] == {"order": "official", "seed": None, "train": 60, "test": 60}
    # Every second photo, from the first, is in the list of training photos.
    np.testing.assert_array_equal(corpus.splits["train"], np.arange(0, 120, 2))
    np.testing.assert_array_equal(corpus.splits["test"], np.arange(1, 120, 2))


def test_sspe_has_photos_of_any_of_its_concepts_with_a_tag_of_the_1000(load):
    corpus = load(**{**loader_options(SSPE_PRESETS["sspe-nus-wide"][1].data), "classes": 2})
    # As in `nus-wide-21`, but without the concept lake: rows 5 and 9 have no tag of the thousand.
    expected = np.array([bag(row) for row in (0, 1, 2, 3, 8, 10)], np.float32)
    np.testing.assert_array_equal(corpus.images, expected)
    np.testing.assert_array_equal(corpus.splits["test"], [2])
    assert corpus.labels.sum(axis=1).tolist() == [1, 1, 1, 2, 1, 1]
    photos = corpus.provenance["photos"]
    assert (photos["official_train"], photos["official_train_of_several_classes"]) == (5, 1)
    assert photos["left_out_without_tag"] == 3


@pytest.fixture
def load_21(root):
    def load_21(**options):
        options = {"training_pairs": 4, "test_pairs": 2, "classes": 3, **options}
        return load_nus_wide(root, "nus-wide-21", **options)

    return load_21


def test_nus_wide_21_has_queries_and_a_database_of_photos_with_a_label_and_a_tag_of_the_1000(load_21, root):
    corpus = load_21()
    # The thousand tags are dog, water and blue here; rows 4, 5 and 9 have none of them, row 7 has no concept.
    expected = np.array([bag(row) for row in (0, 1, 2, 3, 6, 8, 10)], np.float32)
    np.testing.assert_array_equal(corpus.images, expected)
    assert corpus.texts[3] == "dog blue"
    assert corpus.class_names == CONCEPTS
    np.testing.assert_array_equal(corpus.labels[3], [True, False, True])
    np.testing.assert_array_equal(corpus.labels[5], [False, True, True])
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {
        **{"train": 4, "test": 2, "retrieval": 5},
    }
    assert set(corpus.splits["train"]) < set(corpus.splits["retrieval"])
    assert sorted([*corpus.splits["test"], *corpus.splits["retrieval"]]) == list(range(7))
    assert corpus.provenance["split"]["retrieval"] == 5
    # The official lists are not read.
    (root / TRAIN).unlink()
    (root / TEST).unlink()
    again = load_21(words=19)
    np.testing.assert_array_equal(again.splits["test"], corpus.splits["test"])


def test_nus_wide_21_asks_for_the_sizes_of_the_paper(load_21):
    assert LOADERS["nus-wide-21"].keywords == {
        "classes": 21,
        "selection": "all",
        "tag_list": "1k",
        "split": "retrieval",
        "training_pairs": 10_500,
        "test_pairs": 2_100,
    }
    with pytest.raises(InputError, match="nus-wide: there are 7 items to split, fewer than 2,100 queries"):
        load_21(training_pairs=10_500, test_pairs=2_100)


def test_fewer_pairs_are_taken_where_there_are_fewer(load):
    assert load().provenance["split"]["train"] == 4
    assert load(training_pairs=3).provenance["split"]["train"] == 3


def test_photo_listed_twice_counts_once(load, root):
    again = Photo(r"dogs\0001_14.jpg", "dog", ("animal",), "Test")
    write_nus_wide(root, (*PHOTOS, again))
    corpus = load()
    assert len(corpus) == 6
    assert corpus.provenance["photos"]["left_out_as_listed_twice"] == 1
    np.testing.assert_array_equal(corpus.splits["test"], [2, 3])


def test_pictures_of_the_chosen_photos_are_encoded(load, root, monkeypatch):
    asked = []

    def features(pictures, resolution, *, cache_dir):
        asked.append(([picture.name for picture in pictures], resolution))
        return np.ones((len(pictures), 3), np.float32)

    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", features)
    with pytest.raises(
        InputError, match=r"Flickr/actor/0001_2124494179\.jpg: there is no such file; the photos"
    ):
        load(image_feature="efficientnet-lite0")
    for photo in PHOTOS:
        path = root / "Flickr" / photo.path.replace("\\", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / BAG).unlink()
    corpus = load(image_feature="efficientnet-lite0", resolution=64)
    assert asked[0][0][:2] == ["0001_2124494179.jpg", "0002_174174086.jpg"]
    assert asked[0][1] == 64
    assert corpus.pictures[0] == str(root / "Flickr/actor/0001_2124494179.jpg")


def test_second_load_is_read_from_the_cache(load, monkeypatch):
    before = load()
    monkeypatch.setattr("gcnxmodal.data.loader.assemble", None)
    after = load()
    assert before.provenance == after.provenance
    assert before.images.tobytes() == after.images.tobytes()


def test_memory_grows_with_the_photos_kept_not_with_the_file(tmp_path):
    line = b"1 " * 500 + b"\r\n"
    path = tmp_path / BAG
    path.parent.mkdir()
    with path.open("wb") as file:
        for _ in range(10_000):  # 10 MB
            file.write(line)
    folder = nus_wide.NusWide(tmp_path, "final")
    tracemalloc.start()
    folder.bags(np.array([5, 9_999]), 10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_files_are_found_in_the_folders_of_their_archives_too(load, root):
    before = load()
    (root / "ConceptsList/Concepts81.txt").rename(root / "Concepts81.txt")
    (root / "NUS_WID_Low_Level_Features").mkdir()
    (root / "Low_Level_Features").rename(root / "NUS_WID_Low_Level_Features/Low_Level_Features")
    assert load().provenance["hash"] == before.provenance["hash"]


def test_tokenizer_is_that_of_the_caller(load):
    tokenizer = Tokenizer(stop_words=True)
    assert load(tokenizer=tokenizer).vocabulary.tokenizer == tokenizer
    assert dataclasses.asdict(tokenizer) == load(tokenizer=tokenizer).provenance["options"]["tokenizer"]
    assert all(tag in TAGS for text in load().texts for tag in text.split())
