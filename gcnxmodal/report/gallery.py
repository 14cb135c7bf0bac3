"""The gallery: a few test items asked both ways, and what came back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

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


def build_gallery(
    corpus: Corpus,
    images_found: Int[np.ndarray, "T K"],
    texts_found: Int[np.ndarray, "T L"],
    *,
    seed: int,
    count: int = 6,
) -> Gallery:
    """A gallery of `count` test items (all, if there are fewer), chosen without looking at any result.

    Args:
        images_found: for each test item, in the split's order, the corpus rows that its text brought back,
            the best first.
        texts_found: the same for its image.
        seed: decides which items are shown.
    """
    test = corpus.splits["test"]
    chosen = choose(corpus.labels[test], count, seed)
    return Gallery(
        _queries(corpus, test[chosen], images_found[chosen]),
        _queries(corpus, test[chosen], texts_found[chosen]),
    )


def choose(labels_TC: Bool[np.ndarray, "T C"], count: int, seed: int) -> Int[np.ndarray, " count"]:
    """A seeded shuffle from which each class in turn takes its next item: few queries show many classes.

    An item of several classes counts as one of the first.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels_TC))
    classes = labels_TC[shuffled].argmax(axis=1)
    turn = np.zeros(len(shuffled), int)  # an item's place among the shuffled items of its class
    for c in np.unique(classes):
        inside = classes == c
        turn[inside] = np.arange(inside.sum())
    return shuffled[np.argsort(turn, kind="stable")][:count]


def _queries(corpus: Corpus, queries: np.ndarray, found: np.ndarray) -> tuple[Query, ...]:
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
        for query, rows in zip(queries, found, strict=True)
    )


def item_of(corpus: Corpus, row: int) -> Item:
    """An item of the corpus as the page shows it."""
    return Item(
        text=corpus.texts[row],
        classes=tuple(corpus.class_names[c] for c in np.flatnonzero(corpus.labels[row])),
        picture=None if corpus.pictures is None else Path(corpus.pictures[row]),
    )
