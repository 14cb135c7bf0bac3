"""The convolutions of the picture encoders, for inference: weights as PyTorch keeps them, pictures NHWC."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array

# Full float32 on every device: TF32 and bfloat16 products would move features by 1e-3 between machines.
PRECISION = lax.Precision.HIGHEST


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
