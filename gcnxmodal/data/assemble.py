"""From what a loader has read to a Corpus."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer
from gcnxmodal.text.vocabulary import Vocabulary


def assemble(
    texts: Sequence[str],
    images: Float[np.ndarray, "n d"] | Callable[[], Float[np.ndarray, "n d"]],
    labels: Bool[np.ndarray, "n C"],
    class_names: Sequence[str],
    splits: dict[str, Int[np.ndarray, " rows"]],
    *,
    words: int,
    tokenizer: Tokenizer,
    provenance: dict[str, Any],
    pictures: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Corpus:
    """A validated corpus whose vocabulary is the `words` most common words of the training texts.

    Args:
        images: float32 [n, d] features, or a function that computes them, called once all else is found good.
        provenance: JSON values; `source` opens every error message. A `hash` is added: of the `items` (texts,
            labels, splits) and of the `images` (bit for bit, so it may differ between machines that computed
            the features themselves).
        groups: n names; items of one name must lie on one side of the split.

    Raises:
        InputError: if the training texts hold no word, or Corpus refuses the result.
    """
    try:
        # The only place where a vocabulary is fitted for a corpus: nothing but training texts goes in.
        vocabulary = Vocabulary.fit([texts[int(row)] for row in splits["train"]], words, tokenizer)
    except InputError as error:
        raise InputError(f"{provenance['source']}: {error}") from error
    described = Corpus(
        images=np.empty((len(texts), 0), np.float32),
        counts=vocabulary.counts(texts),
        labels=labels,
        class_names=tuple(class_names),
        splits=splits,
        vocabulary=vocabulary,
        provenance=provenance,
        texts=tuple(texts),
        pictures=None if pictures is None else tuple(pictures),
        groups=None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1],
    )
    features = images() if callable(images) else images
    hashes = {"items": _hash_items(described), "images": _hash_images(features)}
    return dataclasses.replace(described, images=features, provenance={**provenance, "hash": hashes})


def _hash_images(features: np.ndarray) -> str:
    # Not `tobytes`, which copies: pixels may be many gigabytes.
    return hashlib.sha256(np.ascontiguousarray(features).reshape(-1).view(np.uint8).data).hexdigest()


def _hash_items(corpus: Corpus) -> str:
    splits = {name: rows.tolist() for name, rows in corpus.splits.items()}
    described = json.dumps([corpus.texts, corpus.class_names, splits], sort_keys=True)
    return hashlib.sha256(described.encode() + corpus.labels.tobytes()).hexdigest()
