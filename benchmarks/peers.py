"""The graph convolution as others would write it, each as well as its library allows.

A peer is a function of a `Problem`. It gets its inputs in the memory order it likes best, before the clock
starts.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.experimental.sparse import BCOO

from gcnxmodal.chebyshev import SparseLayout, chebyshev_filter, chebyshev_filter_batch


@dataclasses.dataclass(frozen=True)
class Problem:
    """One layer on one graph: the Laplacian three ways, and the arrays in float32 [N, F, B]."""

    laplacian: sp.csr_array
    lambda_max: float
    scaled: sp.csr_array
    layout: SparseLayout
    x_NFB: np.ndarray
    theta: np.ndarray
    g_NOB: np.ndarray
    first: bool


@dataclasses.dataclass(frozen=True)
class Peer:
    """What is timed - `forward` gives y, `step` y and its gradients - and a step's results to check.

    A first layer's input needs no gradient, so its step gives none, and `results` None.
    """

    forward: Callable[[], Any]
    step: Callable[[], Any]
    results: Callable[[], tuple[np.ndarray, np.ndarray | None, np.ndarray]]


# Where the axes of [N, F, B] go.
VERTEX_MAJOR = (0, 1, 2)
FEATURES_LAST = (0, 2, 1)
DOCUMENT_MAJOR = (2, 0, 1)


def vertex_major(problem: Problem) -> Peer:
    """Ours: `chebyshev_filter_batch`."""
    return _jax(problem, chebyshev_filter_batch, problem.layout, VERTEX_MAJOR)


def vmapped_document(problem: Problem) -> Peer:
    """Ours: `jax.vmap` of the one-document `chebyshev_filter`."""
    return _jax(problem, jax.vmap(chebyshev_filter, in_axes=(0, None, None)), problem.layout, DOCUMENT_MAJOR)


def vmapped_bcoo(problem: Problem) -> Peer:
    """The equation for one document on JAX's own sparse matrix, under `jax.vmap`."""

    def one(x_NF, theta, matrix):
        T = [x_NF, matrix @ x_NF]
        while len(T) < len(theta):
            T.append(2 * (matrix @ T[-1]) - T[-2])
        return sum(T_NF @ theta_FO for T_NF, theta_FO in zip(T, theta, strict=True))

    matrix = BCOO.from_scipy_sparse(problem.scaled.astype(np.float32))
    return _jax(problem, jax.vmap(one, in_axes=(0, None, None)), matrix, DOCUMENT_MAJOR)


def segment_sum(problem: Problem) -> Peer:
    """Messages along edges and a segment sum, as jraph and most JAX graph code do; vertex-major."""

    def batch(x_NBF, theta, edges):
        senders, receivers, weights = edges

        def multiply(x):
            messages = weights[:, None, None] * x[senders]
            return jax.ops.segment_sum(messages, receivers, len(x), indices_are_sorted=True)

        T = [x_NBF, multiply(x_NBF)]
        while len(T) < len(theta):
            T.append(2 * multiply(T[-1]) - T[-2])
        return sum(T_NBF @ theta_FO for T_NBF, theta_FO in zip(T, theta, strict=True))

    entries = problem.scaled.tocoo()
    weights = jnp.asarray(entries.data, jnp.float32)
    return _jax(problem, batch, (jnp.asarray(entries.col), jnp.asarray(entries.row), weights), FEATURES_LAST)


def torch_csr(problem: Problem) -> Peer:
    """The best we know in PyTorch: vertex-major, CSR products (MKL), and the symmetric backward by hand.

    The polynomial stands on the narrower side, as in ours.
    """
    import torch

    matrix = problem.scaled
    csr_arrays = (matrix.indptr, matrix.indices, matrix.data.astype(np.float32))
    with warnings.catch_warnings(action="ignore"):  # "Sparse CSR tensor support is in beta state"
        crow, column, value = map(torch.tensor, csr_arrays)
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

    theta = torch.tensor(problem.theta, requires_grad=True)
    function = on_inputs if problem.theta.shape[1] < problem.theta.shape[2] else on_outputs
    return _torch(problem, lambda x_NBF: function(x_NBF, theta), [theta], FEATURES_LAST)


def pyg_chebconv(problem: Problem) -> Peer:
    """PyTorch Geometric's ChebConv on a batch [B, N, F]."""
    import torch
    from torch_geometric.nn import ChebConv

    K, F_in, F_out = problem.theta.shape
    layer = ChebConv(F_in, F_out, K, bias=False)
    with torch.no_grad():
        for weight, theta_FO in zip(layer.parameters(), problem.theta, strict=True):
            weight.copy_(torch.tensor(theta_FO.T))
    entries = problem.laplacian.tocoo()
    edge = entries.row != entries.col
    edges = torch.tensor(np.stack([entries.row[edge], entries.col[edge]]), dtype=torch.long)
    lambda_max = torch.tensor(problem.lambda_max, dtype=torch.float32)

    def batch(x_BNF):
        return layer(x_BNF, edges, lambda_max=lambda_max)

    return _torch(problem, batch, list(layer.parameters()), DOCUMENT_MAJOR)


def _jax(problem: Problem, function: Callable, graph: Any, order: tuple[int, ...]) -> Peer:
    x, g = (jnp.array(np.transpose(a, order)) for a in (problem.x_NFB, problem.g_NOB))
    theta = jnp.asarray(problem.theta)
    forward = jax.jit(function)

    @jax.jit
    def step(x, theta, graph, g):
        def of_variables(*variables):
            return function(*((x, *variables) if problem.first else variables), graph)

        y, pullback = jax.vjp(of_variables, *(() if problem.first else (x,)), theta)
        return y, *pullback(g)

    def results():
        y, *dx, dtheta = step(x, theta, graph, g)
        return _ours(y, order), _ours(dx[0], order) if dx else None, np.asarray(dtheta)

    return Peer(lambda: forward(x, theta, graph), lambda: step(x, theta, graph, g), results)


def _torch(problem: Problem, function: Callable, weights: list, order: tuple[int, ...]) -> Peer:
    import torch

    x, g = (
        torch.tensor(np.ascontiguousarray(np.transpose(a, order))) for a in (problem.x_NFB, problem.g_NOB)
    )
    x.requires_grad_(not problem.first)
    variables = weights if problem.first else [x, *weights]

    def forward():
        with torch.no_grad():
            return function(x)

    def step():
        y = function(x)
        return y.detach(), *torch.autograd.grad(y, variables, g)

    def results():
        y, *gradients = step()
        dx = None if problem.first else _ours(gradients.pop(0), order)
        # One tensor [K, F_in, F_out], or a linear layer's [F_out, F_in] for each order.
        dtheta = (
            gradients[0].numpy() if gradients[0].ndim == 3 else np.stack([d.numpy().T for d in gradients])
        )
        return _ours(y, order), dx, dtheta

    return Peer(forward, step, results)


def _ours(y: Any, order: tuple[int, ...]) -> np.ndarray:
    return np.transpose(np.asarray(y), np.argsort(order))


PEERS = {
    "ours": vertex_major,
    "ours, vmap of one document": vmapped_document,
    "PyTorch, CSR, symmetric backward": torch_csr,
    "JAX, segment_sum": segment_sum,
    "JAX, vmap over BCOO": vmapped_bcoo,
    "PyG ChebConv": pyg_chebconv,
}
