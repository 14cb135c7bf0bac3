import json
import tracemalloc

import numpy as np
import pytest
from picture_files import noise

from gcnxmodal.data import coco
from gcnxmodal.data.load import LOADERS
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer

# Image id: part, categories of its objects, captions.
IMAGES = {
    57870: ("train2014", (1, 1, 18), ("A dog beside a man.", "Man and dog.\n")),
    384029: ("train2014", (18,), ("A brown dog.",)),
    222016: ("train2014", (), ("An empty room.",)),
    520950: ("train2014", (1,), ("A woman.", "Somebody")),
    391895: ("val2014", (3, 1), ("A man on a car.",)),
    522418: ("val2014", (3,), ("A red car", "a car")),
    184613: ("val2014", (18, 3), ("The dog in the car.",)),
    318219: ("val2014", (1,), ()),
}
KEPT = (57870, 384029, 520950, 391895, 522418, 184613)
CATEGORIES = [
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "vehicle", "id": 3, "name": "car"},
    {"supercategory": "animal", "id": 18, "name": "dog"},
    {"supercategory": "appliance", "id": 80, "name": "toaster"},
]


def file_name(image_id):
    return f"COCO_{IMAGES[image_id][0]}_{image_id:012d}.jpg"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def content(kind, part):
    """One official file, with the fields that are not read too."""
    ids = [image_id for image_id, image in IMAGES.items() if image[0] == part]
    found = {
        "info": {"description": "This is stable 1.0 version of the 2014 MS COCO dataset.", "year": 2014},
        "images": [
            {"license": 5, "file_name": file_name(image_id), "height": 480, "width": 640, "id": image_id}
            for image_id in ids
        ],
        "licenses": [{"id": 1, "name": "Attribution-NonCommercial-ShareAlike License"}],
    }
    if kind == "captions":
        rows = [(image_id, caption) for image_id in ids for caption in IMAGES[image_id][2]]
        annotations = [
            {"image_id": image_id, "id": 48 + row, "caption": caption}
            for row, (image_id, caption) in enumerate(rows)
        ]
        return {**found, "annotations": annotations}
    outlines = ([[312.29, 562.89, 402.25, 511.49]], {"counts": [272, 2, 4], "size": [480, 640]})
    annotations = [
        {
            "segmentation": outlines[row % 2],
            "area": 54652.9,
            "iscrowd": row % 2,
            "image_id": image_id,
            "bbox": [116.95, 305.86, 285.3, 266.03],
            "category_id": category,
            "id": 100 * image_id + row,
        }
        for image_id in reversed(ids)
        for row, category in enumerate(IMAGES[image_id][1])
    ]
    return {**found, "annotations": annotations, "categories": CATEGORIES}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "coco"
    for part in coco.PARTS:
        for kind in ("instances", "captions"):
            write(root / f"annotations/{kind}_{part}.json", content(kind, part))
    ids = np.array(sorted(IMAGES))
    np.savez(root / "features.npz", ids=ids, images=ids[:, None] + np.array([0.0, 0.5]))
    return root


@pytest.fixture
def load(root, tmp_path):
    def load(place=None, **options):
        options = {
            "words": 20,
            "tokenizer": Tokenizer(),
            "image_feature": "features",
            "cache_dir": tmp_path / "cache",
            "queries": 1,
            "training": 4,
            **options,
        }
        return LOADERS["coco"](place or root, **options)

    return load


def test_images_with_an_object_and_a_caption_are_kept_in_the_order_of_the_files(load):
    corpus = load()
    assert corpus.texts == (
        "A dog beside a man. Man and dog.",
        "A brown dog.",
        "A woman. Somebody",
        "A man on a car.",
        "A red car a car",
        "The dog in the car.",
    )
    # A category without an image is no class.
    assert corpus.class_names == ("person", "car", "dog")
    expected = [[1, 0, 1], [0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1]]
    np.testing.assert_array_equal(corpus.labels, np.array(expected, bool), strict=True)
    features = np.array([[image_id, image_id + 0.5] for image_id in KEPT], np.float32)
    np.testing.assert_array_equal(corpus.images, features, strict=True)
    assert corpus.pictures is None
    assert corpus.provenance["images"] == {
        "listed": 8,
        "with_an_object": 7,
        "with_an_object_and_a_caption": 6,
    }


def test_database_is_what_is_no_query_whatever_the_official_parts(load):
    corpus = load(queries=2)
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {
        **{"train": 4, "test": 2, "retrieval": 4},
    }
    assert sorted([*corpus.splits["test"], *corpus.splits["retrieval"]]) == list(range(6))
    assert corpus.provenance["split"] == {
        **{"order": "by SHA-256 of '0:<image id>'", "seed": 0, "train": 4, "test": 2, "retrieval": 4},
    }
    assert len({tuple(load(split_seed=seed).splits["test"]) for seed in range(4)}) > 1


def test_words_are_those_of_training_captions_only(load, root):
    before = load()
    image_id = KEPT[before.splits["test"][0]]
    path = root / f"annotations/captions_{IMAGES[image_id][0]}.json"
    found = json.loads(path.read_text())
    for row in found["annotations"]:
        if row["image_id"] == image_id:
            row["caption"] = "entirely new words"
    write(path, found)
    after = load()
    assert "entirely new words" in after.texts[before.splits["test"][0]]
    assert before.vocabulary == after.vocabulary


def test_pictures_of_the_kept_images_are_encoded(load, root, monkeypatch):
    asked = []

    def features(pictures, resolution, *, cache_dir):
        asked.append((pictures, resolution))
        return np.ones((len(pictures), 3), np.float32)

    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", features)
    chosen = [root / IMAGES[image_id][0] / file_name(image_id) for image_id in KEPT]
    with pytest.raises(InputError, match=r"_000000057870\.jpg: there is no such file; unpack train2014\.zip"):
        load(image_feature="efficientnet-lite0")
    for picture in chosen:
        picture.parent.mkdir(exist_ok=True)
        noise(picture)
    corpus = load(image_feature="efficientnet-lite0", resolution=64)
    assert asked == [(chosen, 64)]
    assert corpus.pictures == tuple(map(str, chosen))
    assert load(image_feature="pixels").images.shape == (6, 64, 64, 3)


def test_second_load_is_read_from_the_cache(load, monkeypatch):
    before = load()
    monkeypatch.setattr("gcnxmodal.data.loader.assemble", None)
    assert load().provenance == before.provenance


def test_memory_is_that_of_the_text_not_of_the_outlines(tmp_path, root):
    found = content("instances", "train2014")
    outline = [float(number) for number in range(200)]
    found["annotations"] = [{**found["annotations"][0], "segmentation": [outline]} for _ in range(3_000)]
    path = root / "annotations/instances_train2014.json"
    write(path, found)
    tracemalloc.start()
    coco.read_images(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Bytes and text of the file at once, and little more; all its numbers would be 14 times its size.
    assert peak < 3 * path.stat().st_size


@pytest.mark.parametrize("kind", ["instances", "captions"])
@pytest.mark.parametrize("part", coco.PARTS)
def test_missing_file_is_named_with_where_to_get_it(load, root, kind, part):
    path = root / f"annotations/{kind}_{part}.json"
    path.unlink()
    with pytest.raises(InputError) as error:
        load()
    assert str(error.value).startswith(
        f"{path}: there is no such file; unpack annotations_trainval2014.zip of https://cocodataset.org/"
    )


INSTANCES, CAPTIONS = (f"annotations/{kind}_val2014.json" for kind in ("instances", "captions"))
BAD = {
    "no list": (INSTANCES, ["images"], None, "the field 'images' is no list; unpack"),
    "no object": (INSTANCES, ["images", 1], 7, r"images\[1\] is no object; unpack"),
    "no id": (INSTANCES, ["images", 1, "id"], "7", r"images\[1\]\.id is '7'; expected a whole number"),
    "id twice": (
        INSTANCES,
        ["images", 1, "id"],
        391895,
        r"images\[1\]\.id is 391895, which was there before",
    ),
    "in both": (INSTANCES, ["images", 3, "id"], 57870, r"image 57870 is in train2014 too"),
    "path": (INSTANCES, ["images", 0, "file_name"], "../a.jpg", r"images\[0\]\.file_name is '\.\./a\.jpg'"),
    "unknown image": (
        INSTANCES,
        ["annotations", 0, "image_id"],
        5,
        r"annotations\[0\]\.image_id is 5, which is no image",
    ),
    "unknown category": (
        INSTANCES,
        ["annotations", 2, "category_id"],
        5,
        r"annotations\[2\]\.category_id is 5, which is in no category",
    ),
    "truth for a number": (
        INSTANCES,
        ["annotations", 2, "category_id"],
        True,
        r"annotations\[2\]\.category_id is True; expected a whole number",
    ),
    "other categories": (
        INSTANCES,
        ["categories", 0, "name"],
        "man",
        "categories differ from those of train",
    ),
    "no caption": (CAPTIONS, ["annotations", 1, "caption"], None, r"annotations\[1\]\.caption is None; exp"),
    "caption of none": (CAPTIONS, ["annotations", 1, "image_id"], 5, r"annotations\[1\]\.image_id is 5, whi"),
}


@pytest.mark.parametrize(("name", "place", "value", "message"), BAD.values(), ids=BAD)
def test_bad_field_is_named_with_its_place(load, root, name, place, value, message):
    found = json.loads((root / name).read_text())
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    write(root / name, found)
    with pytest.raises(InputError, match=f"^{root / name}: {message}"):
        load()
    assert not list(root.parent.glob("cache/**/*.npz"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "is not JSON .*; unpack"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object; unpack"),
    ],
)
def test_broken_json_is_named(load, root, text, message):
    (root / CAPTIONS).write_text(text)
    with pytest.raises(InputError, match=f"^{root / CAPTIONS}: {message}"):
        load()


def test_bad_features_are_refused(load, root):
    path, ids = root / "features.npz", np.array(sorted(IMAGES))
    for arrays, message in (
        ({"images": np.ones((8, 2))}, "has no array 'ids', only images; save it"),
        (
            {"ids": ids[:-1], "images": np.ones((7, 2))},
            r"lacks 522418 \(1 of 6 are missing\); write it",
        ),
        ({"ids": ids, "images": np.ones((7, 2))}, "array 'images' has 7 rows, expected 8"),
        ({"ids": ids * 0, "images": np.ones((8, 2))}, "array 'ids' has 7 ids twice; write it"),
        ({"ids": ids / 2, "images": np.ones((8, 2))}, r"array 'ids' is float64 \[8\]; expected whole"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=message):
            load()
    path.unlink()
    with pytest.raises(InputError, match=r"features\.npz: there is no such file; write it with numpy\.savez"):
        load()
    with pytest.raises(InputError, match=r"--data\.image-feature is 'cnn'; coco has 'features'"):
        load(image_feature="cnn")


def test_features_may_have_names_of_files_in_place_of_ids(load, root):
    before = load()
    ids = sorted(IMAGES)
    names = np.array([f"{IMAGES[image_id][0]}/{file_name(image_id)}" for image_id in ids])
    images = np.array(ids)[:, None] + np.array([0.0, 0.5])
    np.savez(root / "features.npz", images=images, file_names=names)
    assert load().provenance["hash"] == before.provenance["hash"]
    of_2017 = np.array([f"train2017/{image_id:012}.jpg" for image_id in ids])
    np.savez(root / "features.npz", images=images, file_names=of_2017)
    assert load().provenance["hash"] == before.provenance["hash"]


def test_more_queries_than_images_are_refused(load):
    with pytest.raises(
        InputError, match="coco: there are 6 items to split, fewer than 3 queries and 4 for t"
    ):
        load(queries=3)


def test_captions_are_items_without_labels_and_val2017_is_the_test_split(load, root):
    for part, year in (("train2014", "train2017"), ("val2014", "val2017")):
        write(root / f"annotations/captions_{year}.json", content("captions", part))
    corpus = load(selection="captions")
    assert not corpus.labelled
    assert corpus.texts[:3] == ("A dog beside a man.", "Man and dog.", "A brown dog.")
    assert corpus.texts[-1] == "The dog in the car."
    assert [len(corpus.splits[name]) for name in ("train", "test")] == [6, 4]
    pairs = corpus.pairs
    assert [len(set(numbers.tolist())) for numbers in pairs] == [7, 10, 7]
    np.testing.assert_array_equal(corpus.images[0], corpus.images[1])
    with pytest.raises(InputError, match=r"split-seed is 1, but with --data.selection captions val2017 is"):
        load(selection="captions", split_seed=1)
    with pytest.raises(InputError, match=r"--data.selection is 'one-class'; coco has 'all' and 'captions'"):
        load(selection="one-class")
    (root / "annotations/captions_val2017.json").unlink()
    with pytest.raises(InputError, match=r"no such file; unpack annotations_trainval2017.zip of https"):
        load(selection="captions")
