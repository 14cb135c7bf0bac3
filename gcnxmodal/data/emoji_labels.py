"""The multi-label view of the emoji corpus: categories, subcategories and frequent keywords are labels, and
the words of these labels are in no text.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import typing
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from gcnxmodal.data.emoji_variants import variant_family

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


class Described(typing.Protocol):
    """What is read of an `emoji.Emoji`."""

    @property
    def name(self) -> str: ...
    @property
    def keywords(self) -> tuple[str, ...]: ...
    @property
    def spoken(self) -> tuple[str, ...]: ...
    @property
    def category(self) -> str: ...
    @property
    def subcategory(self) -> str: ...


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


def multi_label_view(found: Sequence[Described]) -> MultiLabelView:
    """Category, subcategory and frequent keywords of each emoji as labels; its text without their words.

    The labels are the categories, the subcategories and the keywords of `FREQUENT` emoji or more, those of
    `FAMILIES` families or more; a keyword that is also the name of a subcategory is one label with it. A
    text is the name and the keywords without every word that a category, a subcategory (also one that is no
    label) or a keyword label has, in singular or plural.
    """
    carriers: dict[str, set[int]] = collections.defaultdict(set)
    frequency = collections.Counter(word for emoji in found for word in set(emoji.keywords))
    for row, emoji in enumerate(found):
        frequent = [
            word for word in emoji.keywords if frequency[word] >= FREQUENT and word not in CATEGORY_KEYWORDS
        ]
        for name in (emoji.category, emoji.subcategory, *frequent):
            carriers[name].add(row)
    families = [variant_family(emoji.name) for emoji in found]
    class_names = sorted(
        name for name, rows in carriers.items() if len({families[row] for row in rows}) >= FAMILIES
    )
    labels = np.array([[row in carriers[name] for name in class_names] for row in range(len(found))])
    given = {name for emoji in found for name in (emoji.category, emoji.subcategory)} | set(class_names)
    removed = {word for name in given for word in _words(name)} | CATEGORY_KEYWORDS

    stems = {_singular(word) for word in removed}
    texts = []
    for emoji in found:
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
