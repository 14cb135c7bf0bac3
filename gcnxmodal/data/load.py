"""The corpus an experiment asks for."""

import dataclasses
import inspect
from typing import Any

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.corpus import Corpus
from gcnxmodal.data import LOADERS
from gcnxmodal.data.cache import cache_dir
from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer

VALIDATION_SEED = 0  # the held-out part of the training set is the same for every seed of an experiment

OPTIONS = ("classes", "labels", "selection", "tags", "tag_list", "split", "split_seed")
"""Fields of DataConfig that are arguments of some loaders, under the same name."""


def load_corpus(data: DataConfig, text: TextConfig) -> Corpus:
    """Read the data set; with `data.validation`, a held-out part of its training items is the test split.

    Raises:
        InputError: for an option that the data set has not, before anything is read; for every fault of the
            data, naming file, field and fix.
    """
    options = loader_options(data)
    corpus = LOADERS[data.name](
        data.root,
        words=text.words,
        tokenizer=Tokenizer(stop_words=text.stop_words, lemmatise=text.lemmatise, segmenter=text.segmenter),
        image_feature=data.image_feature,
        resolution=data.resolution,
        cache_dir=cache_dir(),
        **options,
    )
    if not data.validation:
        return corpus
    source = f"{corpus.provenance['source']} (validation: {data.validation:.0%} of the training items)"
    corpus = corpus.validation(data.validation, VALIDATION_SEED)
    return dataclasses.replace(corpus, provenance={**corpus.provenance, "source": source})


def loader_options(data: DataConfig) -> dict[str, Any]:
    """The `OPTIONS` that are given, as arguments of the loader.

    Raises:
        InputError: if its loader has no such option, or is one whose name stands for a value of it.
    """
    load: Any = LOADERS[data.name]
    fixed = getattr(load, "keywords", {})
    known = [name for name in OPTIONS if name in inspect.signature(load).parameters and name not in fixed]
    given = {name: value for name in OPTIONS if (value := getattr(data, name)) is not None}
    for name, value in given.items():
        if name in known:
            continue
        has = ", ".join(f"--data.{other.replace('_', '-')}" for other in known) or "none of this kind"
        option = f"--data.{name.replace('_', '-')}"
        why = f"stands for {fixed[name]}" if name in fixed else "has no such option"
        raise InputError(
            f"{option} is {value}, but --data.name {data.name} {why} (it has {has}); leave it out, or where "
            f"the preset gives it write {option} None"
        )
    return given
