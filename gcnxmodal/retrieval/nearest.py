"""Exact nearest neighbours by cosine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from gcnxmodal.errors import InputError


def nearest_neighbours(
    vectors: Float[np.ndarray, "N d"], k: int, block: int = 2**24
) -> Int[np.ndarray, "N k"]:
    """The `k` rows of largest cosine with each row, itself excluded, nearest first; int32 [N, k].

    Exact in float64: of equal cosines the lower row number comes first, and equal rows always have equal
    cosines. The last bits of a blocked matrix product depend on where in it a pair stands, so the product
    only proposes candidates: every pair that its rounding error leaves in question. What is ranked is their
    cosine computed anew from the two rows alone, summed in a fixed order. Hence the result depends neither
    on `block` nor on the number of threads.

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
