"""Which neighbours a run asks for, and what is kept of those of a large corpus."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.nearest import nearest_by_distance
from gcnxmodal.systems import feature_neighbours

K = 8


def normal_rows(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal((n, d)).astype(np.float32)


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'gcnxmodal\[faiss\]', or --train.knn exact"):
        feature_neighbours.nearest_neighbours(normal_rows(20, 3), 2, "faiss")


def test_neighbours_of_a_large_corpus_are_found_once_and_again_where_the_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path))
    monkeypatch.setattr(feature_neighbours, "KEPT_FROM", 100)
    asked = []

    def counted(rows, k):
        asked.append(k)
        return nearest_by_distance(rows, k)

    monkeypatch.setitem(feature_neighbours.METHODS, "exact", counted)
    rows = normal_rows(120, 5)
    first = feature_neighbours.nearest_neighbours(rows, K, "exact")
    np.testing.assert_array_equal(feature_neighbours.nearest_neighbours(rows, K, "exact"), first)
    assert len(asked) == 1
    [kept] = (tmp_path / "neighbours").iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    np.testing.assert_array_equal(feature_neighbours.nearest_neighbours(rows, K, "exact"), first)
    assert len(asked) == 2
    assert "damaged" in caplog.text
    feature_neighbours.nearest_neighbours(rows + 1, K, "exact")
    feature_neighbours.nearest_neighbours(rows, K - 1, "exact")
    assert len(asked) == 4
    feature_neighbours.nearest_neighbours(rows[:99], K, "exact")
    assert len(list((tmp_path / "neighbours").iterdir())) == 3
    for changed in (dict(method="faiss"), dict(k=K - 1), dict(rows_nd=rows + 1)):
        given = {"rows_nd": rows, "k": K, "method": "exact", **changed}
        if given["method"] == "faiss" and importlib.util.find_spec("faiss") is None:
            continue
        assert feature_neighbours._key(**given) != feature_neighbours._key(rows, K, "exact")
