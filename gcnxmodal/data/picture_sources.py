"""Where the pictures of a folder are, in which order, and what their features are saved as."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gcnxmodal.data import folder, wikipedia
from gcnxmodal.data.files import require_folder
from gcnxmodal.data.metadata import READERS
from gcnxmodal.errors import InputError

# What counts as a picture in a bare folder. Pillow's own list has HDF5 and other files of features in it.
SUFFIXES = {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


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
    if any((root / f"metadata{suffix}").is_file() for suffix in READERS):
        return _generic(root)
    if any((root / f"{split}set_txt_img_cat.list").is_file() for split in wikipedia.SPLITS):
        return _wikipedia(root)
    return _bare(root)


def _generic(root: Path) -> PictureSource:
    pictures, splits = folder.listed_pictures(root)
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
