import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.text.knn import nearest_neighbours

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


@pytest.mark.parametrize("rows_a_block", [1, 3, 17, 403])
@pytest.mark.parametrize("kinds", [5, 61])
def test_equal_rows_tie_wherever_a_block_puts_them(rows_a_block, kinds):
    """A plain matrix product fails this: its last bits depend on where in the block a pair stands."""
    rng = np.random.default_rng(0)
    distinct = rng.standard_normal((kinds, 50)).astype(np.float32)
    kind = rng.integers(0, kinds, 403)
    copies = [np.flatnonzero(kind == i) for i in range(kinds)]
    expected = []
    for word, order in enumerate(brute_force(distinct, kinds - 1)[kind]):
        own = copies[kind[word]]
        expected.append(np.concatenate([own[own != word], *(copies[other] for other in order)])[:200])
    np.testing.assert_array_equal(nearest_neighbours(distinct[kind], 200, rows_a_block * 403), expected)


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
    with pytest.raises(InputError, match=f"k = {k} of 4 words with a vector; choose k from 1 to 3"):
        nearest_neighbours(np.ones((4, 2), np.float32), k)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_row_without_a_direction_is_refused(value):
    vectors = np.ones((4, 2), np.float32)
    vectors[2] = value
    with pytest.raises(InputError, match="row 2 is zero or not finite"):
        nearest_neighbours(vectors, 1)
