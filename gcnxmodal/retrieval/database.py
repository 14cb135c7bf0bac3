"""What a model makes of items, and how queries are ranked against it: embeddings, binary codes, or features.

Each kind holds a row an item of texts and of images, and knows how to search, to evaluate every protocol, and
to measure MAP on the way.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

from gcnxmodal.retrieval.evaluate import (
    evaluate_codes,
    evaluate_embeddings,
    evaluate_scores,
    standard_map,
    standard_map_of_codes,
    standard_map_of_scores,
)
from gcnxmodal.retrieval.hamming import nearest, pack_codes
from gcnxmodal.retrieval.pair_scores import search
from gcnxmodal.retrieval.ranking import top_k

Splits = Mapping[str, Int[np.ndarray, " rows"]]
Found = tuple[Int[np.ndarray, "Q k"], Float[np.ndarray, "Q k"]]
"""The items of each query, best first, ties by the lower row, and their scores."""


@dataclasses.dataclass(frozen=True)
class Database:
    """A row an item of texts and one of images; subclasses say of what kind.

    Attributes:
        kind: its name in files.
    """

    kind: ClassVar[str]

    texts: np.ndarray
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Any:
        """The database of some of the items."""
        return dataclasses.replace(self, texts=self.texts[rows], images=self.images[rows])

    def side(self, by: str) -> np.ndarray:
        """What a query is ranked against: images by a text, texts by an image."""
        return self.images if by == "text" else self.texts


@dataclasses.dataclass(frozen=True)
class Embeddings(Database):
    """Rows float32 [n, D]; a score is the inner product of a text's and an image's."""

    kind: ClassVar[str] = "embeddings"

    def search(self, queries: np.ndarray, k: int, *, by: str, shortlist: int = 100) -> Found:
        """The k best items of each query, which are texts or images ("text", "image") as `by` says."""
        return top_k(queries, self.side(by), min(k, len(self)))

    def evaluate(self, labels_nC: Bool[np.ndarray, "n C"], splits: Splits) -> dict[str, Any]:
        """Every protocol and curve, see `evaluate_embeddings`."""
        return evaluate_embeddings(self.texts, self.images, labels_nC, splits)

    def standard_map(self, labels_nC: Bool[np.ndarray, "n C"]) -> dict[str, float]:
        """MAP of all items under `standard`."""
        return standard_map(self.texts, self.images, labels_nC)


@dataclasses.dataclass(frozen=True)
class Codes(Database):
    """Packed codes uint32 [n, W] of so many bits.

    A score is bits - 2 x Hamming distance, the inner product of codes of -1 and 1.
    """

    kind: ClassVar[str] = "codes"

    bits: int

    @classmethod
    def of_signs(cls, texts_nK: np.ndarray, images_nK: np.ndarray) -> "Codes":
        """The codes that the signs of K numbers are."""
        return cls(pack_codes(texts_nK), pack_codes(images_nK), texts_nK.shape[1])

    def search(self, queries: UInt32[np.ndarray, "Q W"], k: int, *, by: str, shortlist: int = 100) -> Found:
        """See `Embeddings.search`."""
        indices, distances = nearest(queries, self.side(by), min(k, len(self)))
        return indices, self.bits - 2 * distances

    def evaluate(self, labels_nC: Bool[np.ndarray, "n C"], splits: Splits) -> dict[str, Any]:
        """Every protocol, those of hashing too, see `evaluate_codes`."""
        return evaluate_codes(self.texts, self.images, labels_nC, splits, self.bits)

    def standard_map(self, labels_nC: Bool[np.ndarray, "n C"]) -> dict[str, float]:
        """MAP of all items under `standard`."""
        return standard_map_of_codes(self.texts, self.images, labels_nC)


class PairScorer(Protocol):
    """What scores pairs by their features, and folds features into embeddings to shortlist by."""

    def fold_texts(self, features_nD: np.ndarray, /) -> np.ndarray: ...
    def fold_images(self, features_nD: np.ndarray, /) -> np.ndarray: ...
    def score(self, texts_QD: np.ndarray, images_MD: np.ndarray, /) -> np.ndarray: ...
    def score_chosen(
        self, features: tuple[np.ndarray, np.ndarray], text_P: np.ndarray, image_P: np.ndarray, /
    ) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class PairFeatures(Database):
    """Features float32 [n, D] of a model whose score depends on the pair: no inner product is the score."""

    kind: ClassVar[str] = "features"

    scorer: PairScorer

    def search(self, queries: np.ndarray, k: int, *, by: str, shortlist: int = 100) -> Found:
        """See `Embeddings.search`; the full score ranks the `shortlist` best by inner product anew."""
        features = (queries, self.images) if by == "text" else (self.texts, queries)
        folded = self.scorer.fold_texts(features[0]), self.scorer.fold_images(features[1])
        embedded_queries, embedded_items = folded if by == "text" else folded[::-1]

        def score(query_P: np.ndarray, item_P: np.ndarray) -> np.ndarray:
            pairs = (query_P, item_P) if by == "text" else (item_P, query_P)
            return self.scorer.score_chosen(features, *pairs)

        k = min(k, len(self))
        return search(embedded_queries, embedded_items, k, shortlist=shortlist, score=score)

    def evaluate(self, labels_nC: Bool[np.ndarray, "n C"], splits: Splits) -> dict[str, Any]:
        """Every protocol and curve, from the scores of all pairs."""
        test, train = splits["test"], splits["train"]
        among_test = self.scorer.score(self.texts[test], self.images[test])
        scores = {
            "text_query": {
                "test": among_test,
                "train": self.scorer.score(self.texts[test], self.images[train]),
            },
            "image_query": {
                "test": among_test.T,
                "train": self.scorer.score(self.texts[train], self.images[test]).T,
            },
        }
        return evaluate_scores(scores, labels_nC, splits)

    def standard_map(self, labels_nC: Bool[np.ndarray, "n C"]) -> dict[str, float]:
        """MAP of all items under `standard`."""
        return standard_map_of_scores(self.scorer.score(self.texts, self.images), labels_nC)
