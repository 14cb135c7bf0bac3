"""The layer, and the filter on jraph's graphs."""

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from flax import nnx

from gcnxmodal.chebyshev import ChebConv, chebyshev_filter_batch, filter_graph, from_graphs_tuple


def path_of_three() -> jraph.GraphsTuple:
    """a - b - c, with signals 1, 2, 4."""
    return jraph.GraphsTuple(
        nodes=jnp.array([[1.0], [2.0], [4.0]]),
        edges=jnp.ones(4),
        senders=jnp.array([0, 1, 1, 2]),
        receivers=jnp.array([1, 0, 2, 1]),
        globals=None,
        n_node=jnp.array([3]),
        n_edge=jnp.array([4]),
    )


def test_layer_is_the_filter_and_a_bias_a_filter(graph, normal):
    layer = ChebConv(2, 3, 2, rngs=nnx.Rngs(0))
    assert layer.theta.get_value().shape == (2, 2, 3)
    assert not layer.bias.get_value().any()
    layer.bias.set_value(jnp.array([1.0, 2.0, 3.0]))
    x = normal(60, 2, 5)
    y = chebyshev_filter_batch(x, layer.theta.get_value(), graph.layout)
    np.testing.assert_array_equal(layer(x, graph.layout), y + jnp.array([1.0, 2.0, 3.0])[:, None])


def test_theta_is_glorot_uniform_over_all_orders():
    theta = ChebConv(40, 60, 3, rngs=nnx.Rngs(0)).theta.get_value()
    limit = np.sqrt(6 / (3 * 40 + 60))
    assert 0.99 * limit < jnp.abs(theta).max() <= limit
    assert abs(theta.std() - limit / np.sqrt(3)) < 0.02 * limit


def test_layer_trains_through_nnx(graph, normal):
    layer = ChebConv(1, 2, 2, rngs=nnx.Rngs(0))

    def loss(layer):
        return jnp.square(layer(normal_x, graph.layout)).sum()

    normal_x = normal(60, 1, 5)
    gradients = jax.tree.leaves(nnx.grad(loss)(layer))
    assert [g.shape for g in sorted(gradients, key=lambda g: g.ndim)] == [(2,), (2, 1, 2)]
    assert all(jnp.abs(g).max() > 0 for g in gradients)


def test_filter_of_a_path_is_the_hand_worked_one():
    # lambda_max of a bipartite graph is 2, so L~ = -D^-1/2 A D^-1/2: -s on both edges, s = 1/sqrt(2). Then
    # T_1 x = (-2 s, -5 s, -2 s) and T_2 x = 2 L~ T_1 x - x = (5 - 1, 4 - 2, 5 - 4) = (4, 2, 1).
    graph = path_of_three()
    found = filter_graph(graph, jnp.array([10.0, 1.0, 100.0]).reshape(3, 1, 1), from_graphs_tuple(graph))
    s = np.sqrt(0.5)
    expected = 10 * np.array([1, 2, 4]) + np.array([-2 * s, -5 * s, -2 * s]) + 100 * np.array([4, 2, 1])
    np.testing.assert_allclose(found.nodes[:, 0], expected, rtol=1e-6)
    assert found.senders is graph.senders


def test_edge_carries_its_senders_signal_to_its_receiver():
    graph = path_of_three()._replace(
        edges=jnp.ones(2), senders=jnp.array([0, 0]), receivers=jnp.array([1, 0]), n_edge=jnp.array([2])
    )
    layout = from_graphs_tuple(graph, lambda_max="two")
    first_order = jnp.array([0.0, 1.0]).reshape(2, 1, 1)
    # L~ = -D^-1/2 A D^-1/2 with row sums D = (1, 1, 0): vertices 0 and 1 receive from 0, nobody from 1 or 2.
    found = filter_graph(graph, first_order, layout)
    np.testing.assert_allclose(found.nodes[:, 0], [-1, -1, 0], atol=1e-7)
