"""COCO 2014: photos of 80 categories of objects, with five captions each (Lin et al. 2014).

"Microsoft COCO: Common Objects in Context", ECCV 2014; read from the folder that the archives of its page are
unpacked into:

    annotations/instances_train2014.json, instances_val2014.json
    annotations/captions_train2014.json, captions_val2014.json
    train2014/<file_name>, val2014/<file_name>   only for features made from pictures, and the gallery
    features.npz                                 yours, only for "features"

With the selection "captions", each caption of an image is an item, without labels: captions_train2017.json to
train on and captions_val2017.json to test, whose 5,000 images are the protocols of image-text retrieval.
"""

import dataclasses
import functools
import re
import typing
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import array_names, features_by_id, features_by_name, load_npz
from gcnxmodal.data.files import fingerprint, parse_json, read_text, require_file, require_folder
from gcnxmodal.data.loader import ImageSource, Items, Shared, image_source, load_items, pictures_of
from gcnxmodal.data.split import describe_split, retrieval_split
from gcnxmodal.errors import InputError

PARTS = ("train2014", "val2014")
CAPTION_PARTS = {"train": "train2017", "test": "val2017"}
_KINDS = ("instances", "captions")
_PAGE = "https://cocodataset.org/#download"
_FETCH = f"unpack annotations_trainval2014.zip of {_PAGE}"
_FETCH_PICTURES = f"unpack {' and '.join(f'{part}.zip' for part in PARTS)} of {_PAGE}"
_SAVE_FEATURES = (
    "write it with numpy.savez(file, ids=image_ids, images=array), a row an image, in any order, or with "
    "python -m gcnxmodal.features"
)
_CONTENTS = "the unpacked archives of COCO 2014"
_LICENCE = "annotations: COCO, CC BY 4.0; photos: Flickr's terms, their owners"
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


def load(
    root: Path | None,
    *,
    image_feature: str,
    resolution: int | None = None,
    selection: Literal["all", "captions"] = "all",
    queries: int = 5_000,
    training: int = 10_000,
    split_seed: int = 0,
    **shared: typing.Unpack[Shared],
) -> Corpus:
    """The images with an object and a caption, their captions joined; train2014 first, then val2014.

    Labels are the categories of an image's objects, crowds of them too. By default the protocol of GCH: 5,000
    queries, all others the database, 10,000 of it trained on; GCH has 2,000 `words`.

    Args:
        root: the folder of the archives.
        image_feature: "features" (features.npz in `root`) or the path of an `.npz` (as it is or from `root`)
            with the arrays `ids` [n], the image ids, or `file_names`, and `images` [n, d], in any order; or
            made from train2014/ and val2014/ at `resolution` x `resolution` pixels; see `FROM_PICTURES`.
        selection: "captions": each caption an item, without labels, of the parts of 2017; the rest is not
            read then.
        queries, training, split_seed: see `retrieval_split`.

    Raises:
        InputError: if a file is missing or malformed, or two disagree.
    """
    root = require_folder(root, _CONTENTS)
    images = image_source(root, image_feature, resolution, "coco", _SAVE_FEATURES)
    if selection == "captions":
        return _load_captions(root, images, split_seed, **shared)
    if selection != "all":
        raise InputError(f"--data.selection is '{selection}'; coco has 'all' and 'captions'")
    annotations = [root / "annotations" / f"{kind}_{part}.json" for part in PARTS for kind in _KINDS]
    files = [*(require_file(path, _FETCH) for path in annotations), *images.files()]
    folders = {part: root / part for part in PARTS}

    def read() -> Items:
        categories, listed = read_images(root)
        labelled = [image for image in listed if image.categories]
        # Paper: GCH uses 117,218 "data points" and does not say which; here the images with an object (and a
        # caption, which all of COCO have).
        complete = [image for image in labelled if image.captions]
        present = frozenset[int]().union(*(image.categories for image in complete))
        columns = [category for category in categories if category in present]
        names = [str(image.image_id) for image in complete]
        splits = retrieval_split(len(complete), queries, training, split_seed, names, source=str(root))
        pictures = [folders[image.part] / image.file_name for image in complete]
        counts = {
            "listed": len(listed),
            "with_an_object": len(labelled),
            "with_an_object_and_a_caption": len(complete),
        }
        return Items(
            texts=[" ".join(image.captions) for image in complete],
            labels=np.array(
                [[category in image.categories for category in columns] for image in complete], bool
            ),
            class_names=[categories[category] for category in columns],
            splits=splits,
            pictures=pictures_of(pictures, images.file is None, _FETCH_PICTURES),
            features=images.file and functools.partial(_read_features, images.file, complete),
            provenance={"images": counts, "split": describe_split(splits, split_seed, "image id")},
        )

    options = {
        "queries": queries,
        "training": training,
        "split_seed": split_seed,
        "pictures": all(folder.is_dir() for folder in folders.values()),
    }
    about = {"source": str(root), "licence": _LICENCE}
    return load_items("coco", read, images, options, fingerprint(files), about, root=root, **shared)


def _load_captions(
    root: Path, images: ImageSource, split_seed: int, **shared: typing.Unpack[Shared]
) -> Corpus:
    """Each caption an item of the group of its image, without labels; train2017 first, then val2017."""
    if split_seed:
        raise InputError(
            f"--data.split-seed is {split_seed}, but with --data.selection captions val2017 is the test "
            "split; leave it out"
        )
    fetch = f"unpack annotations_trainval2017.zip of {_PAGE}"
    paths = {part: root / "annotations" / f"captions_{part}.json" for part in CAPTION_PARTS.values()}
    files = [*(require_file(path, fetch) for path in paths.values()), *images.files()]

    def read() -> Items:
        found: list[tuple[Image, str]] = []
        splits = {}
        for split, part in CAPTION_PARTS.items():
            names = _file_names(_read(paths[part]), paths[part])
            captions = _read_captions(paths[part], names)
            start = len(found)
            for image_id, name in names.items():
                image = Image(image_id, part, name, frozenset(), tuple(captions[image_id]))
                found += [(image, caption) for caption in image.captions]
            splits[split] = np.arange(start, len(found))
        pictures = [root / image.part / image.file_name for image, _ in found]
        listed = list(dict.fromkeys(image for image, _ in found))
        row_of = {image: row for row, image in enumerate(listed)}

        def features() -> np.ndarray:
            assert images.file is not None
            return _read_features(images.file, listed)[[row_of[image] for image, _ in found]]

        return Items(
            texts=[caption for _, caption in found],
            labels=np.zeros((len(found), 0), bool),
            class_names=[],
            splits=splits,
            pictures=pictures_of(pictures, images.file is None, _FETCH_PICTURES.replace("2014", "2017")),
            features=images.file and features,
            groups=[str(image.image_id) for image, _ in found],
            provenance={"images": len(listed), "split": "val2017 is the test split"},
        )

    folders = all((root / part).is_dir() for part in CAPTION_PARTS.values())
    options = {"selection": "captions", "pictures": folders}
    about = {"source": str(root), "licence": _LICENCE}
    return load_items("coco", read, images, options, fingerprint(files), about, root=root, **shared)


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
        of_part = {
            _get(row, "id", int, where): _get(row, "name", str, where)
            for row, where in _rows(instances, "categories", path)
        }
        if categories and of_part != categories:
            raise InputError(f"{path}: categories differ from those of {PARTS[0]}; fetch both files again")
        categories = of_part
        names = _file_names(instances, path)
        for image_id in names:
            if image_id in images:
                raise InputError(f"{path}: image {image_id} is in {images[image_id].part} too; {_FETCH}")
        of_image: dict[int, set[int]] = {image_id: set() for image_id in names}
        for row, where in _rows(instances, "annotations", path):
            category = _get(row, "category_id", int, where)
            if category not in categories:
                raise InputError(f"{where}.category_id is {category}, which is in no category; {_FETCH}")
            of_image[_image_id(row, where, names)].add(category)
        captions = _read_captions(root / "annotations" / f"captions_{part}.json", names)
        for image_id, name in names.items():
            labels, texts = frozenset(of_image[image_id]), tuple(captions[image_id])
            images[image_id] = Image(image_id, part, name, labels, texts)
    return categories, list(images.values())


def _read_features(path: Path, asked: Sequence[Image]) -> Float[np.ndarray, "n d"]:
    """The features of these images, found by the array `ids` of the file, or else its `file_names`."""
    names = array_names(path, _SAVE_FEATURES)
    if "file_names" in names and "ids" not in names:
        listed = load_npz(path, ["file_names"], _SAVE_FEATURES)["file_names"].ravel().tolist()
        listed = {PurePath(str(name)).name for name in listed}
        return features_by_name(path, [_name_in(listed, image) for image in asked], _SAVE_FEATURES)
    return features_by_id(path, [image.image_id for image in asked], _SAVE_FEATURES)


def _name_in(listed: Collection[str], image: Image) -> str:
    """The name of an image among those of a file: of 2014 COCO_train2014_<id>.jpg, of 2017 <id>.jpg."""
    number = f"{image.image_id:012}.jpg"
    names = (image.file_name, number, *(f"COCO_{part}_{number}" for part in PARTS))
    return next((name for name in names if name in listed), image.file_name)


def _read(path: Path) -> dict[str, Any]:
    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if name in _FIELDS}

    text = read_text(require_file(path, _FETCH))
    content = parse_json(text, f"{path}:", _FETCH, object_pairs_hook=keep)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is no JSON object; {_FETCH}")
    return content


def _rows(content: dict[str, Any], field: str, path: Path) -> list[tuple[dict[str, Any], str]]:
    """The objects of a list, each with what it is called in messages."""
    rows = content.get(field)
    if not isinstance(rows, list):
        raise InputError(f"{path}: the field '{field}' is no list; {_FETCH}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{path}: {field}[{number}] is no object; {_FETCH}")
    return [(row, f"{path}: {field}[{number}]") for number, row in enumerate(rows)]


def _get(row: dict[str, Any], field: str, kind: type, where: str) -> Any:
    value = row.get(field)
    if type(value) is not kind:
        wanted = "a whole number" if kind is int else "a text"
        raise InputError(f"{where}.{field} is {value!r}; expected {wanted}: {_FETCH}")
    return value


def _file_names(instances: dict[str, Any], path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for row, where in _rows(instances, "images", path):
        name = _get(row, "file_name", str, where)
        # The name becomes part of a path, which must not lead out of the folder.
        if not re.fullmatch(r"\w[\w.-]*\.jpg", name):
            raise InputError(f"{where}.file_name is '{name}'; expected the name of a .jpg file: {_FETCH}")
        image_id = _get(row, "id", int, where)
        if names.setdefault(image_id, name) != name:
            raise InputError(f"{where}.id is {image_id}, which was there before; {_FETCH}")
    return names


def _image_id(row: dict[str, Any], where: str, names: dict[int, str]) -> int:
    image_id = _get(row, "image_id", int, where)
    if image_id not in names:
        raise InputError(
            f"{where}.image_id is {image_id}, which is no image of the file of instances; {_FETCH}"
        )
    return image_id


def _read_captions(path: Path, names: dict[int, str]) -> dict[int, list[str]]:
    captions: dict[int, list[str]] = {image_id: [] for image_id in names}
    for row, where in _rows(_read(path), "annotations", path):
        caption = " ".join(_get(row, "caption", str, where).split())
        if caption:
            captions[_image_id(row, where, names)].append(caption)
    return captions
