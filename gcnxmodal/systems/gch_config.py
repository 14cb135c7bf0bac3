"""The values of GCH: its four networks, their losses, and how they are trained in turn."""

import dataclasses
import math
from pathlib import Path
from typing import ClassVar, Literal

from gcnxmodal.config import Experiment, Rules, counts_only
from gcnxmodal.nn.cnnf import RESOLUTION

MOST_BITS = 1024


@dataclasses.dataclass(frozen=True)
class HashingModel:
    """Teacher, students and beacon."""

    bits: int = 64
    """K: length of a code."""
    width: int = 512
    """Of the hidden layers, and of the feature that is fused."""
    batch_norm: bool = True
    """Batch normalisation in the students (the code; running statistics at test)."""
    fusion: Literal["frobenius", "largest", "softmax"] = "frobenius"
    """What the weights of the fusion are divided by: their norm (the paper's words), their largest entry (the
    code), or each row a softmax (attention)."""
    beacon: Literal["graph", "dense"] = "graph"
    """graph: convolutions over the items of a batch that share labels; dense: the ablation GCH-A."""
    beacon_width: int = 1024
    """Of the first graph convolution (the code: 512)."""
    beacon_activation: Literal["tanh", "sigmoid"] = "tanh"
    """Of the beacon's codes. The paper says sigmoid there and tanh for all codes."""
    image_weights: Path | None = None
    """For pixels: weights that CNN-F starts from, imagenet-vgg-f.mat or .safetensors; by default random."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Of the products of the dense layers. Weights, codes and losses are float32 in all of them."""


@dataclasses.dataclass(frozen=True)
class HashingTrain:
    """Losses and optimizers of the four updates."""

    objective: Literal["paper", "official"] = "paper"
    """paper: the likelihood of its equations; official: the public code's squared form, students on the
    teacher's signs."""
    batch: int = 128
    """Items a step."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """The paper says SGD, its code has Adam. Losses are divided by the square of the batch, which rates of
    sgd must make up for."""
    teacher_rate: float = 1e-2
    """Learning rate of the semantic encoder."""
    text_rate: float = 1e-2
    """Learning rate of the text student."""
    image_rate: float = 1e-4
    """Learning rate of the image student (made for CNN-F)."""
    beacon_rate: float = 1e-3
    """Learning rate of the graph convolutions."""
    decay: float = 0.5
    """All rates are multiplied by this after each epoch."""
    alpha: float = 1.0
    """Weight of the similarity terms."""
    beta: float = 1.0
    """Weight of the distance to the beacon, and of the label error of teacher and beacon."""
    gamma: float = 1.0
    """Weight of the students' label error."""


@dataclasses.dataclass(frozen=True)
class HashingExperiment(Experiment):
    """One run of GCH."""

    kind: ClassVar[str] = "hashing"
    arguments: ClassVar[tuple[str, ...]] = tuple(
        f"train.{name}"
        for name in (
            *("teacher_rate", "text_rate", "image_rate", "beacon_rate"),
            *("decay", "alpha", "beta", "gamma"),
        )
    )

    model: HashingModel = HashingModel()
    train: HashingTrain = HashingTrain()

    def rules(self) -> Rules:
        model, train = self.model, self.train
        rules: Rules = {
            **counts_only(self.text, "GCH"),
            "model.bits": (model.bits, 1 <= model.bits <= MOST_BITS, f"from 1 to {MOST_BITS:,}"),
            "model.width": (model.width, model.width >= 1, "at least 1"),
            "model.beacon-width": (model.beacon_width, model.beacon_width >= 1, "at least 1"),
            "model.image-weights": (
                model.image_weights,
                model.image_weights is None or self.data.image_feature == "pixels",
                "left out unless --data.image-feature is pixels",
            ),
            "data.resolution": (
                self.data.resolution,
                self.data.image_feature != "pixels" or self.data.resolution == RESOLUTION,
                f"{RESOLUTION} for pixels, which CNN-F reads",
            ),
            "train.batch": (train.batch, train.batch >= 2, "at least 2"),
            "train.decay": (train.decay, 0 < train.decay <= 1, "above 0 and at most 1"),
        }
        for name in ("teacher", "text", "image", "beacon"):
            rate = getattr(train, f"{name}_rate")
            rules[f"train.{name}-rate"] = (rate, 0 < rate < math.inf, "above 0")
        for name in ("alpha", "beta", "gamma"):
            weight = getattr(train, name)
            rules[f"train.{name}"] = (weight, 0 <= weight < math.inf, "at least 0")
        return rules
