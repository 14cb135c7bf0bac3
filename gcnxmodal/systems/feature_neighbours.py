"""Nearest neighbours in a large corpus, found once: kept under the hash of what they were found from."""

import hashlib
import inspect
import logging
import zipfile
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int

from gcnxmodal.data.cache import cache_dir, replacing
from gcnxmodal.retrieval import nearest, ranking

_log = logging.getLogger(__name__)

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
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return kept["near"]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("%s: these neighbours are damaged (%s); finding them again", path, error)
    near_nk = METHODS[method](rows_nd, k)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, near=near_nk)
    except OSError as error:
        _log.warning(
            "%s: the neighbours could not be kept (%s); $GCNXMODAL_CACHE may name another folder", path, error
        )
    return near_nk


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
