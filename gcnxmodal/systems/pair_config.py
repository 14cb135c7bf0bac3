"""The values of GIN and SCANet: both paths, what joins them, and training on pairs."""

import dataclasses
import math
from typing import ClassVar, Literal

from gcnxmodal.config import Experiment, Rules


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
class PairExperiment(Experiment):
    """One run of GIN or SCANet."""

    kind: ClassVar[str] = "pairs"
    # A program has the co-attention layers of the deepest member, and a member uses its own first ones.
    arguments: ClassVar[tuple[str, ...]] = (
        "train.margin",
        "train.balance",
        "train.l2",
        "train.learning_rate",
        "train.decay",
        "model.attention_layers",
    )

    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    def rules(self) -> Rules:
        model, train, data = self.model, self.train, self.data
        return {
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
