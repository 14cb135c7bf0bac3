"""English Wikipedia: 2,866 pairs of a section and a picture, 10 classes (Rasiwasia et al. 2010).

"A New Approach to Cross-Modal Multimedia Retrieval", ACM Multimedia 2010; read from the folder that the
authors' archive unpacks to:

    trainset_txt_img_cat.list, testset_txt_img_cat.list    text id, image id, class 1..C, tab-separated
    categories.list                                        the class names, one a line
    texts/<text id>.xml
    images/<category>/<image id>.jpg                       for features made from pictures, and the gallery
    raw_features.mat                                       only for "sift" and `official_features`

All feature arrays are in the order of the lists.
"""

import functools
import typing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import feature_matrix, load_mat, load_npz
from gcnxmodal.data.files import fingerprint, read_text, read_xml, require_file, require_folder, whole_number
from gcnxmodal.data.loader import Items, Shared, image_source, load_items, pictures_of
from gcnxmodal.errors import InputError

SPLITS = ("train", "test")
_CONTENTS = "the unpacked Wikipedia archive"
_FETCH = (
    "unpack the archive of UCSD SVCL, 'Cross-Modal Multimedia Retrieval', "
    "http://www.svcl.ucsd.edu/projects/crossmodal/"
)
_LICENCE = "texts and pictures: Wikipedia, CC BY-SA; features: Rasiwasia et al. 2010, for research"
_FEATURE_FILES = {"sift": "raw_features.mat", "cnn": "cnn_features.npz"}
_FEATURE_NOTES = {
    # The file has no documentation; that is what the numbers in it look like.
    "cnn": "cnn_features.npz: undocumented; behaves like a PCA of a CNN feature fitted on train and test",
    "sift": "raw_features.mat: official 128-d bag of SIFT visual words",
}


class Listed(typing.NamedTuple):
    """One line of a list: the ids of text and image, the class from 0, and its split."""

    text_id: str
    image_id: str
    category: int
    split: str


def load(
    root: Path | None, *, image_feature: str, resolution: int | None = None, **shared: typing.Unpack[Shared]
) -> Corpus:
    """The corpus in its official split; items in the order of the training list, then of the test list.

    Args:
        root: the folder of the archive.
        image_feature: "sift" (raw_features.mat), "cnn" (cnn_features.npz), the path of an `.npz` with arrays
            `train` and `test` (as it is or from `root`), "efficientnet-lite0", of images/<category>/*.jpg at
            `resolution` x `resolution` pixels (by default 224), or the "pixels" themselves (64).

    Raises:
        InputError: if a file is missing or malformed, or its rows do not match the lists.
    """
    root = require_folder(root, _CONTENTS)
    class_names, items = _read_lists(root)
    texts = [require_file(root / "texts" / f"{item.text_id}.xml", _FETCH) for item in items]
    images = image_source(root, image_feature, resolution, "wikipedia", _FETCH, _FEATURE_FILES)
    pictures = pictures_of(_pictures(root, class_names, items), images.file is None, _FETCH)

    def read() -> Items:
        splits = np.array([item.split for item in items])
        return Items(
            texts=[_read_document(path) for path in texts],
            labels=np.eye(len(class_names), dtype=bool)[[item.category for item in items]],
            class_names=class_names,
            splits={name: np.flatnonzero(splits == name) for name in SPLITS},
            pictures=pictures,
            features=images.file and functools.partial(_read_features, images.file, items),
            provenance={"image_feature": _FEATURE_NOTES.get(image_feature, image_feature)},
        )

    lists = [root / "categories.list", *(_list_file(root, split) for split in SPLITS)]
    files = [*lists, *texts, *images.files(pictures)]
    options = {"pictures": pictures is not None}
    about = {"source": str(root), "licence": _LICENCE}
    return load_items("wikipedia", read, images, options, fingerprint(files), about, root=root, **shared)


def listed_pictures(root: Path) -> dict[str, list[Path]]:
    """{"train": pictures, "test": pictures}, in the order of the lists.

    Raises:
        InputError: if a list is missing or malformed, or a picture is missing.
    """
    class_names, items = _read_lists(root)
    pictures = [require_file(picture, _FETCH) for picture in _pictures(root, class_names, items)]
    return {
        split: [picture for picture, item in zip(pictures, items, strict=True) if item.split == split]
        for split in SPLITS
    }


def official_features(root: Path | None) -> dict[str, np.ndarray]:
    """The features that the archive carries, for the baselines of the papers' tables.

    Returns:
        `I_tr`, `I_te`: float64 [n, 128] bag of SIFT visual words; `T_tr`, `T_te`: float64 [n, 10] LDA topics;
        `labels_tr`, `labels_te`: bool [n, C]; all in the order of the lists.

    Raises:
        InputError: if a file is missing or malformed, its rows do not match the lists, or train and test have
            another number of features.
    """
    root = require_folder(root, _CONTENTS)
    class_names, items = _read_lists(root)
    path = root / "raw_features.mat"
    names = ("I_tr", "I_te", "T_tr", "T_te")
    arrays = load_mat(path, names, _FETCH)
    _matching(path, arrays, names[:2], items)
    _matching(path, arrays, names[2:], items)
    features = {name: arrays[name].astype(np.float64) for name in names}
    for suffix, split in (("tr", "train"), ("te", "test")):
        categories = [item.category for item in items if item.split == split]
        features[f"labels_{suffix}"] = np.eye(len(class_names), dtype=bool)[categories]
    return features


def _read_features(path: Path, items: list[Listed]) -> Float[np.ndarray, "n d"]:
    if path.suffix == ".mat":
        names = ("I_tr", "I_te")
        arrays = load_mat(path, names, _FETCH)
    else:
        names = SPLITS
        arrays = load_npz(path, names, _FETCH)
    return np.concatenate(_matching(path, arrays, names, items))


def _matching(
    path: Path, arrays: dict[str, np.ndarray], names: Sequence[str], items: list[Listed]
) -> list[Float[np.ndarray, "rows d"]]:
    """The two arrays of these names, of the training and the test items, as float32."""
    rows = [sum(item.split == split for item in items) for split in SPLITS]
    train, test = (feature_matrix(arrays[name], path, name, n) for name, n in zip(names, rows, strict=True))
    if train.shape[1] != test.shape[1]:
        raise InputError(
            f"{path}: array '{names[1]}' has {test.shape[1]} features an item but '{names[0]}' has "
            f"{train.shape[1]}; extract both in the same way"
        )
    return [train, test]


def _pictures(root: Path, class_names: list[str], items: list[Listed]) -> list[Path]:
    return [root / "images" / class_names[item.category] / f"{item.image_id}.jpg" for item in items]


def _list_file(root: Path, split: str) -> Path:
    return root / f"{split}set_txt_img_cat.list"


def _read_lists(root: Path) -> tuple[list[str], list[Listed]]:
    """Class names and items, the training items first."""
    names_file = require_file(root / "categories.list", _FETCH)
    class_names = [line.strip() for line in read_text(names_file).splitlines() if line.strip()]
    items: list[Listed] = []
    seen: dict[str, str] = {}
    for split in SPLITS:
        path = require_file(_list_file(root, split), _FETCH)
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip():
                continue
            item = _read_line(line, f"{path}: line {number}", len(class_names), split)
            items.append(item)
            for kind, name in (("text", item.text_id), ("image", item.image_id)):
                place = f"line {number} of {path.name}"
                before = seen.setdefault(f"{kind} {name}", place)
                if before != place:
                    raise InputError(
                        f"{path}: line {number}: {kind} id {name} was there before ({before}); an item "
                        "belongs to one split, once: remove one of the lines"
                    )
    return class_names, items


def _read_line(line: str, where: str, n_classes: int, split: str) -> Listed:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) != 3 or not all(fields):
        raise InputError(f"{where} has {len(fields)} fields; expected text id, image id and class, by tabs")
    text_id, image_id, category = fields
    number = whole_number(category)
    if number is None or not 1 <= number <= n_classes:
        raise InputError(
            f"{where}: class is '{category[:80]}'; expected 1 to {n_classes}, the lines of categories.list"
        )
    return Listed(text_id, image_id, number - 1, split)


def _read_document(path: Path) -> str:
    """What stands between <text> and </text>."""
    document = read_xml(path)
    text = document.find("text")
    if text is None:
        raise InputError(f"{path}: has no element <text> in <{document.tag}>; fetch it again")
    return "".join(text.itertext()).strip()
