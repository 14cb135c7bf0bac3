"""The gallery: a few test items asked both ways, what came back, and why chosen pairs score as they do."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gcnxmodal.corpus import Corpus

WORDS, DIMENSIONS = 12, 16  # shown of each pair, of each distribution


@dataclasses.dataclass(frozen=True)
class Item:
    """One image-text pair as the page shows it."""

    text: str
    classes: tuple[str, ...]
    picture: Path | None


@dataclasses.dataclass(frozen=True)
class Hit:
    """A retrieved item: `relevant` if it shares a class with the query (without classes, its group); `own` if
    it is the query's pair."""

    item: Item
    relevant: bool
    own: bool


@dataclasses.dataclass(frozen=True)
class Query:
    """A query and its hits, the best first."""

    item: Item
    hits: tuple[Hit, ...]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The same test items asked by their texts (images come back) and by their images (texts come back)."""

    text_queries: tuple[Query, ...]
    image_queries: tuple[Query, ...]

    @property
    def without_pictures(self) -> bool:
        return all(query.item.picture is None for query in self.text_queries)


def choose_queries(corpus: Corpus, seed: int, count: int = 6) -> Int[np.ndarray, " count"]:
    """Rows of `count` test items (all, if there are fewer), chosen without looking at any result.

    A seeded shuffle from which each class in turn takes its next item: few queries show many classes. An item
    of several classes counts as one of the first. Without classes, each group is asked once. Texts without a
    word of the vocabulary, to which all answers are the same, are left out where there are others.
    """
    test = corpus.splits["test"]
    if (with_word := test[np.diff(corpus.counts.indptr)[test] > 0]).size:
        test = with_word
    shuffled = test[np.random.default_rng(seed).permutation(len(test))]
    if not corpus.labelled:
        _, first = np.unique(corpus.group_ids[shuffled], return_index=True)
        return shuffled[np.sort(first)][:count]
    classes = corpus.labels[shuffled].argmax(axis=1)
    turn = np.zeros(len(shuffled), int)  # an item's place among the shuffled items of its class
    for c in np.unique(classes):
        inside = classes == c
        turn[inside] = np.arange(inside.sum())
    return shuffled[np.argsort(turn, kind="stable")][:count]


def build_gallery(
    corpus: Corpus,
    queries: Int[np.ndarray, " Q"],
    images_found: Int[np.ndarray, "Q K"],
    texts_found: Int[np.ndarray, "Q L"],
) -> Gallery:
    """The gallery of some items.

    Args:
        queries: their rows in the corpus.
        images_found: the rows that the text of each brought back, the best first.
        texts_found: the same for its image.
    """
    return Gallery(_queries(corpus, queries, images_found), _queries(corpus, queries, texts_found))


def _queries(corpus: Corpus, queries: np.ndarray, retrieved: np.ndarray) -> tuple[Query, ...]:
    return tuple(
        Query(
            item_of(corpus, query),
            tuple(
                Hit(
                    item_of(corpus, row),
                    relevant=_relevant(corpus, query, row),
                    own=bool(row == query),
                )
                for row in rows
            ),
        )
        for query, rows in zip(queries, retrieved, strict=True)
    )


def _relevant(corpus: Corpus, query: int, row: int) -> bool:
    if not corpus.labelled:
        return bool(corpus.group_ids[query] == corpus.group_ids[row])
    return bool((corpus.labels[query] & corpus.labels[row]).any())


def item_of(corpus: Corpus, row: int) -> Item:
    """An item of the corpus as the page shows it."""
    return Item(
        text=corpus.texts[row],
        classes=tuple(corpus.class_names[c] for c in np.flatnonzero(corpus.labels[row])),
        picture=None if corpus.pictures is None else Path(corpus.pictures[row]),
    )


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
