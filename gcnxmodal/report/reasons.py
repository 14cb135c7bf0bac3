"""Why chosen pairs score as they do: the words that move the score most, and the dimensions attended to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gcnxmodal.report.gallery import Item

WORDS, DIMENSIONS = 12, 16  # shown of each pair, of each distribution


@dataclasses.dataclass(frozen=True)
class Word:
    """A word and its gradient times input, as a share of the largest of its pair: -1 to 1."""

    text: str
    share: float


@dataclasses.dataclass(frozen=True)
class Attention:
    """One distribution over D dimensions.

    Attributes:
        name: such as "layer 1, from the text".
        peaks: (dimension, its weight as a multiple of the uniform one), the heaviest first.
        spread: exp of the entropy: over how many dimensions it is spread, from 1 to D.
        size: D.
    """

    name: str
    peaks: tuple[tuple[int, float], ...]
    spread: float
    size: int


@dataclasses.dataclass(frozen=True)
class Reasons:
    """A pair, its score, and where it comes from."""

    item: Item
    score: float
    words: tuple[Word, ...]
    attention: tuple[Attention, ...]


def heaviest_words(words: Sequence[str], values: Float[np.ndarray, " T"]) -> tuple[Word, ...]:
    """The words that move a score most, up or down; of a word that occurs more than once, the sum.

    >>> [(word.text, word.share) for word in heaviest_words(["a", "b", "a"], np.array([1.0, -4.0, 1.0]))]
    [('b', -1.0), ('a', 0.5)]
    """
    sums: dict[str, float] = {}
    for word, value in zip(words, values, strict=True):
        sums[word] = sums.get(word, 0.0) + float(value)
    moving = [(word, value) for word, value in sums.items() if value]
    top = sorted(moving, key=lambda pair: -abs(pair[1]))[:WORDS]
    largest = max((abs(value) for _, value in top), default=0.0) or 1.0
    return tuple(Word(word, value / largest) for word, value in top)


def describe_attention(name: str, weights_D: Float[np.ndarray, " D"]) -> Attention:
    """A distribution, whatever its scale.

    >>> attention = describe_attention("", np.array([0.5, 0.5, 0.0, 0.0]))
    >>> attention.peaks[0], round(attention.spread, 6)
    ((0, 2.0), 2.0)
    """
    p = np.asarray(weights_D, float) / np.sum(weights_D)
    order = np.argsort(-p, kind="stable")[:DIMENSIONS]
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)))
    peaks = tuple((int(d), float(p[d] * len(p))) for d in order)
    return Attention(name, peaks, float(np.exp(entropy)), len(p))
