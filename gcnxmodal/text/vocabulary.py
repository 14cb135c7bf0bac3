"""Text to words, the words that a model knows, and a document as its counts over them.

The tokeniser is saved with the model, so that a query typed later is treated the same.
"""

import collections
import dataclasses
import functools
import importlib.util
import itertools
import re
import typing
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

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
        segmenter: "none"; "jieba": cut runs of Han characters into words (rjieba, the extra `chinese`), other
            writing stays as it is, Japanese kana too; "ngrams": of scripts without blanks every two and every
            three neighbouring letters are a word, and every Han character; "auto": one of these, which
            `for_texts` chooses.

    Raises:
        InputError: on construction, if the segmenter is not known, or a package that `lemmatise` or the
            segmenter needs is not installed.
    """

    lower_case: bool = True
    stop_words: bool = False
    lemmatise: bool = False
    segmenter: str = "none"

    def __post_init__(self) -> None:
        if self.segmenter not in SEGMENTERS:
            raise InputError(
                f"tokenizer: segmenter is '{self.segmenter}'; choose one of {', '.join(SEGMENTERS)}"
            )
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
        elif self.segmenter == "ngrams":
            text = _without_blanks().sub(lambda run: f" {' '.join(_ngrams(run[0]))} ", text)
        words = _word_pattern().findall(text)
        if self.stop_words:
            words = [word for word in words if word.lower() not in _stop_words()]
        if self.lemmatise:
            words = [_lemma(word) for word in words]
        return words

    def for_texts(self, texts: Sequence[str]) -> "Tokenizer":
        """The tokeniser with a segmenter in place of "auto".

        "none", unless most letters are of a script without blanks and stand in long runs, as they do where
        nobody has put blanks between the words. Then "jieba" for Chinese, and "ngrams" for Japanese, Thai,
        Lao, Khmer and Burmese.

        Raises:
            InputError: for Chinese, if the package rjieba is not installed.
        """
        if self.segmenter != "auto":
            return self
        segmenter = _segmenter_for(texts)
        if segmenter == "jieba" and importlib.util.find_spec("rjieba") is None:
            raise InputError(
                "the texts are Chinese without blanks between the words; pip install 'gcnxmodal[chinese]' to "
                "cut them into words, or --text.segmenter ngrams to take every two and three characters"
            )
        return dataclasses.replace(self, segmenter=segmenter)


SEGMENTERS = ("none", "auto", "jieba", "ngrams")


@functools.cache
def _marks() -> str:
    # Variation selectors only choose how a character is drawn; the planes past the second have no other mark.
    return "".join(
        chr(code)
        for code in range(0x20000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and not 0xFE00 <= code <= 0xFE0F
    )


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    # `\w` leaves out combining marks, without which Hindi, Thai and pointed Hebrew words fall apart.
    marks = _marks()
    # The look-ahead spares ASCII text the search of that long class (three times as fast).
    run = rf"\w+(?:(?![\x00-\x7f])[{marks}]+\w*)*"
    return re.compile(rf"{run}(?:'{run})*")


# Unified ideographs with their extensions, compatibility ideographs, the iteration mark and zero.
_HAN_LETTERS = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_HAN = re.compile(f"[{_HAN_LETTERS}]+")
# Hiragana and Katakana, with the long-vowel mark.
_KANA_LETTERS = "\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
# Thai and Lao; Burmese with its extensions; Khmer.
_THAI_AND_OTHERS = "\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9fe\u1780-\u17d3"
_WHERE_AUTO_LOOKS = 2_000  # texts
_LONG = {"jieba": 3, "japanese": 3, "thai": 6}  # letters of a run; words are shorter on average


@functools.cache
def _without_blanks() -> re.Pattern[str]:
    """Runs of letters of scripts that put no blank between words."""
    return re.compile(f"[{_HAN_LETTERS}{_KANA_LETTERS}{_THAI_AND_OTHERS}]+")


@functools.cache
def _letter() -> re.Pattern[str]:
    """A letter with its marks: a Thai tone stands with the letter that carries it."""
    return re.compile(f".[{_marks()}]*", re.DOTALL)


def _ngrams(run: str) -> list[str]:
    """Every two and every three neighbouring letters, and every Han character, in order.

    >>> _ngrams("ねこ"), _ngrams("黒猫の")
    (['ねこ'], ['黒', '黒猫', '黒猫の', '猫', '猫の'])
    """
    letters = _letter().findall(run)
    if len(letters) == 1:
        return letters
    grams = []
    for start, letter in enumerate(letters):
        grams += [letter] if _HAN.fullmatch(letter) else []
        grams += ["".join(letters[start : start + n]) for n in (2, 3) if start + n <= len(letters)]
    return grams


def _segmenter_for(texts: Sequence[str]) -> str:
    step = max(1, len(texts) // _WHERE_AUTO_LOOKS)
    letters, runs, kana, han = 0, collections.Counter(), 0, 0
    for text in texts[::step]:
        text = unicodedata.normalize("NFKC", text)
        letters += sum(map(str.isalpha, text))
        for run in _without_blanks().findall(text):
            runs[sum(map(str.isalpha, run))] += 1
            of_han = sum(map(len, _HAN.findall(run)))
            han += of_han
            kana += len(re.findall(f"[{_KANA_LETTERS}]", run))
    total = sum(length * count for length, count in runs.items())
    if not total or 2 * total < letters:
        return "none"
    # Japanese mixes both; a Chinese text has a kana here and there at most.
    language = "thai" if 2 * (han + kana) < total else "japanese" if 10 * kana > han else "jieba"
    if total / sum(runs.values()) < _LONG[language]:
        return "none"
    return "jieba" if language == "jieba" else "ngrams"


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
        tokenizer = tokenizer.for_texts(training_texts)
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

    def words_inside(self, word: str) -> list[str]:
        """The words that a run of letters without blanks is made of, the longest first from its beginning.

        Letters that open no word are passed over. A word of a script with blanks is never looked into.
        """
        inside, start = [], 0
        if not _without_blanks().fullmatch(word):
            return inside
        while start < len(word):
            ends = range(min(len(word), start + self._longest), start, -1)
            end = next((end for end in ends if word[start:end] in self._index), None)
            inside += [] if end is None else [word[start:end]]
            start = start + 1 if end is None else end
        return inside

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

    def number_of(self, word: str) -> int | None:
        """The word's number; None if it is not in the vocabulary."""
        return self._index.get(word)

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return dict(zip(self.words, itertools.count()))

    @functools.cached_property
    def _longest(self) -> int:
        return max(map(len, self.words))


@dataclasses.dataclass(frozen=True)
class MappedWords:
    """Words outside a vocabulary as words of it: what a query says in other words than the training texts.

    Attributes:
        words: the U words outside.
        vertices: numbers of the vocabulary words that each is read as, the nearest first; -1 where there are
            fewer than k.
        weights: their shares, which add up to 1; 0 where there are fewer than k.
    """

    words: tuple[str, ...]
    vertices: Int[np.ndarray, "U k"]
    weights: Float[np.ndarray, "U k"]

    def of(self, word: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The numbers and shares of the words that a word is read as; None for a word that is not here."""
        row = self._index.get(word)
        if row is None:
            return None
        there = self.vertices[row] >= 0
        return self.vertices[row][there], self.weights[row][there]

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return dict(zip(self.words, itertools.count()))

    def arrays(self) -> dict[str, np.ndarray]:
        """As plain arrays, from which `from_arrays` makes an equal value."""
        words = np.frombuffer("\n".join(self.words).encode(), np.uint8)
        return {"mapped_words": words, "mapped_vertices": self.vertices, "mapped_weights": self.weights}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "MappedWords":
        """What `arrays` gave."""
        spelt = arrays["mapped_words"].tobytes().decode()
        vertices, weights = arrays["mapped_vertices"], arrays["mapped_weights"]
        return cls(tuple(spelt.split("\n")) if spelt else (), vertices, weights)


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
    if weighting != "tfidf":
        return None
    from sklearn.feature_extraction.text import TfidfTransformer  # not for a query: takes two seconds

    return TfidfTransformer().fit(training_counts).idf_


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
    data = counts.data.astype(np.float32)
    data *= typing.cast(np.ndarray, idf_N)[counts.indices]
    scaled = sp.csr_array((data, counts.indices, counts.indptr), shape=counts.shape)
    return _normalised(scaled, np.square)


def _normalised(counts: sp.csr_array, size: Callable[[np.ndarray], np.ndarray]) -> sp.csr_array:
    """Rows divided by their l1 (`size` abs) or l2 norm (square), in scikit-learn's order of sums."""
    lengths = np.diff(counts.indptr)
    sums = np.bincount(np.repeat(np.arange(len(lengths)), lengths), size(counts.data), len(lengths))
    norms = np.where(sums > 0, np.sqrt(sums) if size is np.square else sums, 1)
    data = (counts.data / np.repeat(norms, lengths)).astype(counts.dtype)
    return sp.csr_array((data, counts.indices, counts.indptr), shape=counts.shape)


@functools.cache
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # not for a query: takes two seconds

    return ENGLISH_STOP_WORDS


WEIGHTINGS = {
    "counts": lambda counts, idf: counts,
    "l1": lambda counts, idf: _normalised(counts, np.abs),
    "l2": lambda counts, idf: _normalised(counts, np.square),
    "log1p": lambda counts, idf: counts.log1p(),
    "tfidf": _tfidf,
}
