"""SSPE's graph on the features of a modality: nearest neighbours, and draws from those near and far.

Two items are connected if one is among the k nearest of the other; every edge has weight 1.

Shapes: n items, E entries of all neighbourhoods (at most 2 k n + n), k draws for each of B items,
by random words as in `semantic_graph.py`.

Source: SSPE (Wu et al. 2018) Section 3.1, "Local geometric structure preserving".
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax import lax
from jaxtyping import Array, Int, UInt32

from gcnxmodal.systems.semantic_graph import Drawn, below


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
