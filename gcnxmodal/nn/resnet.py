"""ResNet-50 as a frozen picture encoder: 2,048-d features.

He et al. 2016, "Deep Residual Learning for Image Recognition", Table 1. The feature is the global average of
the last feature map.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.nn.convolution import Convolution, Pointwise
from gcnxmodal.nn.imagenet import normalise
from gcnxmodal.nn.weights import Weights

__all__ = ["FEATURES", "ResNet", "load_pretrained", "normalise"]

FEATURES = 2048
_BLOCKS = (3, 4, 6, 3)  # Table 1, 50-layer: bottlenecks of the stages conv2_x to conv5_x
_WIDTH = 64  # channels of the stem and of conv2_x; each stage has twice the width of the one before
_EXPANSION = 4  # a bottleneck gives so many times its width
_NORM_EPSILON = 1e-5


def load_pretrained(path: Path) -> ResNet:
    """The encoder with the weights in `path`: torchvision's resnet50-0676ba61.pth (IMAGENET1K_V1) or
    resnet50-11ad3fa6.pth (V2), or either as safetensors.

    Raises:
        InputError: if the file cannot be read, or holds the weights of another network.
    """
    weights = Weights.read(path, "ResNet-50")
    network = ResNet(weights)
    weights.require_all_taken("fc")
    return network


class ResNet(nnx.Module):
    """Pictures [B, H, W, 3], normalised, to features [B, 32 width].

    For inference: each batch normalisation is folded into the convolution before it. Any H, W works.

    Args:
        weights: with the names of torchvision's `resnet50`; its last layer, fc, is not used.
        blocks: bottlenecks of each of the four stages.
        width: channels of the stem.

    Raises:
        InputError: if a tensor is missing, or has another shape.
    """

    def __init__(
        self, weights: Weights, blocks: tuple[int, int, int, int] = _BLOCKS, width: int = _WIDTH
    ) -> None:
        stem = weights.take_normalised("conv1", "bn1", (width, 3, 7, 7), _NORM_EPSILON)
        self.stem = Convolution(*stem, stride=2, padding=3)
        built, channels = [], width
        for stage, repeats in enumerate(blocks):
            for block in range(repeats):
                stride = 2 if stage > 0 and block == 0 else 1
                prefix = f"layer{stage + 1}.{block}."
                built.append(Bottleneck(weights, prefix, channels, width * 2**stage, stride))
                channels = width * 2**stage * _EXPANSION
        self.blocks = nnx.List(built)

    def __call__(self, pictures: Float[Array, "B H W 3"]) -> Float[Array, "B features"]:
        x_BHWC = jax.nn.relu(self.stem(pictures))
        border = ((1, 1), (1, 1))  # of minus infinity
        x_BHWC = nnx.max_pool(x_BHWC, (3, 3), (2, 2), border)  # pyright: ignore[reportArgumentType]
        for block in self.blocks:
            x_BHWC = block(x_BHWC)
        return x_BHWC.mean(axis=(1, 2))


class Bottleneck(nnx.Module):
    """Fig. 5, right: y = relu(x + expand(relu(filter(relu(reduce(x))))).

    The first block of a stage has a 1 x 1 convolution of the same stride in place of the bare x (option B).
    """

    def __init__(self, weights: Weights, prefix: str, in_channels: int, width: int, stride: int) -> None:
        out_channels = width * _EXPANSION

        def folded(convolution: str, norm: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
            return weights.take_normalised(prefix + convolution, prefix + norm, shape, _NORM_EPSILON)

        self.reduce = Pointwise(*folded("conv1", "bn1", (width, in_channels, 1, 1)))
        # Paper: its authors' networks halve the map in `reduce`; here in the 3 x 3 convolution, because
        # torchvision's weights were trained so ("ResNet v1.5").
        self.filter = Convolution(*folded("conv2", "bn2", (width, width, 3, 3)), stride=stride, padding=1)
        self.expand = Pointwise(*folded("conv3", "bn3", (out_channels, width, 1, 1)))
        bare = stride == 1 and in_channels == out_channels
        shape = (out_channels, in_channels, 1, 1)
        self.shortcut = (
            None if bare else Pointwise(*folded("downsample.0", "downsample.1", shape), stride=stride)
        )

    def __call__(self, x_BHWC: Array) -> Array:
        y_BHWC = jax.nn.relu(self.filter(jax.nn.relu(self.reduce(x_BHWC))))
        x_BHWC = x_BHWC if self.shortcut is None else self.shortcut(x_BHWC)
        return jax.nn.relu(x_BHWC + self.expand(y_BHWC))
