"""The graph convolution as others would write it, each as well as its library allows.

A peer is a function of a `Problem`. It gets its inputs in the memory order it likes best, before the clock
starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.experimental.sparse import BCOO

from benchmarks.torch_filters import csr_filter, dgl_layer, pyg_layer, torch_device
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
    """The best we know in PyTorch: `csr_filter`."""
    import torch

    device = torch_device()
    filter_batch = csr_filter(problem.scaled, device, torch.float32)
    theta = torch.tensor(problem.theta, device=device, requires_grad=True)
    return _torch(problem, lambda x_NBF: filter_batch(x_NBF, theta, problem.first), [theta], FEATURES_LAST)


def pyg_chebconv(problem: Problem) -> Peer:
    """PyTorch Geometric's ChebConv on a batch [B, N, F]."""
    layer, apply = pyg_layer(problem.laplacian, problem.lambda_max, problem.theta, torch_device())
    return _torch(problem, apply, [linear.weight for linear in layer.lins], DOCUMENT_MAJOR)


def dgl_chebconv(problem: Problem) -> Peer:
    """DGL's ChebConv on a batch of graphs, one a document."""
    N, _, B = problem.x_NFB.shape
    layer, apply = dgl_layer(problem.laplacian, problem.lambda_max, problem.theta, B, torch_device())

    def batch(x_BNF):
        return apply(x_BNF.reshape(B * N, -1)).reshape(B, N, -1)

    return _torch(problem, batch, [layer.linear.weight], DOCUMENT_MAJOR)


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
        torch.tensor(np.ascontiguousarray(np.transpose(a, order)), device=torch_device())
        for a in (problem.x_NFB, problem.g_NOB)
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
        y, *gradients = (a.cpu().numpy() for a in step())
        dx = None if problem.first else _ours(gradients.pop(0), order)
        K, F_in, F_out = problem.theta.shape
        # One tensor [K, F_in, F_out], one [F_out, K F_in], or a linear layer's [F_out, F_in] for each order.
        dtheta = gradients[0] if len(gradients) == 1 else np.concatenate(gradients, axis=1)
        if dtheta.ndim == 2:
            dtheta = dtheta.T.reshape(K, F_in, F_out)
        return _ours(y, order), dx, dtheta

    return Peer(forward, step, results)


def _ours(y: Any, order: tuple[int, ...]) -> np.ndarray:
    return np.transpose(np.asarray(y), np.argsort(order))


PEERS = {
    "ours": vertex_major,
    "ours, vmap of one document": vmapped_document,
    "PyTorch, CSR, symmetric backward": torch_csr,
    "DGL ChebConv": dgl_chebconv,
    "JAX, segment_sum": segment_sum,
    "JAX, vmap over BCOO": vmapped_bcoo,
    "PyG ChebConv": pyg_chebconv,
}
