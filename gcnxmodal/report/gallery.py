"""The gallery: a few test items asked both ways, and what came back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gcnxmodal.corpus import Corpus


@dataclasses.dataclass(frozen=True)
class Item:
    """One image-text pair as the page shows it."""

    text: str
    classes: tuple[str, ...]
    picture: Path | None


@dataclasses.dataclass(frozen=True)
class Hit:
    """A retrieved item: `relevant` if it shares a class with the query, `own` if it is the query's pair."""

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
    of several classes counts as one of the first.
    """
    test = corpus.splits["test"]
    shuffled = test[np.random.default_rng(seed).permutation(len(test))]
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
                    relevant=bool((corpus.labels[query] & corpus.labels[row]).any()),
                    own=bool(row == query),
                )
                for row in rows
            ),
        )
        for query, rows in zip(queries, retrieved, strict=True)
    )


def item_of(corpus: Corpus, row: int) -> Item:
    """An item of the corpus as the page shows it."""
    return Item(
        text=corpus.texts[row],
        classes=tuple(corpus.class_names[c] for c in np.flatnonzero(corpus.labels[row])),
        picture=None if corpus.pictures is None else Path(corpus.pictures[row]),
    )
