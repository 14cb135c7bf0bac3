"""Hamming rankings on the host's cores: a counting sort a query, compiled by numba, without the GIL.

Items and their labels are packed words, one row a word, so that a loop over items is one over neighbours in
memory: items_WM, item_labels_VM; queries_QW, labels_QV. Two codes share a label if a word of theirs does.
"""

import concurrent.futures
import logging
import os
from collections.abc import Callable
from typing import Any

import numba  # pyright: ignore[reportMissingImports]
import numpy as np
from jaxtyping import Int, UInt32
from numba.extending import intrinsic  # pyright: ignore[reportMissingImports]

_log = logging.getLogger(__name__)

TILE = 1024
"""Items whose distances are computed before they are counted: they stay in the first cache."""

QUERIES = 32
"""Queries a thread takes at a time."""

Words = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""queries_QW, labels_QV, items_WM, item_labels_VM."""

# A counter is one integer: the distance it counts from bit 48 on, relevant items in bits 24..47, all items
# in 0..23. So what an item finds there is one load and one store.
RELEVANT, DISTANCE = np.uint64(24), np.uint64(48)
COUNT = np.uint64(2**24 - 1)
ONE = np.uint64(1)


def precision_sums(words: Words, cutoff: int) -> np.ndarray:
    """sum_{r <= cutoff} P(r) rel(r), hits within the cut-off, and all relevant items: float64 [Q, 3].

    The sum runs in the order of the ranks, one by one, in float64.
    """
    out_Q3 = np.empty((len(words[0]), 3))
    _on_all_cores(_precision_sums, words, cutoff, out_Q3)
    return out_Q3


def histograms(words: Words) -> Int[np.ndarray, "2 Q T"]:
    """How many items, and how many relevant ones, lie at each distance 0..32 W from each query."""
    out_QT2 = np.zeros((len(words[0]), 32 * len(words[2]) + 1, 2), np.int64)
    _on_all_cores(_histograms, words, 0, out_QT2)
    return np.moveaxis(out_QT2, -1, 0)


def nearest(
    queries_QW: UInt32[np.ndarray, "Q W"], items_WM: UInt32[np.ndarray, "W M"], k: int
) -> Int[np.ndarray, "2 Q k"]:
    """Indices and distances of the k nearest items of each query, ties by the lower index."""
    no_labels = np.zeros((len(queries_QW), 0), np.uint32), np.zeros((0, items_WM.shape[1]), np.uint32)
    out_Qk2 = np.empty((len(queries_QW), k, 2), np.int32)
    _on_all_cores(_nearest, (queries_QW, no_labels[0], items_WM, no_labels[1]), k, out_Qk2)
    return np.moveaxis(out_Qk2, -1, 0)


def _on_all_cores(measure: Callable, words: Words, limit: int, out_Q: np.ndarray) -> None:
    queries_QW, labels_QV, items_WM, item_labels_VM = words
    program = _program(measure, (queries_QW[:0], labels_QV[:0], items_WM, item_labels_VM, limit, out_Q[:0]))

    def part(start: int) -> None:
        rows = slice(start, start + QUERIES)
        program(queries_QW[rows], labels_QV[rows], items_WM, item_labels_VM, limit, out_Q[rows])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(part, range(0, len(queries_QW), QUERIES)))


_programs: dict[Callable, Callable] = {}


def _program(function: Callable, arguments: tuple) -> Callable:
    """The function compiled, from numba's cache beside this file where that can be read and written.

    Args:
        arguments: of the types that it will be called with, but of no query.
    """
    if function not in _programs:
        program = _compiled(function)
        try:
            kept = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
            kept(*arguments)
            program = kept
        except Exception as error:  # no folder may be written; or a damaged file, which raises anything
            _log.warning(
                "%s: numba cannot keep its programs (%s: %s); compiling without. Delete *.nbi and *.nbc in "
                "__pycache__ there, or let $NUMBA_CACHE_DIR name another folder",
                *(os.path.dirname(__file__), type(error).__name__, error),
            )
        _programs[function] = program
    return _programs[function]


@intrinsic
def _ones(typing_context: Any, word: Any) -> Any:
    """The number of ones of an integer: one instruction, also on vectors."""
    return word(word), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


_compiled = numba.njit(nogil=True, error_model="numpy")


@_compiled
def _mark(query_W, labels_V, items_WM, item_labels_VM, start, count, marked):
    """marked[i] = 2 x distance + relevance of item start + i."""
    stop = start + count
    for i in range(count):
        marked[i] = 0
    for v in range(len(labels_V)):
        label, words = labels_V[v], item_labels_VM[v, start:stop]
        for i in range(count):
            marked[i] |= (words[i] & label) != 0
    for w in range(len(query_W)):
        word, words = query_W[w], items_WM[w, start:stop]
        for i in range(count):
            marked[i] += _ones(words[i] ^ word) << 1  # pyright: ignore[reportCallIssue]


def _precision_sums(queries_QW, labels_QV, items_WM, item_labels_VM, cutoff, out_Q3):
    W, M = items_WM.shape
    count_T = np.empty(32 * W + 1, np.uint64)
    seen, ranks = np.empty(M + 1, np.uint64), np.empty(M, np.uint32)
    marked = np.empty(TILE, np.uint16)
    for q in range(len(queries_QW)):
        for t in range(len(count_T)):
            count_T[t] = np.uint64(t) << DISTANCE
        relevant_count = np.uint64(0)
        for start in range(0, M, TILE):
            count = min(TILE, M - start)
            _mark(queries_QW[q], labels_QV[q], items_WM, item_labels_VM, start, count, marked)
            # Each item writes what it saw; the next one overwrites it unless it was relevant. No branch.
            for i in range(np.uint64(count)):
                mark = np.uint64(marked[i])
                relevant, counter = mark & ONE, count_T[mark >> ONE]
                seen[relevant_count] = counter
                count_T[mark >> ONE] = counter + (relevant << RELEVANT) + ONE
                relevant_count += relevant
        ahead = np.uint64(0)
        for t in range(len(count_T)):
            at_distance = count_T[t] - (np.uint64(t) << DISTANCE)
            count_T[t] = ahead
            ahead += at_distance
        for i in range(relevant_count):
            place = seen[i] + count_T[seen[i] >> DISTANCE]
            ranks[(place >> RELEVANT) & COUNT] = (place & COUNT) + ONE
        total, hit = 0.0, 0
        while hit < relevant_count and ranks[hit] <= cutoff:
            total += (hit + 1) / ranks[hit]
            hit += 1
        out_Q3[q, 0], out_Q3[q, 1], out_Q3[q, 2] = total, hit, relevant_count


def _histograms(queries_QW, labels_QV, items_WM, item_labels_VM, _, out_QT2):
    M = items_WM.shape[1]
    marked = np.empty(TILE, np.uint16)
    count_2T = np.empty(2 * out_QT2.shape[1], np.int64)
    for q in range(len(queries_QW)):
        count_2T[:] = 0
        for start in range(0, M, TILE):
            count = min(TILE, M - start)
            _mark(queries_QW[q], labels_QV[q], items_WM, item_labels_VM, start, count, marked)
            for i in range(count):
                count_2T[marked[i]] += 1
        for t in range(out_QT2.shape[1]):
            out_QT2[q, t, 0] = count_2T[2 * t] + count_2T[2 * t + 1]
            out_QT2[q, t, 1] = count_2T[2 * t + 1]


def _nearest(queries_QW, labels_QV, items_WM, item_labels_VM, k, out_Qk2):
    W, M = items_WM.shape
    marked = np.empty(M, np.uint16)
    next_T = np.empty(32 * W + 1, np.int64)
    for q in range(len(queries_QW)):
        next_T[:] = 0
        _mark(queries_QW[q], labels_QV[q], items_WM, item_labels_VM, 0, M, marked)
        for m in range(M):
            next_T[marked[m] >> 1] += 1
        before = 0
        for t in range(len(next_T)):
            before, next_T[t] = before + next_T[t], before
        for m in range(M):
            t = marked[m] >> 1
            if next_T[t] < k:
                out_Qk2[q, next_T[t], 0], out_Qk2[q, next_T[t], 1] = m, t
                next_T[t] += 1
