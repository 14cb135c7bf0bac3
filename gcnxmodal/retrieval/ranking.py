"""Ranking: by descending score, ties by the lower database index, on every device.

What ranks a whole database goes chunk by chunk, so that the matrix of all scores never exists.
"""

import concurrent.futures
import functools
import math
import os
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from gcnxmodal.errors import InputError

MAX_BYTES = 256 * 2**20
"""Memory that scores, and what is derived from them, may take at a time."""

BYTES_PER_SCORE = 32
"""A float32 score, its sort key and index twice over, its relevance, hits and precision."""

SCORES_AT_A_TIME = 80_000
"""What one core sorts at a time on a CPU: the sort keys take 640 KB, and stay in its cache."""

# Chunks are whole tiles of queries and of database items, the last one padded. One shape is compiled, and a
# score does not depend on its chunk: matrix products on a CPU compute ragged edges with other instructions,
# so that two equal items of the database could score differently there.
QUERIES, ITEMS = 8, 128


def similarity(queries_QD: Float[Array, "Q D"], database_MD: Float[Array, "M D"]) -> Float[Array, "Q M"]:
    """score_qm = query_q . item_m, in full float32 also where the device's default is bf16 or tf32."""
    return jnp.matmul(queries_QD, database_MD.T, precision=lax.Precision.HIGHEST)


def share_a_label(queries_QC: Bool[Array, "Q C"], database_MC: Bool[Array, "M C"]) -> Bool[Array, "Q M"]:
    """Relevance: the query and the item have at least one label in common."""
    # 0/1 products and their sum's sign are exact in any matrix precision.
    return jnp.matmul(queries_QC.astype(jnp.float32), database_MC.astype(jnp.float32).T) > 0.5


def are_relevant(queries_QC: Array, database_MC: Array) -> Bool[Array, "Q M"]:
    """Relevance by labels, bool [., C]; or by numbers, int [., 1], of which equal ones are relevant."""
    if queries_QC.dtype == bool:
        return share_a_label(queries_QC, database_MC)
    return queries_QC == database_MC[:, 0]


def ranked_relevance(
    scores_QM: Float[Array | np.ndarray, "Q M"], relevant_QM: Bool[Array | np.ndarray, "Q M"]
) -> Bool[Array | np.ndarray, "Q M"]:
    """The relevance of the database items in the order in which each query ranks them.

    The result lies where it was sorted: a NumPy array on the CPU backend, else a device array.

    >>> ranked_relevance(np.float32([[0.1, 0.9, 0.1, 0.5]]), np.array([[True, False, False, True]]))
    array([[False,  True,  True, False]])

    Raises:
        InputError: if a score is NaN, which has no rank.
    """
    if jax.default_backend() == "cpu":
        scores_QM, relevant_QM = np.asarray(scores_QM, np.float32), np.asarray(relevant_QM, bool)
        _refuse_nan(np.any(np.isnan(scores_QM), axis=1))
        return sort_on_host(scores_QM, relevant_QM)
    scores_QM = jnp.asarray(scores_QM, jnp.float32)
    _refuse_nan(np.asarray(jnp.isnan(scores_QM).any(axis=1)))
    return sort_on_device(scores_QM, jnp.asarray(relevant_QM, bool))


@jax.jit
def sort_on_device(scores_QM: Float[Array, "Q M"], relevant_QM: Bool[Array, "Q M"]) -> Bool[Array, "Q M"]:
    """`ranked_relevance` in XLA."""
    # lax.sort counts -0.0 and 0.0 as equal; stable: ties keep the database's order.
    return lax.sort((-scores_QM, relevant_QM), num_keys=1, is_stable=True)[1]


def sort_on_host(
    scores_QM: Float[np.ndarray, "Q M"], relevant_QM: Bool[np.ndarray, "Q M"]
) -> Bool[np.ndarray, "Q M"]:
    """`ranked_relevance` in NumPy, the same bit for bit.

    XLA's CPU sort of a key with a payload takes 7 ms a row of 20,000; NumPy's vectorised sort of one integer
    that holds (score, index, relevance) takes 0.4 ms, and lets other threads run.
    """
    # + 0 makes -0.0 a 0.0. Read as integers, positive floats ascend with their value and negative ones as it
    # falls; with the low 31 bits of the positive ones flipped, all ascend as the scores descend.
    bits_QM = (scores_QM + np.float32(0)).view(np.int32)
    bits_QM ^= ~(bits_QM >> 31) & 0x7FFFFFFF
    key_QM = np.empty(bits_QM.shape, "<u8")
    low_QM, high_QM = np.moveaxis(key_QM.view("<u4").reshape(*bits_QM.shape, 2), -1, 0)
    high_QM[...] = bits_QM.view(np.uint32)
    np.bitwise_or(np.arange(bits_QM.shape[1], dtype=np.uint32) << 1, relevant_QM, out=low_QM)
    key_QM.sort(axis=1)
    return (key_QM.astype(np.uint8) & 1).view(bool)


def merge_top_k(
    best_so_far: tuple[Int[Array, "Q k"], Float[Array, "Q k"]],
    scores_Qb: Float[Array, "Q b"],
    first: Int[Array, ""] | int,
) -> tuple[Int[Array, "Q k"], Float[Array, "Q k"]]:
    """The k best of the best so far and of a block of items, best first: (indices, scores).

    Item i of the block has the index `first` + i. The best so far have lower indices than these, or the score
    -inf, and stand first: of equal scores `lax.top_k` takes the first, so ties go to the lower index. It
    counts 0.0 as larger than -0.0.
    """
    indices_Qk, scores_Qk = best_so_far
    k = scores_Qk.shape[1]
    scores_Qk, place_Qk = lax.top_k(jnp.concatenate([scores_Qk, scores_Qb], axis=1), k)
    earlier_Qk = jnp.take_along_axis(indices_Qk, jnp.minimum(place_Qk, k - 1), axis=1)
    return jnp.where(place_Qk < k, earlier_Qk, first + place_Qk - k), scores_Qk


def _refuse_nan(nan_Q: Bool[np.ndarray, " Q"]) -> None:
    if nan_Q.any():
        raise InputError(
            f"scores: query {int(np.argmax(nan_Q))} has a NaN score, which has no rank; check the model"
        )


def check_embeddings(embeddings_nD: Float[Array | np.ndarray, "n D"], name: str) -> Float[Array, "n D"]:
    """The embeddings as float32 on the device.

    Raises:
        InputError: if one is NaN, infinite, or so large that products could overflow: by Cauchy-Schwarz no
            score of embeddings that pass is NaN or infinite.
    """
    embeddings_nD = jnp.asarray(embeddings_nD, jnp.float32)
    bad_n = ~(np.asarray(_norms(embeddings_nD)) < 1e18)
    if bad_n.any():
        raise InputError(
            f"{name}: embedding {int(np.argmax(bad_n))} is not finite or longer than 1e18 ({bad_n.sum()} of "
            f"{len(bad_n)} are); the model has diverged: lower the learning rate, or check its inputs"
        )
    return embeddings_nD


def top_k(
    queries_QD: Float[Array | np.ndarray, "Q D"],
    database_MD: Float[Array | np.ndarray, "M D"] | None,
    k: int,
    max_bytes: int = MAX_BYTES,
) -> tuple[Int[np.ndarray, "Q k"], Float[np.ndarray, "Q k"]]:
    """The k best database items of each query, best first: (indices, scores).

    Without a database, `queries_QD` are the scores themselves [Q, M].

    The database streams past in blocks, beside a running best k, so that scores never take more than
    `max_bytes` (but at the least 8 queries by k + 128 items).

    Raises:
        InputError: if k is not in 1..M, or an embedding is not finite.
    """
    M = queries_QD.shape[1] if database_MD is None else len(database_MD)
    if not 1 <= k <= M:
        raise InputError(f"k is {k} and the database has {M} items; choose k from 1 to {M}")
    if database_MD is None:
        return _best_of_scores(np.asarray(queries_QD), k, max_bytes)
    queries_QD = check_embeddings(queries_QD, "queries")
    database_MD = check_embeddings(database_MD, "database")
    Q, D = queries_QD.shape
    side = math.isqrt(max_bytes // BYTES_PER_SCORE) // ITEMS * ITEMS
    block = min(_whole(M, ITEMS), max(ITEMS, side))
    rows = rows_per_chunk(Q, block + k, max_bytes)
    queries_PD = pad_rows(queries_QD, rows)
    database_BbD = pad_rows(database_MD, block).reshape(-1, block, D)
    chunks = [_top_k_chunk(queries_PD, database_BbD, start, M, rows, k) for start in range(0, Q, rows)]
    indices_Qk, scores_Qk = join_chunks(chunks, Q)
    return indices_Qk, scores_Qk


def measure_rankings(
    measure: Callable[..., tuple],
    queries_QD: Float[Array | np.ndarray, "Q D"],
    database_MD: Float[Array, "M D"] | None,
    query_labels_QC: Bool[np.ndarray, "Q C"] | Int[np.ndarray, "Q 1"],
    database_labels_MC: Bool[np.ndarray, "M C"] | Int[np.ndarray, "M 1"],
    max_bytes: int = MAX_BYTES,
) -> tuple[np.ndarray, ...]:
    """`measure` applied to each query's ranking of the whole database.

    Without a database, `queries_QD` are the scores themselves [Q, M].

    Args:
        measure: (hits_qM, scores_qM, query_q) -> a tuple of arrays [q, ...]. Its arguments: relevance in
            ranked order, scores in the database's order, the numbers of the queries. It is called on NumPy
            arrays on the CPU backend, and traced elsewhere.
        query_labels_QC, database_labels_MC: see `are_relevant`.

    Returns:
        What `measure` returns, for all Q queries.
    """
    Q, M = len(queries_QD), len(database_labels_MC)
    rows = rows_per_chunk(Q, M, max_bytes)
    database_labels_NC = pad_rows(jnp.asarray(database_labels_MC), ITEMS)
    query_labels_PC = pad_rows(jnp.asarray(query_labels_QC), rows)
    if database_MD is not None:
        queries_PD, database_ND = pad_rows(jnp.asarray(queries_QD), rows), pad_rows(database_MD, ITEMS)
    chunks = []
    for start in range(0, Q, rows):
        if database_MD is None:  # scores stay where they are but for the rows at hand
            part_qM = queries_QD[start : start + rows]
            padding = (0, rows - len(part_qM)), (0, len(database_labels_NC) - M)
            queries = np.pad(part_qM, padding), query_labels_PC[start : start + rows]
            scores_qN, relevant_qN = _score_chunk(queries, (None, database_labels_NC), 0, M, rows)
        else:
            queries, database = (queries_PD, query_labels_PC), (database_ND, database_labels_NC)
            scores_qN, relevant_qN = _score_chunk(queries, database, start, M, rows)
        query_q = np.minimum(np.arange(start, start + rows), Q - 1)
        # Padding items score -inf: they rank last, and are cut off.
        if jax.default_backend() == "cpu":
            chunks += _measure_on_host(measure, np.asarray(scores_qN), np.asarray(relevant_qN), query_q, M)
        else:
            hits_qM = ranked_relevance(scores_qN, relevant_qN)[:, :M]
            chunks.append(jax.jit(measure)(hits_qM, scores_qN[:, :M], query_q))
    return join_chunks(chunks, Q)


def relevant_counts(
    query_labels_QC: Bool[np.ndarray, "Q C"],
    database_labels_MC: Bool[np.ndarray, "M C"],
    max_bytes: int = MAX_BYTES,
) -> Int[np.ndarray, " Q"]:
    """How many items of the database are relevant to each query."""
    Q, M = len(query_labels_QC), len(database_labels_MC)
    rows = rows_per_chunk(Q, M, max_bytes)
    labels_PC, items_MC = pad_rows(jnp.asarray(query_labels_QC), rows), jnp.asarray(database_labels_MC)
    return np.concatenate([_counts(labels_PC[i : i + rows], items_MC) for i in range(0, Q, rows)])[:Q]


def _measure_on_host(
    measure: Callable[..., tuple],
    scores_qN: Float[np.ndarray, "q N"],
    relevant_qN: Bool[np.ndarray, "q N"],
    query_q: Int[np.ndarray, " q"],
    M: int,
) -> list[tuple[np.ndarray, ...]]:
    """Rank and measure a few queries at a time, on all cores."""
    few = max(1, SCORES_AT_A_TIME // scores_qN.shape[1])

    def part(start: int) -> tuple[np.ndarray, ...]:
        rows = slice(start, start + few)
        hits_qM = ranked_relevance(scores_qN[rows], relevant_qN[rows])[:, :M]
        return measure(hits_qM, scores_qN[rows, :M], query_q[rows])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(part, range(0, len(query_q), few)))


def _whole(count: int, unit: int) -> int:
    """`count` rounded up to a multiple of `unit`."""
    return -(-count // unit) * unit


def rows_per_chunk(Q: int, M: int, max_bytes: int) -> int:
    """Queries a chunk: equal chunks of whole tiles that keep [rows, M] within the budget."""
    fit = max(QUERIES, max_bytes // (BYTES_PER_SCORE * M) // QUERIES * QUERIES)
    return _whole(math.ceil(Q / math.ceil(Q / fit)), QUERIES)


def pad_rows(x: Array, unit: int) -> Array:
    """`x` with rows of zeros added up to a multiple of `unit`."""
    return jnp.pad(x, ((0, _whole(len(x), unit) - len(x)), (0, 0)))


def join_chunks(chunks: list[tuple[Array | np.ndarray, ...]], Q: int) -> tuple[np.ndarray, ...]:
    """The chunks end to end, without the last one's padding."""
    return tuple(
        np.concatenate([np.asarray(part) for part in parts])[:Q] for parts in zip(*chunks, strict=True)
    )


@jax.jit
def _norms(x_nD: Float[Array, "n D"]) -> Float[Array, " n"]:
    return jnp.sqrt(jnp.sum(x_nD * x_nD, axis=1))


@functools.partial(jax.jit, static_argnames="rows")
def _score_chunk(
    queries: tuple[Float[Array, "P D"], Array],
    database: tuple[Float[Array, "N D"] | None, Array],
    start: Int[Array, ""],
    M: Int[Array, ""],
    rows: int,
) -> tuple[Float[Array, "q N"], Bool[Array, "q N"]]:
    """Scores and relevance of queries start..start+rows; items from M on are padding."""
    embeddings_qD, labels_qC = (lax.dynamic_slice_in_dim(x, start, rows) for x in queries)
    scores_qN = embeddings_qD if database[0] is None else similarity(embeddings_qD, database[0])
    real_N = jnp.arange(scores_qN.shape[1]) < M
    return jnp.where(real_N, scores_qN, -jnp.inf), are_relevant(labels_qC, database[1])


@jax.jit
def _counts(labels_qC: Bool[Array, "q C"], items_MC: Bool[Array, "M C"]) -> Int[Array, " q"]:
    return jnp.sum(share_a_label(labels_qC, items_MC), axis=1)


def _best_of_scores(scores_QM: np.ndarray, k: int, max_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """`top_k` of scores, some rows at a time."""
    Q, M = scores_QM.shape
    rows = rows_per_chunk(Q, M, max_bytes)
    parts = []
    for start in range(0, Q, rows):
        part_qM = scores_QM[start : start + rows]
        scores_qk, indices_qk = _best(np.pad(part_qM, ((0, rows - len(part_qM)), (0, 0))), k)
        parts.append((indices_qk, scores_qk))
    indices_Qk, scores_Qk = join_chunks(parts, Q)
    return indices_Qk, scores_Qk


@functools.partial(jax.jit, static_argnames="k")
def _best(scores_QM: Float[Array, "Q M"], k: int) -> Sequence[Array]:
    # Of equal scores top_k takes the first; -0.0 is 0.0.
    return lax.top_k(jnp.where(scores_QM == 0, 0.0, scores_QM), k)


@functools.partial(jax.jit, static_argnames=("rows", "k"))
def _top_k_chunk(
    queries_PD: Float[Array, "P D"],
    database_BbD: Float[Array, "B b D"],
    start: Int[Array, ""],
    M: Int[Array, ""],
    rows: int,
    k: int,
) -> tuple[Int[Array, "q k"], Float[Array, "q k"]]:
    queries_qD = lax.dynamic_slice_in_dim(queries_PD, start, rows)
    blocks, block, _ = database_BbD.shape

    def merge(best, numbered_items):
        number, items_bD = numbered_items
        item_b = number * block + jnp.arange(block)
        scores_qb = similarity(queries_qD, items_bD)
        # -0.0 is 0.0, and padding is never found.
        scores_qb = jnp.where(item_b < M, jnp.where(scores_qb == 0, 0.0, scores_qb), -jnp.inf)
        return merge_top_k(best, scores_qb, number * block), None

    none = (jnp.zeros((rows, k), jnp.int32), jnp.full((rows, k), -jnp.inf))
    best, _ = lax.scan(merge, none, (jnp.arange(blocks), database_BbD))
    return best
