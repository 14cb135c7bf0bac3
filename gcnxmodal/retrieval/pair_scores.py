"""Scores that are no inner product: of every text with every image, and search by them."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from gcnxmodal.retrieval.ranking import MAX_BYTES, top_k

# Of a chunk: enough texts to keep a device busy, and so many images that [images, D] lies in a CPU's cache.
TEXTS, IMAGES = 64, 1024


def score_matrix(
    score: Callable[[Any, Array, Array], Array],
    model: Any,
    texts_QD: Float[np.ndarray, "Q D"],
    images_MD: Float[np.ndarray, "M D"],
    *,
    devices: int | None = None,
) -> Float[np.ndarray, "Q M"]:
    """score(model, texts, images) of every text with every image.

    The devices of this process share the texts of a chunk; a device holds `TEXTS` by `IMAGES` pairs at a
    time, so that nothing but the result, 4 Q M bytes on the host, grows with the number of pairs. A bar shows
    how far it is, where there is a terminal.

    Args:
        score: (model, texts_qD, images_mD) -> scores_qm; compiled once for each of its identities.
        model: the arrays that it needs.
        devices: how many of this process's devices to use; all, if not given.
    """
    mesh = jax.make_mesh(
        (count := devices or jax.local_device_count(),),
        ("texts",),
        (AxisType.Auto,),
        devices=jax.local_devices()[:count],
    )
    model = jax.device_put(model, NamedSharding(mesh, P()))
    Q, M = len(texts_QD), len(images_MD)
    q = count * min(TEXTS, math.ceil(Q / count))
    m = math.ceil(M / math.ceil(M / IMAGES))  # chunks of one size, with hardly any padding
    scores_QM = np.empty((Q, M), np.float32)
    starts = [(row, column) for row in range(0, Q, q) for column in range(0, M, m)]
    for row, column in tqdm(starts, "scoring pairs", unit="chunk", disable=None, leave=False):
        texts_qD, images_mD = _padded(texts_QD, row, q), _padded(images_MD, column, m)
        part = np.asarray(_score(score, mesh, model, texts_qD, images_mD))
        scores_QM[row : row + q, column : column + m] = part[: Q - row, : M - column]
    return scores_QM


def _padded(rows: np.ndarray, start: int, size: int) -> np.ndarray:
    part = rows[start : start + size]
    return np.pad(part, ((0, size - len(part)), (0, 0)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _score(score: Callable, mesh: Mesh, model: Any, texts_qD: Array, images_mD: Array) -> Array:
    over_texts = jax.shard_map(
        score, mesh=mesh, in_specs=(P(), P("texts"), P()), out_specs=P("texts"), check_vma=False
    )
    return over_texts(model, texts_qD, images_mD)


def search(
    queries_QD: Float[Array | np.ndarray, "Q D"],
    database_MD: Float[Array | np.ndarray, "M D"],
    k: int,
    *,
    shortlist: int,
    score: Callable[[Int[np.ndarray, " P"], Int[np.ndarray, " P"]], Float[np.ndarray, " P"]],
    max_bytes: int = MAX_BYTES,
) -> tuple[Int[np.ndarray, "Q k"], Float[np.ndarray, "Q k"]]:
    """The k best items of each query among its `shortlist` best by inner product: (indices, scores).

    With a shortlist of M it is the exact ranking. Ties are broken by the lower index.

    Args:
        queries_QD, database_MD: the embeddings to shortlist by.
        shortlist: items of each query that are scored; at least k are, and at most M.
        score: (query numbers, item numbers) -> scores of these pairs.

    Raises:
        InputError: as `top_k`.
    """
    best_QS, _ = top_k(queries_QD, database_MD, max(k, min(shortlist, len(database_MD))), max_bytes)
    candidates_QS = np.sort(best_QS, axis=1)  # so that a stable sort breaks ties by the index
    Q, S = candidates_QS.shape
    scores_QS = score(np.repeat(np.arange(Q), S), candidates_QS.reshape(-1)).reshape(Q, S)
    order_Qk = np.argsort(-scores_QS, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates_QS, order_Qk, axis=1), np.take_along_axis(
        scores_QS, order_Qk, axis=1
    )
