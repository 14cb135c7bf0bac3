"""Convolutions that are trained: a linear layer on every window of a line or a picture."""

import functools
import itertools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.nn.layers import PRECISIONS, Precision


class Window(nnx.Module):
    """y_p = sum_o x_{p+o} K_o + b over the offsets o of a window, along one or two axes.

    Args:
        shape: of the window, such as (3,) or (3, 3).
        inputs, outputs: channels.
        stride: positions from one window to the next, along every axis.
        padding: "VALID", windows inside only; "SAME", as many as positions, zeros outside (of stride 1).
        kernel_init: of K.
        precision: of the products.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        padding: Literal["VALID", "SAME"],
        kernel_init: nnx.Initializer,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (*shape, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.stride = stride
        self.padding = padding
        self.precision = precision

    def __call__(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *windows O"]:
        """The layer on every window."""
        options = {"stride": self.stride, "padding": self.padding, "precision": PRECISIONS[self.precision]}
        y = jax.lax.platform_dependent(
            x,
            self.kernel.get_value(),
            cpu=functools.partial(as_product, **options),
            default=functools.partial(as_convolution, **options),
        )
        return y + self.bias.get_value()


def as_convolution(
    x: Array, kernel: Array, *, stride: int = 1, padding: str, precision: jax.lax.Precision
) -> Array:
    """XLA's own convolution, which accelerators have units and libraries for."""
    space = "HW"[: kernel.ndim - 2]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    strides = (stride,) * len(space)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=numbers, precision=precision
    )


def as_product(
    x: Array, kernel: Array, *, stride: int = 1, padding: str, precision: jax.lax.Precision
) -> Array:
    """The windows side by side, times the kernel as a matrix.

    On a CPU, where a convolution inside a compiled loop runs on one core without its library: the gradient of
    CNN-5 takes 30 times longer there.
    """
    *shape, C, _ = kernel.shape
    if padding == "SAME":
        beside = [((side - 1) // 2, side // 2) for side in shape]
        x = jnp.pad(x, [(0, 0), *beside, (0, 0)])
    sizes = [size - side + 1 for size, side in zip(x.shape[1:-1], shape, strict=True)]
    shifted = []
    for offset in itertools.product(*map(range, shape)):
        here = (slice(start, start + size, stride) for start, size in zip(offset, sizes, strict=True))
        shifted.append(x[(slice(None), *here)])
    windows = jnp.concatenate(shifted, axis=-1)
    return jnp.matmul(windows, kernel.reshape(len(shifted) * C, -1), precision=precision)
