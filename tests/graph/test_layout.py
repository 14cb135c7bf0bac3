"""The packed matrix."""

import jax
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.graph.layout import WIDTH, SparseLayout, pack


def unpack(layout: SparseLayout) -> np.ndarray:
    """The dense matrix of a layout, entry by entry as its docstring says."""
    N = len(layout.diagonal)
    matrix = np.diag(np.asarray(layout.diagonal))

    def table(neighbours, weights, source):
        return np.einsum("rw,rwm->rm", weights, source[neighbours])

    source = np.eye(N)
    matrix = matrix + table(np.asarray(layout.neighbours), np.asarray(layout.weights), source)
    for hubs in layout.hubs:
        matrix[hubs.rows] += table(np.asarray(hubs.neighbours), np.asarray(hubs.weights), source)
        source = table(np.asarray(hubs.chunk_neighbours), np.asarray(hubs.chunk_weights), source)
    return matrix


@st.composite
def matrices(draw) -> sp.csr_array:
    N = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 1_000)))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    matrix = np.where(random.random((N, N)) < density, random.standard_normal((N, N)), 0)
    return sp.csr_array(matrix + matrix.T if draw(st.booleans()) else matrix)


@settings(deadline=None, max_examples=60)
@given(matrices(), st.integers(2, 5))
def test_layout_holds_every_entry_once(matrix, width):
    layout = pack(matrix, width)
    np.testing.assert_allclose(unpack(layout), matrix.toarray().astype(np.float32), atol=1e-6)
    if layout.transpose is None:
        assert abs(matrix - matrix.T).max() <= 1e-6
    else:
        np.testing.assert_allclose(unpack(layout.transpose), matrix.toarray().T.astype(np.float32), atol=1e-6)
    completed = np.concatenate([hubs.rows for hubs in layout.hubs] or [[]])
    assert len(np.unique(completed)) == len(completed)


def test_star_costs_its_entries_and_a_few_levels():
    N = 10_000
    spokes = np.arange(1, N)
    matrix = sp.coo_array((np.full(N - 1, 0.01), (np.zeros(N - 1, int), spokes)), shape=(N, N)).tocsr()
    layout = pack(matrix + matrix.T)
    assert [len(hubs.rows) for hubs in layout.hubs] == [0, 0, 0, 1]
    places = sum(hubs.neighbours.size + hubs.chunk_neighbours.size for hubs in layout.hubs)
    assert places < 1.1 * N
    assert layout.neighbours.shape == (N, WIDTH)


def test_unused_places_read_what_the_row_reads_anyway():
    layout = pack(sp.csr_array(np.array([[0.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])))
    read = [set(row) for row in np.asarray(layout.neighbours)]
    assert read == [{0, 1}, {0, 1}, {2}]


def test_rounding_does_not_make_a_symmetric_matrix_directed():
    random = np.random.default_rng(0)
    half = np.triu(random.uniform(0.1, 1, (30, 30)))
    matrix = half + np.triu(half, 1).T
    assert pack(sp.csr_array(matrix * (1 + 1e-15 * random.random((30, 30))))).transpose is None
    matrix[3, 5] += 1e-3
    assert pack(sp.csr_array(matrix)).transpose is not None


def test_packing_leaves_the_matrix_as_it_was():
    matrix = sp.csr_array(np.eye(3))
    matrix.data[1] = 0
    pack(matrix)
    assert matrix.nnz == 3


def test_layout_is_a_pytree_of_arrays_only(graph, directed):
    for layout in (graph.layout, directed.layout):
        leaves, structure = jax.tree.flatten(layout)
        assert all(isinstance(leaf, jax.Array) for leaf in leaves)
        assert jax.tree.unflatten(structure, leaves) == layout


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (sp.csr_array((2, 3)), r"must be square and not empty, not \[2, 3\]"),
        (sp.csr_array((0, 0)), r"must be square and not empty, not \[0, 0\]"),
        (sp.csr_array(np.array([[0, np.nan], [np.nan, 0]])), "not finite"),
    ],
)
def test_bad_matrix_is_named(matrix, message):
    with pytest.raises(InputError, match=message):
        pack(matrix)
