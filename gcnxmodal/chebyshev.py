"""Chebyshev filters on a sparse graph: one public function, a layer, and the layout they read."""

from gcnxmodal.graph.filter import chebyshev_filter, chebyshev_filter_batch
from gcnxmodal.graph.kernel import multiply
from gcnxmodal.graph.layer import ChebConv, filter_graph, from_graphs_tuple
from gcnxmodal.graph.layout import SparseLayout, pack

__all__ = [
    "ChebConv",
    "SparseLayout",
    "chebyshev_filter",
    "chebyshev_filter_batch",
    "filter_graph",
    "from_graphs_tuple",
    "multiply",
    "pack",
]
