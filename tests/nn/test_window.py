"""Convolutions as products and as convolutions: the same values and gradients, also in a compiled loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gcnxmodal.nn.window import Window, as_convolution, as_product

HIGHEST = jax.lax.Precision.HIGHEST


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
