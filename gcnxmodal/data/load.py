"""Data sets by name: `load_dataset` for users, `load_corpus` for the configuration of an experiment."""

import dataclasses
import functools
import inspect
import os
import typing
from pathlib import Path
from typing import Any

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.corpus import Corpus
from gcnxmodal.data import coco, emoji, folder, hashing_mat, mirflickr, nus_wide, pascal_voc, wikipedia
from gcnxmodal.data.cache import cache_dir
from gcnxmodal.data.loader import Shared
from gcnxmodal.errors import InputError
from gcnxmodal.holdout import VALIDATION_SEED
from gcnxmodal.text.vocabulary import Tokenizer

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
"""`load(root, *, image_feature, resolution, **options) -> Corpus` of each data set."""

OPTIONS = (
    *("classes", "labels", "selection", "tags", "tag_list", "split", "split_seed"),
    *("text_field", "picture_field", "label_field", "split_field", "encoding"),
)
"""Fields of DataConfig that are arguments of some loaders, under the same name."""


def load_dataset(name: str | Path, **options: Any) -> Corpus:
    """Read a data set: its images, texts, labels and splits, and the vocabulary of its training texts.

    What was made once is read from the cache. The first `load_dataset("emoji")` takes a minute, in which its
    pictures are encoded; it needs no file and no network.

    Args:
        name: one of `LOADERS`, such as "emoji"; or the path of a folder with metadata.csv, .jsonl or
            .parquet, and pictures or features.npz (docs/your-own-data.md).
        options: any field of `DataConfig`, most of all `root`, the folder of a data set that has to be
            fetched, and `image_feature`; any field of `TextConfig`, such as `words`; and any other argument
            of the loader, such as `training_pairs` of "nus-wide". Those that decide how a system reads a
            corpus, and not what is in it (`image_scale`, `weighting`, `vectors`), change nothing here.

    Raises:
        InputError: if there is no such data set, folder or option; for every fault of the data, naming file,
            field and fix.

    >>> from gcnxmodal import load_dataset
    >>> corpus = load_dataset("emoji", image_feature="pixels", resolution=32, words=1_000)
    >>> corpus.images.shape[1:], len(corpus.vocabulary), sorted(corpus.splits)
    ((32, 32, 3), 1000, ['test', 'train'])
    >>> corpus.texts[0], corpus.class_names[-1]
    ('grinning face: face, smile, happy, joy, :d, grin', 'Travel & Places')
    """
    if name not in LOADERS and Path(name).is_dir():
        name, options = "folder", {**options, "root": name}
    if name not in LOADERS:
        raise InputError(
            f"load_dataset: '{name}' is neither a data set nor a folder; the data sets are "
            + ", ".join(LOADERS)
        )
    if options.get("root") is not None:
        options["root"] = Path(options["root"])
    of_data, of_text, of_loader = _fields(DataConfig) - {"name"}, _fields(TextConfig), _arguments(str(name))
    known = of_data - set(OPTIONS) | of_text | of_loader
    for option, value in options.items():
        if option not in known:
            raise InputError(
                f"load_dataset: {option} is {value!r}, but '{name}' has no such option; it has "
                + ", ".join(sorted(known))
            )
    data, text, more = (
        {option: value for option, value in options.items() if option in fields}
        for fields in (of_data, of_text, of_loader - of_data)
    )
    return load_corpus(DataConfig(name=typing.cast(Any, name), **data), TextConfig(**text), **more)


def load_corpus(data: DataConfig, text: TextConfig, **more: Any) -> Corpus:
    """Read the data set; with `data.validation`, a held-out part of its training items is the test split.

    Args:
        more: arguments of the loader that are no fields of `DataConfig`.

    Raises:
        InputError: for an option that the data set has not, before anything is read; for every fault of the
            data, naming file, field and fix.
    """
    corpus = LOADERS[data.name](
        # Absolute, so that what is kept of it holds from any folder.
        None if data.root is None else Path(os.path.abspath(data.root)),
        words=text.words,
        tokenizer=Tokenizer(stop_words=text.stop_words, lemmatise=text.lemmatise, segmenter=text.segmenter),
        image_feature=data.image_feature,
        resolution=data.resolution,
        cache_dir=cache_dir(),
        skip_broken=data.skip_broken,
        **loader_options(data),
        **more,
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
    fixed = getattr(LOADERS[data.name], "keywords", {})
    known = [name for name in OPTIONS if name in _arguments(data.name) and name not in fixed]
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


def _fields(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def _arguments(name: str) -> set[str]:
    """The arguments of a loader that are not those of every loader."""
    parameters = inspect.signature(LOADERS[name]).parameters
    return {option for option in parameters if option not in (*Shared.__annotations__, "root", "shared")}
