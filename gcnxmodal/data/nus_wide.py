"""NUS-WIDE: 269,648 Flickr photos with their tags and 81 concepts (Chua et al. 2009).

"NUS-WIDE: A Real-World Web Image Database from National University of Singapore", CIVR 2009; read from the
folder that the archives of its page are unpacked into:

    ImageList/Imagelist.txt                     a line a photo: <folder>\\<number>_<photo id>.jpg
    ImageList/TrainImagelist.txt, TestImagelist.txt   not for `split="retrieval"`
    ConceptsList/Concepts81.txt                 (or Concepts81.txt) a concept a line
    Groundtruth/AllLabels/Labels_<concept>.txt  0 or 1 a photo
    NUS_WID_Tags/All_Tags.txt                   photo id and its tags, by blanks
    NUS_WID_Tags/Final_Tag_List.txt             5,018 tags
    NUS_WID_Tags/TagList1k.txt, AllTags1k.txt   only for `tag_list="1k"`: 1,000 tags; 0 or 1 for each, a line
                                                a photo
    Low_Level_Features/BoW_int.dat              500 counts of SIFT visual words a photo; only for "bow"
    Flickr/<folder>/<number>_<photo id>.jpg     only for features made from pictures and the gallery
    features.npz                                yours, only for "features"

Line i of every file of the archives is about the photo in line i of Imagelist.txt.
"""

import dataclasses
import functools
import re
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import features_of
from gcnxmodal.data.files import decode, fingerprint, read_lines, require_file, require_folder
from gcnxmodal.data.loader import ImageSource, Items, Shared, image_source, load_items, pictures_of
from gcnxmodal.data.picture_features import resolution_for
from gcnxmodal.data.split import check_split, describe_split, retrieval_split
from gcnxmodal.errors import InputError
from gcnxmodal.holdout import digest

SPLITS = ("train", "test")
TAG_LISTS = {"final": "Final_Tag_List.txt", "1k": "TagList1k.txt"}
_SELECTIONS = ("one-class", "all")
_BAG = 500  # visual words of BoW_int.dat
_CONTENTS = "the unpacked archives of NUS-WIDE"
_PAGE = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html"
_FETCH_PHOTOS = f"the photos are sent on request, see {_PAGE}; or use 'bow'"
_FEATURE_FILES = {"bow": "BoW_int.dat", "features": "features.npz"}
_SAVE_FEATURES = (
    "write it with numpy.savez(file, images=array), a row for each line of Imagelist.txt, or with "
    "file_names=names too, or with python -m gcnxmodal.features"
)
_LICENCE = "NUS-WIDE, for research (Chua et al. 2009); photos and tags: their Flickr owners"


def load(
    root: Path | None,
    *,
    image_feature: str,
    resolution: int | None = None,
    classes: int = 10,
    selection: str = "one-class",
    tag_list: str = "final",
    split: str = "drawn",
    training_pairs: int = 40_000,
    test_pairs: int = 1_000,
    split_seed: int = 0,
    **shared: typing.Unpack[Shared],
) -> Corpus:
    """Photos of the largest concepts, with their tags as text; items in the order of Imagelist.txt.

    Args:
        root: the folder of the archives.
        image_feature: "bow" (BoW_int.dat); "features" (features.npz in `root`) or the path of an `.npz` (as
            it is or from `root`) with an array `images`: a row for each line of Imagelist.txt, or a row for
            each of its `file_names`; or made from Flickr/ at `resolution` x `resolution` pixels; see
            `FROM_PICTURES`.
        classes: this many concepts, those with the most photos in the whole data set.
        selection: "one-class", the photos with exactly one of these concepts; or "all", with several too.
        tag_list: "final" (the 5,018 tags) or "1k": a photo's text is those of its tags that are in it.
        split: "official", the lists of training and test photos (SSPE, of 20 `classes`, "all" and "1k"); or
            "drawn", at most `training_pairs` and `test_pairs` of them, those that come first in an order that
            `split_seed` decides; or "retrieval", the protocol of hashing (DCMH, GCH): `test_pairs` queries of
            all photos, the others the split "retrieval", `training_pairs` of it trained on, whatever the
            lists say. The loader "nus-wide-21" is this with the 21 largest concepts, "all", the 1,000 tags,
            2,100 queries and 10,500 training pairs.

    Raises:
        InputError: if an option is out of range, a file is missing or malformed, or two files disagree.
    """
    check_split(split, ("official", "drawn", "retrieval"), split_seed)
    _check_options(classes, selection, tag_list, training_pairs, test_pairs)
    root = require_folder(root, _CONTENTS)
    folder = NusWide(root, tag_list)
    if image_feature == "bow":
        images = ImageSource(image_feature, resolution_for(image_feature, resolution), folder.bag())
    else:
        images = image_source(root, image_feature, resolution, "nus-wide", _SAVE_FEATURES, _FEATURE_FILES)
    files = [*folder.lists(() if split == "retrieval" else SPLITS), *images.files()]

    def read() -> Items:
        photos = folder.photos()
        class_names, labels = folder.labels(classes, len(photos))
        rows, texts, counts = _image_tag_pairs(folder, photos, labels, selection)
        limits = {"train": training_pairs, "test": test_pairs}
        chosen, official = _splits(folder, photos, rows, split, limits, split_seed)
        used = np.unique(np.concatenate(list(chosen.values())))
        pictures = [folder.pictures / photos[row] for row in used]
        if image_feature == "bow":
            features = functools.partial(folder.bags, used, len(photos))
        else:
            names = [picture.name for picture in pictures]
            features = images.file and functools.partial(
                features_of, images.file, names, used, len(photos), _SAVE_FEATURES
            )
        seed = None if split == "official" else split_seed
        return Items(
            texts=[texts[row] for row in used],
            labels=labels[used],
            class_names=class_names,
            splits={name: np.searchsorted(used, rows) for name, rows in chosen.items()},
            pictures=pictures_of(pictures, images.file is None, _FETCH_PHOTOS),
            features=features,
            provenance={
                "photos": {**counts, **_count_official(official, labels)},
                "split": describe_split(chosen, seed, "line of Imagelist.txt"),
            },
        )

    options = {
        "classes": classes,
        "selection": selection,
        "tag_list": tag_list,
        "split": split,
        "training_pairs": training_pairs,
        "test_pairs": test_pairs,
        "split_seed": split_seed,
        "pictures": folder.pictures.is_dir(),
    }
    about = {"source": str(root), "licence": _LICENCE}
    return load_items("nus-wide", read, images, options, fingerprint(files), about, root=root, **shared)


def _image_tag_pairs(
    folder: "NusWide", photos: list[str], labels: Bool[np.ndarray, "n C"], selection: str
) -> tuple[Int[np.ndarray, " m"], dict[int, str], dict[str, int]]:
    """The rows of the photos of the selection with a tag, their texts by row, and how many are left out."""
    # Paper: GIN (3.1) keeps pairs "belonging to one or more of the 10 largest classes" and matches pairs of
    # "the same class"; here photos with exactly one of the ten, because then the class is one: with several,
    # two random photos would share one more than a third of the time (estimated from the sizes of the ten),
    # while CCA's MAP in the same table is .27. The selection "all" keeps the others.
    # Paper: SSPE (4.1) selects pairs "that belong to the 20 largest classes", 52,830 and 35,216; here all
    # with at least one of them, which are probably more, for GCH counts 188,321 of 21 classes. Whether SSPE's
    # have two or more ("a reasonable multi-label setting") it does not say: the provenance counts.
    n_labels = labels.sum(axis=1)
    labelled = np.flatnonzero(n_labels == 1 if selection == "one-class" else n_labels > 0)
    # A photo that is listed twice, perhaps once in each split, counts where it is listed first.
    photo_ids = np.array([_photo_id(photos[row]) for row in labelled])
    distinct = labelled[np.sort(np.unique(photo_ids, return_index=True)[1])]
    texts = folder.texts(distinct, photos)
    # Paper: does not say; here photos without a tag of the list are left out: they are no image-tag pair.
    tagged = np.array([row for row in distinct if texts[row]], int)
    counts = {
        "listed": len(photos),
        "with_their_classes": len(labelled),
        "left_out_as_listed_twice": len(labelled) - len(distinct),
        "left_out_without_tag": len(distinct) - len(tagged),
    }
    return tagged, texts, counts


Rows = dict[str, Int[np.ndarray, " rows"]]


def _splits(
    folder: "NusWide",
    photos: list[str],
    rows: Int[np.ndarray, " m"],
    split: str,
    limits: dict[str, int],
    seed: int,
) -> tuple[Rows, Rows]:
    """The rows of each split, and those of these rows that the official lists have, if these are read."""
    if split == "retrieval":
        # Paper: GCH counts 188,321 photos of the 21 largest concepts "after pruning the data without any
        # label or tag information"; here as above, so the number may differ: see the provenance.
        names = [photos[row] for row in rows]
        places = retrieval_split(
            len(rows), limits["test"], limits["train"], seed, names, source=str(folder.root)
        )
        return {name: rows[place] for name, place in places.items()}, {}
    in_training = folder.in_training(photos)[rows]
    official = {"train": rows[in_training], "test": rows[~in_training]}
    if split == "official":
        return official, official
    return {name: _choose(official[name], photos, limits[name], seed) for name in SPLITS}, official


def _count_official(official: Rows, labels: Bool[np.ndarray, "n C"]) -> dict[str, int]:
    """How many photos the official lists have of those, and how many of them have several classes."""
    several = labels.sum(axis=1) > 1
    return {
        **{f"official_{name}": len(rows) for name, rows in official.items()},
        **{
            f"official_{name}_of_several_classes": int(several[rows].sum()) for name, rows in official.items()
        },
    }


def _choose(
    rows: Int[np.ndarray, " m"], photos: list[str], limit: int, seed: int
) -> Int[np.ndarray, " at_most_limit"]:
    """The first `limit` rows in an order that depends on seed and names alone, not on a random generator."""
    order = sorted(rows.tolist(), key=lambda row: digest(seed, photos[row]))
    return np.sort(np.array(order[:limit], int))


def _check_options(classes: int, selection: str, tag_list: str, training_pairs: int, test_pairs: int) -> None:
    for name, value, known in (("selection", selection, _SELECTIONS), ("tag-list", tag_list, TAG_LISTS)):
        if value not in known:
            raise InputError(f"--data.{name} is '{value}'; choose one of {', '.join(known)}")
    for name, value, least in (
        ("--data.classes", classes, 2),
        ("training_pairs", training_pairs, 1),
        ("test_pairs", test_pairs, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")


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
        lists = [self._image_list(name) for name in ("", *splits)]
        tags = [self._tags(TAG_LISTS[self.tag_list]), self._tags(self._tag_file())]
        return [*lists, *tags, self._concepts_file(), *map(self._label_file, self._concepts())]

    def bag(self) -> Path:
        # Some copies keep the folder of the archive around it.
        inside = self.root / "NUS_WID_Low_Level_Features" / "Low_Level_Features" / "BoW_int.dat"
        beside = self.root / "Low_Level_Features" / "BoW_int.dat"
        return require_file(inside if inside.is_file() else beside, _fetch("NUS_WID_Low_Level_Features"))

    def photos(self) -> list[str]:
        """The <folder>/<number>_<photo id>.jpg of every photo."""
        return [path for _, path in self._listed("")]

    def in_training(self, photos: list[str]) -> Bool[np.ndarray, " n"]:
        """Which photos are in the official training list; all others are in the test list."""
        # Only the list of all photos is also used for the names of files; capitals may differ in the others.
        known = {photo.lower() for photo in photos}
        seen: dict[str, str] = {}
        for split in SPLITS:
            file = self._image_list(split)
            for number, photo in self._listed(split):
                if photo.lower() not in known:
                    raise InputError(
                        f"{file}: line {number}: photo '{photo}' is not in Imagelist.txt; "
                        f"{_fetch('ImageList')}"
                    )
                if seen.setdefault(photo.lower(), split) != split:
                    raise InputError(
                        f"{file}: line {number}: photo '{photo}' is in TrainImagelist.txt too; remove it "
                        "from one of them"
                    )
        for row, photo in enumerate(photos):
            if photo.lower() not in seen:
                raise InputError(
                    f"{self._image_list('')}: line {row + 1}: photo '{photo}' is in neither "
                    f"TrainImagelist.txt nor TestImagelist.txt; {_fetch('ImageList')}"
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
        bags = np.empty((len(rows), _BAG), np.float32)
        for row, line in _aligned(path, photos):
            if row not in place:
                continue
            counts = line.split()
            if len(counts) != _BAG or not all(count.isdigit() for count in counts):
                raise InputError(
                    f"{path}: line {row + 1} has {len(counts)} fields; expected {_BAG} whole numbers, by "
                    f"blanks: {_fetch('NUS_WID_Low_Level_Features')}"
                )
            bags[place[row]] = np.array(counts, np.float32)
        return bags

    def texts(self, rows: Int[np.ndarray, " m"], photos: list[str]) -> dict[int, str]:
        """The tags of some photos, by row: those that are in the tag list, in the order of the file."""
        listed = self._tags(TAG_LISTS[self.tag_list])
        # Compared as bytes: tags in whatever writing and encoding that are not in the list are not decoded.
        tags = {line.lower(): decode(line.lower()) for _, line in read_lines(listed) if line}
        if not tags:
            raise InputError(f"{listed}: there is no tag in it; {_fetch('NUS_WID_Tags')}")
        wanted = set(rows.tolist())
        path = self._tags(self._tag_file())
        texts: dict[int, str] = {}
        for row, line in _aligned(path, len(photos)):
            fields = line.split()
            if self.tag_list == "1k":
                if row in wanted:
                    texts[row] = " ".join(_marked(fields, list(tags.values()), f"{path}: line {row + 1}"))
                continue
            photo = _photo_id(photos[row])
            if not fields or fields[0].lstrip(b"0") != str(photo).encode():
                raise InputError(
                    f"{path}: line {row + 1} starts with '{decode(fields[0]) if fields else ''}', but line "
                    f"{row + 1} of Imagelist.txt is photo {photo}; fetch both again: their order is the same"
                )
            if row in wanted:
                texts[row] = " ".join(tags[tag.lower()] for tag in fields[1:] if tag.lower() in tags)
        return texts

    def _listed(self, split: str) -> Iterator[tuple[int, str]]:
        path = self._image_list(split)
        for number, line in read_lines(path):
            # "actor\0001_2124494179.jpg "; some lists have a drive and folders before it.
            photo = "/".join(decode(line.strip()).replace("\\", "/").split("/")[-2:])
            if not line:
                continue
            if not _PHOTO.fullmatch(photo):
                raise InputError(
                    rf"{path}: line {number} is '{decode(line)}'; expected <folder>\<number>_<photo id>.jpg"
                )
            yield number, photo

    def _concepts(self) -> list[str]:
        path = self._concepts_file()
        names = [decode(line.strip()) for _, line in read_lines(path) if line]
        for name in names:
            if not name.replace("_", "").isalnum():
                raise InputError(f"{path}: '{name}' is no name of a concept; {_fetch('ConceptsList')}")
        return names

    def _concepts_file(self) -> Path:
        beside = self.root / "Concepts81.txt"
        inside = self.root / "ConceptsList" / "Concepts81.txt"
        return require_file(beside if beside.is_file() else inside, _fetch("ConceptsList"))

    def _image_list(self, split: str) -> Path:
        """The list of the photos of a split; of all photos without one."""
        name = f"{split.title()}Imagelist.txt"
        return require_file(self.root / "ImageList" / name, _fetch("ImageList"))

    def _label_file(self, concept: str) -> Path:
        path = self.root / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt"
        return require_file(path, _fetch("Groundtruth"))

    def _tag_file(self) -> str:
        return "AllTags1k.txt" if self.tag_list == "1k" else "All_Tags.txt"

    def _tags(self, name: str) -> Path:
        return require_file(self.root / "NUS_WID_Tags" / name, _fetch("NUS_WID_Tags"))


_PHOTO = re.compile(r"(?!\.)[^/]+/[^/]*_([0-9]{1,18})\.(?i:jpg)")


def _photo_id(photo: str) -> int:
    """Flickr's number of a photo: 2124494179 of "actor/0001_2124494179.jpg"."""
    match = _PHOTO.fullmatch(photo)
    assert match, photo
    return int(match[1])


def _fetch(archive: str) -> str:
    """What to do about a file of this archive."""
    return f"unpack the archive {archive} of {_PAGE}"


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
                f"{path}: line {row + 1} is '{decode(line)}'; expected 0 or 1: {_fetch('Groundtruth')}"
            )
        flags[row] = line == b"1"
    return flags


def _marked(fields: Sequence[bytes], tags: Sequence[str], where: str) -> list[str]:
    """The tags whose column of the line holds a 1."""
    if len(fields) != len(tags) or not set(fields) <= {b"0", b"1"}:
        raise InputError(
            f"{where} has {len(fields)} fields; expected {len(tags)} of 0 or 1, one for each line of "
            f"TagList1k.txt: {_fetch('NUS_WID_Tags')}"
        )
    return [tag for tag, field in zip(tags, fields, strict=True) if field == b"1"]
