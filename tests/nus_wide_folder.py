"""NUS-WIDE in its official layout, small, with the quirks of the real files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

CONCEPTS = ("animal", "lake", "sky")
TAGS = ("dog", "water", "blue", "cloud", "2007", "d80")


class Photo(NamedTuple):
    """One line of every file."""

    path: str
    tags: str
    concepts: tuple[str, ...]
    split: str

    @property
    def number(self) -> str:
        return self.path.rpartition("_")[2].removesuffix(".jpg")


PHOTOS = (
    Photo(r"actor\0001_2124494179.jpg", "dog nikon  DOG", ("animal",), "Train"),
    Photo(r"actor\0002_174174086.jpg", "blue cloud ünïcode", ("sky",), "Train"),
    Photo(r"zoo\0001_2147483650.jpg", "dog 2007 lakeside", ("animal",), "Test"),
    Photo(r"zoo\0003_7.jpg", "dog blue", ("animal", "sky"), "Train"),
    Photo(r"zoo\0004_8.jpg", "nikon", ("animal",), "Train"),
    Photo(r"zoo\0005_9.jpg", "cloud d80", ("sky",), "Test"),
    Photo(r"sea\0001_10.jpg", "water", ("lake",), "Train"),
    Photo(r"sea\0002_11.jpg", "blue", (), "Test"),
    Photo(r"sea\0003_12.jpg", "cloud water", ("sky", "lake"), "Train"),
    Photo(r"sea\0004_13.jpg", "", ("sky",), "Train"),
    Photo(r"sea\0005_14.jpg", "dog", ("animal",), "Train"),
)


def bag(row: int) -> np.ndarray:
    """The made-up counts of visual words of photo `row`."""
    return (np.arange(500) * (row + 1)) % 17


def write_nus_wide(root: Path, photos: tuple[Photo, ...] = PHOTOS) -> Path:
    """Windows line ends, backslashes and blanks at the end of lines, as in the published files."""

    def write(name: str, lines: list[str]) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())

    write("ImageList/Imagelist.txt", [f"{photo.path} " for photo in photos])
    for split in ("Train", "Test"):
        write(
            f"ImageList/{split}Imagelist.txt", [f"{photo.path} " for photo in photos if photo.split == split]
        )
    write("ConceptsList/Concepts81.txt", list(CONCEPTS))
    for concept in CONCEPTS:
        flags = [str(int(concept in photo.concepts)) for photo in photos]
        write(f"Groundtruth/AllLabels/Labels_{concept}.txt", flags)
    write("NUS_WID_Tags/Final_Tag_List.txt", list(TAGS))
    write("NUS_WID_Tags/All_Tags.txt", [f"{photo.number}      {photo.tags} " for photo in photos])
    write("NUS_WID_Tags/TagList1k.txt", list(TAGS[:3]))
    marks = [[str(int(tag in photo.tags.split())) for tag in TAGS[:3]] for photo in photos]
    write("NUS_WID_Tags/AllTags1k.txt", ["\t".join(row) + "\t" for row in marks])
    bags = [" ".join(map(str, bag(row))) + " " for row in range(len(photos))]
    write("Low_Level_Features/BoW_int.dat", bags)
    return root
