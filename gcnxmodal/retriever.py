"""A trained system applied: features, embeddings, scores, search and what they come from."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp
from flax import nnx
from jaxtyping import Array

from gcnxmodal.inputs import reading_of
from gcnxmodal.reading import Reading
from gcnxmodal.retrieval.chunks import top_k
from gcnxmodal.retrieval.pair_scores import score_matrix, search
from gcnxmodal.systems import scanet_model as scanet
from gcnxmodal.systems.base import System
from gcnxmodal.systems.explanation import Explanation, explain
from gcnxmodal.training import sharding

CHUNK = 256
"""Rows that are encoded at a time: one program for all."""


class Retriever:
    """A system with trained parameters, on the first device of this process.

    Args:
        system: the model and its corpus.
        params: its parameters, wherever they lie; in a job of several processes, all must take part.
        reading: how new texts and images are read; by default, as the system's corpus says.
    """

    def __init__(self, system: System, params: Any, reading: Reading | None = None):
        self.system = system
        self._reading = reading
        self._graphdef = system.graphdef
        self._model = sharding.to_one_device(params), system.constants
        self._texts = partial(_encode_texts, self._graphdef, *self._model)
        self._images = partial(_encode_images, self._graphdef, *self._model)

    @functools.cached_property
    def reading(self) -> Reading:
        """How new texts and images are read, as those of the corpus were."""
        system = self.system
        if self._reading is not None:
            return self._reading
        experiment = system.experiment
        return reading_of(system.inputs, experiment.data, experiment.text, system.text_path)

    def encode_texts(self, rows: np.ndarray) -> np.ndarray:
        """Features f_t [n, D] of some items of the corpus."""
        return _in_chunks(self._texts, self.system.inputs.texts, rows)

    def encode_images(self, rows: np.ndarray) -> np.ndarray:
        """Features f_i [n, D] of some items of the corpus."""
        return _in_chunks(self._images, self.system.inputs.images, rows)

    def encode(self, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Features of texts and images of the given (by default all) items."""
        rows = np.arange(len(self.system.inputs.corpus)) if rows is None else rows
        return self.encode_texts(rows), self.encode_images(rows)

    def encode_new_text(self, text: str) -> np.ndarray:
        """Features f_t [1, D] of a text that is not in the corpus; see `encode_new_texts`."""
        return self.encode_new_texts([text], 1)

    def encode_new_texts(self, texts: Sequence[str], batch: int = CHUNK) -> np.ndarray:
        """Features f_t [n, D] of texts that need not be in the corpus, `batch` at a time.

        With the default batch, those of a text of the corpus have the bits of `encode_texts`.

        Raises:
            InputError: if a text has no word of the vocabulary.
        """
        return _in_chunks(self._texts, self.reading.texts(texts), np.arange(len(texts)), batch)

    def encode_new_image(self, image: np.ndarray) -> np.ndarray:
        """Features f_i [1, D] of an image that is not in the corpus, given unscaled, [1, ...]."""
        return self.encode_new_images(image, 1)

    def encode_new_images(self, images: np.ndarray, batch: int = CHUNK) -> np.ndarray:
        """Features f_i [n, D] of images that need not be in the corpus, given unscaled, [n, ...]; as
        `encode_new_texts`."""
        return _in_chunks(self._images, self.reading.images(images), np.arange(len(images)), batch)

    def embed(self, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """texts [n, D] and images [n, D] of the given (by default all) items; score = text . image.

        If the model is not `separable`, that is only the part of the score to shortlist by.
        """
        return self.fold(*self.encode(rows))

    def fold(self, texts_nD: np.ndarray, images_nD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features as the embeddings whose inner product is the score."""
        return self.fold_texts(texts_nD), self.fold_images(images_nD)

    def fold_texts(self, texts_nD: np.ndarray) -> np.ndarray:
        """See `fold`."""
        fold = partial(_fold_texts, self._graphdef, *self._model)
        return _in_chunks(fold, texts_nD, np.arange(len(texts_nD)))

    def fold_images(self, images_nD: np.ndarray) -> np.ndarray:
        """See `fold`."""
        fold = partial(_fold_images, self._graphdef, *self._model)
        return _in_chunks(fold, images_nD, np.arange(len(images_nD)))

    def score(self, texts_QD: np.ndarray, images_MD: np.ndarray, devices: int | None = None) -> np.ndarray:
        """Scores [Q, M] of every text with every image, by their features; see `score_matrix`."""
        model = self._model
        return score_matrix(PairScore(self._graphdef), model, texts_QD, images_MD, devices=devices)

    def score_chosen(
        self, features: tuple[np.ndarray, np.ndarray], text_P: np.ndarray, image_P: np.ndarray
    ) -> np.ndarray:
        """Scores [P] of chosen pairs: text_P[p] with image_P[p], rows of the features of texts and images."""
        score = partial(_score_aligned, self._graphdef, *self._model)
        return _in_chunks(score, features, (text_P, image_P), 4096)

    def search(
        self, features: tuple[np.ndarray, np.ndarray], k: int, *, by: str, shortlist: int = 100
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best for each query: (indices [Q, k], scores [Q, k]).

        Args:
            features: of texts [n, D] and of images [m, D], from `encode`.
            by: "text": each text is a query, and images are found; or "image".
            shortlist: where the score depends on the pair, how many of each query are scored.
        """
        embeddings = self.fold(*features)
        queries, database = embeddings if by == "text" else embeddings[::-1]
        k = min(k, len(database))
        if self.system.separable:
            return top_k(queries, database, k)

        def score(query_P: np.ndarray, item_P: np.ndarray) -> np.ndarray:
            pairs = (query_P, item_P) if by == "text" else (item_P, query_P)
            return self.score_chosen(features, *pairs)

        return search(queries, database, k, shortlist=shortlist, score=score)

    def explain(self, rows: np.ndarray) -> Explanation:
        """Why these items' own pairs score as they do, as arrays on the host."""
        texts = self.system.inputs.texts[rows]
        texts = texts if isinstance(texts, np.ndarray) else texts.toarray()
        found = _explain(self._graphdef, *self._model, texts, self.system.inputs.images[rows])
        return jax.device_get(found)


@partial(jax.jit, static_argnums=0)
def _encode_texts(graphdef, params, constants, texts_BT):
    return nnx.merge(graphdef, params, constants).encode_texts(texts_BT)


@partial(jax.jit, static_argnums=0)
def _encode_images(graphdef, params, constants, images_Bd):
    return nnx.merge(graphdef, params, constants).encode_images(images_Bd)


@partial(jax.jit, static_argnums=0)
def _fold_texts(graphdef, params, constants, texts_nD):
    return nnx.merge(graphdef, params, constants).fold_texts(texts_nD)


@partial(jax.jit, static_argnums=0)
def _fold_images(graphdef, params, constants, images_nD):
    return nnx.merge(graphdef, params, constants).fold_images(images_nD)


@partial(jax.jit, static_argnums=0)
def _score_aligned(graphdef, params, constants, texts_PD, images_PD):
    return scanet.score_aligned(nnx.merge(graphdef, params, constants), texts_PD, images_PD)


@partial(jax.jit, static_argnums=0)
def _explain(graphdef, params, constants, texts_BT, images_Bd):
    return explain(nnx.merge(graphdef, params, constants), texts_BT, images_Bd)


@dataclasses.dataclass(frozen=True)
class PairScore:
    """`scanet.score_all_pairs` of a structure: equal structures are compiled once."""

    graphdef: nnx.GraphDef

    def __call__(self, model: tuple[Any, Any], texts_QD: Array, images_MD: Array) -> Array:
        return scanet.score_all_pairs(nnx.merge(self.graphdef, *model), texts_QD, images_MD)


Rows = np.ndarray | sp.csr_array


def _in_chunks(
    function: Callable, arrays: Rows | tuple[Rows, ...], rows: Any, chunk: int = CHUNK
) -> np.ndarray:
    """`function` of some rows of an array, or of rows of several arrays side by side, `chunk` at a time.

    The last chunk is padded, so that one program serves all.
    """
    arrays, rows = (x if isinstance(x, tuple) else (x,) for x in (arrays, rows))
    results = []
    for start in range(0, len(rows[0]), chunk):
        here = [part[start : start + chunk] for part in rows]
        parts = [_dense(array[part], chunk) for array, part in zip(arrays, here, strict=True)]
        results.append(np.asarray(function(*parts))[: len(here[0])])
    return np.concatenate(results)


def _dense(part: Rows, size: int) -> np.ndarray:
    """The rows as one array, filled up with zeros to `size` rows."""
    part = part if isinstance(part, np.ndarray) else part.toarray()
    padded = np.zeros((size, *part.shape[1:]), part.dtype)
    padded[: len(part)] = part
    return padded
