"""SSPE's graphs, and how neighbours and negatives are drawn on them.

The semantic graph joins all images and all texts: two vertices are connected if they share a label, with a
weight that depends on their label vectors alone. So items fall into groups of equal labels, the graph is
never built, and a neighbour of i is drawn exactly in two steps: a group u with chance
size_u x weight(z_i, z_u), then a uniform item of the group.

The graph on the features of a modality joins two items if one is among the k nearest of the other; every edge
has weight 1. Neighbours of a large corpus are found once and kept in the cache.

Shapes: n items (each one image and one text), C labels, U distinct label vectors, E entries of all
neighbourhoods (at most 2 k n + n), k draws for each of B items. Randomness comes as words, uint32 uniform
over all values: a step makes all of its words at once, because each use of a random generator takes up to a
second to compile on a CPU.

Source: SSPE (Wu et al. 2018) Section 3.1.
"""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from gcnxmodal.data.cache import cache_dir, cached_arrays
from gcnxmodal.retrieval import nearest, ranking

Similarity = Literal["cosine", "squared-exponential"]

# --- The semantic graph ---

TICKETS = 2.0**31

ROW = 64
"""Label groups whose tickets are added up together, see `_holder`."""


class LabelGroups(NamedTuple):
    """The items of each distinct label vector: group u owns items_n[start_U[u] : start_U[u] + size_U[u]].

    Attributes:
        labels_UC: the distinct label vectors.
        group_n: the group of each item.
        place_n: its place in its group.
    """

    labels_UC: Float[Array, "U C"]
    start_U: Int[Array, " U"]
    size_U: Int[Array, " U"]
    items_n: Int[Array, " n"]
    group_n: Int[Array, " n"]
    place_n: Int[Array, " n"]


class Drawn(NamedTuple):
    """What was drawn for each of B items.

    Attributes:
        items: with replacement.
        exist: whether there was any to draw; if not, `items` has no meaning.
    """

    items: Int[Array, "B k"]
    exist: Bool[Array, " B"]


def label_groups(labels_nC: Bool[np.ndarray, "n C"]) -> LabelGroups:
    """Group items by their labels."""
    _, first, group_n = np.unique(
        np.packbits(labels_nC, axis=1), axis=0, return_index=True, return_inverse=True
    )
    group_n = group_n.reshape(-1)
    items_n = np.argsort(group_n, kind="stable")
    size_U = np.bincount(group_n)
    start_U = np.cumsum(size_U) - size_U
    place_n = np.empty_like(items_n)
    place_n[items_n] = np.arange(len(items_n)) - start_U[group_n[items_n]]
    return LabelGroups(
        jnp.asarray(labels_nC[first], jnp.float32),
        *(jnp.asarray(a, jnp.int32) for a in (start_U, size_U, items_n, group_n, place_n)),
    )


def below(words: UInt32[Array, "..."], span: Array) -> UInt32[Array, "..."]:
    """Whole numbers from 0 to span - 1: the upper half of word x span. A chance is right to 2^-32.

    >>> below(jnp.array([0, 2**31, 2**32 - 1], jnp.uint32), jnp.uint32(10)).tolist()
    [0, 5, 9]
    """
    word_high, word_low = words >> 16, words & 0xFFFF
    span = jnp.asarray(span, jnp.uint32)
    span_high, span_low = span >> 16, span & 0xFFFF
    left, right = word_high * span_low, word_low * span_high
    carry = ((word_low * span_low) >> 16) + (left & 0xFFFF) + (right & 0xFFFF)
    return word_high * span_high + (left >> 16) + (right >> 16) + (carry >> 16)


def draw_connected(
    words_2Bk: UInt32[Array, "2 B k"],
    groups: LabelGroups,
    items_B: Int[Array, " B"],
    *,
    same_modality: bool,
    similarity: Similarity = "cosine",
    sigma: Any = 1.0,
) -> Drawn:
    """k neighbours of each item in one modality, P(j | i) proportional to the weight of the edge.

        weight = <z_i, z_j> / (||z_i|| ||z_j||)    or    exp(-||z_i - z_j||^2 / sigma)

    Args:
        same_modality: the neighbours' is the item's own. Then the item itself is not one of them; in the
            other modality its counterpart is.
    """
    # Paper: says nothing of an item as its own neighbour; here never, because edges connect two vertices. Its
    # counterpart is another vertex, which shares all its labels.
    shared_BU, count_BU = _shared_and_count(groups, items_B, same_modality=same_modality)
    labels_U = groups.labels_UC.sum(axis=1)
    if similarity == "cosine":  # the item's own length is the same for all of its neighbours
        log_weight_BU = jnp.log(jnp.maximum(shared_BU, 1)) - 0.5 * jnp.log(jnp.maximum(labels_U, 1))
    else:
        own_B1 = labels_U[groups.group_n[items_B], None]
        log_weight_BU = -(own_B1 + labels_U - 2 * shared_BU) / sigma
    there_BU = (shared_BU > 0) & (count_BU > 0)
    highest_B1 = jnp.max(log_weight_BU, axis=1, keepdims=True, where=there_BU, initial=-1e30)
    chance_BU = jnp.where(there_BU, count_BU * jnp.exp(jnp.minimum(log_weight_BU - highest_B1, 0)), 0)
    # In float32 a running sum of small chances is rough, and not always flat where a chance is zero. Tickets
    # are whole numbers, 2^31 in all: every chance is right to 2^-31, and no edge has none.
    chance_BU /= jnp.maximum(chance_BU.sum(axis=1, keepdims=True), 1e-30)
    tickets_BU = jnp.where(there_BU, jnp.maximum(jnp.round(TICKETS * chance_BU), 1), 0)
    return _draw(words_2Bk, groups, items_B, tickets_BU.astype(jnp.uint32), same_modality=same_modality)


def draw_unconnected(
    words_2Bk: UInt32[Array, "2 B k"], groups: LabelGroups, items_B: Int[Array, " B"], *, same_modality: bool
) -> Drawn:
    """k items of one modality for each item, uniform over those that share no label with it.

    Where all share one, there is none (`exist`), and the loss leaves the negatives of that item out.
    """
    shared_BU, count_BU = _shared_and_count(groups, items_B, same_modality=same_modality)
    tickets_BU = jnp.where(shared_BU == 0, count_BU, 0).astype(jnp.uint32)
    return _draw(words_2Bk, groups, items_B, tickets_BU, same_modality=same_modality)


def _shared_and_count(
    groups: LabelGroups, items_B: Array, *, same_modality: bool
) -> tuple[Float[Array, "B U"], Int[Array, "B U"]]:
    """How many labels each item shares with each group, and how many items there are to draw in it."""
    # A row of weights is made when it is drawn from, B U C multiplications: U^2 numbers kept instead would
    # be 100 MB at 5,000 distinct vectors, as NUS-WIDE may have, and save a fraction of a millisecond a step.
    group_B = groups.group_n[items_B]
    labels_BC = groups.labels_UC[group_B]
    shared_BU = jnp.matmul(labels_BC, groups.labels_UC.T, precision=jax.lax.Precision.HIGHEST)
    own_BU = group_B[:, None] == jnp.arange(len(groups.size_U))
    return shared_BU, groups.size_U - (own_BU & same_modality)


def _draw(
    words_2Bk: Array, groups: LabelGroups, items_B: Array, tickets_BU: Array, *, same_modality: bool
) -> Drawn:
    """A group by its tickets, then a uniform item of it, the item itself left out of its own modality."""
    group_Bk, total_B1 = _holder(words_2Bk[0], tickets_BU)
    own_Bk = (group_Bk == groups.group_n[items_B, None]) & same_modality
    place_Bk = below(words_2Bk[1], groups.size_U[group_Bk] - own_Bk).astype(jnp.int32)
    place_Bk += own_Bk & (place_Bk >= groups.place_n[items_B, None])
    # Where there is nothing to draw, the place may be beyond the group: some item stands there still.
    found_Bk = jnp.minimum(groups.start_U[group_Bk] + place_Bk, len(groups.items_n) - 1)
    return Drawn(groups.items_n[found_Bk], total_B1[:, 0] > 0)


def _holder(words_Bk: UInt32[Array, "B k"], tickets_BU: UInt32[Array, "B U"]) -> tuple[Array, Array]:
    """Which group holds the ticket that is drawn, [B, k], and how many tickets there are, [B, 1]."""
    # Running sums of rows of groups first, and of the groups of the row that is drawn: XLA's running sum of
    # all groups takes six times as long as making the tickets of 5,800 of them.
    B, U = tickets_BU.shape
    tickets_BVv = jnp.pad(tickets_BU, ((0, 0), (0, -U % ROW))).reshape(B, -1, ROW)
    until_BV = jnp.cumsum(tickets_BVv.sum(axis=2, dtype=jnp.uint32), axis=1, dtype=jnp.uint32)
    total_B1 = until_BV[:, -1:]
    ticket_Bk = below(words_Bk, total_B1)
    row_Bk = (until_BV[:, None] <= ticket_Bk[:, :, None]).sum(axis=2)
    row_Bk = jnp.minimum(row_Bk, until_BV.shape[1] - 1)  # beyond the last one where there is no ticket
    tickets_Bkv = jnp.take_along_axis(tickets_BVv, row_Bk[:, :, None], axis=1)
    of_row_Bk = jnp.take_along_axis(until_BV, row_Bk, axis=1)  # at the end of it
    left_Bk = of_row_Bk - ticket_Bk  # tickets from this one to the end
    after_Bkv = jnp.cumsum(tickets_Bkv[:, :, ::-1], axis=2, dtype=jnp.uint32)  # from a group to the end
    column_Bk = ROW - 1 - (after_Bkv < left_Bk[:, :, None]).sum(axis=2)
    return jnp.clip(row_Bk * ROW + column_Bk, 0, U - 1), total_B1


# --- Graphs of features ---


class FeatureGraph(NamedTuple):
    """Neighbourhoods one after another, each sorted and with the item itself.

    Item i owns near_E[start_n[i] : start_n[i] + size_n[i]]; it stands at place_n[i] of these itself.
    """

    start_n: Int[Array, " n"]
    size_n: Int[Array, " n"]
    place_n: Int[Array, " n"]
    near_E: Int[Array, " E"]


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


# --- Neighbours of a large corpus, found once ---

SearchMethod = Literal["exact", "faiss"]

SEARCHES: dict[SearchMethod, Callable[..., Int[np.ndarray, "n k"]]] = {
    "exact": nearest.nearest_by_distance,
    "faiss": nearest.nearest_by_index,
}

KEPT_FROM = 10_000
"""Rows; fewer take a second or two."""


def nearest_neighbours(
    rows_nd: Float[np.ndarray, "n d"], k: int, method: SearchMethod
) -> Int[np.ndarray, "n k"]:
    """The `k` nearest rows of each row, by one of `SEARCHES`, or as they were found before.

    A run that is killed leaves no half of them; the cache that cannot be written costs the next run time.

    Raises:
        InputError: as the methods do.
    """
    if method == "faiss":
        _require_faiss()  # said at any size, and whatever is kept
    if len(rows_nd) < KEPT_FROM:
        return SEARCHES[method](rows_nd, k)
    path = cache_dir() / "neighbours" / f"{_key(rows_nd, k, method)}.npz"
    arrays = cached_arrays(
        path,
        make=lambda: {"near": SEARCHES[method](rows_nd, k)},
        shapes={"near": (len(rows_nd), k)},
        what="nearest neighbours",
    )
    return arrays["near"]


def _key(rows_nd: Float[np.ndarray, "n d"], k: int, method: SearchMethod) -> str:
    """Of the rows and of what finds their neighbours: changed code is not answered from the cache."""
    finder = jax.default_backend() if method == "exact" else _require_faiss().__version__
    digest = hashlib.sha256(repr((rows_nd.shape, str(rows_nd.dtype), k, method, finder)).encode())
    for module in (nearest, ranking):
        digest.update(inspect.getsource(module).encode())
    digest.update(np.ascontiguousarray(rows_nd).data)
    return digest.hexdigest()


def _require_faiss() -> Any:
    return nearest.require_faiss("--train.knn faiss", "--train.knn exact")
