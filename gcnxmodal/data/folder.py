"""A user's own data: a folder with a metadata file, and pictures or their features.

metadata.csv | .jsonl | .parquet   file_name, text, label (or labels), split: the layout that the Hugging
                                   Face image-folder loader reads
<file_name>                        a picture a row, or
features.npz                       an array `images` [n, d], in the order of the metadata

`find_pictures` says which pictures such a folder, or one without metadata, has for `gcnxmodal.features`.
"""

import csv
import dataclasses
import difflib
import io
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from gcnxmodal.corpus import Corpus
from gcnxmodal.data import wikipedia
from gcnxmodal.data.arrays import all_features
from gcnxmodal.data.files import fingerprint, is_inside, read_text, require_file, require_folder
from gcnxmodal.data.loader import ImageSource, Items, Shared, load_items, pictures_of
from gcnxmodal.data.picture_features import FROM_PICTURES, resolution_for
from gcnxmodal.data.split import stratified_split
from gcnxmodal.errors import InputError

FIELDS = ("file_name", "text", "label", "labels", "split")
# What counts as a picture in a bare folder. Pillow's own list has HDF5 and other files of features in it.
SUFFIXES = {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_CONTENTS = "your pictures and metadata.csv, .jsonl or .parquet"
_SAVE_FEATURES = (
    "write it with numpy.savez(file, images=array), a row an item, or with python -m gcnxmodal.features"
)
_SPLIT_SEED, _TEST_FRACTION = 0, 0.2


def load(
    root: Path | None,
    *,
    image_feature: str,
    resolution: int | None = None,
    split_seed: int = _SPLIT_SEED,
    test_fraction: float = _TEST_FRACTION,
    **shared: typing.Unpack[Shared],
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
    sources = _feature_sources(root, metadata, image_feature, pictures)
    shown = pictures and pictures_of(pictures)
    images = ImageSource(image_feature, resolution_for(image_feature, resolution), None)

    def features() -> np.ndarray:
        return all_features(sources[0], len(rows), _SAVE_FEATURES)

    def read() -> Items:
        apart = names or [str(row) for row in range(len(rows))]
        return Items(
            texts=texts,
            labels=labels,
            class_names=class_names,
            splits=splits or stratified_split(labels, apart, test_fraction, split_seed),
            pictures=shown,
            features=features if image_feature == "features" else None,
            groups=names,
        )

    drawn = {"seed": split_seed, "test_fraction": test_fraction}
    options = {"split": "metadata" if splits else drawn, "pictures": shown is not None}
    about = {"source": str(metadata), "licence": "as the user's own data"}
    files = fingerprint([metadata, *sources])
    return load_items("folder", read, images, options, files, about, root=root, **shared)


@dataclasses.dataclass(frozen=True)
class PictureSource:
    """The pictures of one folder."""

    layout: str
    """What kind of folder it is, for the user."""
    pictures: list[Path]
    training: Int[np.ndarray, " rows"] | None
    """Which of them are training items; None if there is no split."""
    arrays: Callable[[np.ndarray], dict[str, np.ndarray]]
    """From the features, a row a picture, to the arrays that are saved."""
    output: str
    """Where they are saved by default, a name in the folder; {backbone} stands for the backbone's."""
    usage: Callable[[Path], str]
    """How to train on them, once they are saved in a file."""


def find_pictures(root: Path) -> PictureSource:
    """The pictures of a folder in the generic layout, in the official Wikipedia layout, or of a bare folder.

    Raises:
        InputError: if the folder is missing or empty, has metadata or lists that are malformed or name a
            picture that is not there, or holds no picture.
    """
    require_folder(root, "your pictures", "--images")
    if any((root / f"metadata{suffix}").is_file() for suffix in _READERS):
        return _generic(root)
    if any((root / f"{split}set_txt_img_cat.list").is_file() for split in wikipedia.SPLITS):
        return _wikipedia(root)
    return _bare(root)


def _generic(root: Path) -> PictureSource:
    metadata = find_metadata(root)
    rows = read_metadata(metadata)
    labels, _ = _labels(rows, metadata)
    names = _file_names(rows, metadata)
    listed = None if names is None else [root / name for name in names]
    pictures = _feature_sources(root, metadata, "efficientnet-lite0", listed)
    drawn = stratified_split(labels, names or [], _TEST_FRACTION, _SPLIT_SEED)
    splits = _given_splits(rows, names, metadata) or drawn
    return PictureSource(
        layout="a folder with metadata",
        pictures=pictures,
        training=splits["train"],
        arrays=lambda features: {"images": features},
        output="features.npz",
        usage=lambda _: (
            f"to train on them, as {root / 'features.npz'}: "
            f"launch/local gin-folder --data.root {root} --data.image-feature features"
        ),
    )


def _wikipedia(root: Path) -> PictureSource:
    listed = wikipedia.listed_pictures(root)
    train, test = len(listed["train"]), len(listed["test"])
    return PictureSource(
        layout="the Wikipedia archive",
        pictures=[*listed["train"], *listed["test"]],
        training=np.arange(train),
        arrays=lambda features: {"train": features[:train], "test": features[train : train + test]},
        output="{backbone}.npz",
        usage=lambda output: (
            f"to train on them: launch/local gin-wikipedia --data.root {root} --data.image-feature {output}"
        ),
    )


def _bare(root: Path) -> PictureSource:
    below = [path.relative_to(root) for path in root.rglob("*")]
    names = sorted(
        path.as_posix()
        for path in below
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.parts)
        and (root / path).is_file()
    )
    if not names:
        raise InputError(
            f"{root}: there is no picture in this folder ({' '.join(sorted(SUFFIXES))}), nor metadata.csv, "
            ".jsonl or .parquet, nor the lists of the Wikipedia archive; --images must name a folder with "
            "one of them"
        )
    return PictureSource(
        layout="a bare folder",
        pictures=[root / name for name in names],
        training=None,
        arrays=lambda features: {"images": features, "file_names": np.array(names)},
        output="features.npz",
        usage=lambda _: "to train on them, add metadata.csv: docs/your-own-data.md",
    )


def find_metadata(root: Path) -> Path:
    """The one metadata file of a folder.

    Raises:
        InputError: if there is none, or more than one.
    """
    names = [f"metadata{suffix}" for suffix in _READERS]
    files = [root / name for name in names if (root / name).is_file()]
    if not files:
        raise InputError(
            f"{root}: there is no {', '.join(names[:-1])} or {names[-1]} in this folder; write one: a row an "
            "item with the fields text, label (or labels), file_name, split"
        )
    if len(files) > 1:
        raise InputError(f"{files[0]}: {files[1].name} is there too; keep one of them")
    return files[0]


def read_metadata(path: Path) -> list[dict[str, Any]]:
    """The rows of a metadata file, checked for their fields, not yet for what is in them.

    Raises:
        InputError: if the file cannot be read, has no row, an unknown field, or rows with different fields.
    """
    rows = _READERS[path.suffix](path)
    if not rows:
        raise InputError(f"{path}: there is no row in it; write one an item")
    fields = list(rows[0])
    for field in fields:
        if field not in FIELDS:
            meant = difflib.get_close_matches(str(field), FIELDS, 1)
            hint = f"did you mean '{meant[0]}'? " if meant else ""
            raise InputError(
                f"{path}: the field '{field}' is not known; {hint}the fields are {', '.join(FIELDS)}: rename "
                "or remove it"
            )
    if "text" not in fields:
        raise InputError(f"{path}: there is no field 'text'; add it, a text for each row")
    if ("label" in fields) == ("labels" in fields):
        raise InputError(f"{path}: give either the field 'label' (one class) or 'labels' (several)")
    for number, row in enumerate(rows, 1):
        if set(row) != set(fields):
            field = sorted(set(row) ^ set(fields))[0]
            raise InputError(
                f"{path}: row {number}: the field '{field}' is in some rows only; give every row "
                f"{', '.join(fields)}"
            )
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]]:
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    try:
        header = next(lines, [])
        if len(set(header)) < len(header):
            raise InputError(f"{path}: a field is twice in the header {','.join(header)}; rename one")
        for values in lines:
            if not values:
                continue
            if len(values) != len(header):
                raise InputError(
                    f"{path}: line {lines.line_num} has {len(values)} fields, the header has {len(header)}; "
                    'put texts with commas in "quotes"'
                )
            rows.append(dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise InputError(
            f"{path}: line {lines.line_num}: {error}; mend it, or write metadata.jsonl, which has no limits"
        ) from error
    return rows


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    rows = []
    # Not splitlines(): that also breaks at characters such as U+2028, which JSON strings may hold.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"{path}: line {number} is not JSON ({error}); write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is no JSON object; write one {{...}} a line")
        rows.append(row)
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs the package pyarrow; pip install 'gcnxmodal[parquet]', or write "
            "metadata.jsonl"
        ) from error
    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error}); write it again") from error


_READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


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
    names_of_rows = []
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
        names_of_rows.append(set(names))
    class_names = sorted(set().union(*names_of_rows))
    if not class_names:
        raise InputError(
            f"{metadata}: no row has a label in its field 'labels'; items need classes to match by"
        )
    return np.array([[name in names for name in class_names] for names in names_of_rows]), class_names


def _file_names(rows: list[dict[str, Any]], metadata: Path) -> list[str] | None:
    if "file_name" not in rows[0]:
        return None
    for number, row in enumerate(rows, 1):
        name = row["file_name"]
        if not isinstance(name, str) or not is_inside(name):
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
