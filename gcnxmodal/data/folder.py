"""A user's own data: a folder that says what its items are, and has pictures or their features.

The layouts are those of `data/metadata.py`; most often

metadata.csv | .jsonl | .parquet   file_name, text (or texts), and if there are any label (or labels), split
<file_name>                        a picture a row, or
features.npz                       an array `images` [n, d], in the order of the metadata; perhaps `texts`

Without labels an item matches itself and its group: several texts of one picture, several pictures of one
text. `find_pictures` says which pictures such a folder, or one without metadata, has for
`gcnxmodal.features`.
"""

import collections
import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gcnxmodal.corpus import Corpus
from gcnxmodal.data import wikipedia
from gcnxmodal.data.arrays import array_names, feature_matrix, features_of, load_npz
from gcnxmodal.data.cache import cache_dir, in_cache
from gcnxmodal.data.files import fingerprint, is_inside, require_folder
from gcnxmodal.data.loader import Items, Shared, image_source, load_items, offering_to_skip, pictures_of
from gcnxmodal.data.metadata import FieldNames, find_source, read_rows, split_name
from gcnxmodal.data.pictures import BrokenPictures
from gcnxmodal.data.split import stratified_split
from gcnxmodal.errors import InputError

# What counts as a picture in a bare folder. Pillow's own list has HDF5 and other files of features in it.
SUFFIXES = {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".svg"}
SUFFIXES |= {".tif", ".tiff", ".webp"}
_CONTENTS = "your pictures and metadata.csv, .tsv, .json, .jsonl or .parquet"
_SAVE_FEATURES = (
    "write it with numpy.savez(file, images=array), a row an item, or with python -m gcnxmodal.features"
)
_SPLIT_SEED, _TEST_FRACTION = 0, 0.2


def load(
    root: Path | None,
    *,
    image_feature: str,
    resolution: int | None = None,
    text_field: str | None = None,
    picture_field: str | None = None,
    label_field: str | None = None,
    split_field: str | None = None,
    encoding: str | None = None,
    split_seed: int = _SPLIT_SEED,
    test_fraction: float = _TEST_FRACTION,
    **shared: typing.Unpack[Shared],
) -> Corpus:
    """The corpus of a folder, an item a text, in the order of its metadata.

    Rows of one picture, or of one value of the field `group`, are one group.

    Args:
        root: the folder.
        image_feature: "efficientnet-lite0", of the pictures that `file_name` names, at `resolution` x
            `resolution` pixels (by default 224); the "pixels" themselves (64); or "features", the array
            `images` of features.npz; or the path of such a file. An array `texts` in it is read too: dense
            features of the texts.
        text_field, picture_field, label_field, split_field: fields of the metadata, in place of those that
            are found by their names.
        encoding: of the metadata, in place of UTF-8.
        split_seed, test_fraction: for metadata without the field `split`: a split stratified by class, in
            which groups stay together.

    Raises:
        InputError: if a file is missing or malformed, or a row is.
    """
    root = require_folder(root, _CONTENTS)
    fields = FieldNames(text_field, picture_field, label_field, split_field)
    listed = read_rows(root, shared["cache_dir"], fields, encoding)
    for note in listed.noted:
        print(note)
    source, rows = listed.source, listed.rows
    names = _file_names(rows, root, source, shared["cache_dir"])
    groups = _groups(rows, names, source)
    labels, class_names = _labels(rows, names, source)
    splits = _given_splits(rows, groups, names, source)
    if splits and split_seed != _SPLIT_SEED:
        raise InputError(
            f"--data.split-seed is {split_seed}, but {source} has the field split, so none is drawn; leave "
            "one of them out"
        )
    images = image_source(root, image_feature, resolution, "folder", _SAVE_FEATURES)
    pictures = None if names is None else [root / name for name in names]
    with offering_to_skip():
        skip = shared.get("skip_broken", False)
        sources = [images.file] if images.file else _pictures(source, pictures, shared["cache_dir"], skip)
    arrays = [] if images.file is None else array_names(sources[0], _SAVE_FEATURES)
    dense = "texts" in arrays
    if dense and "file_names" in arrays:
        raise InputError(
            f"{sources[0]}: has arrays 'texts' and 'file_names', but a text has no name to be found by; save "
            "both features in the order of the items, without file_names"
        )
    texts = [row["text"] if "text" in row else [_shown(row, number)] for number, row in enumerate(rows, 1)]
    if not dense and "text" not in rows[0]:
        raise InputError(f"{source}: there is no field 'text'; add it, a text for each row")
    row_n = [row for row, of in enumerate(texts) for _ in of]  # of each item
    grouped = names is not None or "group" in rows[0] or len(row_n) > len(rows)
    shown = pictures if images.file is None else pictures and pictures_of(pictures)

    def features() -> np.ndarray:
        return features_of(sources[0], names, np.arange(len(rows)), len(rows), _SAVE_FEATURES)[row_n]

    def read() -> Items:
        drawn = splits or stratified_split(
            labels, _with_equal_texts(groups, texts), test_fraction, split_seed
        )
        in_both = _in_both(texts, drawn)
        metadata = [rows[row]["metadata"] for row in row_n]
        return Items(
            texts=[text for of in texts for text in of],
            labels=labels[row_n],
            class_names=class_names,
            splits={part: np.flatnonzero(np.isin(row_n, chosen)) for part, chosen in drawn.items()},
            pictures=shown and [shown[row] for row in row_n],
            features=features if images.file else None,
            groups=[groups[row] for row in row_n] if grouped else None,
            text_features=_text_features(sources[0], len(row_n)) if dense else None,
            metadata=metadata if any(metadata) else None,
            provenance={"texts_in_both": in_both} if in_both else {},
        )

    drawn = {"seed": split_seed, "test_fraction": test_fraction}
    options = {"split": "metadata" if splits else drawn, "pictures": shown is not None}
    given = {**fields._asdict(), "encoding": encoding}
    options |= {name: value for name, value in given.items() if value is not None}
    about = {"source": str(source), "licence": "as the user's own data"}
    files = fingerprint([*listed.files, *sources])
    corpus = load_items("folder", read, images, options, files, about, root=root, **shared)
    if in_both := corpus.provenance.get("texts_in_both"):
        print(
            f"{source}: {in_both:,} texts are in train and in test, which flatters the measures; give their "
            "rows the same split, or a field 'group' with one value"
        )
    return corpus


def _with_equal_texts(groups: Sequence[str], texts: Sequence[Sequence[str]]) -> list[str]:
    """Groups that share a text as one, so that it is on one side of a split: ten, or a hundredth of all, and
    at most a tenth.

    What more have is no text of theirs but a class or a filler, and a split has to go through it.
    """
    most = min(max(10, len(groups) // 100), len(groups) // 10)
    groups_of: dict[str, dict[str, None]] = {}
    for group, of in zip(groups, texts, strict=True):
        for text in of:
            groups_of.setdefault(text, {})[group] = None
    members = {group: [group] for group in groups}  # the same list for all that are together
    for first, *others in groups_of.values():
        if len(others) >= most:
            continue
        for other in others:
            ours, theirs = members[first], members[other]
            if ours is not theirs and len(ours) + len(theirs) <= most:
                ours += theirs
                members |= dict.fromkeys(theirs, ours)
    return [members[group][0] for group in groups]


def _in_both(texts: Sequence[Sequence[str]], splits: Mapping[str, np.ndarray]) -> int:
    """How many texts are in train and in test."""
    train, test = ({text for row in splits[part] for text in texts[int(row)]} for part in ("train", "test"))
    return len(train & test)


def _shown(row: dict[str, Any], number: int) -> str:
    """What stands for a text of which there are only features."""
    return row.get("file_name") or f"row {number}"


def _text_features(path: Path, items: int) -> Float[np.ndarray, "n e"]:
    return feature_matrix(load_npz(path, ["texts"], _SAVE_FEATURES)["texts"], path, "texts", items)


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
    if find_source(root) is not None:
        return _generic(root)
    if any((root / f"{split}set_txt_img_cat.list").is_file() for split in wikipedia.SPLITS):
        return _wikipedia(root)
    return _bare(root)


def _generic(root: Path) -> PictureSource:
    source, _, rows, _ = read_rows(root, cache_dir())
    names = _file_names(rows, root, source, cache_dir())
    labels, _ = _labels(rows, names, source)
    groups = _groups(rows, names, source)
    listed = None if names is None else [root / name for name in names]
    pictures = _pictures(source, listed, cache_dir())
    splits = _given_splits(rows, groups, names, source)
    splits = splits or stratified_split(labels, groups, _TEST_FRACTION, _SPLIT_SEED)
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
    below = [path.relative_to(root) for path in sorted(root.rglob("*"))]
    below = [path for path in below if not any(part.startswith(".") for part in path.parts)]
    files = [path for path in below if (root / path).is_file() and path.suffix.lower() != ".npz"]
    names = sorted(path.as_posix() for path in files if path.suffix.lower() in SUFFIXES)
    others = collections.Counter(path.suffix.lower() or "without an ending" for path in files)
    skipped = [f"{count:,} {suffix}" for suffix, count in sorted(others.items()) if suffix not in SUFFIXES]
    linked = [path.as_posix() for path in below if (root / path).is_symlink() and (root / path).is_dir()]
    skipped += [f"the linked folders {', '.join(linked)}"] if linked else []
    if not names:
        raise InputError(
            f"{root}: there is no picture in this folder ({' '.join(sorted(SUFFIXES))}), nor metadata.csv, "
            ".jsonl or .parquet, nor the lists of the Wikipedia archive; --images must name a folder with "
            "one of them"
        )
    return PictureSource(
        layout=f"a bare folder (skipped: {', '.join(skipped)})" if skipped else "a bare folder",
        pictures=[root / name for name in names],
        training=None,
        arrays=lambda features: {"images": features, "file_names": np.array(names)},
        output="features.npz",
        usage=lambda _: "to train on them, add metadata.csv: docs/your-own-data.md",
    )


def _pictures(
    metadata: Path, pictures: list[Path] | None, cache: Path, skip_broken: bool = False
) -> list[Path]:
    """The pictures that are there, of those that the metadata name."""
    if pictures is None:
        raise InputError(
            f"{metadata}: there is no field 'file_name'; add it, or put features into "
            f"{metadata.parent / 'features.npz'} and set --data.image-feature to 'features'"
        )
    missing = {
        picture: f"{picture}: there is no such file; it is a file_name of {metadata.name}: mend the name, or "
        "remove its row"
        for picture in pictures
        if not picture.is_file()
    }
    if missing and not skip_broken:
        raise BrokenPictures(missing, len(set(pictures)), cache)
    return [picture for picture in pictures if picture not in missing]


def _labels(
    rows: list[dict[str, Any]], names: list[str] | None, metadata: Path
) -> tuple[Bool[np.ndarray, "n C"], list[str]]:
    """Which classes each row has, and their names in alphabetical order; none without such a field."""
    if "label" not in rows[0] and "labels" not in rows[0]:
        return np.zeros((len(rows), 0), bool), []
    names_of_rows = []
    between = _between([row["labels"] for row in rows if isinstance(row.get("labels"), str)], metadata)
    for number, row in enumerate(rows, 1):
        if "label" in row:
            field, values = "label", [row["label"]]
        else:
            field, values = "labels", row["labels"]
            if isinstance(values, str):
                values = [name for name in values.split(between) if name.strip()]
        if isinstance(values, list):
            # Tables that once had a hole have 1.0 for 1.
            values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
        classes = [str(value).strip() for value in values] if isinstance(values, list) else [""]
        whole = isinstance(values, list) and all(type(value) in (str, int) for value in values)
        if not whole or not all(classes):
            raise InputError(
                f"{metadata}: row {number}: the field '{field}' is {row[field]!r}; expected "
                + ("a class name" if field == "label" else "a list of class names (in CSV: a;b;c)")
            )
        names_of_rows.append(set(classes))
    class_names = sorted(set().union(*names_of_rows))
    if not class_names:
        raise InputError(
            f"{metadata}: no row has a label in its field 'labels'; give some rows a class, or drop the "
            "field to match by pairs alone"
        )
    first: dict[str, int] = {}
    for row, name in enumerate(names or []):
        before = first.setdefault(name, row)
        if names_of_rows[before] != names_of_rows[row]:
            ours, theirs = (", ".join(sorted(names_of_rows[at])) or "no label" for at in (row, before))
            raise InputError(
                f"{metadata}: row {row + 1}: the picture '{name}' has {ours}, and {theirs} in row "
                f"{before + 1}; give it the same in both"
            )
    return np.array([[name in of for name in class_names] for of in names_of_rows]), class_names


def _between(lists: Sequence[str], metadata: Path) -> str:
    """What stands between the classes of an item: a semicolon, or commas where there is none."""
    with_comma = next((of for of in lists if "," in of), None)
    if with_comma is None or any(";" in of for of in lists):
        return ";"
    print(f"{metadata}: labels are read with commas between them, as '{with_comma}'")
    return ","


def _as_it_lies(root: Path, name: str) -> str:
    """The name of a picture as it is in the folder: with slashes, and the suffix in the letters there."""
    if (root / name).exists():
        return name
    slashed = name.replace("\\", "/")
    stem, dot, suffix = slashed.rpartition(".")
    spellings = [slashed, *(f"{stem}{dot}{of}" for of in (suffix.lower(), suffix.upper()))]
    return next((other for other in spellings if is_inside(other) and (root / other).is_file()), name)


def _file_names(rows: list[dict[str, Any]], root: Path, metadata: Path, cache: Path) -> list[str] | None:
    """The pictures by their paths from the folder, or as they lie in the cache."""
    if "file_name" not in rows[0]:
        return None
    relocated = []
    for number, row in enumerate(rows, 1):
        name = row["file_name"]
        if isinstance(name, str) and (lies := _as_it_lies(root, name)) != name:
            name = row["file_name"] = lies
            relocated.append(lies)
        if not isinstance(name, str) or not (is_inside(name) or in_cache(name, cache)):
            raise InputError(
                f"{metadata}: row {number}: the field 'file_name' is {name!r}; expected a path inside {root}"
            )
    if relocated:
        print(
            f"{metadata}: {len(relocated):,} pictures lie under another spelling of their file_name, such as "
            f"'{relocated[0]}' (slashes for backslashes, or the suffix in other letters)"
        )
    return [row["file_name"] for row in rows]


def _groups(rows: list[dict[str, Any]], names: list[str] | None, metadata: Path) -> list[str]:
    """The group of each row: that of its field `group`, or else its picture, or itself."""
    groups = [str(row) for row in range(len(rows))] if names is None else names
    if "group" not in rows[0]:
        return groups
    given = [str(row["group"]) for row in rows]
    first: dict[str, int] = {}
    for row, name in enumerate(names or []):
        before = first.setdefault(name, row)
        if given[before] != given[row]:
            raise InputError(
                f"{metadata}: row {row + 1}: the picture '{name}' is in the group '{given[row]}', and in "
                f"'{given[before]}' (row {before + 1}); keep it in one of them"
            )
    return given


def _given_splits(
    rows: list[dict[str, Any]], groups: list[str], names: list[str] | None, metadata: Path
) -> dict[str, Int[np.ndarray, " rows"]] | None:
    """The split that the metadata state, if they do; a group may be in one part only."""
    if "split" not in rows[0]:
        return None
    for number, row in enumerate(rows, 1):
        if not isinstance(part := row["split"], str) or not part:
            raise InputError(
                f"{metadata}: row {number}: the field 'split' is {part!r}; write train or test in every row, "
                "or drop the field"
            )
    given = [split_name(row["split"]) for row in rows]
    if "val" in given and "test" not in given:
        print(f"{metadata}: no row is in test; those in val take its place")
        given = ["test" if part == "val" else part for part in given]
    missing = {"train", "test"} - set(given)
    if missing:
        raise InputError(
            f"{metadata}: no row has '{min(missing)}' in its field 'split', only "
            f"{', '.join(sorted(set(given)))}; both train and test need items"
        )
    first: dict[str, int] = {}
    for row, group in enumerate(groups):
        before = first.setdefault(group, row)
        if given[before] != given[row]:
            what = "picture" if names is not None and names[row] == group else "group"
            raise InputError(
                f"{metadata}: row {row + 1}: the {what} '{group}' is in {given[row]}, and in {given[before]} "
                f"(row {before + 1}); keep it in one of them"
            )
    return {part: np.flatnonzero([other == part for other in given]) for part in sorted(set(given))}
