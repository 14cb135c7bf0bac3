"""Dense layers and windows (convolutions) whose products have a stated precision, and constants of a model.

The dense heads are most of a training step, and what a device calls float32 differs: a TPU multiplies in
bfloat16 and a GPU in TF32 unless told otherwise. So the precision is an option and never a default of the
platform. Weights, sums, biases, scores and losses are float32 in all of them.
"""

import functools
import itertools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Precision = Literal["float32", "tf32", "bfloat16"]


@jax.custom_vjp
def bfloat16_product(x_BN: Float[Array, "B N"], weight_ND: Float[Array, "N D"]) -> Float[Array, "B D"]:
    """x w with operands rounded to bfloat16 and float32 sums; so are both of its gradients.

    JAX's own gradient would multiply a float32 cotangent by a bfloat16 operand, at the speed of float32.
    """
    return _contract(x_BN, weight_ND, 1, 0)


def _forward(x_BN: Array, weight_ND: Array) -> tuple[Array, tuple[Array, Array]]:
    return bfloat16_product(x_BN, weight_ND), (x_BN, weight_ND)


def _backward(residuals: tuple[Array, Array], gradient_BD: Array) -> tuple[Array, Array]:
    x_BN, weight_ND = residuals
    return _contract(gradient_BD, weight_ND, 1, 1), _contract(x_BN, gradient_BD, 0, 0)


bfloat16_product.defvjp(_forward, _backward)


def _contract(a: Array, b: Array, axis_of_a: int, axis_of_b: int) -> Array:
    return jax.lax.dot_general(
        a.astype(jnp.bfloat16),
        b.astype(jnp.bfloat16),
        (((axis_of_a,), (axis_of_b,)), ((), ())),
        preferred_element_type=jnp.float32,
    )


def _bfloat16_dot_general(x: Array, weight: Array, dimensions: Any, **_: Any) -> Array:
    assert dimensions == (((1,), (0,)), ((), ()))  # what nnx.Linear asks for with rows
    return bfloat16_product(x, weight)


# HIGH is TF32 on a GPU, and float32 from three bfloat16 products on a TPU; a CPU has float32 only. DEFAULT
# is one bfloat16 product on a TPU, and TF32 on a GPU: what convolutions do for bfloat16.
PRECISIONS: dict[str, jax.lax.Precision] = {
    "float32": jax.lax.Precision.HIGHEST,
    "tf32": jax.lax.Precision.HIGH,
    "bfloat16": jax.lax.Precision.DEFAULT,
}


def linear(
    inputs: int, outputs: int, precision: Precision, rngs: nnx.Rngs, *, bias: bool = True
) -> nnx.Linear:
    """y = x W + b, Glorot uniform W and zero b, multiplied at `precision` in both directions."""
    options: dict[str, Any] = {"precision": PRECISIONS[precision]}
    if precision == "bfloat16":
        options = {"dot_general": _bfloat16_dot_general}
    glorot = nnx.initializers.glorot_uniform()
    return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=glorot, rngs=rngs, **options)


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
        space = (slice(start, start + size, stride) for start, size in zip(offset, sizes, strict=True))
        shifted.append(x[(slice(None), *space)])
    windows = jnp.concatenate(shifted, axis=-1)
    return jnp.matmul(windows, kernel.reshape(len(shifted) * C, -1), precision=precision)


class Constant(nnx.Variable):
    """Arrays a model needs and never trains: the word graph, word vectors."""


class Features(nnx.Module):
    """The image encoder of fixed features: as they are, [B, d]."""

    def __init__(self, size: int):
        self.width = size

    def __call__(self, images_Bd: Float[Array, "B d"]) -> Float[Array, "B d"]:
        return images_Bd


def unit(x: Array) -> Array:
    """At length 1 along the last axis; zero stays zero."""
    # A norm by jnp.linalg.norm has no gradient at zero.
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, axis=-1, keepdims=True), 1e-12))


def half_squares(*layers: nnx.Module) -> Float[Array, ""]:
    """1/2 ||.||^2 of all parameters of some layers."""
    leaves = jax.tree.leaves([nnx.state(layer, nnx.Param) for layer in layers])
    # Not vdot: it flattens what is sharded by columns, which gathers it.
    return 0.5 * sum((jnp.sum(leaf**2) for leaf in leaves), start=jnp.zeros(()))
