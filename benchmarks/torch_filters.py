"""The Chebyshev filter in PyTorch, three ways, each as well as its library allows.

All run on the accelerator that JAX runs on, if PyTorch has it too.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp


def torch_device() -> str:
    """Where PyTorch computes: "cuda" if JAX has a GPU, else "cpu".

    Raises:
        ImportError: if it cannot follow JAX to the GPU; peers are then skipped.
    """
    import torch

    if jax.default_backend() != "gpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise ImportError("this PyTorch has no CUDA, but JAX runs on a GPU")
    return "cuda"


def csr_filter(scaled: sp.csr_array, device: str, dtype: Any) -> Callable:
    """filter(x_NBF, theta, first) -> y_NBF by CSR products (MKL or cuSPARSE): the best we know in PyTorch.

    Vertex-major, with the symmetric backward by hand; the polynomial stands on the narrower side, as in ours,
    and on the inputs where `first` says that they need no gradient: then no product is in the backward.
    """
    import torch

    with warnings.catch_warnings(action="ignore"):  # "Sparse CSR tensor support is in beta state"
        crow, column = (torch.tensor(a, device=device) for a in (scaled.indptr, scaled.indices))
        value = torch.tensor(scaled.data, dtype=dtype, device=device)
        csr = torch.sparse_csr_tensor(crow, column, value, check_invariants=True)

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x_NC):
            return csr @ x_NC

        @staticmethod
        def backward(ctx, *gradients):
            return csr @ gradients[0]

    def on_inputs(x_NBF, theta):
        K, F_in, F_out = theta.shape
        N, B, _ = x_NBF.shape
        T = [x_NBF.reshape(N, B * F_in)]
        for k in range(1, K):
            T.append(2 * Product.apply(T[-1]) - T[-2] if k > 1 else Product.apply(T[-1]))
        y = T[0].reshape(N * B, F_in) @ theta[0]
        for k in range(1, K):
            y = y + T[k].reshape(N * B, F_in) @ theta[k]
        return y.reshape(N, B, F_out)

    def on_outputs(x_NBF, theta):
        K, F_in, F_out = theta.shape
        N, B, _ = x_NBF.shape
        weights = theta.permute(1, 0, 2).reshape(F_in, K * F_out)
        c = (x_NBF.reshape(N * B, F_in) @ weights).reshape(N, B, K, F_out).unbind(2)
        b, above = c[-1].reshape(N, -1), None
        for k in reversed(range(K - 1)):
            below = c[k].reshape(N, -1) + (2 * Product.apply(b) if k else Product.apply(b))
            b, above = below if above is None else below - above, b
        return b.reshape(N, B, F_out)

    def filter_batch(x_NBF, theta, first=False):
        _, F_in, F_out = theta.shape
        return on_inputs(x_NBF, theta) if first or F_in < F_out else on_outputs(x_NBF, theta)

    return filter_batch


def pyg_layer(
    laplacian: sp.csr_array, lambda_max: float, theta: np.ndarray, device: str, *, bias: bool = False
) -> tuple[Any, Callable]:
    """PyTorch Geometric's ChebConv with these weights, and what applies it to a batch [B, N, F]."""
    import torch
    from torch_geometric.nn import ChebConv

    K, F_in, F_out = theta.shape
    layer: Any = ChebConv(F_in, F_out, K, bias=bias)
    with torch.no_grad():
        for linear, theta_FO in zip(layer.lins, theta, strict=True):
            linear.weight.copy_(torch.tensor(theta_FO.T))
    layer.to(device)
    edges = torch.tensor(np.stack(_edges(laplacian)), dtype=torch.long, device=device)
    largest = torch.tensor(lambda_max, dtype=torch.float32, device=device)
    return layer, lambda x_BNF: layer(x_BNF, edges, lambda_max=largest)


def dgl_layer(
    laplacian: sp.csr_array, lambda_max: float, theta: np.ndarray, batch: int, device: str
) -> tuple[Any, Callable]:
    """DGL's ChebConv with these weights, and what applies it to a batch [B N, F].

    Its layer takes one signal a graph, so a batch is one graph a document, as DGL batches. The last version
    that imports beside a recent PyTorch is 1.1.3: `pip install dgl==1.1.3` (2.x brings a C++ library for each
    PyTorch up to 2.2 and imports with no other).
    """
    os.environ.setdefault("DGLBACKEND", "pytorch")
    try:
        import dgl  # pyright: ignore[reportMissingImports]
        from dgl.nn.pytorch import ChebConv  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:  # of its C++ library: FileNotFoundError
        raise ImportError(f"DGL does not import here ({error})") from error
    import torch

    K, F_in, F_out = theta.shape
    layer = ChebConv(F_in, F_out, K, activation=None, bias=False)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor(theta.reshape(K * F_in, F_out).T))
    layer.to(device)
    row, column = _edges(laplacian)
    ends = torch.tensor(column), torch.tensor(row)
    one = dgl.graph(ends, num_nodes=len(laplacian.indptr) - 1, idtype=torch.int32)
    graph = dgl.batch([one] * batch)
    try:
        graph = graph.to(device)
    except dgl.DGLError as error:
        raise ImportError(f"this DGL has no CUDA ({str(error).splitlines()[-1]})") from error
    graph.create_formats_()
    largest = torch.full((batch,), lambda_max, device=device)
    return layer, lambda x_VF: layer(graph, x_VF, lambda_max=largest)


def _edges(laplacian: sp.csr_array) -> tuple[np.ndarray, np.ndarray]:
    entries = laplacian.tocoo()
    edge = entries.row != entries.col
    return entries.row[edge], entries.col[edge]
