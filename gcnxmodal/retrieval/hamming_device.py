"""Hamming rankings in XLA: counts by distance, carried along the database; for every backend.

The database streams past in blocks [B, b]; what a query keeps is a count for each distance. No sort and no
scatter: sums of comparisons, with the queries last, so that they are the lanes of a vector.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, UInt32

from gcnxmodal.retrieval.ranking import merge_top_k, share_a_label

RELEVANT = 2**16
"""What a relevant item adds to the sums over a block, in which all items fit below it."""

BASE, DIGITS = 2**16, 3
"""Of precisions and their sums: 48 binary digits. Those of a block's items add up to less than 2^31."""


def distances(queries_QW: UInt32[Array, "Q W"], items_MW: UInt32[Array, "M W"]) -> Int[Array, "Q M"]:
    """Hamming distance of packed codes: the ones of their exclusive or.

    >>> distances(jnp.uint32([[0b1011]]), jnp.uint32([[0b1011], [0b0010], [0b0100]])).tolist()
    [[0, 2, 4]]
    """
    differ_QMW = queries_QW[:, None] ^ items_MW
    return jnp.sum(lax.population_count(differ_QMW), axis=2, dtype=jnp.int32)


@jax.jit
def histograms(
    queries_qW: UInt32[Array, "q W"],
    labels_qC: Bool[Array, "q C"],
    items_BbW: UInt32[Array, "B b W"],
    item_labels_BbC: Bool[Array, "B b C"],
    M: Int[Array, ""],
) -> tuple[Int[Array, "q T"], Int[Array, "q T"]]:
    """How many items, and relevant ones, lie at each distance 0..32 W. Items from M on are padding."""
    all_Tq, relevant_Tq = _histograms(queries_qW, labels_qC, (items_BbW, item_labels_BbC), M)
    return all_Tq.T, relevant_Tq.T


@jax.jit
def precision_sums(
    queries_qW: UInt32[Array, "q W"],
    labels_qC: Bool[Array, "q C"],
    items_BbW: UInt32[Array, "B b W"],
    item_labels_BbC: Bool[Array, "B b C"],
    M: Int[Array, ""],
    cutoff: Int[Array, ""],
) -> tuple[Int[Array, "q 4"], Int[Array, " q"], Int[Array, " q"]]:
    """sum_{r <= cutoff} P(r) rel(r), hits within the cut-off, all relevant items.

    Each P(r) is rounded down to `digits`, and these are summed exactly, in any order: (a, b, ...) for
    a + b / BASE + c / BASE^2 ... A float32 has half as many, and not every accelerator has a float64.
    """
    database = items_BbW, item_labels_BbC
    all_Tq, relevant_Tq = _histograms(queries_qW, labels_qC, database, M)
    earlier_bb = jnp.tri(items_BbW.shape[1], k=-1, dtype=bool)

    def count(carry, numbered_block):
        (next_Tq, next_hit_Tq), sums_q, hits_q = carry
        distance_bq, weight_bq = _block(queries_qW, labels_qC, numbered_block, M)
        relevant_bq = weight_bq > RELEVANT
        tied_bbq = (distance_bq[:, None] == distance_bq) & earlier_bb[:, :, None]
        ties_bq, tied_hits_bq = _split(jnp.sum(jnp.where(tied_bbq, weight_bq, 0), axis=1))
        rank_bq = 1 + jnp.take_along_axis(next_Tq, distance_bq, axis=0) + ties_bq
        hit_bq = 1 + jnp.take_along_axis(next_hit_Tq, distance_bq, axis=0) + tied_hits_bq
        inside_bq = relevant_bq & (rank_bq <= cutoff)
        digits_bq = digits(hit_bq, rank_bq)
        block_sums_q = [jnp.sum(jnp.where(inside_bq, digit_bq, 0), axis=0) for digit_bq in digits_bq]
        sums_q = _carried([sums_q[0], *map(jnp.add, sums_q[1:], block_sums_q)])
        hits_q += jnp.sum(inside_bq, axis=0)
        counts = _count(distance_bq, weight_bq, len(next_Tq))
        return ((next_Tq + counts[0], next_hit_Tq + counts[1]), sums_q, hits_q), None

    ahead = tuple(jnp.cumsum(n_Tq, axis=0) - n_Tq for n_Tq in (all_Tq, relevant_Tq))
    none_q = jnp.zeros(len(queries_qW), jnp.int32)
    start = ahead, (1 + DIGITS) * [none_q], none_q
    (_, sums_q, hits_q), _ = lax.scan(count, start, _numbered(database))
    return jnp.stack(sums_q, axis=1), hits_q, jnp.sum(relevant_Tq, axis=0)


def digits(numerator: Int[Array, "*shape"], denominator: Int[Array, "*shape"]) -> list[Int[Array, "*shape"]]:
    """A fraction of at most 1, rounded down to `DIGITS` digits of base `BASE`.

    >>> [digit.tolist() for digit in digits(jnp.int32([1, 3]), jnp.int32([2, 3]))]
    [[32768, 65536], [0, 0], [0, 0]]

    Args:
        numerator, denominator: int32 below 2^30.
    """
    # Long division. The float32 estimate of a digit is one off at most, and an integer division is slow.
    inverse, rest, quotient = 1 / denominator.astype(jnp.float32), numerator, []
    for _ in range(DIGITS):
        estimate = (rest.astype(jnp.float32) * BASE * inverse).astype(jnp.int32)
        rest = rest * BASE - estimate * denominator  # both overflow; the difference is right
        error = (rest >= denominator).astype(jnp.int32) - (rest < 0).astype(jnp.int32)
        rest -= error * denominator
        quotient.append(estimate + error)
    return quotient


@functools.partial(jax.jit, static_argnames="k")
def nearest(
    queries_qW: UInt32[Array, "q W"], items_BbW: UInt32[Array, "B b W"], M: Int[Array, ""], k: int
) -> tuple[Int[Array, "q k"], Int[Array, "q k"]]:
    """Indices and distances of the k nearest items, ties by the lower index."""
    block, W = items_BbW.shape[1:]
    farther = 32 * W + 1

    def merge(best, numbered_items):
        number, items_bW = numbered_items
        item_b = number * block + jnp.arange(block)
        distance_qb = jnp.where(item_b < M, distances(queries_qW, items_bW), farther)
        # Floats, which hold every distance: on a CPU, XLA's top_k of whole numbers takes 20 times as long.
        return merge_top_k(best, -distance_qb.astype(jnp.float32), number * block), None

    shape = len(queries_qW), k
    none = jnp.zeros(shape, jnp.int32), jnp.full(shape, -farther, jnp.float32)
    (index_qk, nearness_qk), _ = lax.scan(merge, none, _numbered(items_BbW))
    return index_qk, -nearness_qk.astype(jnp.int32)


def _histograms(queries_qW, labels_qC, database, M):
    T = 32 * queries_qW.shape[1] + 1

    def count(counts_Tq, numbered_block):
        block_Tq = _count(*_block(queries_qW, labels_qC, numbered_block, M), T)
        return jax.tree.map(jnp.add, counts_Tq, block_Tq), None

    none_Tq = jnp.zeros((T, len(queries_qW)), jnp.int32)
    return lax.scan(count, (none_Tq, none_Tq), _numbered(database))[0]


def _block(queries_qW, labels_qC, numbered_block, M):
    """Distances of a block's items, and what each adds to a sum: 1, RELEVANT more if relevant; padding 0."""
    number, (items_bW, item_labels_bC) = numbered_block
    relevant_bq = share_a_label(item_labels_bC, labels_qC)
    real_b = number * len(items_bW) + jnp.arange(len(items_bW)) < M
    weight_bq = jnp.where(real_b[:, None], 1 + RELEVANT * relevant_bq.astype(jnp.int32), 0)
    return distances(items_bW, queries_qW), weight_bq


def _count(distance_bq, weight_bq, T):
    at_Tbq = distance_bq == jnp.arange(T)[:, None, None]
    return _split(jnp.sum(jnp.where(at_Tbq, weight_bq, 0), axis=1))


def _split(sums):
    """All items and relevant items of a sum of weights."""
    return sums % RELEVANT, sums // RELEVANT


def _carried(sums_q):
    """Sums of digits, the whole part first, with every digit below BASE again."""
    carried_q, over_q = [], 0
    for sum_q in reversed(sums_q[1:]):
        sum_q += over_q
        carried_q.append(sum_q % BASE)
        over_q = sum_q // BASE
    return [sums_q[0] + over_q, *reversed(carried_q)]


def _numbered(blocks):
    return jnp.arange(len(jax.tree.leaves(blocks)[0])), blocks
