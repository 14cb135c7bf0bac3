"""The filter on jraph's graphs, to go to and from other JAX graph code."""

from __future__ import annotations

import jraph
from jaxtyping import Array, Float

from gcnxmodal.graph.filter import chebyshev_filter
from gcnxmodal.graph.layout import SparseLayout, pack
from gcnxmodal.graph.word_graph import scaled_laplacian


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
