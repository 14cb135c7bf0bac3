"""Pascal VOC 2007: 9,963 Flickr photos of 20 classes of objects (Everingham et al. 2007), with tags.

Read from the folder that the two archives VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar unpack to,
and a tag file that the user supplies:

    VOCdevkit/VOC2007/ImageSets/Main/trainval.txt, test.txt   an image id a line, such as 000005
    VOCdevkit/VOC2007/Annotations/<image id>.xml              the objects in it
    VOCdevkit/VOC2007/JPEGImages/<image id>.jpg               only for "efficientnet-lite0" and the gallery
    tags.txt                                                  image id, a tab, the tags separated by blanks
    features.npz                                              only for "features"

VOC 2007 has no tags. The papers use those that Hwang and Grauman ("Accounting for the Relative Importance of
Objects in Image Retrieval", BMVC 2010) had collected; we know of no description of their file, so tags are
read from tags.txt, in UTF-8. An image without a line in it, or with an empty one, has no tag.
"""

import functools
import re
import typing
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import features_of
from gcnxmodal.data.files import fingerprint, from_root, read_text, read_xml, require_file, require_folder
from gcnxmodal.data.loader import Items, Shared, image_source, load_items, pictures_of
from gcnxmodal.errors import InputError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LISTS = {"train": "trainval.txt", "test": "test.txt"}
_CONTENTS = "VOCdevkit/VOC2007 and tags.txt"
_FETCH = "unpack the archives of http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"
_TAGS = "write a line an image: its id, a tab, its tags separated by blanks"
_SAVE_FEATURES = (
    "write it with numpy.savez(file, images=array), a row for each line of trainval.txt, then of test.txt"
)
_LICENCE = "photos: Flickr's terms, their owners; annotations: Pascal VOC 2007; tags: as the user's file"


class Listed(typing.NamedTuple):
    """One image: its id, its split, and the class of each object annotated in it, also of difficult ones."""

    image_id: str
    split: str
    objects: tuple[str, ...]


# Paper: "the images containing only one object", 2,808 training and 2,841 test images (GIN 3.1); here images
# whose objects, difficult ones too, are of one class, because the selection is there to leave an item one
# class. Whether the papers counted objects instead (`one-object`) cannot be told from them; the provenance of
# every corpus says how many images with tags each reading gives.
SELECTIONS: dict[str, typing.Callable[[Listed], bool]] = {
    "one-class": lambda item: len(set(item.objects)) == 1,
    "one-object": lambda item: len(item.objects) == 1,
    "all": lambda item: True,
}


def load(
    root: Path | None,
    *,
    image_feature: str,
    resolution: int | None = None,
    selection: str = "one-class",
    tag_file: str = "tags.txt",
    **shared: typing.Unpack[Shared],
) -> Corpus:
    """The images with tags in their official split, trainval and test; items in the order of the lists.

    Args:
        root: the folder with VOCdevkit, or VOCdevkit or VOC2007 itself.
        image_feature: "features" (features.npz in `root`) or the path of an `.npz` (as it is or from `root`)
            with an array `images`, a row for each line of trainval.txt and then of test.txt, whatever the
            selection; or made from JPEGImages/ at `resolution` x `resolution` pixels; see `FROM_PICTURES`.
        selection: "one-class", images with objects of one class; "one-object", with one object; "all", with
            several labels (SSPE: 5,000 / 4,919 images with tags).
        tag_file: its path, as it is or from `root`.

    Raises:
        InputError: if a file is missing or malformed, or its rows do not match the lists.
    """
    if selection not in SELECTIONS:
        raise InputError(f"--data.selection is '{selection}'; choose one of {', '.join(SELECTIONS)}")
    root = require_folder(root, _CONTENTS)
    voc = _voc_folder(root)
    ids = _read_lists(voc)
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    tags_path = require_file(from_root(root, tag_file), _TAGS)
    annotations = [require_file(voc / "Annotations" / f"{image_id}.xml", _FETCH) for image_id in ids]
    images = image_source(root, image_feature, resolution, "pascal-voc", _SAVE_FEATURES)
    paths = [voc / "JPEGImages" / f"{image_id}.jpg" for image_id in ids]
    pictures = pictures_of(paths, images.file is None, _FETCH)

    def read() -> Items:
        tags = _read_tags(tags_path, ids)
        items = [
            Listed(image_id, split, _read_objects(path))
            for (image_id, split), path in zip(ids.items(), annotations, strict=True)
        ]
        # Paper: SSPE removes images without tags, GIN does not say; here they are left out of all selections.
        tagged = [item for item in items if tags.get(item.image_id)]
        chosen = [item for item in tagged if SELECTIONS[selection](item)]
        rows = [row_of[item.image_id] for item in chosen]
        present = {name for item in chosen for name in item.objects}
        class_names = [name for name in CLASSES if name in present]
        splits = np.array([item.split for item in chosen])
        by_selection = {
            name: _count_by_split(list(filter(keep, tagged))) for name, keep in SELECTIONS.items()
        }
        return Items(
            texts=[tags[item.image_id] for item in chosen],
            labels=np.array([[name in item.objects for name in class_names] for item in chosen], bool),
            class_names=class_names,
            splits={name: np.flatnonzero(splits == name) for name in LISTS},
            pictures=pictures and [pictures[row] for row in rows],
            features=images.file
            and functools.partial(
                features_of,
                images.file,
                [paths[row].name for row in rows],
                np.array(rows, int),
                len(ids),
                _SAVE_FEATURES,
            ),
            provenance={"images": {"listed": _count_by_split(items), **by_selection}},
        )

    files = [*(_list_file(voc, split) for split in LISTS), tags_path, *annotations, *images.files(pictures)]
    options = {"selection": selection, "tag_file": tag_file, "pictures": pictures is not None}
    about = {"source": str(root), "licence": _LICENCE}
    return load_items("pascal-voc", read, images, options, fingerprint(files), about, root=root, **shared)


def _voc_folder(root: Path) -> Path:
    """The folder VOC2007: below `root`, or `root` itself."""
    places = [root / "VOCdevkit" / "VOC2007", root / "VOC2007", root]
    return next((place for place in places if (place / "Annotations").is_dir()), places[0])


def _list_file(voc: Path, split: str) -> Path:
    return voc / "ImageSets" / "Main" / LISTS[split]


def _read_lists(voc: Path) -> dict[str, str]:
    """The split of each image id, in the order of trainval.txt and then of test.txt."""
    ids: dict[str, str] = {}
    for split in LISTS:
        path = require_file(_list_file(voc, split), _FETCH)
        for number, line in enumerate(read_text(path).splitlines(), 1):
            image_id = line.strip()
            if not image_id:
                continue
            # The id becomes part of file names, which must not lead out of the folder.
            if not re.fullmatch(r"[\w-]+", image_id):
                raise InputError(
                    f"{path}: line {number} is '{image_id}'; expected one image id, such as 000005"
                )
            if image_id in ids:
                raise InputError(
                    f"{path}: line {number}: image {image_id} was there before, in {LISTS[ids[image_id]]}; "
                    "an image belongs to one split, once: remove one of the lines"
                )
            ids[image_id] = split
    return ids


def _read_tags(path: Path, ids: dict[str, str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        image_id, tab, text = line.partition("\t")
        image_id = image_id.strip()
        where = f"{path}: line {number}"
        if not tab:
            raise InputError(f"{where} has no tab; {_TAGS}")
        if image_id not in ids:
            raise InputError(
                f"{where}: image '{image_id}' is in neither {' nor '.join(LISTS.values())}; mend or remove "
                "the line"
            )
        if image_id in tags:
            raise InputError(f"{where}: image {image_id} has a line before this; write all its tags in one")
        tags[image_id] = " ".join(text.split())
    return tags


def _read_objects(path: Path) -> tuple[str, ...]:
    names = [(item.findtext("name") or "").strip() for item in read_xml(path).findall("object")]
    if not names:
        raise InputError(f"{path}: has no element <object>; fetch it again")
    for name in names:
        if name not in CLASSES:
            raise InputError(
                f"{path}: an <object> has the <name> '{name}', which is none of the 20 classes of VOC 2007; "
                "mend it, or fetch the file again"
            )
    return tuple(names)


def _count_by_split(items: Sequence[Listed]) -> dict[str, int]:
    return {split: sum(item.split == split for item in items) for split in LISTS}
