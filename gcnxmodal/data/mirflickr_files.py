"""The files of the official distribution of MIRFLICKR-25K; see `mirflickr.py`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from gcnxmodal.data.files import read_lines, require_file
from gcnxmodal.errors import InputError

PAGE = "https://press.liacs.nl/mirflickr/"
FETCH_PHOTOS = f"unpack mirflickr25k.zip of {PAGE}"
FETCH_ANNOTATIONS = f"unpack mirflickr25k_annotations_v080.zip of {PAGE} into the folder annotations"
RELEVANT = (
    *("baby", "bird", "car", "clouds", "dog", "female", "flower", "male", "night", "people", "portrait"),
    *("river", "sea", "tree"),
)
"""Concepts that are also annotated as relevant, what the photo is clearly about: <concept>_r1.txt."""
CONCEPTS = (
    *(
        "animals",
        "baby",
        "bird",
        "car",
        "clouds",
        "dog",
        "female",
        "flower",
        "food",
        "indoor",
        "lake",
        "male",
    ),
    *(
        "night",
        "people",
        "plant_life",
        "portrait",
        "river",
        "sea",
        "sky",
        "structures",
        "sunset",
        "transport",
    ),
    *("tree", "water"),
)
LABELS = {24: CONCEPTS, 38: (*CONCEPTS, *(f"{name}_r1" for name in RELEVANT))}
"""Names of the annotation files, by how many labels are asked for."""


@dataclasses.dataclass(frozen=True)
class MirFlickr:
    """The files below `root`, the folder mirflickr of the archive or the one around it.

    Every method raises InputError, naming file and line, for what is missing or malformed.
    """

    root: Path

    @property
    def photos(self) -> Path:
        """The folder with the photos."""
        inside = self.root / "mirflickr"
        return inside if inside.is_dir() else self.root

    @property
    def tags(self) -> Path:
        return self.photos / "meta" / "tags"

    def annotations(self, labels: int) -> list[Path]:
        """The file of each label, in the order of LABELS; all of them are there."""
        places = [
            place / name
            for name in ("annotations", "mirflickr25k_annotations_v080")
            for place in (self.root, self.photos)
        ]
        folder = next((place for place in places if place.is_dir()), places[0])
        return [require_file(folder / f"{name}.txt", FETCH_ANNOTATIONS) for name in LABELS[labels]]

    def numbers(self) -> list[int]:
        """The numbers of the photos that have a file of tags, perhaps an empty one, in ascending order."""
        found = [re.fullmatch(r"tags([1-9][0-9]*)\.txt", path.name) for path in self.tags.glob("tags*.txt")]
        numbers = sorted(int(match[1]) for match in found if match)
        if not numbers:
            raise InputError(f"{self.tags / 'tags1.txt'}: there is no such file; {FETCH_PHOTOS}")
        return numbers

    def tag_file(self, number: int) -> Path:
        return self.tags / f"tags{number}.txt"

    def picture(self, number: int) -> Path:
        return self.photos / f"im{number}.jpg"

    def read_tags(self, number: int) -> list[str]:
        """The tags of a photo, a line each, in lower case and without repetitions."""
        lines = (_decode(line).lower() for _, line in read_lines(self.tag_file(number)) if line)
        return list(dict.fromkeys("".join(line.split()) for line in lines))

    def read_labels(self, labels: int, numbers: list[int]) -> Bool[np.ndarray, "n C"]:
        """Which photos are in the list of each label."""
        row_of = {number: row for row, number in enumerate(numbers)}
        found = np.zeros((len(numbers), len(LABELS[labels])), bool)
        for column, path in enumerate(self.annotations(labels)):
            found[_listed(path, row_of), column] = True
        return found


def _listed(path: Path, row_of: dict[int, int]) -> Int[np.ndarray, " m"]:
    rows = []
    for number, line in read_lines(path):
        if not line:
            continue
        field = line.strip()
        if not field.isdigit() or int(field) not in row_of:
            raise InputError(
                f"{path}: line {number} is '{_decode(field)}'; expected the number of a photo that has a "
                f"file in meta/tags: {FETCH_ANNOTATIONS}"
            )
        rows.append(row_of[int(field)])
    return np.array(rows, int)


def _decode(text: bytes) -> str:
    """UTF-8, as these files should be; else Latin-1, which every byte string is."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
