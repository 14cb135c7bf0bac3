"""The rule by which items are held out: whole groups, of every class its share, in the order of a hash.

`held_out` draws the splits of loaders with one label an item (`data/split.py`); `validation_items` holds out
training items to choose hyper-parameters by, for `Corpus.validation`, the baselines and SM.
"""

import collections
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from gcnxmodal.errors import InputError

VALIDATION_SEED = 0  # the held-out part of the training set is the same for every seed of an experiment


def held_out(
    labels_nC: Bool[np.ndarray, "n C"], groups: Sequence[str], fraction: float, seed: int
) -> Bool[np.ndarray, " n"]:
    """Whether an item is among the about `fraction` of the groups of every class that are held out.

    Whole groups go to one side. A group belongs to the rarest class of its first item, so that of several
    labels the rare ones are spread best; without a label, to the first; where there are no classes, all
    groups are of one. A class with a single group keeps it.

    The order of the groups comes from a hash of seed and name rather than from a random generator: it is the
    same under every NumPy version, and an item that joins or leaves the data moves few of the others.
    """
    if not labels_nC.shape[1]:
        labels_nC = np.ones((len(labels_nC), 1), bool)
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


def validation_items(
    labels_nC: Bool[np.ndarray, "n C"],
    fraction: float,
    seed: int = 0,
    groups: Sequence[object] | np.ndarray | None = None,
) -> Bool[np.ndarray, " n"]:
    """Whether a training item is among the about `fraction` of the groups of every class that are held out.

    By `held_out`, where items without a label are a class of their own. Without `groups`, which are numbers
    or names, each item is its own.

    Raises:
        InputError: if `fraction` is not strictly between 0 and 1, or `groups` does not match the labels.
    """
    if not 0 < fraction < 1:
        raise InputError(f"validation is {fraction}; choose it between 0 and 1, such as 0.2")
    n = len(labels_nC)
    names = range(n) if groups is None else groups
    if len(names) != n:
        raise InputError(f"groups: {len(names)} for {n} training items; give one an item")
    classes = np.hstack([labels_nC, ~labels_nC.any(axis=1, keepdims=True)])
    return held_out(classes, [str(name) for name in names], fraction, seed)


def digest(seed: int, name: str) -> bytes:
    """SHA-256 of seed and name: their order by it is a permutation that is the same everywhere."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
