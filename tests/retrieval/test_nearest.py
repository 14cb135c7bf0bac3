"""Nearest neighbours at scale: memory of a block, what faiss misses, and what is kept of them."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from gcnxmodal.errors import InputError
from gcnxmodal.systems import feature_neighbours
from gcnxmodal.systems.feature_graph import (
    BLOCK,
    _nearest_of_block,
    nearest_by_distance,
    nearest_by_index,
)

K = 8
MB = 2**20


def clustered(n: int, d: int, centres: int) -> np.ndarray:
    random = np.random.default_rng(4)
    rows = random.standard_normal((centres, d))[random.integers(centres, size=n)]
    rows += 0.7 * random.standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, exact, strict=True)]))


def test_200_000_rows_of_4_096_features_take_the_memory_of_a_block():
    d, shape = 4_096, jax.ShapeDtypeStruct
    temporary = []
    for n in (20_000, 200_000):
        rows, halves = shape((n, d), np.float32), shape((n,), np.float32)
        compiled = _nearest_of_block.lower(rows, halves, shape((), np.int32), k=K, block=BLOCK).compile()
        temporary.append(compiled.memory_analysis().temp_size_in_bytes)
    assert temporary[1] == temporary[0]
    assert temporary[1] < 100 * MB  # all pairs would take 160 GB


def test_blocks_that_overlap_at_the_end_find_each_neighbour_once():
    rows = clustered(150, 11, 5)
    found = nearest_by_distance(rows, K, block=37)
    distances = ((rows[:, None].astype(float) - rows[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :K])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e19])
@pytest.mark.parametrize("find", [nearest_by_distance, nearest_by_index])
def test_a_row_that_has_no_distance_is_named(find, bad):
    if find is nearest_by_index:
        pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    rows = clustered(50, 4, 3)
    rows[7, 1] = bad
    with pytest.raises(InputError, match=r"row 7 is not finite or longer than 1e18 \(1 of 50 are\)"):
        find(rows, K)


def test_faiss_finds_nearly_all_neighbours_of_clustered_rows_and_the_same_each_time():
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    rows = clustered(3_000, 16, 30)
    exact = nearest_by_distance(rows, K)
    found = nearest_by_index(rows, K)
    assert recall(found, exact) > 0.99
    assert (found != np.arange(len(rows))[:, None]).all()
    assert all(len(set(row)) == K for row in found.tolist())
    np.testing.assert_array_equal(found, nearest_by_index(rows, K))
    few = nearest_by_index(rows, K, probes=1)
    assert 0.3 < recall(few, exact) < recall(found, exact)  # it is an approximation, and the cells make it so
    assert not np.array_equal(few, nearest_by_index(rows, K, probes=1, seed=1))


def test_faiss_finds_k_neighbours_also_in_cells_of_fewer_rows():
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    rows = np.ones((304, 3), np.float32)
    rows[300:] = 100 + np.arange(4)[:, None]
    found = nearest_by_index(rows, K, probes=1)
    assert ((found >= 0) & (found != np.arange(304)[:, None])).all()
    assert set(found[303, :3].tolist()) == {300, 301, 302}
    np.testing.assert_array_equal(nearest_by_index(clustered(9, 3, 2), 8).shape, (9, 8))


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'gcnxmodal\[faiss\]', or --train.knn exact"):
        feature_neighbours.nearest_neighbours(clustered(20, 3, 2), 2, "faiss")


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
    rows = clustered(120, 5, 3)
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
