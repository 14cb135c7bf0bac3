"""The Chebyshev filter on any sparse graph, under `jax.vmap` and `jax.grad`; a Flax layer; jraph graphs.

>>> import jax.numpy as jnp
>>> from gcnxmodal.chebyshev import chebyshev_filter, pack
>>> import scipy.sparse as sp
>>> ring = sp.csr_array([[0, -0.5, -0.5], [-0.5, 0, -0.5], [-0.5, -0.5, 0]])  # a scaled Laplacian
>>> signal, theta = jnp.array([[1.0], [0.0], [0.0]]), jnp.array([[[0.0]], [[2.0]]])
>>> chebyshev_filter(signal, theta, pack(ring)).tolist()  # theta_0 x + theta_1 L x
[[0.0], [-1.0], [-1.0]]
"""

from gcnxmodal.graph.filter import (
    ChebConv,
    chebyshev_filter,
    chebyshev_filter_batch,
    filter_graph,
    from_graphs_tuple,
    multiply,
)
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
