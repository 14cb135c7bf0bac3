"""The files of the official distribution of NUS-WIDE, read with bounded memory; see `nus_wide.py`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from gcnxmodal.data.files import read_lines, require_file
from gcnxmodal.errors import InputError

BAG = 500  # visual words of BoW_int.dat
PAGE = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html"
SPLITS = ("train", "test")
TAG_LISTS = {"final": "Final_Tag_List.txt", "1k": "TagList1k.txt"}


@dataclasses.dataclass(frozen=True)
class NusWide:
    """The files of the official distribution below `root`.

    Every method raises InputError, naming file and line, for what is missing or malformed.
    """

    root: Path
    tag_list: str

    @property
    def pictures(self) -> Path:
        return self.root / "Flickr"

    def lists(self, splits: Sequence[str] = SPLITS) -> list[Path]:
        """Every file that is read, with the lists of these splits and without the features; all are there."""
        files = [
            self._image_list("Imagelist.txt"),
            *(self._image_list(f"{name.title()}Imagelist.txt") for name in splits),
        ]
        files += [self._tags(TAG_LISTS[self.tag_list]), self._tags(self._tag_file())]
        return [*files, self._concepts_file(), *(self._label_file(name) for name in self._concepts())]

    def bag(self) -> Path:
        # Some copies keep the folder of the archive around it.
        inside = self.root / "NUS_WID_Low_Level_Features" / "Low_Level_Features" / "BoW_int.dat"
        beside = self.root / "Low_Level_Features" / "BoW_int.dat"
        return require_file(inside if inside.is_file() else beside, fetch("NUS_WID_Low_Level_Features"))

    def photos(self) -> list[str]:
        """The <folder>/<number>_<photo id>.jpg of every photo."""
        return [path for _, path in self._listed("Imagelist.txt")]

    def in_training(self, photos: list[str]) -> Bool[np.ndarray, " n"]:
        """Which photos are in the official training list; all others are in the test list."""
        # Only the list of all photos is also used for the names of files; capitals may differ in the others.
        known = {photo.lower() for photo in photos}
        seen: dict[str, str] = {}
        for split in SPLITS:
            name = f"{split.title()}Imagelist.txt"
            file = self._image_list(name)
            for number, photo in self._listed(name):
                if photo.lower() not in known:
                    raise InputError(
                        f"{file}: line {number}: photo '{photo}' is not in Imagelist.txt; "
                        f"{fetch('ImageList')}"
                    )
                if seen.setdefault(photo.lower(), split) != split:
                    raise InputError(
                        f"{file}: line {number}: photo '{photo}' is in TrainImagelist.txt too; remove it "
                        "from one of them"
                    )
        for row, photo in enumerate(photos):
            if photo.lower() not in seen:
                raise InputError(
                    f"{self._image_list('Imagelist.txt')}: line {row + 1}: photo '{photo}' is in neither "
                    f"TrainImagelist.txt nor TestImagelist.txt; {fetch('ImageList')}"
                )
        return np.array([seen[photo.lower()] == "train" for photo in photos])

    def labels(self, classes: int, rows: int) -> tuple[list[str], Bool[np.ndarray, "n C"]]:
        """The `classes` concepts with the most photos, in the order of Concepts81.txt, and who has them."""
        concepts = self._concepts()
        if classes > len(concepts):
            raise InputError(
                f"{self._concepts_file()}: lists {len(concepts)} concepts, but --data.classes is {classes}; "
                "ask for fewer"
            )
        labels_Cn = np.array([_read_flags(self._label_file(name), rows) for name in concepts])
        largest = np.sort(np.argsort(-labels_Cn.sum(axis=1), kind="stable")[:classes])
        return [concepts[row] for row in largest], np.ascontiguousarray(labels_Cn[largest].T)

    def bags(self, rows: Int[np.ndarray, " m"], photos: int) -> Float[np.ndarray, "m 500"]:
        """The counts of visual words of some photos, float32. Only these rows are held, or even parsed."""
        path = self.bag()
        place = {row: i for i, row in enumerate(rows.tolist())}
        found = np.empty((len(rows), BAG), np.float32)
        for row, line in _aligned(path, photos):
            if row not in place:
                continue
            counts = line.split()
            if len(counts) != BAG or not all(count.isdigit() for count in counts):
                raise InputError(
                    f"{path}: line {row + 1} has {len(counts)} fields; expected {BAG} whole numbers, by "
                    f"blanks: {fetch('NUS_WID_Low_Level_Features')}"
                )
            found[place[row]] = np.array(counts, np.float32)
        return found

    def texts(self, rows: Int[np.ndarray, " m"], photos: list[str]) -> dict[int, str]:
        """The tags of some photos, by row: those that are in the tag list, in the order of the file."""
        listed = self._tags(TAG_LISTS[self.tag_list])
        # Compared as bytes: tags in whatever writing and encoding that are not in the list are not decoded.
        tags = {line.lower(): _decode(line.lower()) for _, line in read_lines(listed) if line}
        if not tags:
            raise InputError(f"{listed}: there is no tag in it; {fetch('NUS_WID_Tags')}")
        wanted = set(rows.tolist())
        path = self._tags(self._tag_file())
        found: dict[int, str] = {}
        for row, line in _aligned(path, len(photos)):
            fields = line.split()
            if self.tag_list == "1k":
                if row in wanted:
                    found[row] = " ".join(_marked(fields, list(tags.values()), f"{path}: line {row + 1}"))
                continue
            photo = photo_id(photos[row])
            if not fields or fields[0].lstrip(b"0") != str(photo).encode():
                raise InputError(
                    f"{path}: line {row + 1} starts with '{_decode(fields[0]) if fields else ''}', but line "
                    f"{row + 1} of Imagelist.txt is photo {photo}; fetch both again: their order is the same"
                )
            if row in wanted:
                found[row] = " ".join(tags[tag.lower()] for tag in fields[1:] if tag.lower() in tags)
        return found

    def _listed(self, name: str) -> Iterator[tuple[int, str]]:
        path = self._image_list(name)
        for number, line in read_lines(path):
            # "actor\0001_2124494179.jpg "; some lists have a drive and folders before it.
            photo = "/".join(_decode(line.strip()).replace("\\", "/").split("/")[-2:])
            if not line:
                continue
            if not _PHOTO.fullmatch(photo):
                raise InputError(
                    rf"{path}: line {number} is '{_decode(line)}'; expected <folder>\<number>_<photo id>.jpg"
                )
            yield number, photo

    def _concepts(self) -> list[str]:
        path = self._concepts_file()
        names = [_decode(line.strip()) for _, line in read_lines(path) if line]
        for name in names:
            if not name.replace("_", "").isalnum():
                raise InputError(f"{path}: '{name}' is no name of a concept; {fetch('ConceptsList')}")
        return names

    def _concepts_file(self) -> Path:
        beside = self.root / "Concepts81.txt"
        inside = self.root / "ConceptsList" / "Concepts81.txt"
        return require_file(beside if beside.is_file() else inside, fetch("ConceptsList"))

    def _image_list(self, name: str) -> Path:
        return require_file(self.root / "ImageList" / name, fetch("ImageList"))

    def _label_file(self, concept: str) -> Path:
        path = self.root / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt"
        return require_file(path, fetch("Groundtruth"))

    def _tag_file(self) -> str:
        return "AllTags1k.txt" if self.tag_list == "1k" else "All_Tags.txt"

    def _tags(self, name: str) -> Path:
        return require_file(self.root / "NUS_WID_Tags" / name, fetch("NUS_WID_Tags"))


_PHOTO = re.compile(r"(?!\.)[^/]+/[^/]*_([0-9]{1,18})\.(?i:jpg)")


def photo_id(photo: str) -> int:
    """Flickr's number of a photo: 2124494179 of "actor/0001_2124494179.jpg"."""
    found = _PHOTO.fullmatch(photo)
    assert found, photo
    return int(found[1])


def fetch(archive: str) -> str:
    """What to do about a file of this archive."""
    return f"unpack the archive {archive} of {PAGE}"


def _aligned(path: Path, rows: int) -> Iterator[tuple[int, bytes]]:
    """Row, from 0, and content of each line of a file that has a line for each of `rows` photos."""
    read = 0
    for number, line in read_lines(path):
        if read < rows:
            yield read, line
            read += 1
        elif line:
            raise InputError(
                f"{path}: line {number} is one too many: Imagelist.txt lists {rows} photos; fetch both again"
            )
    if read < rows:
        raise InputError(f"{path}: has {read} lines, but Imagelist.txt lists {rows} photos; fetch both again")


def _read_flags(path: Path, rows: int) -> Bool[np.ndarray, " n"]:
    # At once, where nothing is wrong: there are 81 of these files, each half a megabyte in 269,648 lines.
    fields = path.read_bytes().split()
    if len(fields) == rows and set(fields) <= {b"0", b"1"}:
        return np.array(fields) == b"1"
    flags = np.empty(rows, bool)
    for row, line in _aligned(path, rows):
        if line not in (b"0", b"1"):
            raise InputError(
                f"{path}: line {row + 1} is '{_decode(line)}'; expected 0 or 1: {fetch('Groundtruth')}"
            )
        flags[row] = line == b"1"
    return flags


def _marked(fields: Sequence[bytes], tags: Sequence[str], where: str) -> list[str]:
    """The tags whose column of the line holds a 1."""
    if len(fields) != len(tags) or not set(fields) <= {b"0", b"1"}:
        raise InputError(
            f"{where} has {len(fields)} fields; expected {len(tags)} of 0 or 1, one for each line of "
            f"TagList1k.txt: {fetch('NUS_WID_Tags')}"
        )
    return [tag for tag, field in zip(tags, fields, strict=True) if field == b"1"]


def _decode(text: bytes) -> str:
    """UTF-8, as these files should be; else Latin-1, which every byte string is."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
