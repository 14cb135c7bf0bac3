"""The word graph, its Laplacian, and its order of vertices.

The graph is a `jraph.GraphsTuple`; as a matrix, A[receiver, sender] is the edge's weight, so that A x gathers
at each word what its edges send. Edges are sorted by receiver, then sender. Everything here is NumPy and
SciPy on the host: it runs once before training.
"""

import jax.numpy as jnp
import jraph
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import eigsh

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.nearest import nearest_by_cosine, pair_cosines, unit_rows

VARIANTS = ("union", "directed", "gaussian")
LAMBDA_MAX = ("true", "two")


def word_graph(
    vectors: Float[np.ndarray, "N d"], has_vector: Bool[np.ndarray, " N"], k: int = 8, variant: str = "union"
) -> jraph.GraphsTuple:
    r"""k-nearest-neighbour graph of the words by cosine of their vectors; N vertices, one graph.

    With N_k(i) the k words nearest to i, i itself not among them:

    - "union" (GIN Eq. 1): A_ij = 1 if i in N_k(j) or j in N_k(i), else 0. Binary, symmetric, no self loops.
    - "directed" (the GIN authors' code): A_ij = 1 if j = i or j in N_{k-1}(i): the word itself is counted
      among its k nearest, and the matrix is not symmetrised. Row i of A has k ones.
    - "gaussian" (Defferrard et al. 2016, lib/graph.py `adjacency`): with d_ij = 1 - cos(i, j), and sigma the
      mean over words of the distance to the k-th neighbour, the symmetric graph of "union" weighted
      A_ij = exp(-d_ij^2 / sigma^2).

    A word without a vector is a vertex without edges (the papers are silent on such words).

    Raises:
        InputError: for an unknown variant, or k out of range for the number of words with a vector.
    """
    if variant not in VARIANTS:
        raise InputError(f"graph: variant '{variant}' is not known; choose one of {', '.join(VARIANTS)}")
    N = len(has_vector)
    words = np.flatnonzero(has_vector)
    neighbours_Mk = nearest_by_cosine(vectors[words], k)
    if variant == "directed":
        neighbours_Mk = np.column_stack([np.arange(len(words)), neighbours_Mk[:, : k - 1]])
    row = np.repeat(np.arange(len(words)), k)
    column = neighbours_Mk.ravel()
    weight = np.ones(len(row))
    if variant == "gaussian":
        distance = np.maximum(1 - pair_cosines(unit_rows(vectors[words]), row, column), 0)
        sigma = max(distance.reshape(-1, k)[:, -1].mean(), np.finfo(np.float64).tiny)
        weight = np.exp(-np.square(distance / sigma))
    matrix = sp.csr_array((weight, (words[row], words[column])), shape=(N, N))
    if variant != "directed":
        matrix = sp.csr_array(matrix.maximum(matrix.T))
    return _from_matrix(matrix)


def laplacian(graph: jraph.GraphsTuple) -> sp.csr_array:
    r"""The normalised Laplacian L = I - D^{-1/2} A D^{-1/2}, float64 [N, N], D the row sums of A.

    For a symmetric graph its eigenvalues lie in [0, 2]. The row of a word without edges is the identity's.

    Raises:
        InputError: if an edge's weight is negative or not finite.
    """
    matrix = _to_matrix(graph)
    if not (np.isfinite(matrix.data) & (matrix.data >= 0)).all():
        raise InputError("graph: an edge's weight is negative or not finite; give every edge a weight >= 0")
    degree = matrix.sum(axis=1)
    scale = sp.diags_array(np.divide(1, np.sqrt(degree), where=degree > 0, out=np.zeros_like(degree)))
    return sp.csr_array(sp.eye_array(_size(graph)) - scale @ matrix @ scale)


def largest_eigenvalue(laplacian: sp.csr_array) -> float:
    """The largest eigenvalue of a symmetric matrix, to machine precision.

    Lanczos (ARPACK) from a fixed start vector, so that the same graph gives the same value again.

    Raises:
        InputError: if the matrix is not symmetric.
    """
    N = len(laplacian.indptr) - 1
    if abs(laplacian - laplacian.T).max() > 1e-12:
        raise InputError(
            "graph: lambda_max 'true' needs a symmetric graph; a directed one has complex eigenvalues: "
            "choose lambda_max 'two'"
        )
    if N <= 256:  # Lanczos needs N > 1, and restarts at random where there are few distinct eigenvalues.
        return float(np.linalg.eigvalsh(laplacian.toarray())[-1])
    if (size := abs(laplacian).max()) < 1e-12:  # each word is its own neighbour; ARPACK fails
        return float(size)
    start = np.random.default_rng(0).standard_normal(N)
    return float(eigsh(laplacian, k=1, which="LA", v0=start, return_eigenvectors=False)[0])


def scaled_laplacian(graph: jraph.GraphsTuple, lambda_max: str = "true") -> sp.csr_array:
    """L~ = 2 L / lambda_max - I, the argument of the Chebyshev polynomials, float64 [N, N] (GIN Eq. 5-6).

    `lambda_max` "true" is the largest eigenvalue of L (the papers), which maps the spectrum onto [-1, 1];
    "two" is its upper bound (all the surviving code). For word graphs the true value is about 1.5.

    Raises:
        InputError: for another `lambda_max`; for "true" with a graph that is not symmetric: its eigenvalues
            are complex, no real scale maps them onto [-1, 1], and the code that used it took 2; or for
            "true" where L is zero.
    """
    if lambda_max not in LAMBDA_MAX:
        known = ", ".join(LAMBDA_MAX)
        raise InputError(f"graph: lambda_max '{lambda_max}' is not known; choose one of {known}")
    matrix = laplacian(graph)
    largest = largest_eigenvalue(matrix) if lambda_max == "true" else 2.0
    if largest < 1e-12:
        raise InputError("graph: no two words are neighbours, so lambda_max is 0; choose a larger k")
    scaled = sp.csr_array(matrix * (2 / largest) - sp.eye_array(_size(graph)))
    scaled.eliminate_zeros()
    return scaled


def graph_order(graph: jraph.GraphsTuple) -> Int[np.ndarray, " N"]:
    """An order of the vertices that puts neighbours near each other (reverse Cuthill-McKee).

    Memory locality for the filter: `relabel` the graph and reorder the vocabulary by it once.
    """
    return reverse_cuthill_mckee(_to_matrix(graph))


def relabel(graph: jraph.GraphsTuple, order: Int[np.ndarray, " N"]) -> jraph.GraphsTuple:
    """The same graph with its vertices renumbered: new vertex i is old vertex `order[i]`.

    Raises:
        InputError: if `order` is not a permutation of the vertices.
    """
    N = _size(graph)
    if not np.array_equal(np.sort(order), np.arange(N)):
        raise InputError(f"graph: the order must name each of the {N} vertices once")
    return _from_matrix(sp.csr_array(_to_matrix(graph)[order][:, order]))


def _size(graph: jraph.GraphsTuple) -> int:
    return int(np.sum(graph.n_node))


def _to_matrix(graph: jraph.GraphsTuple) -> sp.csr_array:
    weight = np.asarray(graph.edges, np.float64)
    ends = (np.asarray(graph.receivers), np.asarray(graph.senders))
    return sp.csr_array((weight, ends), shape=(_size(graph),) * 2)


def _from_matrix(matrix: sp.csr_array) -> jraph.GraphsTuple:
    matrix.sort_indices()
    entries = matrix.tocoo()
    return jraph.GraphsTuple(
        nodes=None,
        edges=jnp.asarray(entries.data, jnp.float32),
        receivers=jnp.asarray(entries.row, jnp.int32),
        senders=jnp.asarray(entries.col, jnp.int32),
        globals=None,
        n_node=jnp.array([len(matrix.indptr) - 1]),
        n_edge=jnp.array([entries.nnz]),
    )
