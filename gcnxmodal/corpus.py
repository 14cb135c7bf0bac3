"""The one value every loader yields and everything else takes."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from gcnxmodal.errors import InputError
from gcnxmodal.holdout import validation_items
from gcnxmodal.text.vocabulary import Vocabulary


class Pairs(NamedTuple):
    """Which of n items belong together, where one has several texts or pictures.

    In exact pairs every different text is a query once and every different picture is in the database once
    (and the other way round), the first row of each; any item of the query's group is right, as papers on
    image-text retrieval count the five captions of a picture (Karpathy and Fei-Fei 2015, Section 4.1).

    Attributes:
        group_n: rows of the same number match each other.
        text_n, image_n: rows of the same number have the same text, or the same picture.
    """

    group_n: Int[np.ndarray, " n"]
    text_n: Int[np.ndarray, " n"]
    image_n: Int[np.ndarray, " n"]

    @classmethod
    def alone(cls, n: int) -> "Pairs":
        """Of n items that match themselves only."""
        return cls(*(np.arange(n),) * 3)

    def take(self, rows: Int[np.ndarray, " m"]) -> "Pairs":
        """Those of some of the items."""
        return Pairs(*(numbers[rows] for numbers in self))

    def first_rows(self, side: Literal["text", "image"]) -> Int[np.ndarray, " m"]:
        """The first row of each different text or picture, in the order of the rows."""
        numbers = self.text_n if side == "text" else self.image_n
        return np.sort(np.unique(numbers, return_index=True)[1])


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Aligned image-text pairs: row i of every array is item i.

    Attributes:
        images: float32 [n, d] features, or uint8 [n, H, W, 3] pixels.
        counts: CSR float32 [n, N], raw word counts over `vocabulary`.
        labels: bool [n, C]; C is 0 where nobody has labelled the items.
        class_names: the C names.
        splits: {"train": indices, "test": indices}; disjoint, non-empty. There may be others: hashing ranks
            "retrieval", which has no test item and usually all training items; by "validation", which has
            items of neither, a run chooses its epoch.
        vocabulary: the N words, fitted on the training texts only, and the tokeniser that made them.
        provenance: source, licence, options and hash of what was read (JSON values).
        texts: the n original texts, for the report's gallery and for word vectors.
        pictures: the n picture files, where there are any.
        groups: int [n]; items of one group belong together, such as several texts of one picture: they match
            each other and never straddle a split. Without groups, each item is alone in its own.
        text_features: float32 [n, e], dense features of the texts, in place of their words or beside them.
        metadata: what the user says of each item besides, such as its price (JSON values): comes back with
            the hits of a search.

    >>> from gcnxmodal import load_dataset
    >>> corpus = load_dataset("emoji")
    >>> len(corpus), corpus.images.shape, corpus.labels.shape, sorted(corpus.splits)
    (1629, (1629, 1280), (1629, 8), ['test', 'train'])

    Raises:
        InputError: on construction, if an array is not finite, not aligned, a split is empty or shares an
            item or a group with another, or a class has no training item.
    """

    images: np.ndarray
    counts: sp.csr_array
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: dict[str, np.ndarray]
    vocabulary: Vocabulary
    provenance: dict[str, Any]
    texts: tuple[str, ...]
    pictures: tuple[str, ...] | None = None
    groups: np.ndarray | None = None
    text_features: np.ndarray | None = None
    metadata: tuple[Mapping[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        source = self.provenance.get("source", "corpus")
        _check_alignment(self, source)
        _check_texts(self, source)
        _check_images(self.images, source)
        _check_text_features(self.text_features, source)
        _check_splits(self, source)

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def labelled(self) -> bool:
        """Whether there are classes to match by; else an item matches those of its group only."""
        return len(self.class_names) > 0

    @functools.cached_property
    def group_ids(self) -> Int[np.ndarray, " n"]:
        """The group of each item by number, int32 from 0 on; each item's own if there are none."""
        if self.groups is None:
            return np.arange(len(self), dtype=np.int32)
        return np.unique(self.groups, return_inverse=True)[1].astype(np.int32)

    @functools.cached_property
    def pairs(self) -> Pairs | None:
        """Which items belong together; None where each is alone in its group.

        Rows of a group with the same picture file (without files: the same features) have one picture, those
        with the same text, and the same features of it if there are any, one text.
        """
        group_n = self.group_ids
        if len(np.unique(group_n)) == len(self):
            return None
        ids = group_n.tolist()
        images = self.pictures or _digests(self.images)
        beside = [b""] * len(ids) if self.text_features is None else _digests(self.text_features)
        text_n = _numbered(zip(ids, self.texts, beside, strict=True))
        return Pairs(group_n, text_n, _numbered(zip(ids, images, strict=True)))

    @property
    def wordless(self) -> int:
        """Documents without a single vocabulary word: kept, and reported."""
        return int((np.diff(self.counts.indptr) == 0).sum())

    def reordered(self, order: np.ndarray) -> "Corpus":
        """The same corpus with the vocabulary renumbered: new word i is old word `order[i]`."""
        counts = sp.csr_array(self.counts[:, order])
        counts.sort_indices()
        return dataclasses.replace(self, counts=counts, vocabulary=self.vocabulary.reordered(order))

    def validation(self, fraction: float, seed: int) -> "Corpus":
        """A corpus for choosing hyper-parameters: `fraction` of the training items become its test split.

        The real test items are in neither split, so nothing chosen on the result has seen them. Groups are
        held out whole, of every class its share (`validation_items`). A class that would lose all its
        training items gets those of one group back. The vocabulary stays that of the full training split.
        Other splits, such as "retrieval", are dropped.
        """
        train, held = self._held_out(fraction, seed)
        return dataclasses.replace(self, splits={"train": train, "test": held})

    def with_validation(self, fraction: float, seed: int) -> "Corpus":
        """A corpus for choosing the epoch: `fraction` of the training items become a split "validation".

        By the rule of `validation`; all other splits stay as they are.

        Raises:
            InputError: if that is not a single item.
        """
        train, held = self._held_out(fraction, seed)
        if not len(held):
            raise InputError(
                f"{self.provenance.get('source')}: a fraction of {fraction} of its {len(train):,} training "
                "items is none that can be held out; give a larger fraction, or more items"
            )
        return dataclasses.replace(self, splits={**self.splits, "train": train, "validation": held})

    def without_validation(self) -> "Corpus":
        """The same corpus with the items of "validation", if there are any, back among the training items."""
        splits = dict(self.splits)
        if (held := splits.pop("validation", None)) is None:
            return self
        splits["train"] = np.sort(np.concatenate([splits["train"], held]))
        return dataclasses.replace(self, splits=splits)

    def _held_out(self, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The training items without those held out, and these."""
        train = self.splits["train"]
        groups = train if self.groups is None else self.groups[train]
        held = validation_items(self.labels[train], fraction, seed, groups)
        for column in np.flatnonzero(~self.labels[train[~held]].any(axis=0)):
            if not self.labels[train[~held], column].any():
                held &= groups != groups[self.labels[train, column]][0]
        return train[~held], train[held]

    def save(self, path: Path | str) -> None:
        """Write one `.npz` of plain arrays (no pickled objects); texts and names are JSON in UTF-8."""
        meta = {
            "class_names": self.class_names,
            "vocabulary": self.vocabulary.to_dict(),
            "provenance": self.provenance,
            "texts": self.texts,
            "pictures": self.pictures,
            "splits": list(self.splits),
            "metadata": self.metadata,
        }
        arrays: dict[str, Any] = {f"split_{name}": rows for name, rows in self.splits.items()}
        optional = {"groups": self.groups, "text_features": self.text_features}
        arrays |= {name: array for name, array in optional.items() if array is not None}
        with Path(path).open("wb") as file:
            np.savez(
                file,
                images=self.images,
                labels=self.labels,
                counts_data=self.counts.data,
                counts_indices=self.counts.indices,
                counts_indptr=self.counts.indptr,
                meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                **arrays,
            )

    @classmethod
    def load(cls, path: Path | str) -> "Corpus":
        """Read what `save` wrote; validated again."""
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            vocabulary = Vocabulary.from_dict(meta["vocabulary"])
            shape = (len(meta["texts"]), len(vocabulary))
            counts = (file["counts_data"], file["counts_indices"], file["counts_indptr"])
            return cls(
                images=file["images"],
                counts=sp.csr_array(counts, shape=shape),
                labels=file["labels"],
                class_names=tuple(meta["class_names"]),
                splits={name: file[f"split_{name}"] for name in meta["splits"]},
                vocabulary=vocabulary,
                provenance=meta["provenance"],
                texts=tuple(meta["texts"]),
                pictures=None if meta["pictures"] is None else tuple(meta["pictures"]),
                groups=file.get("groups"),
                text_features=file.get("text_features"),
                metadata=None if meta.get("metadata") is None else tuple(meta["metadata"]),
            )


def _digests(rows: np.ndarray) -> list[bytes]:
    """Equal for equal rows."""
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def _numbered(keys: Iterable[Any]) -> Int[np.ndarray, " n"]:
    """Numbers that are equal where the keys are, from 0 on in the order of the keys."""
    number_of: dict[Any, int] = {}
    return np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int32)


def _check_alignment(corpus: Corpus, source: str) -> None:
    n = len(corpus.texts)
    n_counts, n_words = corpus.counts.shape  # pyright: ignore[reportGeneralTypeIssues] (scipy has no stubs)
    rows = {"images": len(corpus.images), "counts": n_counts, "labels": len(corpus.labels)}
    optional = {name: getattr(corpus, name) for name in ("pictures", "groups", "text_features", "metadata")}
    rows |= {field: len(values) for field, values in optional.items() if values is not None}
    if corpus.labels.dtype != bool or corpus.labels.ndim != 2:
        raise InputError(
            f"{source}: labels must be bool [n, C], not {corpus.labels.dtype} {list(corpus.labels.shape)}"
        )
    for field, count in rows.items():
        if count != n:
            raise InputError(
                f"{source}: {field} has {count} rows but there are {n} texts; give one row an item"
            )
    if corpus.labels.shape[1] != len(corpus.class_names):
        raise InputError(
            f"{source}: labels has {corpus.labels.shape[1]} columns but there are "
            f"{len(corpus.class_names)} class names"
        )
    if n_words != len(corpus.vocabulary):
        raise InputError(
            f"{source}: counts has {n_words} columns but the vocabulary has {len(corpus.vocabulary)} words"
        )


def _check_texts(corpus: Corpus, source: str) -> None:
    """Half of a character, which careless JSON has, could be neither printed nor exported."""
    for field in ("texts", "class_names"):
        for row, text in enumerate(getattr(corpus, field)):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{source}: {field} row {row} is no text: character {error.start} is "
                    f"{text[error.start]!a}, half of one; write it anew, or remove the row"
                ) from error


def _check_images(images: np.ndarray, source: str) -> None:
    if images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3:
        return
    if images.dtype != np.float32 or images.ndim != 2:
        raise InputError(
            f"{source}: images must be float32 [n, d] features or uint8 [n, H, W, 3] pixels, "
            f"not {images.dtype} {list(images.shape)}"
        )
    _check_finite(images, "images", source)


def _check_text_features(features: np.ndarray | None, source: str) -> None:
    if features is None:
        return
    if features.dtype != np.float32 or features.ndim != 2:
        raise InputError(
            f"{source}: text_features must be float32 [n, e], not {features.dtype} {list(features.shape)}"
        )
    _check_finite(features, "text_features", source)


def _check_finite(features: np.ndarray, field: str, source: str) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        column = int(np.argmin(np.isfinite(features[row])))
        raise InputError(
            f"{source}: {field} row {row}, column {column} is {features[row, column]} "
            f"({(~finite).sum()} rows are not finite); extract these features again or drop the rows"
        )


def _check_splits(corpus: Corpus, source: str) -> None:
    train, test = (corpus.splits.get(name, np.empty(0, int)) for name in ("train", "test"))
    for name, rows in {**corpus.splits, "train": train, "test": test}.items():
        if len(rows) == 0:
            raise InputError(f"{source}: the {name} split is empty; every corpus needs train and test items")
        outside = rows[(rows < 0) | (rows >= len(corpus))]
        if len(outside):
            raise InputError(
                f"{source}: the {name} split names row {outside[0]}, but there are {len(corpus)} items; "
                "number the rows from 0"
            )
    for name, other in (
        *(("train", "test"), ("retrieval", "test")),
        *(("train", "validation"), ("validation", "test")),
    ):
        rows, others = (corpus.splits.get(split, np.empty(0, int)) for split in (name, other))
        both = np.intersect1d(rows, others)
        if len(both):
            raise InputError(
                f"{source}: row {both[0]} is in {name} and in {other} ({len(both)} such rows); remove it "
                "from one"
            )
        if corpus.groups is not None:
            shared = np.intersect1d(corpus.groups[rows], corpus.groups[others])
            if len(shared):
                raise InputError(
                    f"{source}: group {shared[0]} has items in {name} and in {other}; keep a group on one "
                    "side"
                )
    items = corpus.labels[train].sum(axis=0)
    if (items == 0).any():
        name = corpus.class_names[int(np.argmin(items))]
        raise InputError(f"{source}: class '{name}' has no training item; add some, or drop the class")
