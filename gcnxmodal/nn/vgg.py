"""VGG-19 as a frozen picture encoder: the 4,096-d feature of GIN and SCANet.

Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", Table 1,
configuration E. The feature is fc7, the second of the three fully connected layers, after its ReLU.
"""

from __future__ import annotations

from pathlib import Path

import jax
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.nn.convolution import Convolution, Pointwise
from gcnxmodal.nn.imagenet import normalise
from gcnxmodal.nn.weights import Weights

__all__ = ["FEATURES", "VGG", "load_pretrained", "normalise"]

FEATURES = 4096
# Table 1, configuration E: (convolutions, channels) of each stage.
_STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


def load_pretrained(path: Path) -> VGG:
    """The encoder with the weights in `path`: torchvision's vgg19-dcbb9e9d.pth, or as safetensors.

    Raises:
        InputError: if the file cannot be read, or holds the weights of another network.
    """
    weights = Weights.read(path, "VGG-19")
    network = VGG(weights)
    weights.require_all_taken("classifier.6")
    return network


class VGG(nnx.Module):
    """Pictures [B, 224, 224, 3], normalised, to features [B, features].

    Stages of 3 x 3 convolutions with ReLU, each ended by a 2 x 2 maximum; then fc6 and fc7, with ReLU. The
    dropout between them does nothing at inference.

    Args:
        weights: with the names of torchvision's `vgg19`; its last layer, classifier.6, is not used.
        stages: (convolutions, channels) of each of the five stages.
        features: size of fc6 and fc7.

    Raises:
        InputError: if a tensor is missing, or has another shape.
    """

    def __init__(
        self, weights: Weights, stages: tuple[tuple[int, int], ...] = _STAGES, features: int = FEATURES
    ) -> None:
        built, channels, index = [], 3, 0
        for repeats, out_channels in stages:
            convolutions = []
            for _ in range(repeats):
                weight = weights.take(f"features.{index}.weight", (out_channels, channels, 3, 3))
                bias = weights.take(f"features.{index}.bias", (out_channels,))
                convolutions.append(Convolution(weight, bias, padding=1))
                channels = out_channels
                index += 2  # torchvision counts the ReLU too,
            index += 1  # and the maximum
            built.append(nnx.List(convolutions))
        self.stages = nnx.List(built)
        # A matrix on the whole 7 x 7 map is a 7 x 7 convolution with one position (section 3.2).
        weight = weights.take("classifier.0.weight", (features, channels * 7 * 7))
        bias = weights.take("classifier.0.bias", (features,))
        self.fc6 = Convolution(weight.reshape(features, channels, 7, 7), bias)
        weight = weights.take("classifier.3.weight", (features, features))
        bias = weights.take("classifier.3.bias", (features,))
        self.fc7 = Pointwise(weight[:, :, None, None], bias)

    def __call__(self, pictures: Float[Array, "B 224 224 3"]) -> Float[Array, "B features"]:
        x_BHWC = pictures
        for stage in self.stages:
            for convolution in stage:
                x_BHWC = jax.nn.relu(convolution(x_BHWC))
            x_BHWC = nnx.max_pool(x_BHWC, (2, 2), (2, 2))
        x_B11F = jax.nn.relu(self.fc6(x_BHWC))
        return jax.nn.relu(self.fc7(x_B11F))[:, 0, 0]
