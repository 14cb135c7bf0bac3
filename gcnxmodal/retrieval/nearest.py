"""Nearest neighbours of rows among themselves: exact by cosine, exact by distance, and nearly by an index."""

import functools
import importlib.util
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.ranking import merge_top_k, similarity

BLOCK = 2_048
"""Rows a block: 16 MB of distances, and 32 MB of rows of 4,096 features for either side of them."""

PROBES = 32
"""Cells of an inverted file that are searched for a row."""


def nearest_by_cosine(
    vectors: Float[np.ndarray, "N d"], k: int, block: int = 2**24
) -> Int[np.ndarray, "N k"]:
    """The `k` rows of largest cosine with each row, itself excluded, nearest first; int32 [N, k].

    Exact in float64: of equal cosines the lower row number comes first, and equal rows always have equal
    cosines. The last bits of a blocked matrix product depend on where in it a pair stands, so the product
    only proposes candidates: every pair that its rounding error leaves in question. What is ranked is their
    cosine computed anew from the two rows alone, summed in a fixed order. Hence the result depends neither
    on `block` nor on the number of threads, and a word graph is the same on every machine.

    Args:
        vectors: the rows, none of them zero.
        k: neighbours a row, 1 <= k < N.
        block: how many of the N x N cosines are held at once (at least one row of them).

    Raises:
        InputError: if k is out of range, or a row is zero or not finite.
    """
    N, d = vectors.shape
    if not 1 <= k < N:
        raise InputError(
            f"nearest neighbours: k = {k}, but {N} words have a vector and 1 <= k < {N} is needed; choose "
            "another k, or word vectors that cover more of the vocabulary"
        )
    unit_Nd = unit_rows(vectors)
    # A float64 inner product of unit vectors is off by at most d * eps / 2 in any order of summation. Product
    # and cosine then differ by d * eps, and so do their k-th largest: a neighbour's product is at most
    # 2 * d * eps below the k-th. Twice that allows for lengths rounded to just above 1.
    margin = 4 * d * np.finfo(np.float64).eps
    neighbours_Nk = np.empty((N, k), np.int32)
    rows = max(1, block // N)
    for start in range(0, N, rows):
        block_Bd = unit_Nd[start : start + rows]
        scores_BN = block_Bd @ unit_Nd.T
        B = len(block_Bd)
        scores_BN[np.arange(B), np.arange(start, start + B)] = -np.inf
        kth_B1 = np.partition(scores_BN, N - k, axis=1)[:, N - k, None]
        row, column = np.nonzero(scores_BN >= kth_B1 - margin)
        order = np.lexsort((column, -pair_cosines(unit_Nd, row + start, column), row))
        first_B1 = np.searchsorted(row, np.arange(B))[:, None]
        neighbours_Nk[start : start + B] = column[order][first_B1 + np.arange(k)]
    return neighbours_Nk


def unit_rows(vectors: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d"]:
    """The rows scaled to length 1, in float64.

    Raises:
        InputError: if a row is zero or not finite.
    """
    vectors = vectors.astype(np.float64)
    length_N1 = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    good = np.isfinite(length_N1[:, 0]) & (length_N1[:, 0] > 0)
    if not good.all():
        raise InputError(
            f"word vectors: row {np.argmin(good)} is zero or not finite, so it has no direction; "
            "leave such words without a vector"
        )
    return vectors / length_N1


def pair_cosines(
    unit_Nd: Float[np.ndarray, "N d"], row: Int[np.ndarray, " E"], column: Int[np.ndarray, " E"]
) -> Float[np.ndarray, " E"]:
    """Cosines of the pairs (row[e], column[e]): a pure and symmetric function of the two unit rows."""
    cosines = np.empty(len(row))
    step = 2**18  # bounds memory where very many pairs tie
    for e in range(0, len(row), step):
        pairs = slice(e, e + step)
        cosines[pairs] = (unit_Nd[row[pairs]] * unit_Nd[column[pairs]]).sum(axis=1)
    return cosines


def nearest_by_distance(
    rows_nd: Float[Array | np.ndarray, "n d"],
    k: int,
    *,
    queries: int | None = None,
    block: int = BLOCK,
    progress: bool = True,
) -> Int[np.ndarray, "n k"]:
    """The `k` rows of smallest Euclidean distance to each row, itself excluded, nearest first.

    n^2 products of rows, in float32: rows whose distances agree to about 1e-7 of their lengths squared may
    change places. On the device lie the rows, once, and a block of distances.

    Args:
        queries: for that many rows only, the first ones.
        block: rows and columns of the distances held at a time.
        progress: show a bar, where there is a terminal and work for more than one block.

    Raises:
        InputError: if k is not in 1..n - 1, or a row is not finite.
    """
    # ||x - y||^2 = ||x||^2 - 2 (x . y - ||y||^2 / 2), so the nearest have the largest bracket.
    halves_n = _checked_halves(rows_nd, k)
    halves_n = jnp.asarray(halves_n - halves_n.mean(), jnp.float32)  # of unit rows nothing is left of them
    rows_nd, n = jnp.asarray(rows_nd, jnp.float32), len(rows_nd)
    near_nk = np.empty((n, k), np.int32)
    queries, block = queries or n, min(block, n)
    for start in _blocks(queries, block, "exact nearest neighbours", progress):
        start = min(start, n - block)  # the last block is a whole one too
        near_nk[start : start + block] = _nearest_of_block(rows_nd, halves_n, start, k=k, block=block)
    return near_nk[:queries]


def nearest_by_index(
    rows_nd: Float[Array | np.ndarray, "n d"],
    k: int,
    *,
    seed: int = 0,
    probes: int = PROBES,
    progress: bool = True,
) -> Int[np.ndarray, "n k"]:
    """`nearest_by_distance`, nearly: only rows in the cells of an inverted file that are near are looked at.

    Rows fall into some 4 sqrt(n) cells by their nearest centroid (k-means of a sample); the `probes` cells
    whose centroids are nearest to a row are searched, so that n rows cost about probes / (4 sqrt(n)) of n^2.
    On the host, with a thread for each core; the same for the same seed on the same machine.

    Raises:
        InputError: as `nearest_by_distance`, or if faiss is not installed.
    """
    faiss = require_faiss("`nearest_by_index`", "`nearest_by_distance`")
    _checked_halves(rows_nd, k)
    rows_nd = np.ascontiguousarray(rows_nd, np.float32)
    n, d = rows_nd.shape
    cells = max(1, min(int(4 * math.sqrt(n)), n // 39))  # with fewer rows a cell k-means warns
    quantizer = faiss.IndexFlatL2(d)
    index = faiss.IndexIVFFlat(quantizer, d, cells)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed, 10, 64
    index.train(rows_nd)
    index.add(rows_nd)
    near_nk = np.empty((n, k), np.int32)
    for start in _blocks(n, BLOCK, "nearest neighbours by faiss", progress):
        index.nprobe = probes
        block = rows_nd[start : start + BLOCK]
        near_qK = index.search(block, k + 1)[1]
        few = (near_qK < 0).any(axis=1)  # these cells have not so many rows
        if few.any():
            index.nprobe = cells
            near_qK[few] = index.search(block[few], k + 1)[1]
        left_out = near_qK == np.arange(start, start + len(block))[:, None]
        left_out[~left_out.any(axis=1), -1] = True  # more than k rows equal this one
        near_nk[start : start + BLOCK] = near_qK[~left_out].reshape(-1, k)
    return near_nk


def require_faiss(wanted_by: str, otherwise: str = "") -> Any:
    """The package faiss.

    Args:
        wanted_by: what needs it, and `otherwise` what does without, for the message.

    Raises:
        InputError: if it is not installed.
    """
    if importlib.util.find_spec("faiss") is None:
        fix = "pip install 'gcnxmodal[faiss]'" + (f", or {otherwise}" if otherwise else "")
        raise InputError(f"{wanted_by} needs the package faiss; {fix}")
    import faiss  # pyright: ignore[reportMissingImports]

    return faiss


@functools.partial(jax.jit, static_argnames=("k", "block"))
def _nearest_of_block(
    rows_nd: Float[Array, "n d"],
    halves_n: Float[Array, " n"],
    start: Int[Array, ""] | int,
    *,
    k: int,
    block: int,
) -> Int[Array, "q k"]:
    """Of the rows from `start` on; the others stream past in blocks, beside the best k so far."""
    n = len(rows_nd)
    queries_qd = lax.dynamic_slice_in_dim(rows_nd, start, block)
    itself_q1 = start + jnp.arange(block)[:, None]

    def merge(number: Int[Array, ""], best: tuple[Array, Array]) -> tuple[Array, Array]:
        first = jnp.minimum(number * block, n - block)  # the last block begins among rows seen before
        row_b = first + jnp.arange(block)
        others_bd, halves_b = (lax.dynamic_slice_in_dim(x, first, block) for x in (rows_nd, halves_n))
        score_qb = similarity(queries_qd, others_bd) - halves_b
        score_qb = jnp.where((row_b >= number * block) & (row_b != itself_q1), score_qb, -jnp.inf)
        return merge_top_k(best, score_qb, first)

    none = jnp.zeros((block, k), jnp.int32), jnp.full((block, k), -jnp.inf)
    return lax.fori_loop(0, -(-n // block), merge, none)[0]


def _checked_halves(rows_nd: Array | np.ndarray, k: int) -> Float[np.ndarray, " n"]:
    """||x||^2 / 2 of each row, in float64."""
    n = len(rows_nd)
    if not 1 <= k < n:
        raise InputError(f"k is {k} and there are {n} rows; choose k from 1 to {n - 1}")
    rows_nd = np.asarray(rows_nd)
    halves_n = 0.5 * np.einsum("nd,nd->n", rows_nd, rows_nd, dtype=np.float64)
    bad_n = ~(halves_n < 1e36)
    if bad_n.any():
        raise InputError(
            f"features: row {int(np.argmax(bad_n))} is not finite or longer than 1e18 ({bad_n.sum()} of {n} "
            "are); check where they come from"
        )
    return halves_n


def _blocks(n: int, block: int, title: str, progress: bool) -> tqdm:
    silent = None if progress and n > block else True  # None: a bar only where there is a terminal
    return tqdm(range(0, n, block), title, unit="block", disable=silent)
