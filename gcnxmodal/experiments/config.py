"""What an experiment is: every value that decides a run, and nothing else."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

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
    wikipedia also cnn, sift or an .npz file; for nus-wide and nus-wide-21 also bow (500-d); for mirflickr,
    coco, pascal-voc and folder also `features` (their features.npz), for mirflickr-mat and nus-wide-21-mat
    `features` (XAll)."""
    resolution: int | None = None
    """Side of the pictures in pixels, for efficientnet-lite0 and pixels; by default the loader's (for pixels,
    64)."""
    image_scale: Literal["raw", "unit", "standard"] = "unit"
    """Of features (pixels stay). raw: as they are; unit: divided by one number so that training features have
    unit variance; standard: each feature has mean 0 and variance 1 on the training items."""
    validation: float = 0.0
    """Fraction of the training items held out and used in place of the test set, to choose options."""


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


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Both paths, and what joins them: GIN, or with co-attention SCANet."""

    text: Literal["gcn", "lstm", "cnn"] = "gcn"
    """The text path: gcn, graph convolutions; lstm; cnn, Kim's of windows of 3, 4 and 5 words."""
    filters: tuple[int, ...] = (1, 1)
    """Filters of each graph convolution (text path gcn)."""
    order: int = 3
    """K: Chebyshev orders (text path gcn)."""
    hidden: int = 256
    """Size of the state of the text path lstm."""
    dimension: int = 1024
    """D: size of both embeddings."""
    dropout: float = 0.2
    """Probability that an entry of the product of the embeddings is dropped."""
    attention_layers: int = 0
    """A: layers of co-attention (SCANet); with 0 it is GIN."""
    attention_scale: Literal["none", "half-d"] = "none"
    """What an attention distribution is multiplied by: none, nothing (SCANet's equations); half-d, D/2
    (surviving code)."""
    attention_relu: bool = True
    """A ReLU before the softmax of attention (SCANet's equations; surviving code has none)."""
    score_activation: Literal["none", "relu", "sigmoid"] = "none"
    """On the score, in the loss: SCANet's text has a sigmoid, its code all three. It changes no ranking."""
    normalise: bool = False
    """Embeddings without their negative entries, at unit length: the score is a weighted cosine (ours)."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Of the products of the dense layers. tf32: as GPUs do by default; bfloat16: operands rounded, float32
    sums (convolutions: the platform's default). Weights, scores and losses are float32 in all of them."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Pairs, loss and optimizer."""

    pairing: Literal["balanced", "uniform", "grid"] = "balanced"
    """balanced: class-balanced pairs (surviving code); uniform: random pairs (paper); grid: every text of a
    batch with every image of it (ours)."""
    positives: int = 40_000
    """Matching pairs an epoch (not for grid)."""
    negatives: int = 40_000
    """Non-matching pairs an epoch (not for grid)."""
    resample: bool = False
    """Draw the pairs afresh each epoch instead of once."""
    batch: int = 200
    """Pairs a step (not for grid)."""
    grid_texts: int = 100
    """Texts a step, for grid."""
    grid_images: int = 100
    """Images a step, for grid."""
    augment: bool = False
    """Mirror and move pictures at random in training; for pixels."""
    learning_rate: float = 1e-3
    """Adam's."""
    decay: float = 1.0
    """The learning rate is multiplied by this after each epoch (0.95 in surviving code)."""
    first_moment: Literal["float32", "bfloat16"] = "float32"
    """Of Adam's mean of gradients: bfloat16 saves one of the 7 floats a parameter that an update moves."""
    margin: float = 0.6
    """m of the loss."""
    balance: float = 0.35
    """lambda of the loss."""
    l2: float = 0.005
    """Weight of 1/2 ||.||^2 over heads, co-attention and score; the paths themselves have none."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run."""

    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    epochs: int = 50
    """Passes over the pairs (or, for grid, over the texts)."""
    seed: int = 0
    """Decides initial weights, pairs, batches and dropout."""
    evaluate_every: int = 1
    """Epochs between two measurements of MAP on the way; 0 for none."""
    checkpoint_every: int = 1
    """Epochs between two checkpoints."""


def validate(experiment: Experiment) -> None:
    """Refuse values outside their range.

    Raises:
        InputError: naming the option as the command line spells it, its value, and what it may be.
    """
    data, text, model, train = experiment.data, experiment.text, experiment.model, experiment.train
    rules = {
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
        "text.words": (text.words, text.words >= 2, "at least 2"),
        "text.length": (text.length, text.length >= 1, "at least 1"),
        "text.neighbours": (text.neighbours, text.neighbours >= 1, "at least 1"),
        "text.vector-seed": (text.vector_seed, 0 <= text.vector_seed < 2**32, "from 0 to 2^32 - 1"),
        "text.vector-file": (
            text.vector_file,
            (text.vectors == "file") == (text.vector_file is not None),
            "a word2vec or GloVe file with --text.vectors file, and left out otherwise",
        ),
        "model.filters": (
            model.filters,
            model.filters and min(model.filters) >= 1,
            "one or more numbers >= 1",
        ),
        "model.order": (model.order, model.order >= 1, "at least 1"),
        "model.hidden": (model.hidden, model.hidden >= 1, "at least 1"),
        "model.attention-layers": (model.attention_layers, model.attention_layers >= 0, "at least 0"),
        "model.dimension": (model.dimension, model.dimension >= 1, "at least 1"),
        "model.dropout": (model.dropout, 0 <= model.dropout < 1, "from 0 up to, but not, 1"),
        "train.positives": (train.positives, train.positives >= 1, "at least 1"),
        "train.negatives": (train.negatives, train.negatives >= 1, "at least 1"),
        "train.batch": (train.batch, train.batch >= 1, "at least 1"),
        "train.grid-texts": (train.grid_texts, train.grid_texts >= 1, "at least 1"),
        "train.grid-images": (train.grid_images, train.grid_images >= 1, "at least 1"),
        "train.learning-rate": (train.learning_rate, 0 < train.learning_rate < math.inf, "above 0"),
        "train.augment": (
            train.augment,
            not train.augment or data.image_feature == "pixels",
            "left out unless --data.image-feature is pixels",
        ),
        "train.decay": (train.decay, 0 < train.decay <= 1, "above 0 and at most 1"),
        "train.margin": (train.margin, 0 <= train.margin < math.inf, "at least 0"),
        "train.balance": (train.balance, 0 <= train.balance < math.inf, "at least 0"),
        "train.l2": (train.l2, 0 <= train.l2 < math.inf, "at least 0"),
    }
    for option, (value, good, allowed) in rules.items():
        if not good:
            raise InputError(f"--{option} is {value}; it must be {allowed}")
