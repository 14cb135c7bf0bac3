"""Hyper-parameters of a baseline, chosen on a validation split of the training items."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gcnxmodal.baselines.base import Features, Groups, Items, fit, label_matrix
from gcnxmodal.errors import InputError
from gcnxmodal.holdout import validation_items
from gcnxmodal.retrieval.evaluate import standard_map

Space = Mapping[str, Sequence[Any]]
"""Values to try of each keyword argument of a method; a class names its own in its attribute `space`."""

GRID = 30
"""Candidates up to which all combinations are tried."""

WIDTH = 32
"""Embeddings are padded to a multiple of this, so that candidates of any width share one compiled ranking."""

Measure = Callable[[Any, Items, Items], float]
"""(a fitted method, the items held out, the items it was fitted on) -> a number, the higher the better."""


def average_standard_map(method: Any, held: Items, fitted: Items) -> float:
    """`standard` MAP among the items held out, mean of both directions."""
    texts, images = _padded(method.encode_texts(held.counts)), _padded(method.encode_images(held.images))
    return standard_map(texts, images, held.labels)["average"]


def select(
    method: Callable[..., Any],
    images: Features,
    texts: Features,
    labels: Any,
    *,
    groups: Groups | None = None,
    space: Space | None = None,
    fixed: Mapping[str, Any] | None = None,
    validation: float = 0.2,
    seed: int = 0,
    measure: Measure = average_standard_map,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The keyword arguments of the candidate that does best on a held-out part of the training items.

    Each candidate is fitted on the rest; the caller fits the chosen one on all. All combinations are tried if
    they are at most `GRID`; else one coordinate search: from the first value of every argument on, each in
    turn takes its best value with the others held. Of equals the first is taken.

    Args:
        method: a class of `METHODS`, or anything that is called with keyword arguments and has `fit`.
        images, texts, labels: training items only, as `Baseline.fit` takes them.
        groups: of these items; one group is never both fitted on and held out. None: each item is its own.
        space: what is tried; by default `method.space`. An argument that is also in `fixed` is not varied.
        fixed: keyword arguments of every candidate.
        validation: the share of the groups held out of each class.
        seed: of the split.
        measure: what is best, by default `average_standard_map`.
        report: is given one line a candidate.

    Returns:
        `fixed` and the chosen values; `fixed` alone, without any fit, if there is nothing to choose.

    Raises:
        InputError: if an argument has no values to try, no item can be held out, or every candidate is left
            out. Left out, and reported, is one that raises InputError or LinAlgError (its equations have no
            solution), or whose measure is not finite.
    """
    fixed = dict(fixed or {})
    offered: Space = getattr(method, "space", {}) if space is None else space
    space = {name: tuple(values) for name, values in offered.items() if name not in fixed}
    if not space:
        return fixed
    for name, values in space.items():
        if not values:
            raise InputError(f"space: {name} has no values to try; name some, or leave it out")
    labels_nC, _ = label_matrix(labels)
    names = None if groups is None else np.asarray(groups)
    fitted, held = (
        Items(images[rows], texts[rows], labels_nC[rows], groups=None if names is None else names[rows])
        for rows in validation_split(labels_nC, validation, seed, names).values()
    )
    scores: dict[tuple[Any, ...], float] = {}
    of_all = math.prod(len(values) for values in space.values())
    number = of_all if of_all <= GRID else sum(len(values) - 1 for values in space.values()) + 1
    for values in _candidates(space, scores, of_all <= GRID):
        candidate = dict(zip(space, values, strict=True))
        line = f"{len(scores) + 1}/{number} " + ", ".join(
            f"{name} {value}" for name, value in candidate.items()
        )
        try:
            score = float(measure(fit(method(**fixed, **candidate), fitted), held, fitted))
            refusal = "" if math.isfinite(score) else f"its measure is {score}"
        except (InputError, np.linalg.LinAlgError) as error:
            score, refusal = -math.inf, str(error)
        scores[values] = -math.inf if refusal else score
        line += f": left out, {refusal}" if refusal else f": {score:.4f}"
        if report:
            report(line)
    best = max(scores, key=lambda values: scores[values])
    if scores[best] == -math.inf:
        raise InputError(
            f"{getattr(method, '__name__', method)}: all {len(scores)} candidates are left out, "
            f"the last because: {refusal}"
        )
    return {**fixed, **dict(zip(space, best, strict=True))}


def validation_split(
    labels_nC: Bool[np.ndarray, "n C"], share: float, seed: int, groups: Groups | None = None
) -> dict[str, Int[np.ndarray, " rows"]]:
    """{"fitted": rows, "held": rows}: about `share` of the groups of every class in held: `validation_items`.

    Raises:
        InputError: if `share` is not strictly between 0 and 1, `groups` does not match the labels, or no item
            is held out.
    """
    is_held = validation_items(labels_nC, share, seed, groups)
    if not is_held.any():
        raise InputError(
            f"labels: none of {len(labels_nC)} training items can be held out, a class has too few groups; "
            "name the hyper-parameters instead of having them chosen"
        )
    return {"fitted": np.flatnonzero(~is_held), "held": np.flatnonzero(is_held)}


def _candidates(
    space: Space, scores: Mapping[tuple[Any, ...], float], grid: bool
) -> Iterator[tuple[Any, ...]]:
    """Values of all arguments, each combination once; a coordinate search goes by the `scores` so far."""
    if grid:
        yield from itertools.product(*space.values())
        return
    best = tuple(values[0] for values in space.values())
    yield best
    for place, values in enumerate(space.values()):
        tried = [(*best[:place], value, *best[place + 1 :]) for value in values]
        yield from (candidate for candidate in tried if candidate not in scores)
        best = max([best, *tried], key=lambda candidate: scores[candidate])


def _padded(x_nD: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n W"]:
    """With columns of zeros, which change no inner product."""
    return np.pad(x_nD, ((0, 0), (0, -x_nD.shape[1] % WIDTH)))
