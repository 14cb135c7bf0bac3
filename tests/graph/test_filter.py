"""The filter's values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from reference.chebyshev_numpy import recurrence_filter, spectral_filter

from benchmarks.specs import DATASETS, NEIGHBOURS
from gcnxmodal.graph.filter import chebyshev_filter, chebyshev_filter_batch, multiply
from gcnxmodal.graph.layout import pack

# On the inputs (1 -> 1, 1 -> 4), on the outputs (3 -> 3, 4 -> 1), with matrix products (20 -> 3).
SHAPES = [(1, 1, 1), (3, 1, 1), (3, 1, 4), (5, 3, 3), (3, 4, 1), (2, 20, 3)]
# On the inputs and on the outputs, each with few filters and with many.
MAPPED_SHAPES = [(3, 1, 4), (2, 3, 3), (2, 5, 6), (2, 6, 5)]


@jax.jit
def value_and_gradients(x_NFB, theta, layout, g_NOB):
    y, pullback = jax.vjp(lambda x, t: chebyshev_filter_batch(x, t, layout), x_NFB, theta)
    return y, *pullback(g_NOB)


@jax.jit
def mapped_value_and_gradients(x_BNF, theta, layout, g_BNO):
    def batch(x, t):
        return jax.vmap(chebyshev_filter, in_axes=(0, None, None))(x, t, layout)

    y, pullback = jax.vjp(batch, x_BNF, theta)
    return y, *pullback(g_BNO)


@jax.jit
def gradients_of_each(x_BNF, theta, layout, g_BNO):
    def of_one(x, g):
        return jax.vjp(lambda x, t: chebyshev_filter(x, t, layout), x, theta)[1](g)

    return jax.vmap(of_one)(x_BNF, g_BNO)


def exact(filter_64, x, theta, g):
    """y, dx and dtheta in float64; `filter_64(x, theta, adjoint)` filters with L~, or with its transpose."""
    x, theta, g = (np.asarray(a, np.float64) for a in (x, theta, g))
    K, F_in, _ = theta.shape
    basis = [filter_64(x, one * np.eye(F_in), False) for one in np.eye(K)[:, :, None, None]]
    dtheta = [np.einsum("nfb,nob->fo", T, g) for T in basis]
    return filter_64(x, theta, False), filter_64(g, theta.swapaxes(1, 2), True), np.stack(dtheta)


@pytest.mark.parametrize(("K", "F_in", "F_out"), SHAPES)
def test_filter_equals_spectral_definition(K, F_in, F_out, graph, normal, assert_close):
    x, theta, g = normal(60, F_in, 5), normal(K, F_in, F_out), normal(60, F_out, 5)
    y, *gradients = value_and_gradients(x, theta, graph.layout, g)
    expected = exact(
        lambda x, theta, _: spectral_filter(graph.laplacian, x, theta, graph.lambda_max), x, theta, g
    )
    assert_close(y, expected[0], 1e-6)
    assert_close(gradients, expected[1:], 1e-5)


@pytest.mark.parametrize(("K", "F_in", "F_out"), [(3, 1, 2), (3, 3, 2)])
def test_directed_filter_equals_recurrence_and_its_gradient_the_transpose(
    K, F_in, F_out, directed, normal, assert_close
):
    x, theta, g = normal(60, F_in, 5), normal(K, F_in, F_out), normal(60, F_out, 5)
    y, *gradients = value_and_gradients(x, theta, directed.layout, g)
    scaled = directed.scaled
    expected = exact(
        lambda x, t, adjoint: recurrence_filter(scaled.T if adjoint else scaled, x, t), x, theta, g
    )
    assert_close(y, expected[0], 1e-6)
    assert_close(gradients, expected[1:], 1e-5)


@pytest.mark.parametrize(("K", "F_in", "F_out"), MAPPED_SHAPES)
def test_vmap_equals_loop(K, F_in, F_out, graph, normal, assert_close):
    x, theta, g = normal(5, 60, F_in), normal(K, F_in, F_out), normal(5, 60, F_out)
    pairs = zip(x[..., None], g[..., None], strict=True)
    loop = [value_and_gradients(x_NF1, theta, graph.layout, g_NO1) for x_NF1, g_NO1 in pairs]
    y = np.stack([out[0][:, :, 0] for out in loop])
    dx = np.stack([out[1][:, :, 0] for out in loop])
    dtheta = np.stack([out[2] for out in loop])
    # The gradient of a vmap sums dtheta over documents; the vmap of a gradient keeps each one's.
    assert_close(mapped_value_and_gradients(x, theta, graph.layout, g), (y, dx, dtheta.sum(axis=0)), 1e-6)
    assert_close(gradients_of_each(x, theta, graph.layout, g), (dx, dtheta), 1e-6)


def test_gradient_of_one_document_without_vmap(graph, normal, assert_close):
    x, theta = normal(60, 2), normal(2, 2, 3)

    def loss(x, theta):
        return jnp.sin(chebyshev_filter(x, theta, graph.layout)).sum()

    found = jax.grad(loss, argnums=(0, 1))(x, theta)
    y = recurrence_filter(graph.scaled, np.asarray(x), np.asarray(theta))
    expected = exact(
        lambda x, t, _: recurrence_filter(graph.scaled, x, t), x[:, :, None], theta, np.cos(y)[:, :, None]
    )
    assert_close(found, (expected[1][:, :, 0], expected[2]), 1e-5)


def test_one_model_a_seed_equals_loop_over_seeds(graph, normal, assert_close):
    x, theta = normal(5, 60, 2), normal(4, 2, 2, 1)

    def loss(theta, x_BNF):
        y_BNO = jax.vmap(chebyshev_filter, in_axes=(0, None, None))(x_BNF, theta, graph.layout)
        return jnp.sin(y_BNO).sum()

    def loss_documents_outside(theta_S, x_BNF):
        of_seeds = jax.vmap(chebyshev_filter, in_axes=(None, 0, None))
        return jnp.sin(jax.vmap(of_seeds, in_axes=(0, None, None))(x_BNF, theta_S, graph.layout)).sum()

    expected = [jax.jit(jax.grad(loss))(t, x) for t in theta]
    assert_close(jax.jit(jax.vmap(jax.grad(loss), in_axes=(0, None)))(theta, x), np.stack(expected), 1e-6)
    assert_close(jax.jit(jax.grad(loss_documents_outside))(theta, x), np.stack(expected), 1e-6)


def test_relabelling_vertices_changes_nothing(graph, normal, assert_close):
    x, theta, g = normal(60, 2, 5), normal(3, 2, 3), normal(60, 3, 5)
    order = np.random.default_rng(3).permutation(60)
    relabelled = pack(sp.csr_array(graph.scaled[order][:, order]))
    y, dx, dtheta = value_and_gradients(x, theta, graph.layout, g)
    found = value_and_gradients(x[order], theta, relabelled, g[order])
    assert_close(found, (y[order], dx[order], dtheta), 1e-6)


def test_word_graph_of_full_size_is_as_exact(normal, assert_close):
    random = np.random.default_rng(4)
    N, k = DATASETS["eng-wiki"].words, NEIGHBOURS
    ends = np.repeat(np.arange(N), k), random.integers(0, N, N * k) ** 2 // N  # squared: hubs of degree > 500
    adjacency = sp.csr_array((np.ones(N * k), ends), shape=(N, N))
    adjacency = adjacency.maximum(adjacency.T)
    scale = sp.diags_array(1 / np.sqrt(adjacency.sum(axis=1)))
    scaled = sp.csr_array(-(scale @ adjacency @ scale))  # lambda_max = 2
    assert np.diff(adjacency.tocsr().indptr).max() > 500
    x, theta, g = normal(N, 1, 4), normal(3, 1, 2), normal(N, 2, 4)
    y, *gradients = value_and_gradients(x, theta, pack(scaled), g)

    def recurrence(x, theta, _):
        x_NC = x.reshape(N, -1)
        T = [x_NC, scaled @ x_NC, 2 * (scaled @ (scaled @ x_NC)) - x_NC]
        return np.einsum("knfb,kfo->nob", np.reshape(T, (3, *x.shape)), theta)

    expected = exact(recurrence, x, theta, g)
    assert_close(y, expected[0], 1e-6)
    assert_close(gradients, expected[1:], 1e-5)


def test_nan_stays_within_reach_of_the_polynomial(graph, normal):
    x = normal(60, 1, 2).at[5, 0, 1].set(jnp.nan)
    y = chebyshev_filter_batch(x, normal(3, 1, 1), graph.layout)
    reach = np.linalg.matrix_power(np.abs(graph.scaled) + np.eye(60), 2)[:, 5] > 0
    assert not reach.all()
    assert np.array_equal(np.isnan(y[:, 0, 1]), reach)
    assert not np.isnan(y[:, 0, 0]).any()


def test_isolated_vertex_sees_only_itself(graph, normal):
    x, theta = normal(60, 1, 2), normal(3, 1, 1)
    y = chebyshev_filter_batch(x, theta, graph.layout)
    # Its row of L is the identity's, so L~ multiplies it by 2 / lambda_max - 1.
    own = np.polynomial.chebyshev.chebval(2 / graph.lambda_max - 1, np.asarray(theta)[:, 0, 0])
    np.testing.assert_allclose(y[-3:], own * x[-3:], rtol=1e-5)


@pytest.mark.parametrize("N", [1, 2])
def test_graph_of_one_or_two_vertices(N, normal, assert_close):
    matrix = np.full((N, N), 0.5)
    x, theta = normal(N, 1, 2), normal(3, 1, 2)
    y = chebyshev_filter_batch(x, theta, pack(sp.csr_array(matrix)))
    assert_close(y, recurrence_filter(matrix, np.asarray(x), np.asarray(theta)), 1e-6)


def test_batch_of_no_documents_has_gradient_zero(graph, normal):
    y, dx, dtheta = value_and_gradients(normal(60, 2, 0), normal(3, 2, 3), graph.layout, normal(60, 3, 0))
    assert y.shape == (60, 3, 0)
    assert dx.shape == (60, 2, 0)
    assert not dtheta.any()


def test_same_input_gives_the_same_bits(graph, normal):
    arguments = normal(60, 3, 5), normal(3, 3, 2), graph.layout, normal(60, 2, 5)
    first, second = value_and_gradients(*arguments), value_and_gradients(*arguments)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["graph", "directed"])
def test_product_and_its_second_derivative_are_the_matrix(name, request, normal, assert_close):
    example = request.getfixturevalue(name)
    x, g = normal(60, 2, 3), normal(60, 2, 3)
    scaled = example.scaled
    assert_close(multiply(example.layout, x), np.tensordot(scaled, np.float64(x), 1), 1e-6)

    def transposed_product(g):
        return jax.vjp(lambda x: multiply(example.layout, x), x)[1](g)[0]

    assert_close(transposed_product(g), np.tensordot(scaled.T, np.float64(g), 1), 1e-6)
    again = jax.vjp(transposed_product, g)[1](x)[0]
    assert_close(again, np.tensordot(scaled, np.float64(x), 1), 1e-6)
