"""Shapes that tests and benchmarks share: data sets of GIN's Table 1 and emoji, layers and steps on them."""

from __future__ import annotations

import dataclasses
from typing import Any

from flax import nnx

from gcnxmodal.graph.layout import SparseLayout
from gcnxmodal.nn.encoders import GraphText
from gcnxmodal.nn.layers import Features, Precision
from gcnxmodal.systems.gin import GIN


@dataclasses.dataclass(frozen=True)
class DatasetShape:
    """A data set, as GIN Table 1 has it: N words, d image features, D dimensions of the common space."""

    words: int
    image_size: int
    dimension: int


DATASETS = {
    "eng-wiki": DatasetShape(10_055, 4_096, 1_024),
    "nus-wide": DatasetShape(5_018, 500, 500),
    "pascal": DatasetShape(598, 512, 256),
    "tvgraz": DatasetShape(8_172, 4_096, 1_024),
    "ch-wiki": DatasetShape(9_613, 4_096, 1_024),
    "emoji": DatasetShape(2_000, 1_280, 256),
}

ORDERS = 3
NEIGHBOURS = 8


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """One graph convolution: F_in -> F_out filters on a batch of documents.

    `first` marks a network's first layer, whose input needs no gradient.
    """

    dataset: str
    features_in: int
    features_out: int
    batch: int
    first: bool = False

    @property
    def name(self) -> str:
        arrow = f"{self.features_in}->{self.features_out}"
        return f"{self.dataset} {arrow} B={self.batch}" + (" first" if self.first else "")


LAYER_CASES = (
    LayerCase("eng-wiki", 1, 1, 200),
    LayerCase("eng-wiki", 1, 1, 200, first=True),
    LayerCase("eng-wiki", 8, 8, 32),
    LayerCase("eng-wiki", 1, 8, 32, first=True),
    LayerCase("eng-wiki", 32, 32, 32),
    LayerCase("pascal", 8, 8, 200),
)


@dataclasses.dataclass(frozen=True)
class StepCase:
    """A training step of GIN: two graph convolutions of `filters` filters, a batch of pairs.

    `precision` is that of the products of the dense layers: what `--model.precision` is to a run.
    """

    dataset: str
    filters: int
    batch: int
    precision: Precision = "float32"

    @property
    def name(self) -> str:
        return f"{self.dataset} F={self.filters} B={self.batch}"

    @property
    def text_inputs(self) -> int:
        """Inputs of the text head, N F."""
        return DATASETS[self.dataset].words * self.filters

    @property
    def parameters(self) -> int:
        """Trained numbers: filters and biases, the two heads, the score's layer."""
        shape, F = DATASETS[self.dataset], self.filters
        convolutions = ORDERS * F + F + ORDERS * F * F + F
        heads = (self.text_inputs + shape.image_size + 2) * shape.dimension
        return convolutions + heads + shape.dimension + 1


STEP_CASES = (StepCase("eng-wiki", 1, 200), StepCase("eng-wiki", 8, 200))


def make_gin(
    layout: SparseLayout,
    image_size: int,
    *,
    filters: tuple[int, ...] = (1, 1),
    order: int = ORDERS,
    rngs: nnx.Rngs,
    **options: Any,
) -> GIN:
    """GIN as the paper has it: graph convolutions of counts, and fixed features of so many numbers."""
    text = GraphText(layout, filters, order, rngs=rngs)
    return GIN(text, Features(image_size), rngs=rngs, **options)
