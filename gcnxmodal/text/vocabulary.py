"""Text to words, the words that a model knows, and a document as its counts over them.

The tokeniser is saved with the model, so that a query typed later is treated the same.
"""

import collections
import dataclasses
import functools
import importlib.util
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfTransformer
from sklearn.preprocessing import normalize

from gcnxmodal.errors import InputError


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Unicode words of an NFKC-normalised text, in order.

    A word is a run of letters, digits and their combining marks, with apostrophes inside it ("don't" is one
    word; a typographic apostrophe equals a plain one). Scripts without spaces come out a run a word, unless a
    segmenter cuts them.

    Attributes:
        lower_case: fold the words to lower case.
        stop_words: drop scikit-learn's English list (compared in lower case, before any lemmatising).
        lemmatise: replace each word by its English dictionary form (simplemma, the extra `lemmas`).
        segmenter: "none", or "jieba": cut runs of Han characters into words (rjieba, the extra `chinese`);
            other writing stays as it is, Japanese kana too.

    Raises:
        InputError: on construction, if the segmenter is not known, or a package that `lemmatise` or the
            segmenter needs is not installed.
    """

    lower_case: bool = True
    stop_words: bool = False
    lemmatise: bool = False
    segmenter: str = "none"

    def __post_init__(self) -> None:
        if self.segmenter not in ("none", "jieba"):
            raise InputError(f"tokenizer: segmenter is '{self.segmenter}'; choose none or jieba")
        if self.segmenter == "jieba" and importlib.util.find_spec("rjieba") is None:
            raise InputError(
                "tokenizer: segmenter jieba needs the package rjieba; pip install 'gcnxmodal[chinese]'"
            )
        if self.lemmatise and importlib.util.find_spec("simplemma") is None:
            raise InputError(
                "tokenizer: lemmatise needs the package simplemma; pip install 'gcnxmodal[lemmas]'"
            )

    def __call__(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        if self.lower_case:
            text = text.lower()
        text = text.replace("_", " ")
        if self.segmenter == "jieba":
            text = _HAN.sub(lambda run: f" {' '.join(_segment(run[0]))} ", text)
        words = _word_pattern().findall(text)
        if self.stop_words:
            words = [word for word in words if word.lower() not in ENGLISH_STOP_WORDS]
        if self.lemmatise:
            words = [_lemma(word) for word in words]
        return words


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    # `\w` leaves out combining marks, without which Hindi, Thai and pointed Hebrew words fall apart.
    # Variation selectors only choose how a character is drawn; the planes past the second have no other mark.
    marks = "".join(
        chr(code)
        for code in range(0x20000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and not 0xFE00 <= code <= 0xFE0F
    )
    # The look-ahead spares ASCII text the search of that long class (three times as fast).
    run = rf"\w+(?:(?![\x00-\x7f])[{marks}]+\w*)*"
    return re.compile(rf"{run}(?:'{run})*")


# Unified ideographs with their extensions, compatibility ideographs, the iteration mark and zero.
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]+")


@functools.lru_cache(maxsize=2**16)
def _segment(run: str) -> tuple[str, ...]:
    # jieba's algorithm and dictionary by rjieba, not by the package jieba: that one unmarshals jieba.cache
    # from the shared temporary folder, where anybody may have put it, and marshal is not safe against made-up
    # data. It also logs to stderr, warns on import, and had its last release in 2020. rjieba has the
    # dictionary compiled in: it reads and writes no file.
    import rjieba

    return tuple(rjieba.cut(run))


@functools.cache
def _lemma(word: str) -> str:
    import simplemma

    return simplemma.lemmatize(word, lang="en")


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
        return self.counts_of(self.sequences(texts))

    def counts_of(self, rows: Sequence[Int[np.ndarray, " length"]]) -> sp.csr_array:
        """The `counts` of texts that are given as word numbers."""
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
