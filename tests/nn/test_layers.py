"""The precision of the dense layers, as numbers and in the compiled program."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from gcnxmodal.nn.layers import bfloat16_product, linear


def operands(rows: int = 24, inputs: int = 400, outputs: int = 16) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    return tuple(
        random.standard_normal(shape).astype(np.float32)
        for shape in ((rows, inputs), (inputs, outputs), (rows, outputs))
    )


def relative(found: jax.Array, expected: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))


def test_bfloat16_product_and_its_gradients_have_the_error_of_rounded_operands():
    x, weight, g = operands()
    y, pullback = jax.vjp(bfloat16_product, x, weight)
    x64, weight64, g64 = (a.astype(np.float64) for a in (x, weight, g))
    for found, expected in zip(
        (y, *pullback(g)), (x64 @ weight64, g64 @ weight64.T, x64.T @ g64), strict=True
    ):
        assert found.dtype == jnp.float32
        # Rounding to 8 bits: 2^-9 at most, about 2^-9 sqrt(2 / 3) of each product on the whole.
        assert 1e-3 < relative(found, expected) < 4e-3


def test_bfloat16_product_sums_in_float32():
    ones = jnp.ones((1, 4096))
    assert bfloat16_product(ones, ones.T)[0, 0] == 4096  # in bfloat16 a sum of ones ends at 256
    small = jnp.full((4096, 1), 2.0**-12)
    assert bfloat16_product(ones.at[0, 0].set(256), small.at[0, 0].set(1))[0, 0] == 256 + 4095 / 4096


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_every_product_of_a_layer_has_the_precision_asked_for(precision):
    x, _, g = operands()
    graphdef, params = nnx.split(linear(400, 16, precision, nnx.Rngs(0)))

    def step(params, x, g):
        y, pullback = jax.vjp(lambda params, x: nnx.merge(graphdef, params)(x), params, x)
        return y, pullback(g)

    program = export.export(jax.jit(step), platforms=["tpu"])(params, x, g).mlir_module()
    products = re.findall(r"dot_general .*", program)
    assert len(products) == 3
    for product in products:
        if precision == "bfloat16":
            assert re.search(r"tensor<\w+xbf16>, tensor<\w+xbf16>\) -> tensor<\w+xf32>", product), product
        else:
            expected = {"float32": "HIGHEST", "tf32": "HIGH"}[precision]
            assert re.search(rf"precision = \[{expected}, {expected}\]", product), product
