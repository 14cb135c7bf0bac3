"""Ranking: by descending score, ties by the lower database index, on every device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from gcnxmodal.errors import InputError


def similarity(queries_QD: Float[Array, "Q D"], database_MD: Float[Array, "M D"]) -> Float[Array, "Q M"]:
    """score_qm = query_q . item_m, in full float32 also where the device's default is bf16 or tf32."""
    return jnp.matmul(queries_QD, database_MD.T, precision=lax.Precision.HIGHEST)


def share_a_label(queries_QC: Bool[Array, "Q C"], database_MC: Bool[Array, "M C"]) -> Bool[Array, "Q M"]:
    """Relevance: the query and the item have at least one label in common."""
    # 0/1 products and their sum's sign are exact in any matrix precision.
    return jnp.matmul(queries_QC.astype(jnp.float32), database_MC.astype(jnp.float32).T) > 0.5


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
