"""Nearest neighbours: ties by cosine, the memory of a block by distance, what faiss misses."""

import importlib.util

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.nearest import (
    BLOCK,
    _nearest_of_block,
    nearest_by_cosine,
    nearest_by_distance,
    nearest_by_index,
    require_faiss,
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


def test_without_faiss_the_extra_is_named_and_who_needs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^--to faiss needs .* pip install 'gcnxmodal\[faiss\]'$"):
        require_faiss("--to faiss")
    with pytest.raises(InputError, match=r"`nearest_by_index` needs .*, or `nearest_by_distance`$"):
        nearest_by_index(clustered(20, 3, 2), 2)


# Rows whose cosines float64 holds exactly (length 1 or 2, entries -1, 0, 1), so that every tie is a true tie.
EXACT_ROWS = np.array(
    [[*row] for row in np.ndindex(3, 3, 3, 3) if (np.abs(np.array(row) - 1).sum()) in (1, 4)], np.float32
) - np.float32(1)


def by_sorting_all_cosines(vectors, k):
    """The whole N x N table of cosines in float64, each row sorted, the lower row number first in a tie."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("k", [1, 8, 299])
def test_neighbours_equal_by_sorting_all_cosines(k):
    vectors = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
    found = nearest_by_cosine(vectors, k)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, by_sorting_all_cosines(vectors, k))


@given(st.data())
@settings(deadline=None)
def test_neighbours_equal_by_sorting_all_cosines_where_cosines_tie(data):
    rows = data.draw(st.lists(st.integers(0, len(EXACT_ROWS) - 1), min_size=2, max_size=25))
    k = data.draw(st.integers(1, len(rows) - 1))
    block = data.draw(st.integers(1, 700))
    vectors = EXACT_ROWS[rows]
    np.testing.assert_array_equal(nearest_by_cosine(vectors, k, block), by_sorting_all_cosines(vectors, k))


@pytest.mark.parametrize("seed", range(20))
def test_equal_rows_tie_wherever_a_block_puts_them(seed):
    """A plain matrix product fails this: its last bits depend on where in the block a pair stands."""
    rng = np.random.default_rng(seed)
    distinct = rng.standard_normal((6, 50)).astype(np.float32)
    kind = rng.permutation(np.repeat(np.arange(6), 4))[:-1]
    copies = [np.flatnonzero(kind == i) for i in range(6)]
    ranked = []
    for word, order in enumerate(by_sorting_all_cosines(distinct, 5)[kind]):
        own = copies[kind[word]]
        ranked.append(np.concatenate([own[own != word], *(copies[other] for other in order)]))
    for k in range(1, 23):
        for rows_a_block in (1, 3, 23):
            found = nearest_by_cosine(distinct[kind], k, rows_a_block * 23)
            np.testing.assert_array_equal(found, np.array(ranked)[:, :k])


def test_scaling_a_row_by_a_power_of_two_changes_nothing():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100, 5)).astype(np.float32)
    scale = np.exp2(rng.integers(-30, 30, (100, 1))).astype(np.float32)
    np.testing.assert_array_equal(nearest_by_cosine(vectors * scale, 9), nearest_by_cosine(vectors, 9))


def test_a_row_is_never_its_own_neighbour():
    neighbours = nearest_by_cosine(np.ones((6, 3), np.float32), 5)
    assert all(sorted(row) == [i for i in range(6) if i != word] for word, row in enumerate(neighbours))


@pytest.mark.parametrize("k", [0, 4, 9])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(InputError, match=f"k = {k}, but 4 words have a vector and 1 <= k < 4 is needed"):
        nearest_by_cosine(np.ones((4, 2), np.float32), k)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_row_without_a_direction_is_refused(value):
    vectors = np.ones((4, 2), np.float32)
    vectors[2] = value
    with pytest.raises(InputError, match="row 2 is zero or not finite"):
        nearest_by_cosine(vectors, 1)
