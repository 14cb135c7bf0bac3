"""COCO 2014: photos of 80 categories of objects, with five captions each (Lin et al. 2014).

"Microsoft COCO: Common Objects in Context", ECCV 2014; read from the folder that the archives of its page are
unpacked into:

    annotations/instances_train2014.json, instances_val2014.json
    annotations/captions_train2014.json, captions_val2014.json
    train2014/<file_name>, val2014/<file_name>   only for features made from pictures, and the gallery
    features.npz                                 yours, only for "features"
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.assemble import assemble
from gcnxmodal.data.cache import cached, corpus_path
from gcnxmodal.data.coco_files import (
    PAGE,
    PARTS,
    SAVE_FEATURES,
    annotation_files,
    read_features,
    read_images,
)
from gcnxmodal.data.files import feature_path, fingerprint, require_file, require_folder
from gcnxmodal.data.from_pictures import images_from, resolution_for
from gcnxmodal.data.split import describe_split, retrieval_split
from gcnxmodal.text.tokens import Tokenizer

_CONTENTS = "the unpacked archives of COCO 2014"
_LICENCE = "annotations: COCO, CC BY 4.0; photos: Flickr's terms, their owners"


def load(
    root: Path | None,
    *,
    words: int,
    tokenizer: Tokenizer,
    image_feature: str,
    cache_dir: Path,
    resolution: int | None = None,
    queries: int = 5_000,
    training: int = 10_000,
    split_seed: int = 0,
) -> Corpus:
    """The images with an object and a caption, their captions joined; train2014 first, then val2014.

    Labels are the categories of an image's objects, crowds of them too. By default the protocol of GCH: 5,000
    queries, all others the database, 10,000 of it trained on; GCH has 2,000 `words`.

    Args:
        root: the folder of the archives.
        image_feature: "features" (features.npz in `root`) or the path of an `.npz` (as it is or from `root`)
            with the arrays `ids` [n], the image ids, or `file_names`, and `images` [n, d], in any order; or
            made from train2014/ and val2014/ at `resolution` x `resolution` pixels; see `from_pictures`.
        queries, training, split_seed: see `retrieval_split`.

    Raises:
        InputError: if a file is missing or malformed, or two disagree.
    """
    root = require_folder(root, _CONTENTS)
    needed = annotation_files(root)
    resolution = resolution_for(image_feature, resolution)
    folders = {part: root / part for part in PARTS}
    if resolution is None:
        needed.append(require_file(feature_path(root, image_feature, "coco"), SAVE_FEATURES))
    options = {
        "root": str(root.resolve()),
        "words": words,
        "tokenizer": dataclasses.asdict(tokenizer),
        "image_feature": image_feature,
        "resolution": resolution,
        "queries": queries,
        "training": training,
        "split_seed": split_seed,
        "pictures": all(folder.is_dir() for folder in folders.values()),
    }

    def make() -> Corpus:
        categories, images = read_images(root)
        labelled = [image for image in images if image.categories]
        # Paper: GCH uses 117,218 "data points" and does not say which; here the images with an object (and a
        # caption, which all of COCO have).
        kept = [image for image in labelled if image.captions]
        present = frozenset[int]().union(*(image.categories for image in kept))
        columns = [category for category in categories if category in present]
        names = [str(image.image_id) for image in kept]
        splits = retrieval_split(len(kept), queries, training, split_seed, names, source=str(root))
        pictures = [folders[image.part] / image.file_name for image in kept]
        if resolution is not None:
            for picture in pictures:
                require_file(picture, f"unpack {picture.parent.name}.zip of {PAGE}")
        shown = resolution is not None or all(picture.is_file() for picture in pictures)

        def features() -> Float[np.ndarray, "n d"]:
            if resolution is not None:
                return images_from(pictures, image_feature, resolution, cache_dir=cache_dir)
            return read_features(needed[-1], kept)

        return assemble(
            [" ".join(image.captions) for image in kept],
            features,
            np.array([[category in image.categories for category in columns] for image in kept], bool),
            [categories[category] for category in columns],
            splits,
            words=words,
            tokenizer=tokenizer,
            provenance={
                "source": str(root),
                "licence": _LICENCE,
                "options": options,
                "images": {
                    "listed": len(images),
                    "with_an_object": len(labelled),
                    "with_an_object_and_a_caption": len(kept),
                },
                "split": describe_split(splits, split_seed, "image id"),
            },
            pictures=[str(picture) for picture in pictures] if shown else None,
        )

    return cached(corpus_path(cache_dir, "coco", options, fingerprint(needed)), make)
