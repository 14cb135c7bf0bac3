"""The annotation files of COCO 2014; see `coco.py`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gcnxmodal.data.arrays import array_names, feature_matrix, features_by_name, load_npz
from gcnxmodal.data.files import read_text, require_file
from gcnxmodal.errors import InputError

PARTS = ("train2014", "val2014")
PAGE = "https://cocodataset.org/#download"
FETCH = f"unpack annotations_trainval2014.zip of {PAGE}"
SAVE_FEATURES = (
    "write it with numpy.savez(file, ids=image_ids, images=array), a row an image, in any order, or with "
    "python -m gcnxmodal.features"
)
# What is kept of an object of the JSON; the outlines of the objects, nearly all of the files, are not.
_FIELDS = frozenset(
    ("images", "annotations", "categories", "id", "file_name", "name", "image_id", "category_id", "caption")
)


@dataclasses.dataclass(frozen=True)
class Image:
    """One image: its id, its part of the data set and its file in it, its category ids and its captions."""

    image_id: int
    part: str
    file_name: str
    categories: frozenset[int]
    captions: tuple[str, ...]


def annotation_files(root: Path) -> list[Path]:
    """The four files that are read; all of them are there."""
    return [
        require_file(root / "annotations" / f"{kind}_{part}.json", FETCH)
        for part in PARTS
        for kind in ("instances", "captions")
    ]


def read_images(root: Path) -> tuple[dict[int, str], list[Image]]:
    """The names of the categories by their ids, and the images in the order of the files.

    A file is read whole, and what is not needed dropped while it is parsed. That takes about twice its size:
    0.7 GB and 20 seconds on two shared cores for made-up files of the size of COCO's, the largest 0.3 GB.

    Raises:
        InputError: naming file and field, if one is missing or malformed, or the files disagree.
    """
    categories: dict[int, str] = {}
    images: dict[int, Image] = {}
    for part in PARTS:
        path = root / "annotations" / f"instances_{part}.json"
        instances = _read(path)
        found = {
            _get(row, "id", int, where): _get(row, "name", str, where)
            for row, where in _rows(instances, "categories", path)
        }
        if categories and found != categories:
            raise InputError(f"{path}: categories differ from those of {PARTS[0]}; fetch both files again")
        categories = found
        names = _file_names(instances, path)
        for image_id in names:
            if image_id in images:
                raise InputError(f"{path}: image {image_id} is in {images[image_id].part} too; {FETCH}")
        of_image: dict[int, set[int]] = {image_id: set() for image_id in names}
        for row, where in _rows(instances, "annotations", path):
            category = _get(row, "category_id", int, where)
            if category not in categories:
                raise InputError(f"{where}.category_id is {category}, which is in no category; {FETCH}")
            of_image[_image_id(row, where, names)].add(category)
        captions = _read_captions(root / "annotations" / f"captions_{part}.json", names)
        for image_id, name in names.items():
            labels, texts = frozenset(of_image[image_id]), tuple(captions[image_id])
            images[image_id] = Image(image_id, part, name, labels, texts)
    return categories, list(images.values())


def read_features(path: Path, asked: Sequence[Image]) -> Float[np.ndarray, "n d"]:
    """The rows of `images` for these images, found by the array `ids` of the file, or else its `file_names`.

    Raises:
        InputError: if an array is missing or malformed, an id is there twice, or one asked for is not.
    """
    names = array_names(path, SAVE_FEATURES)
    if "file_names" in names and "ids" not in names:
        return features_by_name(path, [image.file_name for image in asked], SAVE_FEATURES)
    ids = [image.image_id for image in asked]
    arrays = load_npz(path, ["ids", "images"], SAVE_FEATURES)
    named = arrays["ids"]
    if named.dtype.kind not in "iu" or named.ndim != 1:
        raise InputError(
            f"{path}: array 'ids' is {named.dtype} {list(named.shape)}; expected whole numbers [n]; "
            f"{SAVE_FEATURES}"
        )
    features = feature_matrix(arrays["images"], path, "images", len(named))
    row_of = {image_id: row for row, image_id in enumerate(named.tolist())}
    if len(row_of) < len(named):
        raise InputError(f"{path}: array 'ids' has {len(named) - len(row_of)} ids twice; {SAVE_FEATURES}")
    missing = [image_id for image_id in ids if image_id not in row_of]
    if missing:
        raise InputError(
            f"{path}: array 'ids' lacks image {missing[0]} ({len(missing)} of {len(ids)} are missing); "
            f"{SAVE_FEATURES}"
        )
    return features[[row_of[image_id] for image_id in ids]]


def _read(path: Path) -> dict[str, Any]:
    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if name in _FIELDS}

    try:
        found = json.loads(read_text(require_file(path, FETCH)), object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is not JSON ({error}); {FETCH}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no JSON object; {FETCH}")
    return found


def _rows(content: dict[str, Any], field: str, path: Path) -> list[tuple[dict[str, Any], str]]:
    """The objects of a list, each with what it is called in messages."""
    rows = content.get(field)
    if not isinstance(rows, list):
        raise InputError(f"{path}: the field '{field}' is no list; {FETCH}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{path}: {field}[{number}] is no object; {FETCH}")
    return [(row, f"{path}: {field}[{number}]") for number, row in enumerate(rows)]


def _get(row: dict[str, Any], field: str, kind: type, where: str) -> Any:
    value = row.get(field)
    if type(value) is not kind:
        wanted = "a whole number" if kind is int else "a text"
        raise InputError(f"{where}.{field} is {value!r}; expected {wanted}: {FETCH}")
    return value


def _file_names(instances: dict[str, Any], path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for row, where in _rows(instances, "images", path):
        name = _get(row, "file_name", str, where)
        # The name becomes part of a path, which must not lead out of the folder.
        if not re.fullmatch(r"\w[\w.-]*\.jpg", name):
            raise InputError(f"{where}.file_name is '{name}'; expected the name of a .jpg file: {FETCH}")
        image_id = _get(row, "id", int, where)
        if names.setdefault(image_id, name) != name:
            raise InputError(f"{where}.id is {image_id}, which was there before; {FETCH}")
    return names


def _image_id(row: dict[str, Any], where: str, names: dict[int, str]) -> int:
    image_id = _get(row, "image_id", int, where)
    if image_id not in names:
        raise InputError(
            f"{where}.image_id is {image_id}, which is no image of the file of instances; {FETCH}"
        )
    return image_id


def _read_captions(path: Path, names: dict[int, str]) -> dict[int, list[str]]:
    captions: dict[int, list[str]] = {image_id: [] for image_id in names}
    for row, where in _rows(_read(path), "annotations", path):
        caption = " ".join(_get(row, "caption", str, where).split())
        if caption:
            captions[_image_id(row, where, names)].append(caption)
    return captions
