"""The words that a model knows, and a document as its counts over them."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """N distinct words, word i being vertex i of the graph, and the tokeniser that made them.

    Raises:
        InputError: on construction, if there is no word or one occurs twice.
    """

    words: tuple[str, ...]
    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        if not self.words:
            raise InputError("vocabulary: there is no word in it; it needs at least one")
        if len(self._index) < len(self.words):
            word, times = collections.Counter(self.words).most_common(1)[0]
            raise InputError(f"vocabulary: the word '{word}' is there {times} times; keep each word once")

    @classmethod
    def fit(cls, training_texts: Sequence[str], size: int, tokenizer: Tokenizer) -> "Vocabulary":
        """The `size` most common words of the training texts, the most common first.

        Equally common words are taken in code-point order; if there are fewer words, all are taken. Only
        training texts may be passed: words chosen on test texts are a leak.

        Raises:
            InputError: if `size` is below 1 or the texts hold no word.
        """
        if size < 1:
            raise InputError(f"vocabulary: its size is {size}; ask for at least one word")
        frequency = collections.Counter(word for text in training_texts for word in tokenizer(text))
        if not frequency:
            raise InputError(
                f"vocabulary: the {len(training_texts)} training texts hold no word; "
                "check the text field, and the tokenizer's stop words"
            )
        ranked = sorted(frequency, key=lambda word: (-frequency[word], word))
        return cls(tuple(ranked[:size]), tokenizer)

    def counts(self, texts: Sequence[str]) -> sp.csr_array:
        """Raw word counts, float32 [n, N] with sorted indices: the signal x of each document."""
        rows = self.sequences(texts)
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        indices = np.concatenate([np.empty(0, np.int32), *rows])
        counts = sp.csr_array((np.ones(len(indices), np.float32), indices, indptr), (len(rows), len(self)))
        counts.sum_duplicates()
        return counts

    def sequences(self, texts: Sequence[str]) -> list[Int[np.ndarray, " length"]]:
        """The word numbers (int32) of each text in reading order; unknown words are dropped."""
        index = self._index
        return [
            np.array([index[word] for word in self.tokenizer(text) if word in index], np.int32)
            for text in texts
        ]

    def reordered(self, order: Int[np.ndarray, " N"]) -> "Vocabulary":
        """The same words renumbered: word i of the new vocabulary is `words[order[i]]`."""
        return dataclasses.replace(self, words=tuple(self.words[i] for i in order))

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `from_dict` makes an equal vocabulary."""
        return {"words": list(self.words), "tokenizer": dataclasses.asdict(self.tokenizer)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Vocabulary":
        """The vocabulary that `to_dict` described."""
        return cls(tuple(saved["words"]), Tokenizer(**saved["tokenizer"]))

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return dict(zip(self.words, itertools.count()))


def weight_counts(
    counts: sp.csr_array, weighting: str, training_rows: Int[np.ndarray, " n_train"]
) -> sp.csr_array:
    """Counts [n, N] as the signal the model sees, float32 [n, N].

    "counts": as they are (the papers); "l1", "l2": each document scaled to norm 1; "log1p": ln(1 + count);
    "tfidf": count * (ln((1 + n) / (1 + df)) + 1), scaled to l2 norm 1 (scikit-learn's TfidfTransformer),
    with n and df of the training rows only. A document without words stays zero.

    Raises:
        InputError: if the weighting is not one of these.
    """
    return weighted(counts, weighting, fit_idf(counts[training_rows], weighting))


def fit_idf(training_counts: sp.csr_array, weighting: str) -> Float[np.ndarray, " N"] | None:
    """What a weighting takes from the training texts: "tfidf" ln((1 + n) / (1 + df)) + 1, others nothing."""
    return TfidfTransformer().fit(training_counts).idf_ if weighting == "tfidf" else None


def weighted(counts: sp.csr_array, weighting: str, idf_N: Float[np.ndarray, " N"] | None) -> sp.csr_array:
    """Counts [n, N] as `weight_counts` makes them, of texts that need not be in the corpus.

    Args:
        idf_N: from `fit_idf`.

    Raises:
        InputError: if the weighting is not known.
    """
    if weighting not in WEIGHTINGS:
        raise InputError(f"weighting: '{weighting}' is not known; choose one of {', '.join(WEIGHTINGS)}")
    return sp.csr_array(WEIGHTINGS[weighting](counts, idf_N), dtype=np.float32)


def _tfidf(counts: sp.csr_array, idf_N: np.ndarray | None) -> sp.csr_array:
    transformer = TfidfTransformer()
    transformer.idf_ = idf_N
    return sp.csr_array(transformer.transform(counts))


WEIGHTINGS = {
    "counts": lambda counts, idf: counts,
    "l1": lambda counts, idf: normalize(counts, "l1"),
    "l2": lambda counts, idf: normalize(counts, "l2"),
    "log1p": lambda counts, idf: counts.log1p(),
    "tfidf": _tfidf,
}
