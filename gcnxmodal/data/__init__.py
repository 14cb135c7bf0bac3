"""One file a data set: `load(root, options) -> Corpus`. A new one is its file and its line here."""

import functools

from gcnxmodal.data import emoji, folder, nus_wide, pascal_voc, wikipedia

LOADERS = {
    "emoji": emoji.load,
    "emoji-multi-label": functools.partial(emoji.load, multi_label=True),
    "wikipedia": wikipedia.load,
    "nus-wide": nus_wide.load,
    "pascal-voc": pascal_voc.load,
    "folder": folder.load,
}
