"""The sparse layout of the filter: rows of at most 16 neighbours, and hubs.

ELL with a second part. Every vertex has its first 16 neighbours in one table; the entries beyond are cut into
chunks of 16 whose partial sums are added up by further tables, sixteen at a time, so that a hub of any degree
costs its entries and a few levels. All tables are dense, so a product is gathers and sums: no atomics, and
the same bits in every run.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Array, Float, Int

from gcnxmodal.errors import InputError

# Word graphs (k = 8, symmetrised) have 12 neighbours a vertex on average: 16 holds 86 % of the rows whole and
# 93 % of the entries. Not fewer: XLA's CPU backend recomputes an element-wise producer inside each of up to
# 15 gathers that read it, which made a layer with 8 filters 4 times slower at a width of 12.
WIDTH = 16


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hubs:
    """The entries of rows beyond their first W, one level: sums of at most W rows of a source.

    The source of the first level is x; of each further level, the partial sums of the level before.

    Attributes:
        rows: the vertices completed at this level. No vertex comes twice, in all levels together.
        neighbours: for each of them, the rows of the source to add to it.
        weights: their factors; 0 where there is no entry.
        chunk_neighbours: for each partial sum that the next level needs, rows of the source.
        chunk_weights: their factors.
    """

    rows: Int[Array, " H"]
    neighbours: Int[Array, "H W"]
    weights: Float[Array, "H W"]
    chunk_neighbours: Int[Array, "P W"]
    chunk_weights: Float[Array, "P W"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SparseLayout:
    """A sparse matrix [N, N] packed for `multiply`: a pytree of arrays, to pass to jit as an argument.

    Attributes:
        diagonal: it needs no index, so it is apart.
        neighbours: columns of each row's first 16 other entries.
        weights: those entries; 0 where a row has fewer.
        hubs: the entries beyond the first 16 of a row, level by level.
        transpose: layout of the transposed matrix, for the gradient; None if the matrix is symmetric.
    """

    diagonal: Float[Array, " N"]
    neighbours: Int[Array, "N W"]
    weights: Float[Array, "N W"]
    hubs: tuple[Hubs, ...]
    transpose: "SparseLayout | None"


def pack(matrix: sp.sparray | sp.spmatrix, width: int = WIDTH) -> SparseLayout:
    """Pack a scipy sparse matrix [N, N] (the scaled Laplacian L~), in float32.

    Vertices keep their order. Relabel them first for locality (`gcnxmodal.graph.word_graph.graph_order`): the
    products of a word graph then take about a quarter less time.

    Raises:
        InputError: if the matrix is not square, is empty, or has an entry that is not finite.
    """
    csr = sp.csr_array(matrix, dtype=np.float64, copy=True)
    rows, columns = _shape(csr)
    if rows != columns or rows == 0:
        raise InputError(f"layout: the matrix must be square and not empty, not [{rows}, {columns}]")
    csr.sum_duplicates()
    csr.eliminate_zeros()
    if not np.isfinite(csr.data).all():
        raise InputError("layout: the matrix has an entry that is not finite; check the graph's edge weights")
    # To float32 rounding: D^-1/2 A D^-1/2 of real weights is symmetric only up to the order of its products.
    rounding = np.finfo(np.float32).eps * abs(csr).max()
    symmetric = abs(csr - csr.T).max() <= rounding
    return _pack(csr, width, None if symmetric else _pack(sp.csr_array(csr.T), width, None))


def _pack(csr: sp.csr_array, width: int, transpose: SparseLayout | None) -> SparseLayout:
    diagonal = csr.diagonal()
    others = sp.csr_array(csr - sp.diags_array(diagonal))
    others.eliminate_zeros()
    entry = _position_in_row(others)
    first, rest = _select(others, entry < width), _select(others, entry >= width)
    neighbours, weights = _table(first, width, spare=np.arange(len(diagonal)))
    return SparseLayout(
        jnp.asarray(diagonal, jnp.float32), neighbours, weights, _hubs(rest, width), transpose
    )


def _hubs(rest: sp.csr_array, width: int) -> tuple[Hubs, ...]:
    rows = np.flatnonzero(np.diff(rest.indptr))
    matrix = rest[rows]
    levels = []
    while len(rows):
        few = np.diff(matrix.indptr) <= width
        whole, many = matrix[few], matrix[~few]
        owner, chunks = _chunks(many, width)
        tables = *_table(whole, width, _first(whole)), *_table(chunks, width, _first(chunks))
        levels.append(Hubs(jnp.asarray(rows[few], jnp.int32), *tables))
        rows = rows[~few]
        ones = np.ones(len(owner)), (owner, np.arange(len(owner)))
        matrix = sp.csr_array(ones, shape=(len(rows), len(owner)))
    return tuple(levels)


def _chunks(matrix: sp.csr_array, width: int) -> tuple[np.ndarray, sp.csr_array]:
    """Rows cut into pieces of at most `width` entries: the row each piece is from, and the pieces as rows."""
    count = -(-np.diff(matrix.indptr) // width)
    owner = np.repeat(np.arange(len(count)), count)
    piece = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    starts = np.append(matrix.indptr[owner] + width * piece, matrix.nnz)
    return owner, sp.csr_array((matrix.data, matrix.indices, starts), shape=(len(owner), _shape(matrix)[1]))


def _first(matrix: sp.csr_array) -> np.ndarray:
    return matrix.indices[matrix.indptr[:-1]]


def _table(
    matrix: sp.csr_array, width: int, spare: np.ndarray
) -> tuple[Int[Array, "R W"], Float[Array, "R W"]]:
    """Columns and values of rows with at most `width` entries.

    Unused places have weight 0 and read `spare`, which the row reads anyway: 0 * NaN must not carry a NaN to
    a row that is not its neighbour.
    """
    neighbours = np.repeat(spare[:, None], width, axis=1)
    weights = np.zeros(neighbours.shape)
    place = np.repeat(np.arange(len(spare)), np.diff(matrix.indptr)), _position_in_row(matrix)
    neighbours[place] = matrix.indices
    weights[place] = matrix.data
    return jnp.asarray(neighbours, jnp.int32), jnp.asarray(weights, jnp.float32)


def _position_in_row(matrix: sp.csr_array) -> np.ndarray:
    return np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], np.diff(matrix.indptr))


def _select(matrix: sp.csr_array, keep: np.ndarray) -> sp.csr_array:
    indptr = np.append(0, np.cumsum(keep))[matrix.indptr]
    return sp.csr_array((matrix.data[keep], matrix.indices[keep], indptr), shape=_shape(matrix))


def _shape(matrix: sp.csr_array) -> tuple[int, int]:
    return matrix.shape  # pyright: ignore[reportReturnType]  (scipy has no type for it)
