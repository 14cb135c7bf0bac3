"""NUS-WIDE in its official layout, small, with the quirks of the real files."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import LOADERS
from gcnxmodal.text.vocabulary import Tokenizer

IMAGES, TRAIN, TEST = (f"ImageList/{name}Imagelist.txt" for name in ("", "Train", "Test"))
ALL_TAGS, TAG_LIST = "NUS_WID_Tags/All_Tags.txt", "NUS_WID_Tags/Final_Tag_List.txt"
SKY = "Groundtruth/AllLabels/Labels_sky.txt"
BAG = "Low_Level_Features/BoW_int.dat"

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


def load_nus_wide(root: Path, name: str = "nus-wide", **options: Any) -> Corpus:
    """By the loader of this name, with two classes, from a cache beside `root`."""
    given = {"words": 20, "tokenizer": Tokenizer(), "image_feature": "bow", "classes": 2}
    return LOADERS[name](root, **{**given, "cache_dir": root.parent / "cache", **options})


def change(root: Path, name: str, line: int, to: str | bytes | None) -> None:
    """Line `line`, from 1, of a file becomes `to`; None removes it."""
    path = root / name
    lines = path.read_bytes().split(b"\r\n")
    lines[line - 1 : line] = [] if to is None else [to if isinstance(to, bytes) else to.encode()]
    path.write_bytes(b"\r\n".join(lines))
