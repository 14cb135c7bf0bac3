"""A user's own data: a folder with a metadata file, and pictures or their features.

metadata.csv | .jsonl | .parquet   file_name, text, label (or labels), split: the layout that the Hugging
                                   Face image-folder loader reads
<file_name>                        a picture a row, or
features.npz                       an array `images` [n, d], in the order of the metadata
"""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import feature_matrix, load_npz
from gcnxmodal.data.assemble import assemble
from gcnxmodal.data.cache import cached, corpus_path
from gcnxmodal.data.files import fingerprint, require_file, require_folder
from gcnxmodal.data.from_pictures import FROM_PICTURES, images_from, resolution_for
from gcnxmodal.data.metadata import find_metadata, read_metadata
from gcnxmodal.data.split import stratified_split
from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer

_CONTENTS = "your pictures and metadata.csv, .jsonl or .parquet"
_SAVE_FEATURES = (
    "write it with numpy.savez(file, images=array), a row an item, or with python -m gcnxmodal.features"
)
_SPLIT_SEED, _TEST_FRACTION = 0, 0.2


def load(
    root: Path | None,
    *,
    words: int,
    tokenizer: Tokenizer,
    image_feature: str,
    cache_dir: Path,
    resolution: int | None = None,
    split_seed: int = _SPLIT_SEED,
    test_fraction: float = _TEST_FRACTION,
) -> Corpus:
    """The corpus of a folder, items in the order of its metadata.

    Args:
        root: the folder.
        image_feature: "efficientnet-lite0", of the pictures that `file_name` names, at `resolution` x
            `resolution` pixels (by default 224); the "pixels" themselves (64); or "features", the array
            `images` of features.npz.
        split_seed, test_fraction: for metadata without the field `split`: a split stratified by class, in
            which rows of one picture stay together.

    Raises:
        InputError: if a file is missing or malformed, or a row is.
    """
    root = require_folder(root, _CONTENTS)
    metadata = find_metadata(root)
    rows = read_metadata(metadata)
    texts = [_text(row["text"], f"{metadata}: row {number}") for number, row in enumerate(rows, 1)]
    labels, class_names = _labels(rows, metadata)
    names = _file_names(rows, metadata)
    splits = _given_splits(rows, names, metadata)
    if splits and split_seed != _SPLIT_SEED:
        raise InputError(
            f"--data.split-seed is {split_seed}, but {metadata} has the field split, so none is drawn; leave "
            "one of them out"
        )
    pictures = None if names is None else [root / name for name in names]
    needed = _feature_sources(root, metadata, image_feature, pictures)
    resolution = resolution_for(image_feature, resolution)
    shown = pictures is not None and all(picture.is_file() for picture in pictures)
    options = {
        "root": str(root.resolve()),
        "words": words,
        "tokenizer": dataclasses.asdict(tokenizer),
        "image_feature": image_feature,
        "resolution": resolution,
        "split": "metadata" if splits else {"seed": split_seed, "test_fraction": test_fraction},
        "pictures": shown,
    }

    def features() -> np.ndarray:
        if resolution is not None:
            return images_from(needed, image_feature, resolution, cache_dir=cache_dir)
        array = load_npz(needed[0], ["images"], _SAVE_FEATURES)["images"]
        return feature_matrix(array, needed[0], "images", len(rows))

    def make() -> Corpus:
        apart = names or [str(row) for row in range(len(rows))]
        return assemble(
            texts,
            features,
            labels,
            class_names,
            splits or stratified_split(labels, apart, test_fraction, split_seed),
            words=words,
            tokenizer=tokenizer,
            provenance={"source": str(metadata), "licence": "as the user's own data", "options": options},
            pictures=[str(picture) for picture in pictures] if pictures and shown else None,
            groups=names,
        )

    return cached(corpus_path(cache_dir, "folder", options, fingerprint([metadata, *needed])), make)


def listed_pictures(root: Path) -> tuple[list[Path], dict[str, Int[np.ndarray, " rows"]]]:
    """The pictures of a folder in the order of its metadata, and the split that `load` gives them.

    Raises:
        InputError: if the metadata are malformed or name no pictures, or one is missing.
    """
    metadata = find_metadata(root)
    rows = read_metadata(metadata)
    labels, _ = _labels(rows, metadata)
    names = _file_names(rows, metadata)
    listed = None if names is None else [root / name for name in names]
    pictures = _feature_sources(root, metadata, "efficientnet-lite0", listed)
    apart = stratified_split(labels, names or [], _TEST_FRACTION, _SPLIT_SEED)
    return pictures, _given_splits(rows, names, metadata) or apart


def _feature_sources(
    root: Path, metadata: Path, image_feature: str, pictures: list[Path] | None
) -> list[Path]:
    """The files that the features come from: the pictures themselves, or features.npz."""
    if image_feature == "features":
        return [require_file(root / "features.npz", _SAVE_FEATURES)]
    if image_feature not in FROM_PICTURES:
        raise InputError(
            f"--data.image-feature is '{image_feature}'; a folder has 'efficientnet-lite0', 'pixels' or "
            "'features'"
        )
    if pictures is None:
        raise InputError(
            f"{metadata}: there is no field 'file_name'; add it, or put features into "
            f"{root / 'features.npz'} and set --data.image-feature to 'features'"
        )
    fix = f"it is a file_name of {metadata.name}: mend the name, or remove its row"
    return [require_file(picture, fix) for picture in pictures]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: the field 'text' is {value!r}; write a text, in quotes")
    return value


def _labels(rows: list[dict[str, Any]], metadata: Path) -> tuple[Bool[np.ndarray, "n C"], list[str]]:
    """Which classes each item has, and the class names in alphabetical order."""
    found = []
    for number, row in enumerate(rows, 1):
        if "label" in row:
            field, values = "label", [row["label"]]
        else:
            field, values = "labels", row["labels"]
            if isinstance(values, str):
                values = [name for name in values.split(";") if name.strip()]
        names = [str(value).strip() for value in values] if isinstance(values, list) else [""]
        whole = isinstance(values, list) and all(type(value) in (str, int) for value in values)
        if not whole or not all(names):
            raise InputError(
                f"{metadata}: row {number}: the field '{field}' is {row[field]!r}; expected "
                + ("a class name" if field == "label" else "a list of class names (in CSV: a;b;c)")
            )
        found.append(set(names))
    class_names = sorted(set().union(*found))
    if not class_names:
        raise InputError(
            f"{metadata}: no row has a label in its field 'labels'; items need classes to match by"
        )
    return np.array([[name in names for name in class_names] for names in found]), class_names


def _file_names(rows: list[dict[str, Any]], metadata: Path) -> list[str] | None:
    if "file_name" not in rows[0]:
        return None
    for number, row in enumerate(rows, 1):
        name = row["file_name"]
        if (
            not isinstance(name, str)
            or not name
            or PurePath(name).is_absolute()
            or ".." in PurePath(name).parts
        ):
            raise InputError(
                f"{metadata}: row {number}: the field 'file_name' is {name!r}; expected a path inside "
                f"{metadata.parent}"
            )
    return [row["file_name"] for row in rows]


def _given_splits(
    rows: list[dict[str, Any]], names: list[str] | None, metadata: Path
) -> dict[str, Int[np.ndarray, " rows"]] | None:
    """The split that the metadata state, if they do; a picture may be in one part only."""
    if "split" not in rows[0]:
        return None
    given = [row["split"] for row in rows]
    for number, part in enumerate(given, 1):
        if not isinstance(part, str) or not part:
            raise InputError(
                f"{metadata}: row {number}: the field 'split' is {part!r}; write train or test in every row, "
                "or drop the field"
            )
    missing = {"train", "test"} - set(given)
    if missing:
        raise InputError(
            f"{metadata}: no row has '{min(missing)}' in its field 'split', only "
            f"{', '.join(sorted(set(given)))}; both train and test need items"
        )
    first: dict[str, int] = {}
    for row, name in enumerate(names or []):
        before = first.setdefault(name, row)
        if given[before] != given[row]:
            raise InputError(
                f"{metadata}: row {row + 1}: the picture '{name}' is in {given[row]}, and in {given[before]} "
                f"(row {before + 1}); keep it in one of them"
            )
    return {part: np.flatnonzero([other == part for other in given]) for part in sorted(set(given))}
