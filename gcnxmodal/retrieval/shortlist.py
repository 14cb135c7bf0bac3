"""Search where the score depends on the pair: a shortlist by inner product, ranked anew by the score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Float, Int

from gcnxmodal.retrieval.chunks import MAX_BYTES, top_k


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
