"""One file a data set: `load(root, options) -> Corpus`. A new one is its file and its line here."""

from gcnxmodal.data import emoji, folder, wikipedia

LOADERS = {"emoji": emoji.load, "wikipedia": wikipedia.load, "folder": folder.load}
