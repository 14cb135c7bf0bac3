"""Which items are held out: whole groups, of every class its share."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def held_out(
    labels_nC: Bool[np.ndarray, "n C"], groups: Sequence[str], fraction: float, seed: int
) -> Bool[np.ndarray, " n"]:
    """Whether an item is among the about `fraction` of the groups of every class that are held out.

    Whole groups go to one side. A group belongs to the rarest class of its first item, so that of several
    labels the rare ones are spread best; without a label, to the first. A class with a single group keeps it.

    The order of the groups comes from a hash of seed and name rather than from a random generator: it is the
    same under every NumPy version, and an item that joins or leaves the data moves few of the others.
    """
    rarest_n = np.where(labels_nC, labels_nC.sum(axis=0), len(labels_nC) + 1).argmin(axis=1)
    stratum_of: dict[str, int] = {}
    for group, stratum in zip(groups, rarest_n, strict=True):
        stratum_of.setdefault(group, int(stratum))
    strata = collections.defaultdict(list)
    for group, stratum in stratum_of.items():
        strata[stratum].append(group)
    held: set[str] = set()
    for names in strata.values():
        shuffled = sorted(names, key=lambda name: digest(seed, name))
        held.update(shuffled[: min(round(fraction * len(names)), len(names) - 1)])
    return np.array([group in held for group in groups], bool)


def digest(seed: int, name: str) -> bytes:
    """SHA-256 of seed and name: their order by it is a permutation that is the same everywhere."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
