"""Splits for data that come without one."""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from gcnxmodal.errors import InputError
from gcnxmodal.holdout import digest, held_out


def stratified_split(
    labels: Bool[np.ndarray, "n C"], groups: Sequence[str], fraction: float, seed: int
) -> dict[str, Int[np.ndarray, " rows"]]:
    """{"train": rows, "test": rows}: about `fraction` of the groups of every class in test, by `held_out`.

    Raises:
        InputError: if `fraction` is not strictly between 0 and 1.
    """
    _check_fraction(fraction)
    return _two_sides(held_out(labels, groups, fraction, seed))


def iterative_split(
    labels: Bool[np.ndarray, "n C"], groups: Sequence[str], fraction: float, seed: int
) -> dict[str, Int[np.ndarray, " rows"]]:
    """{"train": rows, "test": rows}: about `fraction` of the items of every one of several labels in test.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data",
    2011), of whole groups: again and again, the label with the fewest items not yet placed is taken, and its
    groups, the largest first and else in the order of a hash of seed and name, go to the side that still
    wants more items of it (of equal wants: more items at all, then the training side).

    Raises:
        InputError: if `fraction` is not strictly between 0 and 1.
    """
    _check_fraction(fraction)
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    # A last column counts the items, those without any label too.
    counts_nC = np.hstack([labels, np.ones((len(labels), 1), bool)]).astype(np.int64)
    items_GC = np.zeros((len(names), counts_nC.shape[1]), np.int64)
    np.add.at(items_GC, group_of, counts_nC)
    drawn = np.empty(len(names), np.int64)
    drawn[sorted(range(len(names)), key=lambda group: digest(seed, names[group]))] = np.arange(len(names))
    left_C = items_GC.sum(axis=0)
    wants = {"train": (1 - fraction) * left_C, "test": fraction * left_C}
    side_of = np.full(len(names), "", "<U5")
    while left_C.any():
        label = int(np.where(left_C > 0, left_C, left_C.max() + 1).argmin())
        waiting = np.flatnonzero((side_of == "") & (items_GC[:, label] > 0))
        for group in waiting[np.lexsort((drawn[waiting], -items_GC[waiting, label]))]:
            side = max(wants, key=lambda name: (wants[name][label], wants[name][-1], name))
            side_of[group] = side
            wants[side] -= items_GC[group]
            left_C -= items_GC[group]
    return _two_sides(side_of[group_of] == "test")


def retrieval_split(
    n: int,
    queries: int,
    training: int,
    seed: int,
    groups: Sequence[str] | None = None,
    *,
    source: str = "split",
) -> dict[str, Int[np.ndarray, " rows"]]:
    """{"train": rows, "test": rows, "retrieval": rows}, as cross-modal hashing is measured (DCMH, GCH).

    `queries` of n items are the test queries, all others the database "retrieval", of which `training` are
    trained on: the first ones in the order of a hash of seed and row number (of seed and name, for items of a
    group, which stay together on the side of the queries or of the database). That is a permutation which is
    the same under every NumPy version.

    Where groups are given, those that no longer fit among the queries are passed over, so that at most
    `queries` items are taken.

    Raises:
        InputError: opening with `source`, if a number is below 1, `n` below `queries` + `training`, or no
            group small enough.
    """
    for name, number in (("queries", queries), ("training", training)):
        if number < 1:
            raise InputError(f"{source}: {name} is {number}; it must be at least 1")
    if queries + training > n:
        raise InputError(
            f"{source}: there are {n:,} items to split, fewer than {queries:,} queries and {training:,} for "
            "training; fetch the files that are missing, or ask the loader for fewer"
        )
    names = [str(row) for row in range(n)] if groups is None else groups
    rows_of: dict[str, list[int]] = collections.defaultdict(list)
    for row, name in zip(range(n), names, strict=True):
        rows_of[name].append(row)
    test: list[int] = []
    database: list[int] = []
    for name in sorted(rows_of, key=lambda name: digest(seed, name)):
        fits = len(test) + len(rows_of[name]) <= queries
        (test if fits else database).extend(rows_of[name])
    if not test:
        raise InputError(
            f"{source}: no group of items has {queries:,} items or fewer: there are no queries; ask for more"
        )
    splits = {"train": database[:training], "test": test, "retrieval": database}
    return {name: np.sort(np.array(rows, int)) for name, rows in splits.items()}


def check_split(split: str, splits: Sequence[str], seed: int) -> None:
    """Raises InputError for a split that a loader has not, and for a seed of the one that nobody draws."""
    if split not in splits:
        raise InputError(f"--data.split is '{split}'; choose one of {', '.join(splits)}")
    if split == "official" and seed:
        raise InputError(
            f"--data.split-seed is {seed}, but the official split is not drawn; leave it out, or choose "
            "another --data.split"
        )


def describe_split(
    splits: dict[str, Int[np.ndarray, " rows"]], seed: int | None, names: str
) -> dict[str, Any]:
    """What a corpus records of a split (JSON values).

    Args:
        seed: None for one that is not drawn.
        names: what the items are called in the order that the seed decides.
    """
    order = "official" if seed is None else f"by SHA-256 of '{seed}:<{names}>'"
    return {"order": order, "seed": seed, **{name: len(rows) for name, rows in splits.items()}}


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InputError(f"test_fraction is {fraction}; choose it between 0 and 1, such as 0.2")


def _two_sides(is_test: Bool[np.ndarray, " n"]) -> dict[str, Int[np.ndarray, " rows"]]:
    return {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}
