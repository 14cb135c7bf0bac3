"""What every experiment has: its data, what is read of the texts, and how long it trains."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

from gcnxmodal.errors import InputError


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
    root: Path | None = None
    """Folder of the data set; `emoji` and `emoji-multi-label` need none."""
    image_feature: str = "efficientnet-lite0"
    """What stands for a picture: efficientnet-lite0 (from pictures); pixels, which train a CNN-5; for
    wikipedia also cnn, sift or an .npz file; for nus-wide and nus-wide-21 also bow (500-d); for these,
    mirflickr, coco, pascal-voc and folder also `features` (their features.npz), for mirflickr-mat and
    nus-wide-21-mat `features` (XAll)."""
    resolution: int | None = None
    """Side of the pictures in pixels, for efficientnet-lite0 and pixels; by default the loader's (for pixels,
    64)."""
    image_scale: Literal["raw", "unit", "standard"] = "unit"
    """Of features (pixels stay). raw: as they are; unit: divided by one number so that training features have
    unit variance; standard: each feature has mean 0 and variance 1 on the training items."""
    validation: float = 0.0
    """Fraction of the training items held out and used in place of the test set, to choose options."""

    # Options of some loaders, each under the name of the loader's argument (`corpora.OPTIONS`); None: as the
    # loader has it.
    classes: int | None = None
    """nus-wide: how many concepts, those with the most photos."""
    labels: Literal[24, 38] | None = None
    """mirflickr: the 24 concepts, or with the 14 relevant ones as labels of their own 38."""
    selection: Literal["one-class", "one-object", "all"] | None = None
    """nus-wide, pascal-voc: the items of one class, or of all, with several labels; pascal-voc also: with one
    object."""
    tags: int | None = None
    """mirflickr: the texts are made of the so many tags that most photos have."""
    tag_list: Literal["final", "1k"] | None = None
    """nus-wide: the texts are made of the 5,018 tags or of the 1,000."""
    split: Literal["official", "drawn", "retrieval"] | None = None
    """nus-wide, mirflickr: the data set's own, items drawn of it (nus-wide), or queries and a database."""
    split_seed: int | None = None
    """Of a split that the loader draws: emoji, nus-wide, mirflickr, coco, folder and those like them."""


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """From texts to signals on a word graph."""

    words: int = 10_055
    """N: the most common words of the training texts."""
    weighting: Literal["counts", "l1", "l2", "log1p", "tfidf"] = "counts"
    """What stands at a word's vertex (text path gcn)."""
    stop_words: bool = False
    """Leave out English stop words."""
    lemmatise: bool = False
    """Reduce words to their lemmas (extra `lemmas`)."""
    segmenter: Literal["none", "jieba"] = "none"
    """jieba: cut Chinese text, which has no blanks, into words (extra `chinese`)."""
    vectors: Literal["corpus", "glove", "file"] = "corpus"
    """Word vectors: trained on the training texts, GloVe 6B 50-d (extra `glove`), or a file."""
    vector_file: Path | None = None
    """word2vec (binary or text) or GloVe text file, for `vectors=file`."""
    vector_seed: int = 0
    """Decides the trained word vectors, apart from the run's seed: runs of all seeds share one word graph."""
    length: int = 200
    """Words of a text, from its beginning, that the text paths lstm and cnn read."""
    neighbours: int = 8
    """k of the word graph."""
    graph: Literal["union", "directed", "gaussian"] = "union"
    """union: GIN Eq. 1; directed: with self loops, as the authors' code; gaussian: Defferrard's weights."""
    lambda_max: Literal["true", "two"] = "true"
    """Largest eigenvalue of the Laplacian: by Lanczos (the papers), or 2 (all surviving code)."""


Rules = dict[str, tuple[Any, Any, str]]
"""By option: its value, whether it is good, and what it may be."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run: every value that decides it, and nothing else. Each kind of system has its own `model` and
    `train`: `pair_config.py`, `hashing_config.py`, `neighbour_config.py`.

    Attributes:
        kind: the key of its system in `build.SYSTEMS`.
        arguments: fields that change numbers and no shapes, so that a program takes them as arguments:
            members of a sweep that differ in these and the seed only are one vmapped program.
    """

    kind: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]] = ()

    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: Any = None
    train: Any = None
    epochs: int = 50
    """Passes over the pairs (or, for grid, hashing and neighbours, over the items)."""
    seed: int = 0
    """Decides initial weights, pairs, batches and dropout."""
    evaluate_every: int = 1
    """Epochs between two measurements of MAP on the way; 0 for none."""
    checkpoint_every: int = 1
    """Epochs between two checkpoints."""

    def rules(self) -> Rules:
        """What its own values may be."""
        return {}


def counts_only(text: TextConfig, title: str) -> Rules:
    """Rules for a system that reads the counts of a text: nothing of word vectors, their graph or order."""
    unread = ("vectors", "vector_file", "vector_seed", "length", "neighbours", "graph", "lambda_max")
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
    data, text = experiment.data, experiment.text
    rules: Rules = {
        "epochs": (experiment.epochs, experiment.epochs >= 1, "at least 1"),
        "evaluate-every": (experiment.evaluate_every, experiment.evaluate_every >= 0, "at least 0"),
        "checkpoint-every": (experiment.checkpoint_every, experiment.checkpoint_every >= 1, "at least 1"),
        "seed": (experiment.seed, 0 <= experiment.seed < 2**32, "from 0 to 2^32 - 1"),
        "data.validation": (data.validation, 0 <= data.validation < 1, "from 0 up to, but not, 1"),
        "data.resolution": (
            data.resolution,
            data.resolution is None or data.resolution >= 32,
            "at least 32 (pixels), or left out",
        ),
        "data.split-seed": (
            data.split_seed,
            data.split_seed is None or data.split_seed >= 0,
            "at least 0, or left out",
        ),
        "text.words": (text.words, text.words >= 2, "at least 2"),
        "text.length": (text.length, text.length >= 1, "at least 1"),
        "text.neighbours": (text.neighbours, text.neighbours >= 1, "at least 1"),
        "text.vector-seed": (text.vector_seed, 0 <= text.vector_seed < 2**32, "from 0 to 2^32 - 1"),
        "text.vector-file": (
            text.vector_file,
            (text.vectors == "file") == (text.vector_file is not None),
            "a word2vec or GloVe file with --text.vectors file, and left out otherwise",
        ),
        **experiment.rules(),
    }
    for option, (value, good, allowed) in rules.items():
        if not good:
            raise InputError(f"--{option} is {value}; it must be {allowed}")


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
