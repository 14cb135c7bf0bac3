"""Sparse texts on the device: some rows of them are those of the dense matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from gcnxmodal.training.state import SparseRows

random = np.random.default_rng(0)
DENSE = np.where(random.random((40, 30)) < 0.2, random.standard_normal((40, 30)), 0).astype(np.float32)
DENSE[[0, 7, 39]] = 0  # the first, one in the middle, and the last
DENSE[11] = random.standard_normal(30)
ROWS = np.array([39, 0, 11, 7, 11, 38, 1])


@pytest.fixture
def sparse() -> SparseRows:
    return jax.tree.map(jnp.asarray, SparseRows.of(sp.csr_array(DENSE)))


def test_rows_are_those_of_the_dense_matrix(sparse):
    np.testing.assert_array_equal(sparse[ROWS], DENSE[ROWS], strict=True)
    np.testing.assert_array_equal(jax.jit(lambda matrix, rows: matrix[rows])(sparse, ROWS), DENSE[ROWS])


def test_members_trained_side_by_side_read_each_its_own_rows(sparse):
    rows = random.integers(0, 40, (3, 5))
    found = jax.vmap(lambda rows_B: sparse[rows_B])(rows)
    np.testing.assert_array_equal(found, DENSE[rows])


def test_a_matrix_without_an_entry_is_zero():
    nothing = jax.tree.map(jnp.asarray, SparseRows.of(sp.csr_array((4, 3), dtype=np.float32)))
    np.testing.assert_array_equal(nothing[np.array([3, 0])], np.zeros((2, 3), np.float32))


def test_memory_is_eight_bytes_a_word_and_not_that_of_the_vocabulary():
    n, tags = 188_321, 8  # as many as NUS-WIDE has, of 5,018 words
    columns = random.integers(0, 5_018 // tags, (n, tags)) + np.arange(tags) * (5_018 // tags)
    starts = np.arange(n + 1) * tags
    matrix = sp.csr_array((np.ones(n * tags, np.float32), columns.ravel(), starts), shape=(n, 5_018))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(SparseRows.of(matrix)))
    assert held == 8 * n * tags + 4 * (n + 1)
    assert held < 100e6


def test_one_batch_makes_no_array_of_all_texts(sparse):
    compiled = jax.jit(lambda matrix, rows: matrix[rows]).lower(sparse, ROWS).compile()
    used = compiled.memory_analysis()
    assert used.output_size_in_bytes == 4 * len(ROWS) * 30
    assert used.temp_size_in_bytes <= 4 * len(ROWS) * (30 + 4 * sparse.longest) < DENSE.nbytes
