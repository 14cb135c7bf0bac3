"""What a model reads: texts as word counts, words in order or dense features; images as features or pixels.

`Inputs` holds that of a corpus; `Reading` makes the same of new texts and images, by the statistics of the
training items and without the corpus.
"""

import dataclasses
import difflib
import hashlib
import importlib.metadata
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.cache import cache_dir, cached_arrays
from gcnxmodal.data.files import file_digest
from gcnxmodal.data.picture_features import (
    BACKBONES,
    FROM_PICTURES,
    images_from,
    picture_features,
    require_weights,
)
from gcnxmodal.data.pictures import rasterise
from gcnxmodal.errors import InputError
from gcnxmodal.graph.layout import SparseLayout, pack
from gcnxmodal.graph.word_graph import graph_order, relabel, scaled_laplacian, word_graph
from gcnxmodal.text.vectors import cut_words, map_words, vector_matrix, word_vectors
from gcnxmodal.text.vocabulary import MappedWords, Vocabulary, fit_idf, weight_counts, weighted

MAPPED = ("mapped_words", "mapped_vertices", "mapped_weights")
"""Names of the arrays of `MappedWords`."""

TextInput = Literal["counts", "words", "features"]
"""What is read of a text: counts of the vocabulary's words, its words in order, or its dense features."""


class ReadTexts(NamedTuple):
    """Some new texts as they are read.

    Attributes:
        rows: as `Inputs.texts` has them; of a text without a known word empty.
        known: whether each text has a word that the run knows.
        mapped: the words that are read as others of the vocabulary, and as which.
    """

    rows: sp.csr_array | np.ndarray
    known: Bool[np.ndarray, " n"]
    mapped: dict[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class TextReader:
    """Texts to what a text encoder reads of them; see `Inputs.texts`.

    Attributes:
        vocabulary: the words, in the order of the graph if there is one.
        weighting: of the counts; None for words in order.
        idf: what "tfidf" takes from the training texts.
        length: words in order that are read of a text.
        width: words that a row has room for, the most of a text of the corpus; longer texts make more.
        mapped: words outside the vocabulary that are read as words of it, if there are any.
    """

    vocabulary: Vocabulary
    weighting: str | None
    idf: Float[np.ndarray, " N"] | None
    length: int
    width: int
    mapped: MappedWords | None = None

    def __call__(self, texts: Sequence[str]) -> sp.csr_array | np.ndarray:
        """The rows of some texts by their words of the vocabulary alone, as those of a corpus are read."""
        return self.of_words(self.vocabulary.sequences(texts))

    def read(self, texts: Sequence[str]) -> ReadTexts:
        """Some new texts, such as queries.

        The count of a word outside the vocabulary is spread over the words that it is mapped to, by their
        shares; of words in order, the nearest stands for it. In a text that then has no known word, words of
        the vocabulary are looked for inside the runs of scripts without blanks.
        """
        mapped: dict[str, tuple[str, ...]] = {}
        counted = [self._numbers(text, mapped) for text in texts]
        known = np.array([len(numbers) > 0 for numbers, _ in counted], bool)
        if self.weighting is None:
            return ReadTexts(padded_words([n for n, _ in counted], self.length, self.width), known, mapped)
        indptr = np.concatenate([[0], np.cumsum([len(n) for n, _ in counted], dtype=np.int64)])
        numbers = np.concatenate([np.empty(0, np.int32), *(n for n, _ in counted)])
        shares = np.concatenate([np.empty(0, np.float32), *(shares for _, shares in counted)])
        counts = sp.csr_array((shares, numbers, indptr), (len(texts), len(self.vocabulary)))
        counts.sum_duplicates()
        return ReadTexts(weighted(counts, self.weighting, self.idf), known, mapped)

    def similar_words(self, text: str, most: int = 3) -> list[str]:
        """Words of the vocabulary that are spelt nearly like those of a text without a known word."""
        spelt = [
            near
            for word in self.vocabulary.tokenizer(text)
            for near in difflib.get_close_matches(word, self.vocabulary.words, most)
        ]
        return list(dict.fromkeys(spelt))[:most]

    def _numbers(self, text: str, mapped: dict[str, tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the words of a text, and how much each counts; adds to what is mapped."""
        numbers: list[int] = []
        shares: list[float] = []
        words = self.vocabulary.tokenizer(text)
        for word in words:
            if (number := self.vocabulary.number_of(word)) is not None:
                numbers.append(number)
                shares.append(1.0)
            elif self.mapped is not None and (near := self.mapped.of(word)) is not None:
                most = 1 if self.weighting is None else len(near[0])
                numbers += near[0][:most].tolist()
                shares += near[1][:most].tolist()
                mapped[word] = tuple(self.vocabulary.words[vertex] for vertex in near[0][:most])
        if not numbers:
            inside = [part for word in words for part in self.vocabulary.words_inside(word)]
            numbers = [number for part in inside if (number := self.vocabulary.number_of(part)) is not None]
            shares = [1.0] * len(numbers)
        return np.array(numbers, np.int32), np.array(shares, np.float32)

    def of_words(self, sequences: Sequence[Int[np.ndarray, " length"]]) -> sp.csr_array | np.ndarray:
        """The rows of texts that are given as word numbers in reading order."""
        if self.weighting is None:
            return padded_words(sequences, self.length, self.width)
        return weighted(self.vocabulary.counts_of(sequences), self.weighting, self.idf)


@dataclasses.dataclass(frozen=True)
class FeatureScaler:
    """(x - mean) / divisor of features x, by statistics of the training items; without them, x as it is."""

    mean: Float[np.ndarray, " d"] | None = None
    divisor: Float[np.ndarray, "..."] | None = None

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The scaled features [n, ...]."""
        return features if self.mean is None else (features - self.mean) / self.divisor


class Reading(NamedTuple):
    """How texts, and images as a corpus has them, are read.

    Attributes:
        texts: of words.
        images: of image features; pixels stay.
        text_features: of dense features of texts, where the model reads these and no words.
    """

    texts: TextReader
    images: FeatureScaler
    text_features: FeatureScaler | None = None


def padded_words(
    sequences: Sequence[Int[np.ndarray, " words"]], length: int, width: int = 0
) -> Int[np.ndarray, "n L"]:
    """The first `length` words of each text by number, int32, filled up with -1 to at least `width`."""
    rows = [row[:length] for row in sequences]
    words = np.full((len(rows), max(width, *map(len, rows))), -1, np.int32)
    for number, row in enumerate(rows):
        words[number, : len(row)] = row
    return words


def read_pictures(
    pictures: Sequence[Path],
    image_feature: str,
    resolution: int | None,
    source: str,
    made_with: Mapping[str, Any] | None = None,
    weights: Path | None = None,
) -> np.ndarray:
    """Picture files as a corpus has them: features or pixels, [n, ...], before they are scaled.

    Args:
        made_with: what `gcnxmodal.features` has noted in the corpus's file of features, if it made that.
        weights: of the network that made them, where no package brings it.

    Raises:
        InputError: if this image feature is not made from pictures here, or one cannot be read; `source`
            names the run.
    """
    if made_with is not None and made_with["backbone"] in (*BACKBONES, "gist"):
        return _as_they_were_made(pictures, made_with, weights)
    if image_feature not in FROM_PICTURES or resolution is None:
        raise InputError(
            f"{source}: its images are '{image_feature}', which is not made from a picture here; only "
            f"those with {' or '.join(FROM_PICTURES)}, or with features that gcnxmodal.features made by a "
            "network or gist, can be asked with a picture"
        )
    with tempfile.TemporaryDirectory() as folder:
        files = list(pictures)
        for number, picture in enumerate(files):
            if picture.suffix == ".svg":  # as the emoji corpus has them; two may have one name
                own = Path(folder) / str(number)
                [files[number]] = rasterise([picture], resolution, own, progress=False)
        return images_from(files, image_feature, resolution, cache_dir=cache_dir())


def _as_they_were_made(
    pictures: Sequence[Path], made_with: Mapping[str, Any], weights: Path | None
) -> np.ndarray:
    """Features of pictures by the backbone, and with the weights, of a corpus's file of features."""
    name = made_with["backbone"]
    if name == "gist":
        from gcnxmodal.data.gist import gist_features  # with scipy.fft

        return gist_features(pictures, cache_dir=cache_dir())
    file = require_weights(name, weights)
    if file_digest(file) != made_with.get("sha256"):
        raise InputError(
            f"{file}: the features of the run were made with other weights of {name} "
            f"({made_with.get('weights')}); name these by --weights"
        )
    resolution = int(made_with["resolution"])
    return picture_features(pictures, resolution, cache_dir=cache_dir(), backbone=name, weights_file=file)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a model reads for each item of the corpus.

    Attributes:
        corpus: the corpus.
        texts: weighted counts, CSR float32 [n, N]; word numbers in reading order, int32 [n, L], filled up
            with -1; or dense features, float32 [n, e], scaled.
        images: float32 [n, d], scaled; or pixels, uint8 [n, R, R, 3].
        graph_report: numbers worth telling: of the words and, if there is one, of their graph.
        reading: how a new text and a new image are read, as those of the corpus were.
    """

    corpus: Corpus
    texts: sp.csr_array | np.ndarray
    images: np.ndarray
    graph_report: dict[str, Any]
    reading: Reading

    def dense_texts(self, rows: np.ndarray) -> np.ndarray:
        """Some rows of `texts`, those that are zero too."""
        texts = self.texts[rows]
        return texts if isinstance(texts, np.ndarray) else texts.toarray()


@dataclasses.dataclass(frozen=True)
class WordInputs(Inputs):
    """`Inputs` with what is known of the words: their graph, or of words in order their vectors.

    Attributes:
        layout: the scaled Laplacian of the word graph; the vocabulary is in the order of its vertices. None
            for words in order.
        vectors: word vectors at unit length, float32 [N, e]; zero for a word without one.
    """

    layout: SparseLayout | None
    vectors: np.ndarray


def read_inputs(
    corpus: Corpus, data: DataConfig, text: TextConfig, text_input: TextInput = "counts"
) -> Inputs:
    """What a model without a word graph reads.

    Raises:
        InputError: if the corpus has one class only, or no dense features of texts if they are to be read.
    """
    _check_classes(corpus)
    train = corpus.splits["train"]
    texts: Any
    counted, text_scaler = text_input == "counts", None
    if counted:
        texts = weight_counts(corpus.counts, text.weighting, train)
    elif text_input == "words":
        texts = padded_words(corpus.vocabulary.sequences(corpus.texts), text.length)
    else:
        features = text_features(corpus)
        text_scaler = feature_scaler(features, data.image_scale, train)
        texts = text_scaler(features)
    scaler = feature_scaler(corpus.images, data.image_scale, train)
    text_reader = TextReader(
        vocabulary=corpus.vocabulary,
        weighting=text.weighting if counted else None,
        idf=fit_idf(corpus.counts[train], text.weighting) if counted else None,
        length=text.length,
        width=texts.shape[1] if text_input == "words" else 0,
        mapped=_mapped_words(corpus, text) if text.mapped_words and text_scaler is None else None,
    )
    report = {"words": len(corpus.vocabulary), "documents_without_a_word": corpus.wordless}
    if text_scaler is not None:
        report = {"text_features": texts.shape[1]}
    if text_reader.mapped is not None:
        report["mapped_words"] = len(text_reader.mapped.words)
    reading = Reading(text_reader, scaler, text_scaler)
    return Inputs(corpus, texts, scaler(corpus.images), report, reading)


def word_inputs(
    corpus: Corpus, data: DataConfig, text: TextConfig, text_input: TextInput = "counts"
) -> WordInputs:
    """What a model reads with, of counts, the word graph of the training texts, which orders the vocabulary.

    Raises:
        InputError: if the corpus has one class only, or the graph cannot be built (k >= N, bad vectors).
    """
    _check_classes(corpus)
    if text_input == "counts" and text.neighbours >= len(corpus.vocabulary):
        raise InputError(
            f"--text.neighbours is {text.neighbours} but the training texts have {len(corpus.vocabulary)} "
            "words; it must be smaller than the number of words"
        )
    vectors, has_vector = _vectors(corpus, text)
    report: dict[str, Any] = {"words_with_vector": int(has_vector.sum())}
    unit_vectors, layout = _unit_length(vectors, has_vector), None
    if text_input == "counts":
        graph = word_graph(vectors, has_vector, text.neighbours, text.graph)
        report["edges"] = int(graph.n_edge[0])
        # The numbering of the words is free: one that keeps neighbours close makes the gathers local.
        order = graph_order(graph)
        corpus, unit_vectors = corpus.reordered(order), unit_vectors[order]
        layout = pack(scaled_laplacian(relabel(graph, order), text.lambda_max))
    plain = read_inputs(corpus, data, text, text_input)
    parts = {field.name: getattr(plain, field.name) for field in dataclasses.fields(Inputs)}
    parts["graph_report"] = {**plain.graph_report, **report}
    return WordInputs(**parts, layout=layout, vectors=unit_vectors)


def text_features(corpus: Corpus) -> Float[np.ndarray, "n e"]:
    """The dense features of the texts of a corpus.

    Raises:
        InputError: if it has none.
    """
    if corpus.text_features is None:
        root = corpus.provenance.get("options", {}).get("root")
        file = "features.npz in the folder of your data" if root is None else Path(root) / "features.npz"
        raise InputError(
            f"{corpus.provenance.get('source')}: has no dense features of texts, which this model reads; put "
            f"an array 'texts', a row a text, into {file} and load it with --data.image-feature features, or "
            "train another text encoder, such as --model.text linear"
        )
    return corpus.text_features


def feature_scaler(images: np.ndarray, scale: str, train: np.ndarray) -> FeatureScaler:
    """What scales features by statistics of the training items.

    raw: unchanged, as pixels always are; unit: centred and divided by one number, the root of the mean
    variance of the features; standard: each feature to mean 0 and variance 1 (a constant feature to 0). A
    feature is constant if its values differ by no more than rounding.
    """
    if scale == "raw" or images.dtype == np.uint8:
        return FeatureScaler()
    x_nd = images[train]
    low_d, high_d = x_nd.min(axis=0), x_nd.max(axis=0)
    size_d = np.maximum(np.abs(low_d), np.abs(high_d))
    varies_d = high_d - low_d > np.finfo(x_nd.dtype).eps * size_d
    # Statistics of values near 1, brought there by a power of two, which changes no bit: squares of 1e-20
    # are zero in float32, and those of 1e20 infinite.
    power_d = np.frexp(size_d if scale == "standard" else size_d.max(keepdims=True))[1]
    x_nd = np.ldexp(x_nd, -power_d)
    mean_d, variance_d = x_nd.mean(axis=0), x_nd.var(axis=0)
    if scale == "unit":
        variance_d, varies_d = variance_d.mean(keepdims=True), varies_d.any(keepdims=True)
    divisor_d = np.where(varies_d, np.ldexp(np.sqrt(variance_d), power_d), np.inf)
    return FeatureScaler(np.ldexp(mean_d, power_d), divisor_d.squeeze() if scale == "unit" else divisor_d)


def _check_classes(corpus: Corpus) -> None:
    if len(corpus.class_names) == 1:
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
    names = ("vectors", "has_vector")
    arrays = _kept(named, lambda: dict(zip(names, make(), strict=True)), names)
    return arrays["vectors"], arrays["has_vector"]


def _mapped_words(corpus: Corpus, text: TextConfig) -> MappedWords:
    """Words outside the vocabulary as words of it, by the vectors that the run is trained with.

    Of `vectors=corpus` by vectors that are trained apart on the vocabulary and the words that it leaves out:
    those of the word graph are of the vocabulary alone.
    """
    training_texts = [corpus.texts[i] for i in corpus.splits["train"]]
    source: Any = training_texts if text.vectors == "corpus" else text.vectors
    if text.vector_file is not None and text.vector_file.is_file():
        about = text.vector_file.stat()
        source = (str(text.vector_file.resolve()), about.st_size, about.st_mtime_ns)
    deciding = corpus.vocabulary.to_dict(), text.mapped_words, text.vector_seed

    def make() -> dict[str, np.ndarray]:
        if text.vectors == "corpus" and not cut_words(corpus.vocabulary, training_texts):
            return MappedWords((), np.empty((0, 0), np.int32), np.empty((0, 0), np.float32)).arrays()
        vectors = word_vectors(
            text.vectors,
            corpus.vocabulary,
            training_texts,
            path=text.vector_file,
            seed=text.vector_seed,
            others=text.mapped_words,
        )
        return map_words(vectors, corpus.vocabulary, text.mapped_words).arrays()

    named = repr(("mapped", source, *deciding, importlib.metadata.version("gensim")))
    return MappedWords.from_arrays(_kept(named, make, MAPPED))


def _kept(
    named: str, make: Callable[[], dict[str, np.ndarray]], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Arrays made from word vectors, from the cache if they were made before."""
    path = cache_dir() / "vectors" / f"{hashlib.sha256(named.encode()).hexdigest()}.npz"
    return cached_arrays(path, make=make, shapes=dict.fromkeys(names), what="word vectors")
