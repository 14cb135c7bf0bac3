"""Nearest neighbours in a large corpus, found once: kept under the hash of what they were found from."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int

from gcnxmodal.data.cache import cache_dir, cached_arrays
from gcnxmodal.retrieval import nearest, ranking

Method = Literal["exact", "faiss"]

METHODS: dict[Method, Callable[..., Int[np.ndarray, "n k"]]] = {
    "exact": nearest.nearest_by_distance,
    "faiss": nearest.nearest_by_index,
}

KEPT_FROM = 10_000
"""Rows; fewer take a second or two."""


def nearest_neighbours(rows_nd: Float[np.ndarray, "n d"], k: int, method: Method) -> Int[np.ndarray, "n k"]:
    """The `k` nearest rows of each row, by one of `METHODS`, or as they were found before.

    A run that is killed leaves no half of them; the cache that cannot be written costs the next run time.

    Raises:
        InputError: as the methods do.
    """
    if method == "faiss":
        _require_faiss()  # said at any size, and whatever is kept
    if len(rows_nd) < KEPT_FROM:
        return METHODS[method](rows_nd, k)
    path = cache_dir() / "neighbours" / f"{_key(rows_nd, k, method)}.npz"
    arrays = cached_arrays(
        path,
        make=lambda: {"near": METHODS[method](rows_nd, k)},
        shapes={"near": (len(rows_nd), k)},
        what="nearest neighbours",
    )
    return arrays["near"]


def _key(rows_nd: Float[np.ndarray, "n d"], k: int, method: Method) -> str:
    """Of the rows and of what finds their neighbours: changed code is not answered from the cache."""
    finder = jax.default_backend() if method == "exact" else _require_faiss().__version__
    digest = hashlib.sha256(repr((rows_nd.shape, str(rows_nd.dtype), k, method, finder)).encode())
    for module in (nearest, ranking):
        digest.update(inspect.getsource(module).encode())
    digest.update(np.ascontiguousarray(rows_nd).data)
    return digest.hexdigest()


def _require_faiss() -> Any:
    return nearest.require_faiss("--train.knn faiss", "--train.knn exact")
