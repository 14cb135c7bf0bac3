"""The filter in other libraries: as a Flax NNX layer, and on jraph's graphs."""

import jax
import jax.numpy as jnp
import jraph
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.graph.filter import chebyshev_filter, chebyshev_filter_batch
from gcnxmodal.graph.layout import SparseLayout, pack
from gcnxmodal.graph.word_graph import scaled_laplacian

# The K matrices side by side are one matrix [K F_in, F_out] that acts on the basis, as in Defferrard's code.
_glorot_uniform = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2)


class ChebConv(nnx.Module):
    r"""Chebyshev spectral graph convolution (Defferrard et al. 2016, "Convolutional Neural Networks on Graphs
    with Fast Localized Spectral Filtering"; GIN Eq. 5-6).

    For the signals X [N, F_in] of one document, with L~ = 2 L / lambda_max - I:

        Y = \sum_{k=0}^{K-1} T_k(L~) X theta_k + b

    and at a vertex n, which sees the vertices at most K - 1 steps away:

        y_n = \sum_{k=0}^{K-1} theta_k^T \sum_m T_k(L~)_{nm} x_m + b

    No activation. Documents are the last axis: see `chebyshev_filter_batch`.

    Args:
        features_in: F_in.
        features_out: F_out, the number of filters.
        orders: K >= 1; K = 3 means the polynomials T_0, T_1, T_2.
        rngs: its `params` stream draws theta (Glorot uniform); the bias, one a filter, is zero.
    """

    def __init__(self, features_in: int, features_out: int, orders: int, *, rngs: nnx.Rngs):
        shape = (orders, features_in, features_out)
        self.theta = nnx.Param(_glorot_uniform(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features_out))

    def __call__(self, x_NFB: Float[Array, "N F_in B"], layout: SparseLayout) -> Float[Array, "N F_out B"]:
        y_NFB = chebyshev_filter_batch(x_NFB, self.theta.get_value(), layout)
        return y_NFB + self.bias.get_value()[:, None]


def from_graphs_tuple(graph: jraph.GraphsTuple, lambda_max: str = "true") -> SparseLayout:
    """The layout of the graph's scaled Laplacian L~ = 2 L / lambda_max - I; `lambda_max` is "true" or "two".

    `graph.edges` are the weights [E]; an edge carries its sender's signal to its receiver. Runs on the host,
    once a graph: the layout is then an argument of the compiled function.
    """
    return pack(scaled_laplacian(graph, lambda_max))


def filter_graph(
    graph: jraph.GraphsTuple, theta: Float[Array, "K F_in F_out"], layout: SparseLayout
) -> jraph.GraphsTuple:
    """The same graph, its nodes [N, F_in] filtered to [N, F_out]. `layout` is `from_graphs_tuple(graph)`."""
    return graph._replace(nodes=chebyshev_filter(graph.nodes, theta, layout))
