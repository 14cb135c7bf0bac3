"""What a model reads: counts on the word graph, and image features, both scaled."""

import dataclasses
import hashlib
import importlib.metadata
from typing import Any

import numpy as np
import scipy.sparse as sp

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.cache import cache_dir, cached_arrays
from gcnxmodal.errors import InputError
from gcnxmodal.graph.layout import SparseLayout, pack
from gcnxmodal.graph.word_graph import graph_order, relabel, scaled_laplacian, word_graph
from gcnxmodal.reading import COUNTED, ImageScaler, Reading, TextReader, word_numbers
from gcnxmodal.text.vectors import vector_matrix, word_vectors
from gcnxmodal.text.vocabulary import fit_idf, weight_counts


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the model reads for each item of the corpus.

    Attributes:
        corpus: the corpus.
        texts: what the text path reads: weighted counts, CSR float32 [n, N]; or word numbers in reading
            order, int32 [n, L], filled up with -1.
        images: float32 [n, d], scaled; or pixels, uint8 [n, R, R, 3].
        graph_report: numbers worth telling: of the words and, if there is one, of their graph.
    """

    corpus: Corpus
    texts: sp.csr_array | np.ndarray
    images: np.ndarray
    graph_report: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class GraphInputs(Inputs):
    """`Inputs` with the graph that the words stand on; the vocabulary is in the order of its vertices.

    Attributes:
        layout: the scaled Laplacian of the word graph.
        vectors: word vectors at unit length, float32 [N, e]; zero for a word without one.
    """

    layout: SparseLayout
    vectors: np.ndarray


def plain_inputs(corpus: Corpus, data: DataConfig, text: TextConfig) -> Inputs:
    """Weighted counts and scaled images, without a word graph.

    Raises:
        InputError: if the corpus has one class only.
    """
    _check_classes(corpus)
    return Inputs(
        corpus=corpus,
        texts=read_texts(corpus, text, "counts"),
        images=scale_images(corpus.images, data.image_scale, corpus.splits["train"]),
        graph_report={"words": len(corpus.vocabulary), "documents_without_a_word": corpus.wordless},
    )


def make_inputs(corpus: Corpus, data: DataConfig, text: TextConfig, path: str = "gcn") -> GraphInputs:
    """Build the word graph on the training texts, order the vocabulary by it, and scale both modalities.

    Args:
        path: the text path, which decides what is read of a text: "gcn" counts, "lstm" and "cnn" sequences.

    Raises:
        InputError: if the corpus has one class only, or the graph cannot be built (k >= N, bad vectors).
    """
    train = corpus.splits["train"]
    _check_classes(corpus)
    if text.neighbours >= len(corpus.vocabulary):
        raise InputError(
            f"--text.neighbours is {text.neighbours} but the training texts have {len(corpus.vocabulary)} "
            "words; it must be smaller than the number of words"
        )
    vectors, has_vector = _vectors(corpus, text)
    graph = word_graph(vectors, has_vector, text.neighbours, text.graph)
    # The numbering of the words is free: one that keeps neighbours close makes the gathers local.
    order = graph_order(graph)
    graph, corpus = relabel(graph, order), corpus.reordered(order)
    return GraphInputs(
        corpus=corpus,
        texts=read_texts(corpus, text, path),
        images=scale_images(corpus.images, data.image_scale, train),
        layout=pack(scaled_laplacian(graph, text.lambda_max)),
        vectors=_unit_length(vectors, has_vector)[order],
        graph_report={
            "words": len(corpus.vocabulary),
            "words_with_vector": int(has_vector.sum()),
            "edges": int(graph.n_edge[0]),
            "documents_without_a_word": corpus.wordless,
        },
    )


def image_scaler(images: np.ndarray, scale: str, train: np.ndarray) -> ImageScaler:
    """What scales features by statistics of the training items.

    raw: unchanged, as pixels always are; unit: centred and divided by one number, the root of the mean
    variance of the features; standard: each feature to mean 0 and variance 1 (a constant feature to 0).
    """
    if scale == "raw" or images.dtype == np.uint8:
        return ImageScaler()
    mean, variance = images[train].mean(axis=0), images[train].var(axis=0)
    if scale == "unit":
        divisor = np.sqrt(max(variance.mean(), 1e-12))
    else:
        divisor = np.sqrt(np.where(variance > 1e-12, variance, np.inf))
    return ImageScaler(mean, np.asarray(divisor, mean.dtype))


def scale_images(images: np.ndarray, scale: str, train: np.ndarray) -> np.ndarray:
    """All images of a corpus, scaled by `image_scaler`."""
    return image_scaler(images, scale, train)(images)


def read_texts(corpus: Corpus, text: TextConfig, path: str) -> sp.csr_array | np.ndarray:
    """What a text path reads of the texts of a corpus; see `Inputs.texts`."""
    if path in COUNTED:
        return weight_counts(corpus.counts, text.weighting, corpus.splits["train"])
    return word_numbers(corpus.vocabulary, corpus.texts, text.length)


def reading_of(inputs: Inputs, data: DataConfig, text: TextConfig, path: str) -> Reading:
    """How a new text and a new image are read, as those of the corpus were."""
    corpus, train = inputs.corpus, inputs.corpus.splits["train"]
    counted = path in COUNTED
    return Reading(
        TextReader(
            vocabulary=corpus.vocabulary,
            weighting=text.weighting if counted else None,
            idf=fit_idf(corpus.counts[train], text.weighting) if counted else None,
            length=text.length,
            width=inputs.texts.shape[1] if isinstance(inputs.texts, np.ndarray) else 0,
        ),
        image_scaler(corpus.images, data.image_scale, train),
    )


def _check_classes(corpus: Corpus) -> None:
    if len(corpus.class_names) < 2:
        raise InputError(
            f"{corpus.provenance.get('source')}: labels name one class only; retrieval needs two"
        )


def _unit_length(vectors: np.ndarray, has_vector: np.ndarray) -> np.ndarray:
    # Paper: nothing; here at unit length, because a trained vector is the longer the more common its word: as
    # they are, Kim's CNN does not leave chance with grid pairs (validation MAP .18, at unit length .35).
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(has_vector[:, None], vectors / np.maximum(length, 1e-12), 0).astype(np.float32)


def _vectors(corpus: Corpus, text: TextConfig) -> tuple[np.ndarray, np.ndarray]:
    """Word vectors [N, d] and which words have one; trained ones are kept, for they take the longest."""
    training_texts = [corpus.texts[i] for i in corpus.splits["train"]]

    def make() -> tuple[np.ndarray, np.ndarray]:
        keyed = word_vectors(
            text.vectors, corpus.vocabulary, training_texts, path=text.vector_file, seed=text.vector_seed
        )
        return vector_matrix(keyed, corpus.vocabulary)

    if text.vectors != "corpus":
        return make()
    named = repr(
        (training_texts, corpus.vocabulary.to_dict(), text.vector_seed, importlib.metadata.version("gensim"))
    )
    path = cache_dir() / "vectors" / f"{hashlib.sha256(named.encode()).hexdigest()}.npz"
    names = ("vectors", "has_vector")
    arrays = cached_arrays(
        path,
        make=lambda: dict(zip(names, make(), strict=True)),
        shapes=dict.fromkeys(names),
        what="word vectors",
    )
    return arrays["vectors"], arrays["has_vector"]
