"""SSPE's graph on the features of a modality: nearest neighbours, and draws from those near and far.

Two items are connected if one is among the k nearest of the other; every edge has weight 1.

Shapes: n items, E entries of all neighbourhoods (at most 2 k n + n), k draws for each of B items,
by random words as in `semantic_graph.py`.

Source: SSPE (Wu et al. 2018) Section 3.1, "Local geometric structure preserving".
"""

import functools
import importlib.util
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax import lax
from jaxtyping import Array, Float, Int, UInt32
from tqdm import tqdm

from gcnxmodal.errors import InputError
from gcnxmodal.systems.semantic_graph import Drawn, below

BLOCK = 2_048
"""Rows a block: 16 MB of distances, and 32 MB of rows of 4,096 features for either side of them."""

PROBES = 32
"""Cells of an inverted file that are searched for a row."""


class FeatureGraph(NamedTuple):
    """Neighbourhoods one after another, each sorted and with the item itself.

    Item i owns near_E[start_n[i] : start_n[i] + size_n[i]]; it stands at place_n[i] of these itself.
    """

    start_n: Int[Array, " n"]
    size_n: Int[Array, " n"]
    place_n: Int[Array, " n"]
    near_E: Int[Array, " E"]


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
    found_nk = np.empty((n, k), np.int32)
    queries, block = queries or n, min(block, n)
    for start in _blocks(queries, block, "exact nearest neighbours", progress):
        start = min(start, n - block)  # the last block is a whole one too
        found_nk[start : start + block] = _nearest_of_block(rows_nd, halves_n, start, k=k, block=block)
    return found_nk[:queries]


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
    faiss = require_faiss()
    _checked_halves(rows_nd, k)
    rows_nd = np.ascontiguousarray(rows_nd, np.float32)
    n, d = rows_nd.shape
    cells = max(1, min(int(4 * math.sqrt(n)), n // 39))  # with fewer rows a cell k-means warns
    quantizer = faiss.IndexFlatL2(d)
    index = faiss.IndexIVFFlat(quantizer, d, cells)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed, 10, 64
    index.train(rows_nd)
    index.add(rows_nd)
    found_nk = np.empty((n, k), np.int32)
    for start in _blocks(n, BLOCK, "nearest neighbours by faiss", progress):
        index.nprobe = probes
        block = rows_nd[start : start + BLOCK]
        found = index.search(block, k + 1)[1]
        few = (found < 0).any(axis=1)  # these cells have not so many rows
        if few.any():
            index.nprobe = cells
            found[few] = index.search(block[few], k + 1)[1]
        left_out = found == np.arange(start, start + len(block))[:, None]
        left_out[~left_out.any(axis=1), -1] = True  # more than k rows equal this one
        found_nk[start : start + BLOCK] = found[~left_out].reshape(-1, k)
    return found_nk


def require_faiss() -> Any:
    """The package faiss. Raises InputError if it is not installed."""
    if importlib.util.find_spec("faiss") is None:
        raise InputError(
            "--train.knn faiss needs the package faiss; pip install 'gcnxmodal[faiss]', or --train.knn exact"
        )
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
        index_qk, score_qk = best
        first = jnp.minimum(number * block, n - block)  # the last block begins among rows seen before
        row_b = first + jnp.arange(block)
        others_bd, halves_b = (lax.dynamic_slice_in_dim(x, first, block) for x in (rows_nd, halves_n))
        score_qb = jnp.matmul(queries_qd, others_bd.T, precision=lax.Precision.HIGHEST) - halves_b
        score_qb = jnp.where((row_b >= number * block) & (row_b != itself_q1), score_qb, -jnp.inf)
        score_qk, place_qk = lax.top_k(jnp.concatenate([score_qk, score_qb], axis=1), k)
        kept_qk = jnp.take_along_axis(index_qk, jnp.minimum(place_qk, k - 1), axis=1)
        return jnp.where(place_qk < k, kept_qk, first + place_qk - k), score_qk

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


def feature_graph(near_nk: Int[np.ndarray, "n k"]) -> FeatureGraph:
    """The symmetric graph of the k nearest neighbours of each item."""
    n, k = near_nk.shape
    every, near_M = np.arange(n), near_nk.ravel()
    near_of_M = np.repeat(every, k)
    both = np.concatenate([near_of_M, near_M, every]), np.concatenate([near_M, near_of_M, every])
    closed = sp.csr_array((np.ones(len(both[0]), np.int8), both), shape=(n, n))  # of an edge given twice, one
    closed.sort_indices()
    size_n = np.diff(closed.indptr)
    itself_E = closed.indices == np.repeat(np.arange(n), size_n)
    place_n = np.flatnonzero(itself_E) - closed.indptr[:-1]
    parts = closed.indptr[:-1], size_n, place_n, closed.indices
    return FeatureGraph(*(jnp.asarray(part, jnp.int32) for part in parts))


def draw_near(words_Bk: UInt32[Array, "B k"], graph: FeatureGraph, items_B: Int[Array, " B"]) -> Drawn:
    """k neighbours of each item, uniform over its neighbours, with replacement."""
    others_B1 = graph.size_n[items_B, None] - 1
    place_Bk = below(words_Bk, others_B1).astype(jnp.int32)
    place_Bk += place_Bk >= graph.place_n[items_B, None]
    entry_Bk = jnp.minimum(graph.start_n[items_B, None] + place_Bk, len(graph.near_E) - 1)
    return Drawn(graph.near_E[entry_Bk], others_B1[:, 0] > 0)


def draw_far(words_Bk: UInt32[Array, "B k"], graph: FeatureGraph, items_B: Int[Array, " B"]) -> Drawn:
    """k items for each item, uniform over those that are no neighbours of it (nor it).

    The r-th of these is r + t, with t the entries of the neighbourhood that stand before it: those whose
    number, less their place in the neighbourhood, is at most r. That grows with the place, so t is found by
    halving.
    """
    n = len(graph.start_n)
    size_B1, start_B1 = graph.size_n[items_B, None], graph.start_n[items_B, None]
    far_B1 = n - size_B1
    rank_Bk = below(words_Bk, far_B1).astype(jnp.int32)

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low_Bk, high_Bk = bounds  # t is in low..high
        middle_Bk = (low_Bk + high_Bk) // 2
        entry_Bk = jnp.minimum(start_B1 + middle_Bk, len(graph.near_E) - 1)
        before_Bk = graph.near_E[entry_Bk] - middle_Bk <= rank_Bk
        open_Bk = low_Bk < high_Bk
        return (
            jnp.where(open_Bk & before_Bk, middle_Bk + 1, low_Bk),
            jnp.where(open_Bk & ~before_Bk, middle_Bk, high_Bk),
        )

    bounds = jnp.zeros_like(rank_Bk), jnp.broadcast_to(size_B1, rank_Bk.shape)
    before_Bk, _ = lax.fori_loop(0, n.bit_length(), halve, bounds)
    return Drawn(jnp.minimum(rank_Bk + before_Bk, n - 1), far_B1[:, 0] > 0)
