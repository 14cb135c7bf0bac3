"""What the baselines do to features before anything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.preprocessing import normalize

from gcnxmodal.errors import InputError

Features = Any
"""Float [n, d]: a NumPy array, or a SciPy CSR array, which is never filled."""

SOLVER_THREADS = 1
"""Threads of the linear algebra in `fit`. Its many small products make BLAS threads wait for each other by
spinning: beside other work, two of them took ten times (CCA) and thirty times (SM) the seconds of one."""


def check_training_set(images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> None:
    """Raise InputError unless images and texts are finite matrices that match the labels, and n >= 2."""
    if labels.ndim != 2:
        raise InputError(f"labels: {list(labels.shape)}; the baselines take [n, C], a column a class")
    for name, features in (("images", images), ("texts", texts)):
        if len(features.shape) != 2 or features.shape[0] != len(labels):
            raise InputError(
                f"{name}: features are {list(features.shape)} and there are {len(labels)} labels; "
                "the baselines take [n, d] features, a row an item"
            )
        if not np.isfinite(features.data if sp.issparse(features) else features).all():
            raise InputError(f"{name}: a training feature is NaN or infinite; extract the features again")
    if len(labels) < 2:
        raise InputError(f"labels: {len(labels)} training items; a baseline needs at least two")


def mean_of(features: Features) -> Float[np.ndarray, " d"]:
    """The mean row, in float64."""
    return np.asarray(features.mean(axis=0, dtype=np.float64)).ravel()


def equal_rows(name: str) -> InputError:
    """The error for a modality whose training items have all the same features."""
    return InputError(
        f"{name}: all training items have the same features; a common space needs some that differ"
    )


def unit_vectors(x_nD: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    """Embeddings scaled to length 1, in float32, so that inner products are cosines; zero rows stay zero."""
    return np.asarray(normalize(x_nD), np.float32)


def unit_rows(features: Features, mean: Float[np.ndarray, " d"]) -> Features:
    """Mean-centred and of unit length (SSPE, Section 4.4), in float64; zero rows stay zero."""
    if sp.issparse(features):
        # Paper: mean-centred; here sparse features are not, because that would fill them.
        return normalize(sp.csr_array(features, dtype=np.float64))
    return normalize(np.asarray(features, np.float64) - mean)
