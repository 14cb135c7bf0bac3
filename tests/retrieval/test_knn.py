import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.nearest import nearest_neighbours

# Rows whose cosines float64 holds exactly (length 1 or 2, entries -1, 0, 1), so that every tie is a true tie.
EXACT_ROWS = np.array(
    [[*row] for row in np.ndindex(3, 3, 3, 3) if (np.abs(np.array(row) - 1).sum()) in (1, 4)], np.float32
) - np.float32(1)


def brute_force(vectors, k):
    """The whole N x N table of cosines in float64, each row sorted, the lower row number first in a tie."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("k", [1, 8, 299])
def test_neighbours_equal_brute_force(k):
    vectors = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
    found = nearest_neighbours(vectors, k)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, brute_force(vectors, k))


@given(st.data())
@settings(deadline=None)
def test_neighbours_equal_brute_force_where_cosines_tie(data):
    rows = data.draw(st.lists(st.integers(0, len(EXACT_ROWS) - 1), min_size=2, max_size=25))
    k = data.draw(st.integers(1, len(rows) - 1))
    block = data.draw(st.integers(1, 700))
    vectors = EXACT_ROWS[rows]
    np.testing.assert_array_equal(nearest_neighbours(vectors, k, block), brute_force(vectors, k))


@pytest.mark.parametrize("seed", range(20))
def test_equal_rows_tie_wherever_a_block_puts_them(seed):
    """A plain matrix product fails this: its last bits depend on where in the block a pair stands."""
    rng = np.random.default_rng(seed)
    distinct = rng.standard_normal((6, 50)).astype(np.float32)
    kind = rng.permutation(np.repeat(np.arange(6), 4))[:-1]
    copies = [np.flatnonzero(kind == i) for i in range(6)]
    ranked = []
    for word, order in enumerate(brute_force(distinct, 5)[kind]):
        own = copies[kind[word]]
        ranked.append(np.concatenate([own[own != word], *(copies[other] for other in order)]))
    for k in range(1, 23):
        for rows_a_block in (1, 3, 23):
            found = nearest_neighbours(distinct[kind], k, rows_a_block * 23)
            np.testing.assert_array_equal(found, np.array(ranked)[:, :k])


def test_scaling_a_row_by_a_power_of_two_changes_nothing():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100, 5)).astype(np.float32)
    scale = np.exp2(rng.integers(-30, 30, (100, 1))).astype(np.float32)
    np.testing.assert_array_equal(nearest_neighbours(vectors * scale, 9), nearest_neighbours(vectors, 9))


def test_a_row_is_never_its_own_neighbour():
    neighbours = nearest_neighbours(np.ones((6, 3), np.float32), 5)
    assert all(sorted(row) == [i for i in range(6) if i != word] for word, row in enumerate(neighbours))


@pytest.mark.parametrize("k", [0, 4, 9])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(InputError, match=f"k = {k}, but 4 words have a vector and 1 <= k < 4 is needed"):
        nearest_neighbours(np.ones((4, 2), np.float32), k)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_row_without_a_direction_is_refused(value):
    vectors = np.ones((4, 2), np.float32)
    vectors[2] = value
    with pytest.raises(InputError, match="row 2 is zero or not finite"):
        nearest_neighbours(vectors, 1)
