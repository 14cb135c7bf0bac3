"""The values of SSPE: its branches, its graphs, and how neighbours on them are drawn and trained on."""

import dataclasses
import math
from typing import ClassVar, Literal

from gcnxmodal.config import Experiment, Rules, counts_only


@dataclasses.dataclass(frozen=True)
class NeighbourModel:
    """Both branches and the label predictor."""

    hidden: int = 64
    """Width of a branch's first layer (4.4)."""
    dimension: int = 32
    """D: of the embeddings (4.4)."""
    output: Literal["tanh", "none"] = "tanh"
    """Activation of the embeddings."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Of the products of the layers. Weights, embeddings and losses are float32 in all of them."""


@dataclasses.dataclass(frozen=True)
class NeighbourTrain:
    """Graphs, draws, losses and SGD; Section 4.4 where nothing else is said."""

    batch: int = 5
    """Images of a batch, and texts."""
    alpha1: float = 0.1
    """Weight of the label reconstruction."""
    alpha2: float = 0.1
    """Weight of the feature graphs."""
    similarity: Literal["cosine", "squared-exponential"] = "cosine"
    """Weight of an edge of the semantic graph, by the label vectors of its ends."""
    sigma: float = 1.0
    """Of squared-exponential, exp(-||z_i - z_j||^2 / sigma)."""
    other: int = 6
    """Neighbours an item on the semantic graph, of the other modality."""
    same: int = 2
    """Neighbours an item on the semantic graph, of its own modality."""
    near: int = 8
    """Neighbours an item on its feature graph."""
    feature_neighbours: int = 8
    """k of the feature graphs."""
    knn: Literal["exact", "faiss"] = "exact"
    """How these are found: all pairs of items on the device, or nearly, for a million (extra `faiss`)."""
    learning_rate: float = 0.01
    """Of SGD, at the start."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 0.001
    """Of all weights and biases."""
    decay_form: Literal["l2", "decoupled"] = "l2"
    """Where weight decay stands: in the gradient, or beside the momentum."""
    decay: float = 0.95
    """The rate is multiplied by this every `decay_steps` batches."""
    decay_steps: int = 2_000
    """See `decay`."""
    reduction: Literal["mean", "sum"] = "mean"
    """Of the losses of the items of a batch."""


@dataclasses.dataclass(frozen=True)
class NeighbourExperiment(Experiment):
    """One run of SSPE. An epoch draws neighbours for each item once: 5 in the paper (4.4)."""

    kind: ClassVar[str] = "neighbours"
    arguments: ClassVar[tuple[str, ...]] = tuple(
        f"train.{name}"
        for name in ("alpha1", "alpha2", "sigma", "learning_rate", "momentum", "weight_decay", "decay")
    )

    model: NeighbourModel = NeighbourModel()
    train: NeighbourTrain = NeighbourTrain()
    epochs: int = 5

    def rules(self) -> Rules:
        model, train = self.model, self.train
        rules: Rules = {
            **counts_only(self.text, "SSPE"),
            "model.hidden": (model.hidden, model.hidden >= 1, "at least 1"),
            "model.dimension": (model.dimension, model.dimension >= 1, "at least 1"),
            "data.image-feature": (
                self.data.image_feature,
                self.data.image_feature != "pixels",
                "features: SSPE has no network for pixels",
            ),
            "train.momentum": (train.momentum, 0 <= train.momentum < 1, "from 0 up to, but not, 1"),
            "train.decay": (train.decay, 0 < train.decay <= 1, "above 0 and at most 1"),
        }
        for name in ("batch", "feature_neighbours", "near", "decay_steps"):
            value = getattr(train, name)
            rules[f"train.{name.replace('_', '-')}"] = (value, value >= 1, "at least 1")
        for name in ("other", "same"):
            value = getattr(train, name)
            rules[f"train.{name}"] = (value, value >= 0, "at least 0")
        for name in ("sigma", "learning_rate"):
            value = getattr(train, name)
            rules[f"train.{name.replace('_', '-')}"] = (value, 0 < value < math.inf, "above 0")
        for name in ("alpha1", "alpha2", "weight_decay"):
            value = getattr(train, name)
            rules[f"train.{name.replace('_', '-')}"] = (value, 0 <= value < math.inf, "at least 0")
        return rules
