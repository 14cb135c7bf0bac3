"""GCH: a teacher of labels, two students, and a graph convolution over the batch that sets a beacon.

Shapes: B items of a batch, C labels, K bits, F of a feature.
"""

import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gcnxmodal.nn.layers import Precision, linear

Fusion = Literal["frobenius", "largest", "softmax"]

LARGEST_INPUT = 1e6
"""Features beyond this are cut: with it, no sum of squares of a layer can leave float32."""


class Codes(NamedTuple):
    """What every network of GCH gives.

    Attributes:
        codes: H, the codes before they are rounded, in (-1, 1).
        labels: the predicted probability of each label.
    """

    codes: Float[Array, "B K"]
    labels: Float[Array, "B C"]


class Heads(nnx.Module):
    """From features to codes and labels: H = tanh(f W_h + b_h), L = sigmoid(f W_l + b_l). Eq. 1."""

    def __init__(self, width: int, bits: int, labels: int, precision: Precision, rngs: nnx.Rngs):
        self.codes = linear(width, bits, precision, rngs)
        self.labels = linear(width, labels, precision, rngs)

    def __call__(self, features_BF: Float[Array, "B F"]) -> Codes:
        return Codes(jnp.tanh(self.codes(features_BF)), jax.nn.sigmoid(self.labels(features_BF)))


class Layers(nnx.Module):
    """Dense layers, each with a LeakyReLU of slope .2 and, if asked for, batch normalisation before it.

    At test the normalisation takes the running statistics (`model.eval()`).
    """

    def __init__(
        self, widths: tuple[int, ...], precision: Precision, rngs: nnx.Rngs, *, batch_norm: bool = False
    ):
        self.dense = nnx.List(
            [
                # Normalisation takes away what a bias adds: its gradient is rounding, and Adam steps by it.
                linear(before, after, precision, rngs, bias=not batch_norm)
                for before, after in itertools.pairwise(widths)
            ]
        )
        # Paper: nothing on normalisation; the code normalises, at test with the statistics of the test batch.
        # Here with the running ones, because the code of an item must not depend on the items beside it.
        # Momentum .9 and not .99: small data sets have ten steps an epoch.
        norms = [nnx.BatchNorm(width, momentum=0.9, rngs=rngs) for width in widths[1:]] if batch_norm else []
        self.norms = nnx.List(norms)

    def __call__(self, x_Bd: Float[Array, "B d"]) -> Float[Array, "B F"]:
        for number, layer in enumerate(self.dense):
            x_Bd = layer(x_Bd)
            if len(self.norms):
                x_Bd = self.norms[number](x_Bd)
            x_Bd = jax.nn.leaky_relu(x_Bd, 0.2)
        return x_Bd


class Teacher(nnx.Module):
    """The semantic encoder: labels -> width -> width -> codes and labels. Eq. 2, Section 4.2."""

    def __init__(self, labels: int, width: int, bits: int, precision: Precision, rngs: nnx.Rngs):
        self.layers = Layers((labels, width, width), precision, rngs)
        self.heads = Heads(width, bits, labels, precision, rngs)

    def __call__(self, labels_BC: Bool[Array, "B C"]) -> Codes:
        return self.heads(self.layers(labels_BC.astype(jnp.float32)))


class Student(nnx.Module):
    """The encoder of a modality: its path, dense layers to a feature, then codes and labels. Eq. 4.

    Args:
        path: from the rows of an item to [B, path.width]; `Features` for those given.
        hidden: widths of the dense layers, the feature's last.
    """

    def __init__(
        self,
        path: Any,
        hidden: tuple[int, ...],
        bits: int,
        labels: int,
        precision: Precision,
        rngs: nnx.Rngs,
        *,
        batch_norm: bool,
    ):
        self.path = path
        self.layers = Layers((path.width, *hidden), precision, rngs, batch_norm=batch_norm)
        self.heads = Heads(hidden[-1], bits, labels, precision, rngs)

    def features(self, x_B: Array) -> Float[Array, "B F"]:
        """f, what is fused."""
        return self.layers(jnp.clip(self.path(x_B), -LARGEST_INPUT, LARGEST_INPUT))

    def __call__(self, x_B: Array) -> Codes:
        return self.heads(self.features(x_B))


class Beacon(nnx.Module):
    """Two graph convolutions of the fused features over the items of the batch. Eq. 7.

        H = tanh(P relu(P f W_1) W_2),   L = sigmoid(P relu(P f W_1) W_3)

    with P = D^(-1/2) (A + I) D^(-1/2) from `propagation`. Without a graph, P = I, these are dense layers:
    the ablation GCH-A (Section 4.4).
    """

    def __init__(
        self,
        features: int,
        width: int,
        bits: int,
        labels: int,
        precision: Precision,
        rngs: nnx.Rngs,
        *,
        activation: Literal["tanh", "sigmoid"] = "tanh",
    ):
        self.hidden = linear(features, width, precision, rngs)
        self.codes = linear(width, bits, precision, rngs)
        self.labels = linear(width, labels, precision, rngs)
        self.activation = activation

    def __call__(self, fused_BF: Float[Array, "B F"], propagation_BB: Float[Array, "B B"] | None) -> Codes:
        def spread(x_BF: Array) -> Array:
            return x_BF if propagation_BB is None else _product(propagation_BB, x_BF)

        hidden_BF = spread(jax.nn.relu(self.hidden(spread(fused_BF))))
        # Paper: "ReLU and sigmoid" for the two layers, and in the same section tanh for all codes (4.2). Here
        # tanh, as in the code: codes in (0, 1) can call no pair dissimilar, and pull every student's bits to
        # one (how little that matters beside the other terms: benchmarks/README.md).
        squash = jnp.tanh if self.activation == "tanh" else jax.nn.sigmoid
        return Codes(squash(self.codes(hidden_BF)), jax.nn.sigmoid(self.labels(hidden_BF)))


def propagation(labels_BC: Bool[Array, "B C"]) -> Float[Array, "B B"]:
    """P = D^(-1/2) (A + I) D^(-1/2), with A = L L^T, the number of labels that two items share.

    Source: GCH Eq. 7 and the text below it; Kipf and Welling 2016.
    """
    labels_BC = labels_BC.astype(jnp.float32)
    adjacency_BB = labels_BC @ labels_BC.T + jnp.eye(len(labels_BC))
    scale_B = jax.lax.rsqrt(adjacency_BB.sum(axis=1))  # at least one: every item is its own neighbour
    return scale_B[:, None] * adjacency_BB * scale_B


def fuse(
    images_BF: Float[Array, "B F"], texts_BF: Float[Array, "B F"], fusion: Fusion
) -> Float[Array, "B F"]:
    """f_r = 1/2 (W f_x + W^T f_y), W = norm(f_x f_y^T): each modality's features weighted by the other's.

    Source: GCH Eq. 6, in matrix form over the batch.

    Args:
        fusion: the norm. "frobenius": W divided by its Frobenius norm (the paper: "matrix normalization");
            "largest": by its largest entry (the code), in magnitude, so that it cannot be near zero or below;
            "softmax": each row a distribution (attention as of Vaswani et al. 2017, whom the paper cites).
    """
    # Paper: f x W, whose shapes do not fit for W of [B, B]; here W f, and W^T for the other side.
    weights_BB = _product(images_BF, texts_BF.T)
    if fusion == "softmax":
        weights_BB = jax.nn.softmax(weights_BB, axis=1)
    else:
        largest = jnp.max(jnp.abs(weights_BB))
        weights_BB = weights_BB / jnp.maximum(largest, 1e-12)
        if fusion == "frobenius":  # of what is at most one: its square cannot overflow
            weights_BB = weights_BB * jax.lax.rsqrt(jnp.maximum(jnp.sum(weights_BB**2), 1e-12))
    return 0.5 * (_product(weights_BB, images_BF) + _product(weights_BB.T, texts_BF))


class GCH(nnx.Module):
    """The four networks. Codes of new items are the signs of a student's, Eq. 10.

    Args:
        image, text: the paths to what the students' dense layers read; `Features` for those given.
        labels: C.
        bits: K.
        width: of the hidden layers and of the feature (512).
        beacon_width: of the first graph convolution (1024 in the paper, 512 in the code).
    """

    separable = True

    def __init__(
        self,
        image: Any,
        text: Any,
        labels: int,
        *,
        bits: int,
        width: int = 512,
        beacon_width: int = 1024,
        beacon_activation: Literal["tanh", "sigmoid"] = "tanh",
        batch_norm: bool = True,
        precision: Precision = "float32",
        rngs: nnx.Rngs,
    ):
        self.teacher = Teacher(labels, width, bits, precision, rngs)
        self.image = Student(image, (width,), bits, labels, precision, rngs, batch_norm=batch_norm)
        # "four fully-connected layers" (4.2): three here, and the heads.
        self.text = Student(text, (width,) * 3, bits, labels, precision, rngs, batch_norm=batch_norm)
        self.beacon = Beacon(width, beacon_width, bits, labels, precision, rngs, activation=beacon_activation)

    def encode_texts(self, texts_BT: Array) -> Float[Array, "B K"]:
        """H^y, codes before they are rounded."""
        return self.text(texts_BT).codes

    def encode_images(self, images_Bd: Array) -> Float[Array, "B K"]:
        """H^x, codes before they are rounded."""
        return self.image(images_Bd).codes

    def fold_texts(self, texts_BK: Float[Array, "B K"]) -> Float[Array, "B K"]:
        """Codes of -1 and 1; zero is -1. Their inner product is K - 2 x Hamming distance."""
        return jnp.where(texts_BK > 0, 1.0, -1.0)

    fold_images = fold_texts


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
