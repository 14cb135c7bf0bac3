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
    Low_Level_Features/BoW_int.dat              500 counts of SIFT visual words a photo
    Flickr/<folder>/<number>_<photo id>.jpg     only for "efficientnet-lite0" and the gallery

Line i of every file is about the photo in line i of Imagelist.txt.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.assemble import assemble
from gcnxmodal.data.cache import cached, corpus_path
from gcnxmodal.data.files import fingerprint, require_file, require_folder
from gcnxmodal.data.from_pictures import FROM_PICTURES, images_from, resolution_for
from gcnxmodal.data.nus_wide_files import PAGE, SPLITS, TAG_LISTS, NusWide, photo_id
from gcnxmodal.data.split import check_split, describe_split, retrieval_split
from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer

_CONTENTS = "the unpacked archives of NUS-WIDE"
_SELECTIONS = ("one-class", "all")
_LICENCE = "NUS-WIDE, for research (Chua et al. 2009); photos and tags: their Flickr owners"


def load(
    root: Path | None,
    *,
    words: int,
    tokenizer: Tokenizer,
    image_feature: str,
    cache_dir: Path,
    resolution: int | None = None,
    classes: int = 10,
    selection: str = "one-class",
    tag_list: str = "final",
    split: str = "drawn",
    training_pairs: int = 40_000,
    test_pairs: int = 1_000,
    split_seed: int = 0,
) -> Corpus:
    """Photos of the largest concepts, with their tags as text; items in the order of Imagelist.txt.

    Args:
        root: the folder of the archives.
        image_feature: "bow" (BoW_int.dat), or made from Flickr/ at `resolution` x `resolution` pixels; see
            `from_pictures`.
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
    _check_options(image_feature, classes, selection, tag_list, training_pairs, test_pairs)
    root = require_folder(root, _CONTENTS)
    folder = NusWide(root, tag_list)
    resolution = resolution_for(image_feature, resolution)
    computed = resolution is not None
    needed = [*folder.lists(() if split == "retrieval" else SPLITS), *([] if computed else [folder.bag()])]
    options = {
        "root": str(root.resolve()),
        "words": words,
        "tokenizer": dataclasses.asdict(tokenizer),
        "image_feature": image_feature,
        "resolution": resolution,
        "classes": classes,
        "selection": selection,
        "tag_list": tag_list,
        "split": split,
        "training_pairs": training_pairs,
        "test_pairs": test_pairs,
        "split_seed": split_seed,
        "pictures": folder.pictures.is_dir(),
    }

    def make() -> Corpus:
        photos = folder.photos()
        class_names, labels = folder.labels(classes, len(photos))
        # Paper: GIN (3.1) keeps pairs "belonging to one or more of the 10 largest classes" and matches pairs
        # of "the same class"; here photos with exactly one of the ten, because then the class is one: with
        # several, two random photos would share one more than a third of the time (estimated from the sizes
        # of the ten), while CCA's MAP in the same table is .27. The selection "all" keeps the others.
        # Paper: SSPE (4.1) selects pairs "that belong to the 20 largest classes", 52,830 and 35,216; here all
        # with at least one of them, which are probably more, for GCH counts 188,321 of 21 classes. Whether
        # SSPE's have two or more ("a reasonable multi-label setting") it does not say: the provenance counts.
        found = labels.sum(axis=1)
        rows = np.flatnonzero(found == 1 if selection == "one-class" else found > 0)
        labelled = len(rows)
        # A photo that is listed twice, perhaps once in each split, counts where it is listed first.
        photo_ids = np.array([photo_id(photos[row]) for row in rows])
        rows = rows[np.sort(np.unique(photo_ids, return_index=True)[1])]
        distinct = len(rows)
        texts = folder.texts(rows, photos)
        # Paper: does not say; here photos without a tag of the list are left out: they are no image-tag pair.
        rows = np.array([row for row in rows if texts[row]], int)
        if split == "retrieval":
            # Paper: GCH counts 188,321 photos of the 21 largest concepts "after pruning the data without any
            # label or tag information"; here as above, so the number may differ: see the provenance.
            by_name = [photos[row] for row in rows]
            drawn = retrieval_split(
                len(rows), test_pairs, training_pairs, split_seed, by_name, source=str(root)
            )
            chosen = {name: rows[places] for name, places in drawn.items()}
            official = {}
        else:
            training = folder.in_training(photos)
            official = {"train": rows[training[rows]], "test": rows[~training[rows]]}
            limits = {"train": training_pairs, "test": test_pairs}
            chosen = official
            if split == "drawn":
                chosen = {name: _choose(official[name], photos, limits[name], split_seed) for name in SPLITS}
        kept = np.unique(np.concatenate(list(chosen.values())))
        pictures = [folder.pictures / photos[row] for row in kept]
        if computed:
            for picture in pictures:
                require_file(picture, f"the photos are sent on request, see {PAGE}; or use 'bow'")
        shown = computed or (folder.pictures.is_dir() and all(picture.is_file() for picture in pictures))

        def features() -> Float[np.ndarray, "n d"]:
            if resolution is not None:
                return images_from(pictures, image_feature, resolution, cache_dir=cache_dir)
            return folder.bags(kept, len(photos))

        return assemble(
            [texts[row] for row in kept],
            features,
            labels[kept],
            class_names,
            {name: np.searchsorted(kept, rows) for name, rows in chosen.items()},
            words=words,
            tokenizer=tokenizer,
            provenance={
                "source": str(root),
                "licence": _LICENCE,
                "options": options,
                "photos": {
                    "listed": len(photos),
                    "with_their_classes": labelled,
                    "left_out_as_listed_twice": labelled - distinct,
                    "left_out_without_tag": distinct - len(rows),
                    **{f"official_{name}": len(rows) for name, rows in official.items()},
                    **{
                        f"official_{name}_of_several_classes": int((found[rows] > 1).sum())
                        for name, rows in official.items()
                    },
                },
                "split": describe_split(
                    chosen, None if split == "official" else split_seed, "line of Imagelist.txt"
                ),
            },
            pictures=[str(picture) for picture in pictures] if shown else None,
        )

    return cached(corpus_path(cache_dir, "nus-wide", options, fingerprint(needed)), make)


def _choose(
    rows: Int[np.ndarray, " m"], photos: Sequence[str], limit: int, seed: int
) -> Int[np.ndarray, " at_most_limit"]:
    """The first `limit` rows in an order that depends on seed and names alone, not on a random generator."""
    order = sorted(rows.tolist(), key=lambda row: hashlib.sha256(f"{seed}:{photos[row]}".encode()).digest())
    return np.sort(np.array(order[:limit], int))


def _check_options(
    image_feature: str, classes: int, selection: str, tag_list: str, training_pairs: int, test_pairs: int
) -> None:
    if image_feature not in ("bow", *FROM_PICTURES):
        raise InputError(
            f"--data.image-feature is '{image_feature}'; nus-wide has 'bow' (BoW_int.dat), 'pixels' or "
            "'efficientnet-lite0' (of Flickr/)"
        )
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
