"""What a model makes of items, and how queries are ranked against it: embeddings, binary codes, or features.

Each kind holds a row an item of texts and of images, and knows how to search, to evaluate every protocol, and
to measure MAP on the way.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, UInt32
from tqdm import tqdm

from gcnxmodal.corpus import Pairs
from gcnxmodal.retrieval.evaluate import (
    evaluate_codes,
    evaluate_embeddings,
    evaluate_scores,
    pairs_of_codes,
    pairs_of_embeddings,
    pairs_of_scores,
    standard_map,
    standard_map_of_codes,
    standard_map_of_scores,
)
from gcnxmodal.retrieval.hamming import nearest, pack_codes
from gcnxmodal.retrieval.ranking import MAX_BYTES, top_k

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

    def evaluate(
        self, labels_nC: Bool[np.ndarray, "n C"], splits: Splits, pairs: Pairs | None = None
    ) -> dict[str, Any]:
        """Every protocol and curve, see `evaluate_embeddings`."""
        return evaluate_embeddings(self.texts, self.images, labels_nC, splits, pairs=pairs)

    def exact_pairs(self, pairs: Pairs | None) -> dict[str, dict[str, float]]:
        """How early all items find those that belong to them, see `evaluate.exact_pairs`."""
        return pairs_of_embeddings(self.texts, self.images, pairs)

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

    def evaluate(
        self, labels_nC: Bool[np.ndarray, "n C"], splits: Splits, pairs: Pairs | None = None
    ) -> dict[str, Any]:
        """Every protocol, those of hashing too, see `evaluate_codes`."""
        return evaluate_codes(self.texts, self.images, labels_nC, splits, self.bits, pairs=pairs)

    def exact_pairs(self, pairs: Pairs | None) -> dict[str, dict[str, float]]:
        """See `Embeddings.exact_pairs`."""
        return pairs_of_codes(self.texts, self.images, pairs)

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

    def evaluate(
        self, labels_nC: Bool[np.ndarray, "n C"], splits: Splits, pairs: Pairs | None = None
    ) -> dict[str, Any]:
        """Every protocol and curve, from the scores of all pairs."""
        test, train = splits["test"], splits["train"]
        among_test = self.scorer.score(self.texts[test], self.images[test])
        if not labels_nC.shape[1]:  # nothing is ranked but the test items
            both = {"text_query": {"test": among_test}, "image_query": {"test": among_test.T}}
            return evaluate_scores(both, labels_nC, splits, pairs=pairs)
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
        return evaluate_scores(scores, labels_nC, splits, pairs=pairs)

    def exact_pairs(self, pairs: Pairs | None) -> dict[str, dict[str, float]]:
        """See `Embeddings.exact_pairs`."""
        return pairs_of_scores(self.scorer.score(self.texts, self.images), pairs)

    def standard_map(self, labels_nC: Bool[np.ndarray, "n C"]) -> dict[str, float]:
        """MAP of all items under `standard`."""
        return standard_map_of_scores(self.scorer.score(self.texts, self.images), labels_nC)


# --- Scores that are no inner product: of every text with every image, and search by them ---

# Of a chunk: enough texts to keep a device busy, and so many images that [images, D] lies in a CPU's cache.
TEXTS, IMAGES = 64, 1024


def score_matrix(
    score: Callable[[Any, Array, Array], Array],
    model: Any,
    texts_QD: Float[np.ndarray, "Q D"],
    images_MD: Float[np.ndarray, "M D"],
    *,
    devices: int | None = None,
) -> Float[np.ndarray, "Q M"]:
    """score(model, texts, images) of every text with every image.

    The devices of this process share the texts of a chunk; a device holds `TEXTS` by `IMAGES` pairs at a
    time, so that nothing but the result, 4 Q M bytes on the host, grows with the number of pairs. A bar shows
    how far it is, where there is a terminal.

    Args:
        score: (model, texts_qD, images_mD) -> scores_qm; compiled once for each of its identities.
        model: the arrays that it needs.
        devices: how many of this process's devices to use; all, if not given.
    """
    mesh = jax.make_mesh(
        (count := devices or jax.local_device_count(),),
        ("texts",),
        (AxisType.Auto,),
        devices=jax.local_devices()[:count],
    )
    model = jax.device_put(model, NamedSharding(mesh, P()))
    Q, M = len(texts_QD), len(images_MD)
    q = count * min(TEXTS, math.ceil(Q / count))
    m = math.ceil(M / math.ceil(M / IMAGES))  # chunks of one size, with hardly any padding
    scores_QM = np.empty((Q, M), np.float32)
    starts = [(row, column) for row in range(0, Q, q) for column in range(0, M, m)]
    for row, column in tqdm(starts, "scoring pairs", unit="chunk", disable=None, leave=False):
        texts_qD, images_mD = _padded(texts_QD, row, q), _padded(images_MD, column, m)
        part = np.asarray(_score(score, mesh, model, texts_qD, images_mD))
        scores_QM[row : row + q, column : column + m] = part[: Q - row, : M - column]
    return scores_QM


def _padded(rows: np.ndarray, start: int, size: int) -> np.ndarray:
    part = rows[start : start + size]
    return np.pad(part, ((0, size - len(part)), (0, 0)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _score(score: Callable, mesh: Mesh, model: Any, texts_qD: Array, images_mD: Array) -> Array:
    over_texts = jax.shard_map(
        score, mesh=mesh, in_specs=(P(), P("texts"), P()), out_specs=P("texts"), check_vma=False
    )
    return over_texts(model, texts_qD, images_mD)


def search(
    queries_QD: Float[Array | np.ndarray, "Q D"],
    database_MD: Float[Array | np.ndarray, "M D"],
    k: int,
    *,
    shortlist: int,
    score: Callable[[Int[np.ndarray, " P"], Int[np.ndarray, " P"]], Float[np.ndarray, " P"]],
    max_bytes: int = MAX_BYTES,
) -> tuple[Int[np.ndarray, "Q k"], Float[np.ndarray, "Q k"]]:
    """The k best items of each query among its `shortlist` best by inner product: (indices, scores).

    With a shortlist of M it is the exact ranking. Ties are broken by the lower index.

    Args:
        queries_QD, database_MD: the embeddings to shortlist by.
        shortlist: items of each query that are scored; at least k are, and at most M.
        score: (query numbers, item numbers) -> scores of these pairs.

    Raises:
        InputError: as `top_k`.
    """
    best_QS, _ = top_k(queries_QD, database_MD, max(k, min(shortlist, len(database_MD))), max_bytes)
    candidates_QS = np.sort(best_QS, axis=1)  # so that a stable sort breaks ties by the index
    Q, S = candidates_QS.shape
    scores_QS = score(np.repeat(np.arange(Q), S), candidates_QS.reshape(-1)).reshape(Q, S)
    order_Qk = np.argsort(-scores_QS, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates_QS, order_Qk, axis=1), np.take_along_axis(
        scores_QS, order_Qk, axis=1
    )
