"""Items in a folder: a line of JSON each, and a row of texts and one of images in one of three formats.

    items.jsonl      line i describes row i: id, text, labels, splits, the user's own fields as "metadata"
    embeddings.npz   arrays `texts` and `images`, a row an item; codes.npz of binary codes

In place of the .npz: embeddings.safetensors, or texts.faiss and images.faiss.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import load_npz
from gcnxmodal.data.cache import partial_name
from gcnxmodal.data.files import Schema, read_json_lines
from gcnxmodal.errors import InputError, writing
from gcnxmodal.nn.weights import read_weights
from gcnxmodal.retrieval.nearest import require_faiss

ITEMS = "items.jsonl"
NAMES = ("texts", "images")

Rows = np.ndarray
"""Embeddings or features float32 [n, D], or packed codes uint32 [n, W]."""


def rows_among(items: Sequence[dict[str, Any]], among: str) -> np.ndarray:
    """The rows of the items of a split, or of "all"; none if no item is in it."""
    if among == "all":
        return np.arange(len(items))
    return np.flatnonzero([among in item["splits"] for item in items])


def distinct_rows(items: Sequence[dict[str, Any]], rows: np.ndarray, side: str) -> np.ndarray:
    """Of these rows the first with each different picture ("picture") or text ("text")."""
    same = f"same_{side}"
    if not items or same not in items[0]:
        return rows
    first = {items[row][same]: row for row in reversed(rows.tolist())}
    return np.array(sorted(first.values()), int)


def without_pictures(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items without where their pictures lie on this machine."""
    return [{name: value for name, value in item.items() if name != "picture"} for item in items]


def describe_items(corpus: Corpus, rows: np.ndarray, *, pictures: bool = False) -> list[dict[str, Any]]:
    """Each item's id, text, labels and splits (JSON values); on request also where its picture lies.

    The id is its picture's path in the folder of the data set, or in the one that all pictures share, if they
    lie elsewhere; without pictures, the number of its row in the corpus. The user's own fields are
    `metadata`. Where several rows have one picture or one text, `same_picture` and `same_text` have a number
    each, equal where they are the same: see `distinct_rows`.
    """
    paths = corpus.pictures
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]) if paths else ""
    root = corpus.provenance.get("options", {}).get("root")
    if root and Path(shared).is_relative_to(root):
        shared = root
    pairs = corpus.pairs
    same = {} if pairs is None else {"same_picture": pairs.image_n, "same_text": pairs.text_n}
    members = {name: set(chosen.tolist()) for name, chosen in corpus.splits.items()}
    return [
        {
            "id": Path(os.path.relpath(paths[row], shared or ".")).as_posix() if paths else str(row),
            "row": row,
            "text": corpus.texts[row],
            "labels": [corpus.class_names[number] for number in np.flatnonzero(corpus.labels[row])],
            "splits": [name for name, chosen in members.items() if row in chosen],
            **({"metadata": dict(corpus.metadata[row])} if corpus.metadata else {}),
            **({name: int(numbers[row]) for name, numbers in same.items()}),
            **({"picture": paths[row] if paths else None} if pictures else {}),
        }
        for row in rows.tolist()
    ]


def write_items(folder: Path, items: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    # The name of a picture may have bytes that are no UTF-8: these become escapes of JSON.
    with (folder / ITEMS).open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)


class _Item(Schema):
    id: str
    text: str
    labels: list[str]
    splits: list[str]
    picture: str | None = None
    metadata: Mapping[str, Any] = {}
    same_picture: int | None = None
    same_text: int | None = None


def read_items(folder: Path) -> list[dict[str, Any]]:
    """What `write_items` wrote. Raises InputError if it is missing or damaged."""
    return read_json_lines(folder / ITEMS, _Item, "export again")


@dataclasses.dataclass(frozen=True)
class Format:
    """How rows are kept.

    Attributes:
        write: (folder, kind, {name: rows}).
        read: (folder, kind) -> rows of texts, rows of images; raises InputError.
    """

    write: Callable[[Path, str, dict[str, Rows]], None]
    read: Callable[[Path, str], tuple[Rows, Rows]]


def _write_npz(folder: Path, kind: str, rows: dict[str, Rows]) -> None:
    with (folder / f"{kind}.npz").open("wb") as file:
        np.savez(file, **rows)  # pyright: ignore[reportArgumentType]


def _read_npz(folder: Path, kind: str) -> tuple[Rows, Rows]:
    arrays = load_npz(folder / f"{kind}.npz", NAMES, "export again")
    return arrays["texts"], arrays["images"]


def _write_safetensors(folder: Path, kind: str, rows: dict[str, Rows]) -> None:
    contiguous = {name: np.asarray(array, order="C") for name, array in rows.items()}
    save_safetensors(folder / f"{kind}.safetensors", contiguous)


def save_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """`save_file`, with an OSError where there is no room."""
    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _read_safetensors(folder: Path, kind: str) -> tuple[Rows, Rows]:
    path = folder / f"{kind}.safetensors"
    arrays = read_weights(path)
    if missing := set(NAMES) - arrays.keys():
        raise InputError(f"{path}: has no array '{missing.pop()}'; export again")
    return arrays["texts"], arrays["images"]


def _write_faiss(folder: Path, kind: str, rows: dict[str, Rows]) -> None:
    faiss = require_faiss("--to faiss")
    for name, array in rows.items():
        if kind == "codes":
            index = faiss.IndexBinaryFlat(32 * array.shape[1])
            index.add(np.ascontiguousarray(array, "<u4").view(np.uint8))
            write = faiss.write_index_binary
        else:
            index = faiss.IndexFlatIP(array.shape[1])
            index.add(np.ascontiguousarray(array))
            write = faiss.write_index
        try:
            write(index, str(folder / f"{name}.faiss"))
        except RuntimeError as error:
            raise OSError(str(error)) from error


def _read_faiss(folder: Path, kind: str) -> tuple[Rows, Rows]:
    faiss = require_faiss("--to faiss")

    def read(name: str) -> Rows:
        path = folder / f"{name}.faiss"
        try:
            if kind != "codes":
                index = faiss.read_index(str(path))
                return index.reconstruct_n(0, index.ntotal)
            index = faiss.read_index_binary(str(path))
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be read ({str(error)[:200]}); export again") from error
        bytes_nB = faiss.vector_to_array(index.xb).reshape(index.ntotal, -1)
        return bytes_nB.view("<u4").astype(np.uint32, copy=False)

    return read("texts"), read("images")


FORMATS = {
    "npz": Format(_write_npz, _read_npz),
    "faiss": Format(_write_faiss, _read_faiss),
    "safetensors": Format(_write_safetensors, _read_safetensors),
}
"""A new format is its two functions and its line here."""


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` which takes its place when the block ends without an exception.

    Raises:
        InputError: if it cannot be written; what was there stays.
    """
    temporary, old = (partial_name(path) for _ in range(2))
    try:
        with writing(path):
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                path.rename(old)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
