"""Word vectors from a file: word2vec text, word2vec binary, GloVe text; streamed, only wanted rows kept."""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gensim.models import KeyedVectors

from gcnxmodal.errors import InputError


def load_vectors(path: Path, words: Sequence[str]) -> KeyedVectors:
    """The vectors of those `words` that the file has, in the order of `words`.

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
    with path.open("rb") as file:
        first = file.readline()
        if not first.strip():
            raise InputError(
                f"{path}: line 1 is empty; expected word vectors (word2vec text or binary, or GloVe text)"
            )
        header = re.fullmatch(rb"\s*([1-9]\d*)\s+([1-9]\d*)\s*", first)
        if header is None:
            dimension = first.rstrip().count(b" ")
            if dimension == 0:
                raise InputError(
                    f"{path}: line 1 is neither 'rows dimension' nor a word and its values; expected "
                    "word2vec text or binary, or GloVe text"
                )
            file.seek(0)
            found = _read_text(file, path, set(words), dimension, None)
        else:
            rows, dimension = map(int, header.groups())
            text = _row_is_text(file.readline(), dimension)
            file.seek(len(first))
            read = _read_text if text else _read_binary
            found = read(file, path, set(words), dimension, rows)
    kept = [word for word in words if word in found]
    if not kept:
        raise InputError(
            f"{path}: none of the {len(words)} words is in this file; is it of the right language, and is "
            "its case (upper or lower) that of the tokenizer?"
        )
    vectors = KeyedVectors(len(found[kept[0]]))
    vectors.add_vectors(kept, np.stack([found[word] for word in kept]))
    return vectors


def _row_is_text(row: bytes, dimension: int) -> bool:
    """Whether what follows the first word, up to a line feed, can be `dimension` numbers in text.

    Packed floats hold bytes outside printable ASCII, or a chance line feed long before the shortest text
    of as many numbers could end.
    """
    numbers = row.partition(b" ")[2].strip()
    return len(numbers) >= 2 * dimension - 1 and numbers.isascii() and numbers.decode().isprintable()


def _read_text(
    file: BinaryIO, path: Path, wanted: set[str], dimension: int, rows: int | None
) -> dict[str, np.ndarray]:
    """Rows "word value ... value"; `rows` is what a word2vec header promised, None for GloVe."""
    found: dict[str, np.ndarray] = {}
    header_lines = 0 if rows is None else 1
    number = header_lines
    for number, raw in enumerate(file, start=header_lines + 1):
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
        if word in wanted and word not in found:
            try:
                vector = np.array([float(value) for value in line.split(" ")[1:]], np.float32)
            except ValueError as error:
                raise InputError(f"{where}, word '{word}': {error}; every value must be a number") from None
            found[word] = _finite(vector, f"{where}, word '{word}'")
    if rows is not None and number - header_lines != rows:
        raise InputError(
            f"{path}: line 1 promises {rows} rows but the file has {number - header_lines} "
            f"(it ends at line {number}); fetch or export it again"
        )
    return found


def _read_binary(
    file: BinaryIO, path: Path, wanted: set[str], dimension: int, rows: int
) -> dict[str, np.ndarray]:
    """Rows of a word, a space and `dimension` little-endian float32, with or without a line feed between."""
    found: dict[str, np.ndarray] = {}
    start = file.tell()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for row in range(1, rows + 1):
            where = f"{path}: byte {start} (row {row} of {rows})"
            space = data.find(b" ", start)
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
            if word in wanted and word not in found:
                vector = np.frombuffer(data[space + 1 : end], "<f4").astype(np.float32)
                found[word] = _finite(vector, f"{where}, word '{word}'")
            start = end
        if data[start : start + 2].strip():
            raise InputError(
                f"{path}: byte {start}: the file goes on after the {rows} rows of {dimension} values that "
                "line 1 promises; fetch or export it again"
            )
    return found


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
