"""Graphs with everything that can go wrong: hubs, isolated vertices, directions, float weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from gcnxmodal.graph.layout import SparseLayout, pack


@dataclasses.dataclass(frozen=True)
class Example:
    """A graph, its Laplacian and largest eigenvalue, L~ in float64, and L~ packed."""

    adjacency: np.ndarray
    laplacian: np.ndarray
    lambda_max: float
    scaled: np.ndarray
    layout: SparseLayout


def normalised_laplacian(adjacency: np.ndarray) -> np.ndarray:
    degree = adjacency.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(len(degree)), where=degree > 0)
    return np.eye(len(degree)) - scale[:, None] * adjacency * scale


@pytest.fixture(scope="session")
def graph() -> Example:
    """60 vertices, symmetric, weighted; vertex 0 has some 25 neighbours, and the last 3 have none."""
    random = np.random.default_rng(0)
    adjacency = np.where(random.random((60, 60)) < 0.08, random.uniform(0.2, 1.0, (60, 60)), 0)
    adjacency[0, 1:24] = 0.5
    adjacency = np.maximum(adjacency, adjacency.T)
    np.fill_diagonal(adjacency, 0)
    adjacency[-3:] = adjacency[:, -3:] = 0
    laplacian = normalised_laplacian(adjacency)
    lambda_max = float(np.linalg.eigvalsh(laplacian)[-1])
    scaled = 2 * laplacian / lambda_max - np.eye(60)
    return Example(adjacency, laplacian, lambda_max, scaled, pack(sp.csr_array(scaled)))


@pytest.fixture(scope="session")
def directed() -> Example:
    """60 vertices of which each looks at 5, and 40 of them at vertex 7: hubs in the transpose only."""
    random = np.random.default_rng(1)
    scaled = np.zeros((60, 60))
    for row in range(60):
        scaled[row, random.choice(60, 5, replace=False)] = random.uniform(-0.5, 0.5, 5)
    scaled[:40, 7] = 0.3
    unknown = np.full((60, 60), np.nan)
    return Example(unknown, unknown, np.nan, scaled, pack(sp.csr_array(scaled)))


@pytest.fixture
def normal():
    """normal(shape): float32 values, another draw each call."""
    random = np.random.default_rng(2)
    return lambda *shape: jnp.asarray(random.standard_normal(shape), jnp.float32)


@pytest.fixture
def assert_close():
    """Relative error in the 2-norm of every leaf."""

    def check(found, expected, tolerance):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert a.shape == b.shape
            error = np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b)
            assert error <= tolerance, f"relative error {error:.2e} > {tolerance:.0e}"

    return check
