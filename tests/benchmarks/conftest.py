"""A problem small enough to run every alternative in seconds."""

import numpy as np
import pytest

from benchmarks import graphs, specs
from gcnxmodal.graph.layout import WIDTH

TINY = specs.DatasetShape(words=150, image_size=20, dimension=32)
# A graph without hubs compiles in half the time.
NEIGHBOURS = 3


@pytest.fixture(scope="session")
def words() -> graphs.Words:
    words = graphs.synthetic_words(TINY.words, NEIGHBOURS, texts=80)
    assert np.diff(words.scaled.indptr).max() <= WIDTH
    return words


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of its data set."""
    monkeypatch.setitem(specs.DATASETS, "tiny", TINY)
    return "tiny"
