"""A train/test split for data that come without one."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from gcnxmodal.errors import InputError


def stratified_split(
    labels: Bool[np.ndarray, "n C"], groups: Sequence[str], fraction: float, seed: int
) -> dict[str, Int[np.ndarray, " rows"]]:
    """{"train": rows, "test": rows}: about `fraction` of the groups of every class are test items.

    Whole groups go to one side. A group belongs to the rarest class of its first item, so that of several
    labels the rare ones are spread best; a class with a single group keeps it for training.

    The order of the groups comes from a hash of seed and name rather than from a random generator: it is the
    same under every NumPy version, and an item that joins or leaves the data moves few of the others.

    Raises:
        InputError: if `fraction` is not strictly between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise InputError(f"test_fraction is {fraction}; choose it between 0 and 1, such as 0.2")
    frequency = labels.sum(axis=0)
    rarest = np.where(labels, frequency, len(labels) + 1).argmin(axis=1)
    stratum_of: dict[str, int] = {}
    for group, stratum in zip(groups, rarest, strict=True):
        stratum_of.setdefault(group, int(stratum))
    strata = collections.defaultdict(list)
    for group, stratum in stratum_of.items():
        strata[stratum].append(group)
    held_out: set[str] = set()
    for names in strata.values():
        shuffled = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
        held_out.update(shuffled[: min(round(fraction * len(names)), len(names) - 1)])
    is_test = np.array([group in held_out for group in groups])
    return {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}
