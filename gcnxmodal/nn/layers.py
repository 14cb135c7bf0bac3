"""Dense layers whose products have a stated precision, forward and backward.

The dense heads are most of a training step, and what a device calls float32 differs: a TPU multiplies in
bfloat16 and a GPU in TF32 unless told otherwise. So the precision is an option and never a default of the
platform. Weights, sums, biases, scores and losses are float32 in all of them.
"""

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


class Constant(nnx.Variable):
    """Arrays a model needs and never trains: the word graph, word vectors."""


class Features(nnx.Module):
    """The image path of fixed features: as they are, [B, d]."""

    def __init__(self, size: int):
        self.width = size

    def __call__(self, images_Bd: Float[Array, "B d"]) -> Float[Array, "B d"]:
        return images_Bd


def half_squares(*layers: nnx.Module) -> Float[Array, ""]:
    """1/2 ||.||^2 of all parameters of some layers."""
    leaves = jax.tree.leaves([nnx.state(layer, nnx.Param) for layer in layers])
    # Not vdot: it flattens what is sharded by columns, which gathers it.
    return 0.5 * sum((jnp.sum(leaf**2) for leaf in leaves), start=jnp.zeros(()))
