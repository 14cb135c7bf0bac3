"""An export: what a run makes of its items, and the encoders, in a folder that needs neither run nor corpus.

    export.json      what is in it: the run, the rows' kind, how many
    items.jsonl      line i describes row i: id, text, labels, splits
    embeddings.npz   arrays `texts` and `images`, a row an item; codes.npz of a hashing system
    encoder/         see encoder.py

In place of the .npz: embeddings.safetensors, or texts.faiss and images.faiss.
"""

import dataclasses
import functools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import load_npz
from gcnxmodal.encoder import FORMAT, Encoder, Rows, as_exported, save_encoder, what_rows_are
from gcnxmodal.errors import InputError
from gcnxmodal.finished_run import FinishedRun
from gcnxmodal.nn.weights import read_weights
from gcnxmodal.retrieval.chunks import top_k
from gcnxmodal.retrieval.hamming import nearest
from gcnxmodal.retrieval.nearest import require_faiss
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import write_json

ABOUT, ITEMS, ENCODER = "export.json", "items.jsonl", "encoder"
NAMES = ("texts", "images")


@dataclasses.dataclass(frozen=True)
class Export:
    """An export read back.

    Attributes:
        folder: where it lies.
        about: export.json.
        items: a dictionary a row, see `describe_items`.
        texts, images: row i is item i; as `Encoder` makes them.
    """

    folder: Path
    about: dict[str, Any]
    items: list[dict[str, Any]]
    texts: Rows
    images: Rows

    @functools.cached_property
    def encoder(self) -> Encoder:
        """Makes rows of new texts and images."""
        return Encoder.load(self.folder / ENCODER)

    @classmethod
    def load(cls, folder: Path) -> "Export":
        """Raises InputError if a file is missing, damaged, or does not fit the others."""
        path = folder / ABOUT
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            with (folder / ITEMS).open(encoding="utf-8") as file:
                items = [json.loads(line) for line in file]
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: not a whole export ({error}); export again") from error
        if about.get("format") != FORMAT or about.get("to") not in FORMATS:
            raise InputError(f"{path}: is not of format {FORMAT}, which this version reads; export again")
        texts, images = FORMATS[about["to"]].read(folder, about)
        if not len(items) == len(texts) == len(images):
            raise InputError(
                f"{folder}: {len(items):,} items, {len(texts):,} texts, {len(images):,} images; export again"
            )
        return cls(folder, about, items, texts, images)

    def search(self, query: Rows, k: int, *, by: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The k best of some items for each query: (rows [Q, k], scores [Q, k]), ties by row.

        The score of codes is bits - 2 x Hamming distance, the inner product of codes of -1 and 1.

        Args:
            by: "text": queries are rows of texts, and images are found; or "image".
        """
        database = (self.images if by == "text" else self.texts)[rows]
        k = min(k, len(database))
        if self.about["rows"] == "codes":
            indices, distances = nearest(query, database, k)
            return rows[indices], self.about["bits"] - 2 * distances
        indices, scores = top_k(query, database, k)
        return rows[indices], scores


def is_export(folder: Path) -> bool:
    """Whether an export lies there."""
    return (folder / ABOUT).is_file()


def rows_among(corpus: Corpus, among: str) -> np.ndarray:
    """The rows of a split, or of "all" items. Raises InputError if there is no such split."""
    if among == "all":
        return np.arange(len(corpus))
    if among not in corpus.splits:
        raise InputError(f"--among is {among}; this corpus has all, {', '.join(corpus.splits)}: choose one")
    return corpus.splits[among]


def describe_items(corpus: Corpus, rows: np.ndarray) -> list[dict[str, Any]]:
    """Each item's id, text, labels and splits (JSON values).

    The id is its picture's path below the folder that all pictures share; without pictures, the number of its
    row in the corpus.
    """
    pictures = corpus.pictures
    shared = os.path.commonpath([os.path.dirname(picture) for picture in pictures]) if pictures else ""
    members = {name: set(chosen.tolist()) for name, chosen in corpus.splits.items()}
    return [
        {
            "id": Path(os.path.relpath(pictures[row], shared or ".")).as_posix() if pictures else str(row),
            "row": row,
            "text": corpus.texts[row],
            "labels": [corpus.class_names[number] for number in np.flatnonzero(corpus.labels[row])],
            "splits": [name for name, chosen in members.items() if row in chosen],
        }
        for row in rows.tolist()
    ]


def write_export(out: Path, run: FinishedRun, *, to: str, among: str, overwrite: bool) -> dict[str, Any]:
    """Write the export of a run, whole or not at all; returns what export.json says.

    Raises:
        InputError: if the folder may not or cannot be written, or there are no such items.
    """
    system, corpus = run.system, run.system.inputs.corpus
    rows = rows_among(corpus, among)
    check_free(out, overwrite=overwrite)
    with _replacing_folder(out) as folder:
        retriever = Retriever(system, run.params)
        found = (as_exported(system, embeddings) for embeddings in retriever.embed(rows))
        encoder = save_encoder(folder / ENCODER, run, retriever.reading)
        kept = ("format", "system", "preset", "checkpoint", "source", "commit", *what_rows_are(system))
        about = {name: encoder[name] for name in kept} | {"to": to, "among": among, "items": len(rows)}
        FORMATS[to].write(folder, about, dict(zip(NAMES, found, strict=True)))
        write_items(folder / ITEMS, describe_items(corpus, rows))
        write_json(folder / ABOUT, about)
    return about


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raises InputError if something is there already that may not be overwritten."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: --out is a file; name a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not is_export(out):
        raise InputError(f"{out}: --out has files in it but no export; name an empty or a new folder")
    if not overwrite:
        raise InputError(
            f"{out}: there is an export already; add --overwrite to replace it, or name another --out"
        )


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` which takes its place when the block ends without an exception."""
    temporary, old = (path.with_name(f".{path.name}.{uuid.uuid4().hex}") for _ in range(2))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); make room, or name another --out"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_items(path: Path, items: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)


@dataclasses.dataclass(frozen=True)
class Format:
    """How the rows are kept.

    Attributes:
        write: (folder, about, {name: rows}).
        read: (folder, about) -> rows of texts, rows of images; raises InputError.
    """

    write: Callable[[Path, dict[str, Any], dict[str, Rows]], None]
    read: Callable[[Path, dict[str, Any]], tuple[Rows, Rows]]


def _write_npz(folder: Path, about: dict[str, Any], rows: dict[str, Rows]) -> None:
    with (folder / f"{about['rows']}.npz").open("wb") as file:
        np.savez(file, **rows)  # pyright: ignore[reportArgumentType]


def _read_npz(folder: Path, about: dict[str, Any]) -> tuple[Rows, Rows]:
    found = load_npz(folder / f"{about['rows']}.npz", NAMES, "export again")
    return found["texts"], found["images"]


def _write_safetensors(folder: Path, about: dict[str, Any], rows: dict[str, Rows]) -> None:
    save_file({name: np.asarray(a, order="C") for name, a in rows.items()}, _safetensors(folder, about))


def _read_safetensors(folder: Path, about: dict[str, Any]) -> tuple[Rows, Rows]:
    found = read_weights(_safetensors(folder, about))
    if missing := set(NAMES) - found.keys():
        raise InputError(f"{_safetensors(folder, about)}: has no array '{missing.pop()}'; export again")
    return found["texts"], found["images"]


def _safetensors(folder: Path, about: dict[str, Any]) -> Path:
    return folder / f"{about['rows']}.safetensors"


def _write_faiss(folder: Path, about: dict[str, Any], rows: dict[str, Rows]) -> None:
    faiss = require_faiss("--to faiss")
    for name, array in rows.items():
        path = str(folder / f"{name}.faiss")
        if about["rows"] == "codes":
            index = faiss.IndexBinaryFlat(32 * array.shape[1])
            index.add(np.ascontiguousarray(array, "<u4").view(np.uint8))
            faiss.write_index_binary(index, path)
        else:
            index = faiss.IndexFlatIP(array.shape[1])
            index.add(np.ascontiguousarray(array))
            faiss.write_index(index, path)


def _read_faiss(folder: Path, about: dict[str, Any]) -> tuple[Rows, Rows]:
    faiss = require_faiss("--to faiss")

    def read(name: str) -> Rows:
        path = folder / f"{name}.faiss"
        try:
            if about["rows"] != "codes":
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
