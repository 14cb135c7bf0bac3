import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.graph.word_graph import (
    graph_order,
    laplacian,
    largest_eigenvalue,
    relabel,
    scaled_laplacian,
    word_graph,
)

SYMMETRIC = ["union", "gaussian"]


def dense(graph):
    matrix = np.zeros((int(graph.n_node[0]),) * 2)
    np.add.at(matrix, (np.asarray(graph.receivers), np.asarray(graph.senders)), np.asarray(graph.edges))
    return matrix


def words(seed, N, d, coverage=1.0):
    """Random word vectors; a fraction `coverage` of the words has one (at least three words)."""
    rng = np.random.default_rng(seed)
    has_vector = rng.random(N) < coverage
    has_vector[:3] = True
    return np.where(has_vector[:, None], rng.standard_normal((N, d)), 0).astype(np.float32), has_vector


def nearest_by_definition(vectors, k):
    """N_k as a bool matrix: [i, j] says that j is among the k nearest to i."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    near = np.zeros(cosines.shape, bool)
    np.put_along_axis(near, np.argsort(-cosines, axis=1)[:, :k], True, axis=1)
    return near, cosines


GRAPHS = st.tuples(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(2, 8), st.floats(0, 1))


@given(GRAPHS, st.integers(1, 8), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_union_graph_is_binary_symmetric_and_sees_only_directions(shape, k, scale):
    vectors, has_vector = words(*shape)
    k = min(k, has_vector.sum() - 1)
    graph = word_graph(vectors, has_vector, k)
    matrix = dense(graph)
    assert set(np.unique(matrix)) <= {0, 1}
    assert np.asarray(graph.edges).size == int(graph.n_edge[0]) == matrix.sum()
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any()
    degree = matrix.sum(axis=1)
    assert (degree[has_vector] >= k).all()
    assert not degree[~has_vector].any()
    scaled = word_graph(vectors.astype(np.float64) * scale, has_vector, k)
    np.testing.assert_array_equal(dense(scaled), matrix)


@pytest.mark.parametrize("k", [1, 8])
def test_union_graph_is_equation_1(k):
    vectors, has_vector = words(0, 200, 10)
    near, _ = nearest_by_definition(vectors, k)
    np.testing.assert_array_equal(dense(word_graph(vectors, has_vector, k)), near | near.T)


@pytest.mark.parametrize("k", [1, 8])
def test_directed_graph_counts_the_word_itself_among_its_nearest(k):
    vectors, has_vector = words(0, 200, 10)
    matrix = dense(word_graph(vectors, has_vector, k, "directed"))
    near, _ = nearest_by_definition(vectors, k - 1)
    np.testing.assert_array_equal(matrix, near | np.eye(200, dtype=bool))
    assert (matrix.sum(axis=1) == k).all()


def test_gaussian_graph_weighs_edges_by_distance():
    vectors, has_vector = words(0, 200, 10)
    k = 8
    near, cosines = nearest_by_definition(vectors, k)
    distance = 1 - cosines
    sigma = np.mean([np.sort(row)[k - 1] for row in distance])  # the diagonal is infinitely far
    expected = np.where(near | near.T, np.exp(-(distance**2) / sigma**2), 0)
    matrix = dense(word_graph(vectors, has_vector, k, "gaussian"))
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_gaussian_graph_of_equal_vectors_has_weight_one():
    graph = word_graph(np.ones((5, 3), np.float32), np.ones(5, bool), 2, "gaussian")
    assert set(np.asarray(graph.edges).tolist()) == {1.0}


def test_edges_send_to_the_row_they_stand_in():
    """A x by messages, the way jraph code reads a graph, is the matrix product."""
    vectors, has_vector = words(1, 30, 4, 0.8)
    graph = word_graph(vectors, has_vector, 2, "directed")
    x = np.random.default_rng(0).standard_normal(30).astype(np.float32)
    weights, receivers = jnp.asarray(graph.edges), jnp.asarray(graph.receivers)
    sent = jax.ops.segment_sum(weights * jnp.asarray(x)[graph.senders], receivers, 30)
    np.testing.assert_allclose(sent, dense(graph) @ x, rtol=1e-6)


@given(GRAPHS, st.integers(1, 8), st.sampled_from(SYMMETRIC))
@settings(deadline=None)
def test_laplacian_is_its_formula_with_eigenvalues_from_0_to_2(shape, k, variant):
    vectors, has_vector = words(*shape)
    graph = word_graph(vectors, has_vector, min(k, has_vector.sum() - 1), variant)
    A, L = dense(graph), laplacian(graph).toarray()
    degree = A.sum(axis=1)
    inverse = np.diag([d**-0.5 if d else 0 for d in degree])
    np.testing.assert_allclose(L, np.eye(len(A)) - inverse @ A @ inverse, atol=1e-15)
    np.testing.assert_array_equal(L[~has_vector], np.eye(len(A))[~has_vector])
    eigenvalues = np.linalg.eigvalsh(L)
    assert eigenvalues[0] >= -1e-12
    assert eigenvalues[-1] <= 2 + 1e-12


@pytest.mark.parametrize("N", [1, 3, 256, 257, 500])
@pytest.mark.parametrize("variant", SYMMETRIC)
def test_largest_eigenvalue_equals_the_dense_one(N, variant):
    vectors, has_vector = words(0, max(N, 3), 6, 0.9)
    L = laplacian(word_graph(vectors, has_vector, 2, variant))[:N, :N]
    largest = largest_eigenvalue(L)
    np.testing.assert_allclose(largest, np.linalg.eigvalsh(L.toarray())[-1], rtol=1e-12)
    assert largest == largest_eigenvalue(L)


@pytest.mark.parametrize("N", [80, 300])
def test_words_that_are_their_own_only_neighbours_are_refused_whatever_their_number(N):
    graph = word_graph(*words(0, N, 6, 1.0), 1, "directed")
    with pytest.raises(
        InputError, match="no two words are neighbours, so lambda_max is 0; choose a larger k"
    ):
        scaled_laplacian(graph, "true")


def test_scaling_by_the_true_eigenvalue_maps_the_spectrum_onto_plus_minus_1():
    vectors, has_vector = words(0, 80, 6, 0.9)
    graph = word_graph(vectors, has_vector, 4)
    eigenvalues = np.linalg.eigvalsh(scaled_laplacian(graph, "true").toarray())
    np.testing.assert_allclose(eigenvalues[[0, -1]], [-1, 1], atol=1e-12)


def test_scaling_by_two_subtracts_the_identity():
    vectors, has_vector = words(0, 80, 6, 0.9)
    for variant in (*SYMMETRIC, "directed"):
        graph = word_graph(vectors, has_vector, 4, variant)
        scaled = scaled_laplacian(graph, "two")
        np.testing.assert_allclose(scaled.toarray(), laplacian(graph).toarray() - np.eye(80), atol=1e-15)
        assert (scaled.data != 0).all()


@given(st.integers(0, 2**32 - 1), st.permutations(range(20)), st.sampled_from([*SYMMETRIC, "directed"]))
@settings(deadline=None)
def test_relabelling_then_the_laplacian_is_the_permuted_laplacian(seed, order, variant):
    order = np.array(order)
    graph = word_graph(*words(seed, 20, 4, 0.8), 2, variant)
    np.testing.assert_allclose(
        laplacian(relabel(graph, order)).toarray(),
        laplacian(graph).toarray()[np.ix_(order, order)],
        atol=1e-15,
    )


def test_relabelling_back_gives_the_same_graph():
    graph = word_graph(*words(0, 50, 4, 0.9), 3)
    order = np.random.default_rng(0).permutation(50)
    back = relabel(relabel(graph, order), np.argsort(order))
    jax.tree.map(np.testing.assert_array_equal, back, graph)


def test_graph_order_brings_neighbours_together():
    """Words on a circle in shuffled order: neighbours come within a few places of each other again."""
    N = 400
    angle = np.random.default_rng(0).permutation(N) * 2 * np.pi / N
    graph = word_graph(np.stack([np.cos(angle), np.sin(angle)], axis=1), np.ones(N, bool), 2)
    order = graph_order(graph)
    assert sorted(order) == list(range(N))

    def reach(graph):
        return np.abs(np.asarray(graph.senders) - np.asarray(graph.receivers)).max()

    assert reach(graph) > 300
    assert reach(relabel(graph, order)) <= 4


def test_bad_graphs_are_refused():
    vectors, has_vector = words(0, 10, 4)
    graph = word_graph(vectors, has_vector, 2)
    with pytest.raises(
        InputError, match="variant 'knn' is not known; choose one of union, directed, gaussian"
    ):
        word_graph(vectors, has_vector, 2, "knn")
    with pytest.raises(InputError, match="k = 10, but 10 words have a vector"):
        word_graph(vectors, has_vector, 10)
    with pytest.raises(InputError, match="lambda_max '2' is not known; choose one of true, two"):
        scaled_laplacian(graph, "2")
    with pytest.raises(InputError, match="needs a symmetric graph"):
        scaled_laplacian(word_graph(vectors, has_vector, 2, "directed"), "true")
    with pytest.raises(InputError, match="no two words are neighbours"):
        scaled_laplacian(word_graph(vectors, has_vector, 1, "directed"), "true")
    with pytest.raises(InputError, match="negative or not finite"):
        laplacian(graph._replace(edges=-jnp.asarray(graph.edges)))
    with pytest.raises(InputError, match="each of the 10 vertices once"):
        relabel(graph, np.zeros(10, int))
