"""Data that the tests share."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from small_folder import write_folder


@pytest.fixture
def shared_data() -> Path:
    """Real data that lies beside a developer's checkout; absent anywhere else."""
    root = Path(__file__).parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not part of the project")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


@pytest.fixture
def ring_laplacian() -> sp.csr_array:
    """Scaled Laplacian (lambda_max = 2) of a ring of 12 words with one chord."""
    n = 12
    edges = [(i, (i + 1) % n) for i in range(n)] + [(0, 6)]
    adjacency = np.zeros((n, n))
    for i, j in edges:
        adjacency[i, j] = adjacency[j, i] = 1
    degree = adjacency.sum(axis=1)
    return sp.csr_array(-adjacency / np.sqrt(np.outer(degree, degree)))
