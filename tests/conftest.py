"""Small corpora and graphs that the tests share."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

WORDS = [f"word{i:02d}" for i in range(40)]


@pytest.fixture
def shared_data() -> Path:
    """Real data that lies beside a developer's checkout; absent anywhere else."""
    root = Path(__file__).parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not part of the project")
    return root


def write_folder(root: Path, items: int = 90, classes: int = 3, seed: int = 0) -> Path:
    """A data set in the generic folder layout whose classes can be told apart in both modalities."""
    random = np.random.default_rng(seed)
    labels = np.arange(items) % classes
    share = len(WORDS) // classes
    root.mkdir(parents=True, exist_ok=True)
    with (root / "metadata.jsonl").open("w") as file:
        for i, label in enumerate(labels):
            own = random.choice(WORDS[label * share : (label + 1) * share], 8)
            noise = random.choice(WORDS, 4)
            split = "test" if i >= items * 2 // 3 else "train"
            row = {"text": " ".join([*own, *noise]), "label": f"class{label}", "split": split}
            file.write(json.dumps(row) + "\n")
    centres = random.standard_normal((classes, 12))
    images = centres[labels] + 0.5 * random.standard_normal((items, 12))
    np.savez(root / "features.npz", images=images.astype(np.float32))
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
