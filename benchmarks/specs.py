"""Shapes that tests and benchmarks share: the five data sets of GIN's Table 1, and the layer's cases."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class DatasetShape:
    """A data set of GIN Table 1: N words, d image features, D dimensions of the common space."""

    words: int
    image_size: int
    dimension: int


DATASETS = {
    "eng-wiki": DatasetShape(10_055, 4_096, 1_024),
    "nus-wide": DatasetShape(5_018, 500, 500),
    "pascal": DatasetShape(598, 512, 256),
    "tvgraz": DatasetShape(8_172, 4_096, 1_024),
    "ch-wiki": DatasetShape(9_613, 4_096, 1_024),
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
