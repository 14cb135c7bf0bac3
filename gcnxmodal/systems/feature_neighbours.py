"""Nearest neighbours in a large corpus, found once: kept under the hash of what they were found from."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float, Int

from gcnxmodal.data.cache import cache_dir, cached_arrays
from gcnxmodal.systems import feature_graph

Method = Literal["exact", "faiss"]

METHODS: dict[Method, Callable[..., Int[np.ndarray, "n k"]]] = {
    "exact": feature_graph.nearest_by_distance,
    "faiss": feature_graph.nearest_by_index,
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
        feature_graph.require_faiss()  # said at any size, and whatever is kept
    if len(rows_nd) < KEPT_FROM:
        return METHODS[method](rows_nd, k)
    path = cache_dir() / "neighbours" / f"{_key(rows_nd, k, method)}.npz"
    shapes = {"near": (len(rows_nd), k)}
    return cached_arrays(path, lambda: {"near": METHODS[method](rows_nd, k)}, shapes, "nearest neighbours")[
        "near"
    ]


def _key(rows_nd: Float[np.ndarray, "n d"], k: int, method: Method) -> str:
    """Of the rows and of what finds their neighbours: changed code is not answered from the cache."""
    finder = jax.default_backend() if method == "exact" else feature_graph.require_faiss().__version__
    digest = hashlib.sha256(repr((rows_nd.shape, str(rows_nd.dtype), k, method, finder)).encode())
    digest.update(Path(feature_graph.__file__).read_bytes())
    digest.update(np.ascontiguousarray(rows_nd).data)
    return digest.hexdigest()
