"""One file a data set: `load(root, options) -> Corpus`. A new one is its file and its line here."""

import functools

from gcnxmodal.data import coco, emoji, folder, hashing_mat, mirflickr, nus_wide, pascal_voc, wikipedia

LOADERS = {
    "emoji": emoji.load,
    "emoji-multi-label": functools.partial(emoji.load, multi_label=True),
    "wikipedia": wikipedia.load,
    "nus-wide": nus_wide.load,
    "nus-wide-21": functools.partial(
        nus_wide.load,
        classes=21,
        selection="all",
        tag_list="1k",
        split="retrieval",
        training_pairs=10_500,
        test_pairs=2_100,
    ),
    "mirflickr": mirflickr.load,
    "mirflickr-mat": functools.partial(hashing_mat.load, queries=2_000, training=10_000),
    "nus-wide-21-mat": functools.partial(hashing_mat.load, queries=2_100, training=10_500),
    "coco": coco.load,
    "pascal-voc": pascal_voc.load,
    "folder": folder.load,
}
