"""Chebyshev filters on a sparse graph: one public function, a layer, and the layout they read."""

from gcnxmodal.chebyshev.filter import chebyshev_filter, chebyshev_filter_batch
from gcnxmodal.chebyshev.graphs import filter_graph, from_graphs_tuple
from gcnxmodal.chebyshev.kernel import multiply
from gcnxmodal.chebyshev.layer import ChebConv
from gcnxmodal.chebyshev.layout import SparseLayout, pack

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
