"""Retrieval by binary codes: packed words, Hamming distance, exact AP and search without a sort.

A distance is a whole number from 0 to the number of bits, so that a count of the items at each distance gives
every rank: an item's is the number of nearer items, and of earlier ones at its distance, plus one. Ties are
broken by the database index, on every device.

On the CPU backend numba compiles the counting where it is installed (`hamming_host`), elsewhere it is XLA
(`hamming_device`); `on_host` chooses. No array is as large as queries x items.
"""

import functools
import importlib.util
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval import hamming_device
from gcnxmodal.retrieval.metrics import Norm
from gcnxmodal.retrieval.ranking import MAX_BYTES, join_chunks, pad_rows, rows_per_chunk

BLOCK = 128
"""Items of the database that XLA counts at a time, and at most; each is compared with the block's others."""

CPU_BLOCK = 16
"""The same on a CPU, where comparisons cost more than steps."""

SEARCH_BLOCK = 16_384
"""Items that XLA's search merges into the best so far at a time; as many as it seeks, if they are more."""

_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

HOST_ITEMS, HOST_BITS = 2**24, 2**15
"""Below both, the counts and distances fit the integers of `hamming_host`."""


def pack_codes(
    bits_nK: Bool[np.ndarray, "n K"] | Float[Array | np.ndarray, "n K"],
) -> UInt32[np.ndarray, "n W"]:
    """Codes as words of 32 bits, W = ceil(K / 32): bit k of a code is bit k % 32 of word k // 32.

    Args:
        bits_nK: booleans, or numbers: the positive ones are ones (the papers' codes are -1 and 1).

    The rest of the last word is zero, in every code, and adds nothing to a distance.

    >>> pack_codes(np.array([[1, -1, 1, 1], [-1, -1, -1, 1]])).tolist()
    [[13], [8]]

    Raises:
        InputError: if it is no matrix with at least one column, or a value is NaN.
    """
    bits_nK = np.asarray(bits_nK)
    if bits_nK.ndim != 2 or not bits_nK.shape[1]:
        raise InputError(f"codes are {bits_nK.shape}; give one row an item and one column a bit")
    if np.isnan(bits_nK).any():
        raise InputError("codes: a value is NaN, which has no sign; the model has diverged: check it")
    bytes_nB = np.packbits(bits_nK > 0, axis=1, bitorder="little")
    bytes_nB = np.pad(bytes_nB, ((0, 0), (0, -bytes_nB.shape[1] % 4)))
    return bytes_nB.view("<u4").astype(np.uint32, copy=False)


def average_precisions(
    query_codes_QW: UInt32[np.ndarray, "Q W"],
    database_codes_MW: UInt32[np.ndarray, "M W"],
    query_labels_QC: Bool[np.ndarray, "Q C"],
    database_labels_MC: Bool[np.ndarray, "M C"],
    cutoff: int | None = None,
    norm: Norm = "hits",
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
) -> Float[np.ndarray, " Q"]:
    """AP of each query's ranking by Hamming distance, ties by index; see `metrics.average_precision`.

    float64. numba sums in the order of the ranks: the bits of a stable argsort and a loop over its hits. XLA
    rounds each precision down to a multiple of 2^-48 and sums these exactly.

    Codes 1110, 1000, 0111 lie at 1, 1, 2 from 1100. Items 1 and 2 are relevant: hits at ranks 2 and 3:

    >>> query, database = ([[1, 1, 0, 0]], [[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1]])
    >>> codes = pack_codes(np.array(query)), pack_codes(np.array(database))
    >>> labels = np.array([[True, False]]), np.array([[False, True], [True, True], [True, False]])
    >>> average_precisions(*codes, *labels).round(6).tolist()  # (1/2 + 2/3) / 2
    [0.583333]

    Or, item 1 first, (1 + 2/3) / 2, with the mean .708333 (`metrics.expected_average_precision`).

    Raises:
        InputError: if codes and labels are not aligned.
    """
    data = _checked(query_codes_QW, database_codes_MW, query_labels_QC, database_labels_MC)
    M = len(database_codes_MW)
    if cutoff is not None and cutoff < 1:
        raise InputError(f"cutoff is {cutoff}; choose 1 or more, or None for all ranks")
    R = M if cutoff is None else min(cutoff, M)
    if _on_host(data[1], on_host):
        from gcnxmodal.retrieval import hamming_host

        sum_Q, hits_Q, relevant_Q = hamming_host.precision_sums(_host_layout(*data), R).T
    else:
        sums = functools.partial(hamming_device.precision_sums, M=M, cutoff=R)
        sum_Q4, hits_Q, relevant_Q = _by_chunks(sums, data, max_bytes)
        sum_Q = sum_Q4 @ (1 / hamming_device.BASE ** np.arange(sum_Q4.shape[1]))
    Z_Q = {"hits": hits_Q, "relevant": relevant_Q, "min": np.minimum(relevant_Q, R)}[norm]
    return sum_Q / np.maximum(Z_Q, 1.0)


def distance_histograms(
    query_codes_QW: UInt32[np.ndarray, "Q W"],
    database_codes_MW: UInt32[np.ndarray, "M W"],
    query_labels_QC: Bool[np.ndarray, "Q C"],
    database_labels_MC: Bool[np.ndarray, "M C"],
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
) -> tuple[Int[np.ndarray, "Q T"], Int[np.ndarray, "Q T"]]:
    """How many items, and how many relevant ones, lie at each distance 0..32 W from each query.

    Raises:
        InputError: if codes and labels are not aligned.
    """
    data = _checked(query_codes_QW, database_codes_MW, query_labels_QC, database_labels_MC)
    if _on_host(data[1], on_host):
        from gcnxmodal.retrieval import hamming_host

        all_QT, relevant_QT = hamming_host.histograms(_host_layout(*data))
    else:
        counts = functools.partial(hamming_device.histograms, M=len(database_codes_MW))
        all_QT, relevant_QT = _by_chunks(counts, data, max_bytes)
    return all_QT, relevant_QT


def nearest(
    query_codes_QW: UInt32[np.ndarray, "Q W"],
    database_codes_MW: UInt32[np.ndarray, "M W"],
    k: int,
    max_bytes: int = MAX_BYTES,
    on_host: bool | None = None,
) -> tuple[Int[np.ndarray, "Q k"], Int[np.ndarray, "Q k"]]:
    """The k nearest database items of each query, nearest first, ties by index: (indices, distances).

    Raises:
        InputError: if k is not in 1..M, or the codes have different widths.
    """
    Q, M = len(query_codes_QW), len(database_codes_MW)
    none = np.zeros((Q, 1), bool), np.zeros((M, 1), bool)
    queries_QW, items_MW, *_ = _checked(query_codes_QW, database_codes_MW, *none)
    if not 1 <= k <= M:
        raise InputError(f"k is {k} and the database has {M} items; choose k from 1 to {M}")
    if _on_host(items_MW, on_host):
        from gcnxmodal.retrieval import hamming_host

        indices_Qk, distances_Qk = hamming_host.nearest(queries_QW, np.ascontiguousarray(items_MW.T), k)
        return indices_Qk, distances_Qk
    block = max(SEARCH_BLOCK, k)  # all items at once, where all are ranked
    rows = rows_per_chunk(Q, block + k, max_bytes)
    queries_PW, items_BbW = pad_rows(jnp.asarray(queries_QW), rows), _blocks(items_MW, block)
    chunks = [hamming_device.nearest(queries_PW[i : i + rows], items_BbW, M, k) for i in range(0, Q, rows)]
    indices_Qk, distances_Qk = join_chunks(chunks, Q)
    return indices_Qk, distances_Qk


def _checked(query_codes_QW, database_codes_MW, query_labels_QC, database_labels_MC) -> _Arrays:
    codes = np.asarray(query_codes_QW), np.asarray(database_codes_MW)
    labels = np.asarray(query_labels_QC, bool), np.asarray(database_labels_MC, bool)
    for side, code, label in zip(("queries", "database"), codes, labels, strict=True):
        if code.dtype != np.uint32 or code.ndim != 2:
            raise InputError(f"{side}: codes are {code.dtype} {code.shape}; pack them with `pack_codes`")
        if label.ndim != 2 or len(label) != len(code) or not len(code):
            raise InputError(
                f"{side}: codes are {code.shape} and labels {label.shape}; give each one row an item"
            )
    if codes[0].shape[1] != codes[1].shape[1] or labels[0].shape[1] != labels[1].shape[1]:
        raise InputError(
            f"queries have {codes[0].shape[1]} words and {labels[0].shape[1]} classes, the database "
            f"{codes[1].shape[1]} and {labels[1].shape[1]}; make them equal"
        )
    return *codes, *labels


def _on_host(items_MW: np.ndarray, wanted: bool | None) -> bool:
    """Whether numba counts: on the CPU backend, if it is installed and the counts fit its integers."""
    if wanted is not None:
        return wanted
    small = len(items_MW) < HOST_ITEMS and 32 * items_MW.shape[1] < HOST_BITS
    return jax.default_backend() == "cpu" and small and importlib.util.find_spec("numba") is not None


def _host_layout(queries_QW, items_MW, labels_QC, item_labels_MC) -> _Arrays:
    labels_QV, item_labels_MV = pack_codes(labels_QC), pack_codes(item_labels_MC)
    return queries_QW, labels_QV, np.ascontiguousarray(items_MW.T), np.ascontiguousarray(item_labels_MV.T)


def _by_chunks(measure: Callable, data: _Arrays, max_bytes: int) -> tuple[np.ndarray, ...]:
    """`measure` on XLA, for as many queries at a time as the budget allows."""
    queries_QW, items_MW, labels_QC, item_labels_MC = data
    block = CPU_BLOCK if jax.default_backend() == "cpu" else BLOCK
    comparisons = block * max(block, 32 * queries_QW.shape[1] + 1)
    rows = rows_per_chunk(len(queries_QW), comparisons, max_bytes)
    queries = pad_rows(jnp.asarray(queries_QW), rows), pad_rows(jnp.asarray(labels_QC), rows)
    database = _blocks(items_MW, block), _blocks(item_labels_MC, block)
    starts = range(0, len(queries_QW), rows)
    chunks = [measure(*(x[start : start + rows] for x in queries), *database) for start in starts]
    return join_chunks(chunks, len(queries_QW))


def _blocks(x_Mx: np.ndarray, block: int) -> Array:
    padded_Nx = pad_rows(jnp.asarray(x_Mx), block)
    return padded_Nx.reshape(-1, block, x_Mx.shape[1])
