import numpy as np
import pytest
from picture_files import noise

from gcnxmodal.data import mirflickr
from gcnxmodal.data.load import LOADERS, loader_options
from gcnxmodal.data.mirflickr import CONCEPTS, LABELS, RELEVANT
from gcnxmodal.errors import InputError
from gcnxmodal.systems.sspe import SSPE_PRESETS
from gcnxmodal.text.vocabulary import Tokenizer

# Tags and concepts of each photo; its number is its place from 1. A name with _r1 is relevant too.
PHOTOS = (
    ("blue sky nikon", "sky clouds clouds_r1"),
    ("Blue  water\nriver", "water river river_r1"),
    ("sky blue", "sky"),
    ("", "sky"),
    ("blue", ""),
    ("rare", "water"),
    ("water sky", "water sky clouds"),
    ("water blue", "water river"),
    ("sky blue", "sky clouds clouds_r1"),
    ("sky water", "sky water river river_r1"),
)
KEPT = (1, 2, 3, 7, 8, 9, 10)  # numbers of those with a concept and a tag of two photos or more


@pytest.fixture
def root(tmp_path):
    """The official layout, with Windows line ends and blanks as in the published files."""
    root = tmp_path / "mir"
    (root / "mirflickr/meta/tags").mkdir(parents=True)
    (root / "annotations").mkdir()
    for number, (tags, _) in enumerate(PHOTOS, 1):
        content = "".join(f"{tag}\r\n" for tag in tags.split())
        (root / f"mirflickr/meta/tags/tags{number}.txt").write_bytes(content.encode())
    for name in LABELS[38]:
        numbers = [number for number, (_, found) in enumerate(PHOTOS, 1) if name in found.split()]
        content = "".join(f"{number} \r\n" for number in numbers)
        (root / f"annotations/{name}.txt").write_bytes(content.encode())
    (root / "annotations/README.txt").write_text("not a concept")
    np.savez(root / "features.npz", images=np.arange(20, dtype=np.uint8).reshape(10, 2))
    return root


@pytest.fixture
def load(root, tmp_path, monkeypatch):
    """With the concepts that the photos have; the others would have no training item."""
    shown = ("clouds", "river", "sky", "water")
    few = {24: shown, 38: (*shown, "clouds_r1", "river_r1")}
    monkeypatch.setattr(mirflickr, "LABELS", few)

    def load(place=None, **options):
        options = {
            "words": 20,
            "tokenizer": Tokenizer(),
            "image_feature": "features",
            "cache_dir": tmp_path / "cache",
            "least_photos": 2,
            "queries": 2,
            "training": 4,
            **options,
        }
        return LOADERS["mirflickr"](place or root, **options)

    return load


def rows_with(corpus, split, numbers=KEPT):
    return [numbers[row] for row in corpus.splits[split]]


def test_concepts_are_the_24_and_14_of_the_archive():
    assert (len(set(CONCEPTS)), len(set(RELEVANT))) == (24, 14)
    assert set(RELEVANT) < set(CONCEPTS)
    assert {number: len(names) for number, names in LABELS.items()} == {24: 24, 38: 38}


def test_photos_with_a_label_and_a_tag_are_kept_in_the_order_of_their_numbers(load):
    corpus = load()
    assert corpus.texts == (
        *("blue sky", "blue water", "sky blue", "water sky", "water blue", "sky blue", "sky water"),
    )
    assert corpus.class_names == ("clouds", "river", "sky", "water")
    np.testing.assert_array_equal(corpus.labels[0], [True, False, True, False])
    np.testing.assert_array_equal(corpus.labels[3], [True, False, True, True])
    # Row i of the features is photo i + 1, whether it is kept or not.
    expected = np.array([[2 * number - 2, 2 * number - 1] for number in KEPT], np.float32)
    np.testing.assert_array_equal(corpus.images, expected, strict=True)
    assert corpus.pictures is None
    assert corpus.provenance["photos"] == {
        "listed": 10,
        "with_a_label": 9,
        "with_a_label_and_a_tag": 7,
        "tags": 3,
    }


def test_relevant_concepts_are_labels_of_their_own_on_request(load):
    corpus = load(labels=38, split_seed=5)
    assert corpus.class_names[-2:] == ("clouds_r1", "river_r1")
    np.testing.assert_array_equal(corpus.labels[:, 4], [number in (1, 9) for number in KEPT])
    # A relevant concept is one of the photo's concepts too.
    assert (corpus.labels[:, 4:] <= corpus.labels[:, :2]).all()


def test_tags_of_too_few_photos_are_in_no_text(load):
    assert {word for text in load().texts for word in text.split()} == {"blue", "sky", "water"}
    assert "nikon" in load(least_photos=1, training=6).texts[0]
    assert {word for text in load(least_photos=5).texts for word in text.split()} == {"blue", "sky"}


def test_most_common_tags_are_counted_over_all_photos(load):
    # blue 6 photos, sky 5, water 4; of those with one the first by name.
    assert {word for text in load(tags=2).texts for word in text.split()} == {"blue", "sky"}
    corpus = load(tags=4, training=5)
    assert {word for text in corpus.texts for word in text.split()} == {"blue", "sky", "water", "nikon"}
    assert corpus.provenance["photos"]["tags"] == 4
    assert load(tags=2).texts[1] == "blue"  # least_photos is not asked


def test_official_split_takes_three_of_every_five_photos_by_their_numbers(load):
    corpus = load(split="official")
    # Photos 4, 5 and 6 are not kept, and shift nothing.
    assert rows_with(corpus, "train") == [1, 2, 3, 7, 8]
    assert rows_with(corpus, "test") == [9, 10]
    assert set(corpus.splits) == {"train", "test"}
    described = corpus.provenance["split"]
    # results.json carries the doubt.
    assert described.pop("rule").endswith(
        "the first three of every five for training; from memory, unchecked"
    )
    assert described == {"order": "official", "seed": None, "train": 5, "test": 2}
    assert "rule" not in load().provenance["split"]
    whole = mirflickr._official(np.arange(1, 25_001))
    assert {name: len(rows) for name, rows in whole.items()} == {"train": 15_000, "test": 10_000}


def test_sspe_has_38_labels_the_official_split_and_photos_with_a_tag(load):
    corpus = load(**loader_options(SSPE_PRESETS["sspe-mirflickr"][1].data))
    # All tags are among the 2,000 here: photo 6, whose only tag is "rare", is kept; photo 4 has none.
    numbers = (1, 2, 3, 6, 7, 8, 9, 10)
    assert corpus.texts[3] == "rare"
    assert rows_with(corpus, "train", numbers) == [1, 2, 3, 6, 7, 8]
    assert rows_with(corpus, "test", numbers) == [9, 10]
    assert corpus.class_names[-2:] == ("clouds_r1", "river_r1")


def test_database_is_what_is_no_query_and_training_items_are_of_it(load):
    corpus = load()
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {
        **{"train": 4, "test": 2, "retrieval": 5},
    }
    assert set(corpus.splits["train"]) < set(corpus.splits["retrieval"])
    assert sorted([*corpus.splits["test"], *corpus.splits["retrieval"]]) == list(range(7))
    assert corpus.provenance["split"]["seed"] == 0
    assert corpus.provenance["split"]["retrieval"] == 5
    assert load().provenance["hash"] == corpus.provenance["hash"]
    others = [tuple(load(split_seed=seed, training=5).splits["test"]) for seed in range(4)]
    assert len(set(others)) > 1


def test_words_are_the_tags_of_training_photos_only(load, root):
    before = load()
    held = KEPT[before.splits["test"][0]]
    path = root / f"mirflickr/meta/tags/tags{held}.txt"
    path.write_bytes(b"water\nsky\nblue\n")
    after = load()
    assert after.texts[before.splits["test"][0]] == "water sky blue"
    assert before.texts != after.texts
    assert before.vocabulary == after.vocabulary
    train = before.splits["train"]
    np.testing.assert_array_equal(before.counts[train].toarray(), after.counts[train].toarray())


def test_root_may_be_the_folder_of_the_photos_and_annotations_have_the_name_of_their_archive(load, root):
    before = load()
    (root / "annotations").rename(root / "mirflickr/mirflickr25k_annotations_v080")
    (root / "features.npz").rename(root / "mirflickr/features.npz")
    assert load(root / "mirflickr").provenance["hash"] == before.provenance["hash"]


def test_pictures_of_the_kept_photos_are_encoded(load, root, monkeypatch):
    asked = []

    def features(pictures, resolution, *, cache_dir):
        asked.append(([picture.name for picture in pictures], resolution))
        return np.ones((len(pictures), 3), np.float32)

    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", features)
    with pytest.raises(
        InputError, match=r"im1\.jpg: there is no such file; unpack mirflickr25k\.zip of http"
    ):
        load(image_feature="efficientnet-lite0")
    for number in range(1, len(PHOTOS) + 1):
        noise(root / f"mirflickr/im{number}.jpg", number)
    corpus = load(image_feature="efficientnet-lite0", resolution=64)
    assert asked == [([f"im{number}.jpg" for number in KEPT], 64)]
    assert corpus.pictures == tuple(str(root / f"mirflickr/im{number}.jpg") for number in KEPT)
    assert load(image_feature="pixels", resolution=32).images.shape == (7, 32, 32, 3)


def test_tags_in_another_encoding_break_nothing(load, root):
    for number in (1, 3):
        (root / f"mirflickr/meta/tags/tags{number}.txt").write_bytes(b"caf\xe9\nsky\n")
    assert load().texts[0] == "caf\u00e9 sky"


def test_second_load_is_read_from_the_cache(load, monkeypatch):
    before = load()
    monkeypatch.setattr("gcnxmodal.data.loader.assemble", None)
    assert load().provenance == before.provenance


def test_missing_files_are_named_with_where_to_get_them(load, root):
    (root / "features.npz").unlink()
    with pytest.raises(InputError, match=r"features\.npz: there is no such file; write it .* their numbers"):
        load()
    (root / "annotations/sky.txt").unlink()
    with pytest.raises(InputError) as error:
        load()
    assert str(error.value).startswith(
        f"{root / 'annotations/sky.txt'}: there is no such file; unpack mirflickr25k_annotations_v080.zip of "
        "https://press.liacs.nl/mirflickr/"
    )
    (root / "annotations/sky.txt").touch()
    (root / "mirflickr/meta").rename(root / "elsewhere")
    with pytest.raises(InputError, match=r"meta/tags/tags1\.txt: there is no such file; unpack mirflickr25k"):
        load()
    with pytest.raises(InputError, match=r"--data\.root is not set; name the folder with the unpacked"):
        LOADERS["mirflickr"](None, words=1, tokenizer=Tokenizer(), image_feature="features", cache_dir=root)


@pytest.mark.parametrize("line", ["11", "0", "-1", "im3.jpg", "1 2"])
def test_bad_number_is_refused_by_file_and_line(load, root, line):
    (root / "annotations/sky.txt").write_text(f"1\n{line}\n")
    with pytest.raises(InputError, match=rf"sky\.txt: line 2 is '{line}'; expected the number of a photo"):
        load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": 25}, "--data.labels is 25; choose one of 24, 38"),
        ({"tags": 0}, "--data.tags is 0; it must be at least 1"),
        ({"split": "drawn"}, "--data.split is 'drawn'; choose one of retrieval, official"),
        (
            {"split": "official", "split_seed": 1},
            "--data.split-seed is 1, but the official split is not drawn",
        ),
        ({"least_photos": 0}, "least_photos is 0; it must be at least 1"),
        ({"image_feature": "cnn"}, r"--data\.image-feature is 'cnn'; mirflickr has 'features'"),
        ({"queries": 5}, "mir: there are 7 items to split, fewer than 5 queries and 4 for training; fetch"),
        ({"resolution": 64}, r"--data\.resolution is 64, but"),
    ],
)
def test_bad_option_is_refused(load, change, message):
    with pytest.raises(InputError, match=message):
        load(**change)


def test_features_with_names_are_found_by_them(load, root):
    # The order of names as texts, in which im10 comes before im2.
    numbers = sorted(range(1, 11), key=str)
    names = np.array([f"mirflickr/im{number}.jpg" for number in numbers])
    np.savez(root / "features.npz", images=np.array(numbers)[:, None], file_names=names)
    np.testing.assert_array_equal(load().images[:, 0], KEPT)
    np.savez(root / "features.npz", images=np.ones((9, 1)), file_names=names[1:])
    with pytest.raises(InputError, match=r"'file_names' lacks im1\.jpg \(1 of 7 are missing\); write it"):
        load()


def test_features_are_refused_by_rows(load, root):
    np.savez(root / "features.npz", images=np.ones((7, 2)))
    with pytest.raises(InputError, match=r"array 'images' has 7 rows, expected 10; give one"):
        load()
