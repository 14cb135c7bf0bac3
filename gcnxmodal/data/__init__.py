"""One file a data set: `load(root, options) -> Corpus`. A new one is its file and its line here."""

from gcnxmodal.data import emoji, folder, nus_wide, pascal_voc, wikipedia

LOADERS = {
    "emoji": emoji.load,
    "wikipedia": wikipedia.load,
    "nus-wide": nus_wide.load,
    "pascal-voc": pascal_voc.load,
    "folder": folder.load,
}
