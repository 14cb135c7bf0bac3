"""Text to words. The tokeniser is saved with the model, so that a query typed later is treated the same."""

import dataclasses
import functools
import importlib.util
import re
import unicodedata

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

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
