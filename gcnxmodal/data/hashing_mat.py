"""MIRFLICKR-25K and NUS-WIDE as MATLAB files that papers on cross-modal hashing pass on.

They have no publisher; the authors of DCMH (CVPR 2017, github.com/jiangqy/DCMH-CVPR2017) link to some. What
they hold was found in code that reads them, and is accepted in any of these files:

    FLICKR-25K.mat           `images` (or `IAll`), `YAll` and `LAll`
    <data set>-lall.mat      `LAll`, 0 or 1: labels (20,015 x 24; 21 for nus-wide-tc21)
    <data set>-yall.mat      `YAll`, whole numbers: counts of tags (20,015 x 1,386)
    <data set>-iall.mat      `IAll`, pictures in 8 bits (224 x 224 x 3 x 20,015); only for "pixels"
    <data set>-iall-vgg.mat  `XAll`: features (20,015 x 4,096); only for "features"
    <data set>-fall.mat      `FAll`: file names; only for "efficientnet-lite0" and the gallery

Any `.mat` file of the folder and of folders in it is looked into; files may have any name, and be of MATLAB's
version 7.3 (HDF5, extra `matlab`) or older. The items are the axis that LAll and YAll have in common,
whichever it is: HDF5 has axes in reverse. What labels and tags mean the files do not say: they are called
label01 and tag0001.
"""

import math
import typing
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, UInt8

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import (
    feature_matrix,
    features_of,
    is_hdf5,
    mat_shapes,
    read_mat,
    read_mat_pictures,
)
from gcnxmodal.data.files import (
    check_promise,
    fingerprint,
    from_root,
    is_inside,
    require_file,
    require_folder,
)
from gcnxmodal.data.loader import ImageSource, Items, Shared, load_items, pictures_of
from gcnxmodal.data.picture_features import resolution_for
from gcnxmodal.data.split import describe_split, retrieval_split
from gcnxmodal.errors import InputError

_PICTURES = ("IAll", "images")
_KNOWN = ("LAll", "YAll", "XAll", "FAll", *_PICTURES)
_CONTENTS = "the .mat files"
_PUBLISHED = "the authors of DCMH link to such files: github.com/jiangqy/DCMH-CVPR2017"
_SAVE_FEATURES = "write it with numpy.savez(file, images=array), a row an item, in the order of LAll"
_LICENCE = "not stated; photos and tags: their Flickr owners; made by authors of papers on hashing"


def load(
    root: Path | None,
    *,
    image_feature: str,
    resolution: int | None = None,
    queries: int,
    training: int,
    split_seed: int = 0,
    **shared: typing.Unpack[Shared],
) -> Corpus:
    """The items with a label and a tag, in the order of the files; a text is the names of its tags.

    Args:
        root: the folder of the files.
        image_feature: "features" (XAll), "pixels" (IAll or images, at the resolution they have), the path of
            an `.npz` (as it is or from `root`) with an array `images`, a row an item, or "efficientnet-lite0"
            of the pictures that FAll names, in `root` or its folder mirflickr, images or Flickr.
        queries, training, split_seed: see `retrieval_split`. The loader "mirflickr-mat" has 2,000 and 10,000,
            "nus-wide-21-mat" 2,100 and 10,500.

    Raises:
        InputError: if a variable is missing, is in two files, or is of another type, shape or values.
    """
    root = require_folder(root, _CONTENTS)
    places = _find(root)
    feature_file = _feature_file(root, image_feature, places)
    # Pixels are in the files too: of one resolution, and not made from pictures.
    side = resolution if image_feature == "pixels" else resolution_for(image_feature, resolution)
    images = ImageSource(image_feature, side, feature_file)
    encoded = image_feature == "efficientnet-lite0"

    def read() -> Items:
        labels, tags = _labels_and_tags(places)
        n, n_tags = tags.shape  # pyright: ignore[reportGeneralTypeIssues] (scipy has no stubs)
        complete = np.flatnonzero(labels.any(axis=1) & (np.diff(tags.indptr) > 0))
        splits = retrieval_split(len(complete), queries, training, split_seed, source=str(root))
        width = max(4, len(str(n_tags)))
        names = [f"tag{column:0{width}d}" for column in range(1, n_tags + 1)]
        pictures = listed = None
        # Texts of version 7.3 are not read: no reason to stop where they are for the gallery only.
        if "FAll" in places and (encoded or not is_hdf5(places["FAll"][0])):
            listed = _pictures(root, places["FAll"], n)
            if encoded or all(path.is_file() for path in listed):
                fix = f"FAll names it; put the pictures into {root / 'images'}"
                pictures = pictures_of([listed[row] for row in complete], encoded, fix)

        def features() -> np.ndarray:
            # A slice where all items are complete: an index would copy gigabytes of pixels.
            rows = slice(None) if len(complete) == n else complete
            if image_feature == "pixels":
                place = next(places[name] for name in _PICTURES if name in places)
                return _read_pixels(place, n, side)[rows]
            if feature_file is not None:
                named = None if listed is None else [listed[row].name for row in complete]
                return features_of(feature_file, named, complete, n, _SAVE_FEATURES)
            return _read_features(places["XAll"], n)[rows]

        return Items(
            texts=[_text(tags, row, names) for row in complete.tolist()],
            labels=labels[complete],
            class_names=[f"label{column:02d}" for column in range(1, labels.shape[1] + 1)],
            splits=splits,
            pictures=pictures,
            features=None if encoded else features,
            provenance={
                "items": {"listed": n, "with_a_label_and_a_tag": len(complete)},
                "split": describe_split(splits, split_seed, "row among the kept items"),
            },
        )

    options = {"queries": queries, "training": training, "split_seed": split_seed}
    about = {"source": str(root), "licence": _LICENCE}
    files = {path for path, _ in places.values()} | set(images.files())
    return load_items("hashing-mat", read, images, options, fingerprint(files), about, root=root, **shared)


Place = tuple[Path, str]
"""A file and the name of a variable in it."""


def _find(root: Path) -> dict[str, Place]:
    """Where each known variable is."""
    files = sorted([*root.glob("*.mat"), *root.glob("*/*.mat")])
    if not files:
        raise InputError(f"{root}: there is no .mat file in it or in a folder in it; {_PUBLISHED}")
    places: dict[str, Place] = {}
    others: set[str] = set()
    for path in files:
        for name in mat_shapes(path):
            if name not in _KNOWN:
                others.add(name)
                continue
            if name in places:
                raise InputError(
                    f"{path}: variable '{name}' is in {places[name][0]} too; keep the files of one set in "
                    "the folder"
                )
            places[name] = (path, name)
    for name in ("LAll", "YAll"):
        if name not in places:
            seen = sorted({*places, *others})
            raise InputError(
                f"{root}: no .mat file in it has a variable '{name}', only {', '.join(seen) or 'nothing'}; "
                f"expected {', '.join(_KNOWN)}: {_PUBLISHED}"
            )
    return places


def _feature_file(root: Path, image_feature: str, places: dict[str, Place]) -> Path | None:
    """The `.npz` that the user names, or None: then the files have what the feature is made of."""
    needed = {"features": ("XAll",), "pixels": _PICTURES, "efficientnet-lite0": ("FAll",)}
    if image_feature.endswith(".npz"):
        return require_file(from_root(root, image_feature), _SAVE_FEATURES)
    if image_feature not in needed:
        raise InputError(
            f"--data.image-feature is '{image_feature}'; these files have 'features' (XAll), 'pixels' "
            "(IAll), 'efficientnet-lite0' (FAll) or the path of an .npz file"
        )
    if not set(needed[image_feature]) & set(places):
        raise InputError(
            f"{root}: no .mat file in it has a variable '{' or '.join(needed[image_feature])}', which "
            f"--data.image-feature {image_feature} needs; {_PUBLISHED}"
        )


def _labels_and_tags(places: dict[str, Place]) -> tuple[Bool[np.ndarray, "n C"], sp.csr_array]:
    """Labels, and counts of tags as CSR; a row an item."""
    labels, tags = _matrix(places["LAll"], dense=1), _matrix(places["YAll"])
    common = set(labels.shape) & set(tags.shape)
    labels_at, tags_at = (f"{places[name][0]}: variable '{name}'" for name in ("LAll", "YAll"))
    if not common:
        raise InputError(
            f"{tags_at} is {list(tags.shape)} but 'LAll' is {list(labels.shape)}; one number "
            "must be in both, that of the items: keep the files of one set in the folder"
        )
    # A row an item, or else, of two numbers the larger: there are far more items than labels.
    n = labels.shape[0] if labels.shape[0] == tags.shape[0] else max(common)
    labels, tags = (array if array.shape[0] == n else array.T for array in (labels, tags))
    counts = sp.csr_array(tags)
    counts.eliminate_zeros()
    flags = sp.csr_array(labels)
    wrong = flags.data[~np.isin(flags.data, (0, 1))]
    if len(wrong):
        raise InputError(f"{labels_at} has the value {wrong[0]}; expected 0 or 1, a column a label")
    whole = (counts.data >= 1) & (counts.data <= 255) & (counts.data == np.floor(counts.data))
    if not whole.all():
        raise InputError(
            f"{tags_at} has the value {counts.data[~whole][0]}; expected whole numbers to 255, "
            "the counts of a tag: vectors of a sentence cannot be read as words"
        )
    return flags.astype(bool).toarray(), counts


def _matrix(place: Place, dense: int = 0) -> Any:
    """A matrix of numbers; a sparse one only if it would not take far more memory than the file has: that of
    its sides or, if it is to be made dense, of `dense` bytes a value."""
    path, name = place
    array = read_mat(path, name)
    if sp.issparse(array):
        values = math.prod(array.shape) * dense
        check_promise(path, max(values, 8 * sum(array.shape)), f"sparse variable '{name}'")
    if getattr(array, "ndim", 0) != 2 or array.dtype.kind not in "fiub" or min(array.shape) == 0:
        raise InputError(f"{path}: variable '{name}' is {_described(array)}; expected numbers, a row an item")
    return array


def _text(tags: sp.csr_array, row: int, names: list[str]) -> str:
    inside = slice(tags.indptr[row], tags.indptr[row + 1])
    pairs = zip(tags.indices[inside], tags.data[inside], strict=True)
    return " ".join(names[column] for column, count in pairs for _ in range(int(count)))


def _read_features(place: Place, n: int) -> Float[np.ndarray, "n d"]:
    matrix = _matrix(place, dense=4)
    if sp.issparse(matrix):
        matrix = matrix.astype(np.float32).toarray()
    if matrix.shape[0] != n and matrix.shape[1] == n:
        matrix = matrix.T
    return feature_matrix(matrix, *place, n)


def _read_pixels(place: Place, n: int, side: int | None) -> UInt8[np.ndarray, "n R R 3"]:
    path, name = place
    shape = mat_shapes(path)[name]
    if side is not None and side not in shape:
        raise InputError(
            f"--data.resolution is {side}, but variable '{name}' of {path} is {list(shape)}; leave it out"
        )
    return read_mat_pictures(path, name, n)


def _pictures(root: Path, place: Place, n: int) -> list[Path]:
    """The picture files that FAll names, in the first of the folders that has the first one."""
    path, name = place
    cells = read_mat(path, name)
    if getattr(cells, "dtype", np.dtype(float)).kind != "O" or cells.size != n:
        raise InputError(
            f"{path}: variable '{name}' is {_described(cells)}; expected a cell of {n} file names"
        )
    names = []
    for row, cell in enumerate(cells.ravel()):
        # scipy gives a text as an array with one string.
        values = np.ravel(cell)
        value = str(values[0]).strip().replace("\\", "/") if values.size == 1 else ""
        if not is_inside(value):
            raise InputError(
                f"{path}: variable '{name}', row {row} is {value!r}; expected the name of a file"
            )
        names.append(value)
    folders = [root, *(root / folder for folder in ("mirflickr", "images", "Flickr"))]
    folder = next((folder for folder in folders if (folder / names[0]).is_file()), root)
    return [folder / value for value in names]


def _described(value: Any) -> str:
    return f"{getattr(value, 'dtype', type(value).__name__)} {list(getattr(value, 'shape', ()))}"
