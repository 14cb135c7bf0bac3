"""The configuration that every system has: data, texts, epochs and seed; ranges of values and their errors.

A constraint stands with its field, as an `Annotated` type: pydantic checks it, and `validate` says it.
"""

import dataclasses
import functools
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan, PlainSerializer, TypeAdapter, ValidationError

from gcnxmodal.errors import InputError

Count = Annotated[int, Ge(1)]
WholeNumber = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(2**32), "from 0 to 2^32 - 1"]
Rate = Annotated[float, Gt(0), AllowInfNan(False)]
Weight = Annotated[float, Ge(0), AllowInfNan(False)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]
Decay = Annotated[float, Gt(0), Le(1)]
Place = Annotated[Path, PlainSerializer(os.path.abspath)]
"""A file or folder; written absolute, so that a run can be read from any folder."""
Precision = Literal["float32", "tf32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which pairs."""

    name: Literal[
        "emoji",
        "emoji-multi-label",
        "wikipedia",
        "nus-wide",
        "nus-wide-21",
        "mirflickr",
        "mirflickr-mat",
        "nus-wide-21-mat",
        "coco",
        "pascal-voc",
        "folder",
    ] = "emoji"
    """The loader."""
    root: Place | None = None
    """Folder of the data set; `emoji` and `emoji-multi-label` need none."""
    image_feature: str = "efficientnet-lite0"
    """What stands for a picture: efficientnet-lite0 (from pictures); pixels, which train a CNN-5; for
    wikipedia also cnn, sift or an .npz file; for nus-wide and nus-wide-21 also bow (500-d); for these,
    mirflickr, coco, pascal-voc and folder also `features` (their features.npz), for mirflickr-mat and
    nus-wide-21-mat `features` (XAll)."""
    resolution: Annotated[int, Ge(32), "at least 32 (pixels)"] | None = None
    """Side of the pictures in pixels, for efficientnet-lite0 and pixels; by default the loader's (for pixels,
    64)."""
    image_scale: Literal["raw", "unit", "standard"] = "unit"
    """Of features (pixels stay). raw: as they are; unit: divided by one number so that training features have
    unit variance; standard: each feature has mean 0 and variance 1 on the training items."""
    encoding: str | None = None
    """folder: of the metadata, such as cp1252 or gb18030; by default UTF-8."""
    skip_broken: bool = False
    """Go on without the items whose pictures cannot be read; they are listed."""
    validation: Fraction = 0.0
    """Fraction of the training items held out and used in place of the test set, to choose options."""

    # Options of some loaders, each under the name of the loader's argument (`data.load.OPTIONS`); None: as
    # the loader has it.
    classes: int | None = None
    """nus-wide: how many concepts, those with the most photos."""
    labels: Literal[24, 38] | None = None
    """mirflickr: the 24 concepts, or with the 14 relevant ones as labels of their own 38."""
    selection: Literal["one-class", "one-object", "all", "captions"] | None = None
    """nus-wide, pascal-voc: the items of one class, or of all, with several labels; pascal-voc also: with one
    object; coco: captions, each an item, of train2017 and val2017, without labels."""
    tags: int | None = None
    """mirflickr: the texts are made of the so many tags that most photos have."""
    tag_list: Literal["final", "1k"] | None = None
    """nus-wide: the texts are made of the 5,018 tags or of the 1,000."""
    split: Literal["official", "drawn", "retrieval"] | None = None
    """nus-wide, mirflickr: the data set's own, items drawn of it (nus-wide), or queries and a database."""
    split_seed: WholeNumber | None = None
    """Of a split that the loader draws: emoji, nus-wide, mirflickr, coco, folder and those like them."""
    text_field: str | None = None
    """folder: the field of its metadata with the texts; by default text, or caption, title or description."""
    picture_field: str | None = None
    """folder: the field with the pictures; by default file_name, or image, file, path or filename."""
    label_field: str | None = None
    """folder: the field with the classes; by default label or labels. Without one, pairs match alone."""
    split_field: str | None = None
    """folder: the field with train and test; by default split."""


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """From texts to signals on a word graph."""

    words: Annotated[int, Ge(2)] = 10_055
    """N: the most common words of the training texts."""
    weighting: Literal["counts", "l1", "l2", "log1p", "tfidf"] = "counts"
    """What stands at a word's vertex (text encoder gcn)."""
    stop_words: bool = False
    """Leave out English stop words."""
    lemmatise: bool = False
    """Reduce words to their lemmas (extra `lemmas`)."""
    segmenter: Literal["none", "auto", "jieba", "ngrams"] = "none"
    """For languages without blanks. jieba: cut Chinese text into words (extra `chinese`); ngrams: take every
    two and three neighbouring letters as words; auto: what the training texts need, if anything."""
    vectors: Literal["corpus", "glove", "file"] = "corpus"
    """Word vectors: trained on the training texts, GloVe 6B 50-d (extra `glove`), or a file."""
    vector_file: Place | None = None
    """word2vec (binary or text) or GloVe text file, for `vectors=file`."""
    mapped_words: WholeNumber = 0
    """How many words outside the vocabulary a query may have, each read as the nearest four words of it by
    the word vectors: the first of the vector file, or with `vectors=corpus` those that the vocabulary leaves
    out of the training texts. 0: a query loses its unknown words."""
    vector_seed: Seed = 0
    """Decides the trained word vectors, apart from the run's seed: runs of all seeds share one word graph."""
    length: Count = 200
    """Words of a text, from its beginning, that the text encoders lstm and cnn read."""
    neighbours: Count = 8
    """k of the word graph."""
    graph: Literal["union", "directed", "gaussian"] = "union"
    """union: GIN Eq. 1; directed: with self loops, as the authors' code; gaussian: Defferrard's weights."""
    lambda_max: Literal["true", "two"] = "true"
    """Largest eigenvalue of the Laplacian: by Lanczos (the papers), or 2 (all surviving code)."""


Rule = tuple[Any, bool, str]
"""A value, whether it is good, and what it may be."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run: every value that decides it, and nothing else. Each system has its own `model` and `train`.

    Attributes:
        kind: the name of its system in `systems.SYSTEMS`, such as "gin".
        arguments: fields that change numbers and no shapes, so that a program takes them as arguments:
            members of a sweep that differ in these and the seed only are one vmapped program.
    """

    kind: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]] = ()

    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: Any = None
    train: Any = None
    epochs: Count = 50
    """Passes over the pairs (or, for grid pairs, GCH and SSPE, over the items)."""
    seed: Seed = 0
    """Decides initial weights, pairs, batches and dropout."""
    evaluate_every: WholeNumber = 1
    """Epochs between two measurements of MAP on the way; 0 for none."""
    checkpoint_every: Count = 1
    """Epochs between two checkpoints."""
    stop: Literal["last", "best"] = "last"
    """Which epoch's model is measured and kept. best: of the one that is best on training items held out for
    it; the test items are then measured at the end only."""
    stop_measure: Literal["auto", "standard", "recall@10"] = "auto"
    """What --stop best goes by: MAP under `standard`, or recall@10 of own pairs; auto: MAP, where there are
    labels."""
    stop_fraction: Share = 0.1
    """Fraction of the training items that --stop best holds out."""
    patience: WholeNumber = 0
    """With --stop best, end training after so many measured epochs without a better one; 0: never early."""

    def relations(self) -> Mapping[str, Rule]:
        """What its values may be beside others, by option."""
        return {}


def counts_only(text: TextConfig, title: str) -> dict[str, Rule]:
    """Rules for a system that reads the counts of a text: nothing of word vectors, their graph or order."""
    unread = ("vectors", "vector_file", "mapped_words", "vector_seed", "length", "neighbours", "graph")
    unread += ("lambda_max",)
    allowed = f"left out: {title} reads counts of words, and no graph, vectors or order of them"
    given = {name: getattr(text, name) for name in unread}
    return {
        f"text.{name.replace('_', '-')}": (value, value == getattr(TextConfig, name), allowed)
        for name, value in given.items()
    }


def validate(experiment: Experiment) -> None:
    """Refuse values outside their range.

    Raises:
        InputError: naming the option as the command line spells it, its value, and what it may be.
    """
    try:
        adapter(type(experiment)).validate_python(dataclasses.asdict(experiment))
    except ValidationError as error:
        raise InputError(out_of_range(type(experiment), error)) from error
    text = experiment.text
    vector_file: Rule = (
        text.vector_file,
        (text.vectors == "file") == (text.vector_file is not None),
        "a word2vec or GloVe file with --text.vectors file, and left out otherwise",
    )
    rules = {"text.vector-file": vector_file, **_stop_rules(experiment), **experiment.relations()}
    for option, (value, good, allowed) in rules.items():
        if not good:
            raise InputError(f"--{option} is {value}; it must be {allowed}")


def _stop_rules(experiment: Experiment) -> dict[str, Rule]:
    every = experiment.evaluate_every
    if experiment.stop == "best":
        allowed = f"from 1 to the epochs ({experiment.epochs}) with --stop best, which needs measurements"
        return {"evaluate-every": (every, 0 < every <= experiment.epochs, allowed)}
    given = {name: getattr(experiment, name) for name in ("stop_measure", "stop_fraction", "patience")}
    return {
        name.replace("_", "-"): (value, value == getattr(Experiment, name), "left out without --stop best")
        for name, value in given.items()
    }


def out_of_range(kind: type[Experiment], error: ValidationError) -> str:
    """The first fault that pydantic found, as a sentence that names the option, its value and its range."""
    first = error.errors()[0]
    names: list[str] = []
    owner, hint, value = kind, None, first["input"]
    for name in first["loc"]:
        if not dataclasses.is_dataclass(owner) or name not in (hints := _hints(owner)):
            break  # inside a value, such as one number of several
        names.append(str(name))
        hint = hints[str(name)]
        owner = hint
    option = ".".join(names).replace("_", "-")
    allowed = _allowed(hint)
    return f"--{option} is {value}; it must be {allowed or first['msg']}"


def _hints(owner: Any) -> dict[str, Any]:
    return typing.get_type_hints(owner, include_extras=True)


def _allowed(hint: Any) -> str:
    """What the annotations of a type allow, in words; "" where they say nothing.

    >>> _allowed(Fraction), _allowed(Decay), _allowed(Count | None)
    ('from 0 up to, but not, 1', 'above 0 and at most 1', 'at least 1, or left out')
    """
    parts = typing.get_args(hint)
    if type(None) in parts:
        inner = " or ".join(filter(None, map(_allowed, parts)))
        return f"{inner}, or left out" if inner else ""
    metadata = getattr(hint, "__metadata__", ())
    if words := [part for part in metadata if isinstance(part, str)]:
        return words[0]
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, parts))}"
    low = next((part for part in metadata if isinstance(part, (Ge, Gt))), None)
    high = next((part for part in metadata if isinstance(part, (Le, Lt))), None)
    if isinstance(low, Ge) and isinstance(high, Lt):
        return f"from {low.ge} up to, but not, {high.lt}"
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"from {low.ge:,} to {high.le:,}"
    bounds = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}
    return " and ".join(
        f"{bounds[type(part)]} {dataclasses.astuple(part)[0]:,}" for part in (low, high) if part is not None
    )


@functools.cache
def adapter(kind: type[Experiment]) -> TypeAdapter[Any]:
    """Reads an experiment from JSON values, and writes it as such."""
    return TypeAdapter(kind)


def experiment_dict(experiment: Experiment) -> dict[str, Any]:
    """Every value of an experiment, as JSON has it."""
    return adapter(type(experiment)).dump_python(experiment, mode="json")


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of dicts as one dict with dotted names.

    >>> flat({"train": {"margin": 0.6}, "seed": 0})
    {'train.margin': 0.6, 'seed': 0}
    """
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


def changed_values(experiment: Experiment) -> dict[str, Any]:
    """The values of an experiment that are not the defaults of its kind, by dotted name."""
    defaults = flat(experiment_dict(type(experiment)()))
    values = flat(experiment_dict(experiment))
    return {name: value for name, value in values.items() if value != defaults[name]}


def field_named(experiment: Experiment, name: str) -> str:
    """The dotted name of a field that is given by it, or by the end of it if that is one field's only.

    Raises:
        InputError: if there is no such field, or several.
    """
    names = list(flat(experiment_dict(experiment)))
    name = name.replace("-", "_")
    found = [known for known in names if known == name or known.endswith(f".{name}")]
    if name in found:
        return name
    if len(found) == 1:
        return found[0]
    which = f"it may be {' or '.join(found)}" if found else f"there are {', '.join(names)}"
    raise InputError(f"'{name}' is not one field of {type(experiment).__name__}; {which}")


def changed(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with some of its values, named as `field_named` takes them, replaced.

    Raises:
        InputError: if there is no such field, or a value is not one that it can have.
    """
    tree = dataclasses.asdict(experiment)
    for name, value in values.items():
        *path, leaf = field_named(experiment, name).split(".")
        branch = tree
        for part in path:
            branch = branch[part]
        branch[leaf] = value
    try:
        return adapter(type(experiment)).validate_python(tree)
    except ValidationError as error:
        raise InputError(out_of_range(type(experiment), error)) from error
