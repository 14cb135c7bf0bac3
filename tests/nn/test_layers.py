"""The precision of dense layers in the compiled program; windows as products and as convolutions."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from gcnxmodal.nn.layers import Window, as_convolution, as_product, bfloat16_product, linear

HIGHEST = jax.lax.Precision.HIGHEST


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


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("shape", [(3,), (4,), (3, 3), (2, 5)])
def test_a_product_of_windows_is_the_convolution_with_its_gradients(shape, padding):
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (2, *(7, 6)[: len(shape)], 3))
    kernel = jax.random.normal(keys[1], (*shape, 3, 4))

    def with_gradients(function):
        def total(x, kernel):
            y = function(x, kernel, padding=padding, precision=HIGHEST)
            return jnp.sum(jnp.sin(y)), y

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(x, kernel)

    found, expected = with_gradients(as_product), with_gradients(as_convolution)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


@pytest.mark.parametrize(
    ("space", "shape", "stride"), [((9,), (3,), 2), ((14, 11), (5, 3), 2), ((11, 14), (5, 5), 4)]
)
def test_a_product_with_a_stride_is_the_convolution(space, shape, stride):
    x = jax.random.normal(jax.random.key(0), (2, *space, 3))
    kernel = jax.random.normal(jax.random.key(1), (*shape, 3, 4))
    options = {"stride": stride, "padding": "VALID", "precision": HIGHEST}
    found, expected = as_product(x, kernel, **options), as_convolution(x, kernel, **options)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_layer_is_the_same_under_jit_vmap_and_in_a_loop():
    options = {"padding": "SAME", "kernel_init": nnx.initializers.he_uniform(), "precision": "float32"}
    layer = Window((3, 3), 2, 2, **options, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (3, 5, 5, 2))
    expected = as_convolution(x, layer.kernel.get_value(), padding="SAME", precision=HIGHEST)
    np.testing.assert_allclose(jax.jit(layer)(x), expected, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(layer)(x[:, None])[:, 0], expected, atol=1e-5)
    looped = jax.jit(lambda x: jax.lax.fori_loop(0, 1, lambda _, x: layer(x), x))(x)
    np.testing.assert_allclose(looped, expected, atol=1e-5)
