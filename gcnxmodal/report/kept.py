"""Results that come with the package, to stand beside a run on the very same items: `kept.json`.

`python -m benchmarks.kept` writes it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.loader import hash_items

PATH = Path(__file__).with_name("kept.json")


def identity(corpus: Corpus) -> dict[str, Any]:
    """By what two corpora are known as the same: texts, labels and split, and what the images are."""
    corpus = corpus.without_validation()
    options = corpus.provenance.get("options", {})
    return {
        "items": hash_items(corpus),
        **{name: options.get(name) for name in ("image_feature", "resolution")},
    }


def kept_beside(corpus: Corpus, kind: str) -> dict[str, Any]:
    """The kept results of other systems on this corpus, by kind; none for any other corpus."""
    known, ours = json.loads(PATH.read_text("utf-8")), identity(corpus)
    return {name: of for name, of in known.items() if name != kind and of["data"] == ours}


def label(kept: Mapping[str, Any]) -> str:
    """The name of its row.

    >>> label({"system": "GIN", "commit": "0123456789ab"})
    'GIN (kept at 0123456789ab)'
    """
    return f"{kept['system']} (kept at {kept['commit']})"


def in_words(kept: Mapping[str, Any]) -> str:
    """
    >>> about = {"preset": "gin-emoji", "seeds": 3, "epochs": 10, "device": "1 x cpu", "date": "2026-12-01"}
    >>> in_words({"system": "GIN", "commit": "0123456789ab", **about})  # doctest: +NORMALIZE_WHITESPACE
    'GIN (kept at 0123456789ab) is not of this run: the mean of 3 seeds of gin-emoji, 10 epochs each, on the
    same items and split; 1 x cpu, 2026-12-01'
    """
    return (
        f"{label(kept)} is not of this run: the mean of {kept['seeds']} seeds of {kept['preset']}, "
        f"{kept['epochs']} epochs each, on the same items and split; {kept['device']}, {kept['date']}"
    )
