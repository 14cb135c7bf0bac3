"""Choosing the epoch: `--stop best` holds out training items, and ends with the epoch that is best on them.

What is chosen is a function of the lines of metrics.jsonl, so that a run that was stopped and resumed chooses
as one that was not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gcnxmodal.config import Experiment
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.holdout import VALIDATION_SEED
from gcnxmodal.retrieval.metrics import PAIR_MEASURE

HELD_OUT = "validation"
"""The split that is held out, and its scores in a line of metrics."""


def measure_of(experiment: Experiment, corpus: Corpus) -> str:
    """What the epoch is chosen by: "standard" (MAP) or "recall@10"."""
    if experiment.stop_measure == "auto":
        return "standard" if corpus.labelled else PAIR_MEASURE
    return experiment.stop_measure


def hold_out(experiment: Experiment, corpus: Corpus) -> Corpus:
    """The corpus with the items by which the epoch is chosen taken out of its training items.

    Raises:
        InputError: if the measure needs labels that are not there, or every model would score the same on so
            few items.
    """
    source, measure = corpus.provenance.get("source"), measure_of(experiment, corpus)
    if measure == "standard" and not corpus.labelled:
        raise InputError(
            f"--stop-measure is standard, but {source} has no labels; leave it out to choose the epoch by "
            f"{PAIR_MEASURE}"
        )
    held_out = corpus.with_validation(experiment.stop_fraction, VALIDATION_SEED)
    rows = held_out.splits[HELD_OUT]
    if measure == "standard" and len(np.unique(corpus.labels[rows], axis=0)) < 2:
        why = "all have the same labels"
    elif measure == PAIR_MEASURE and len(np.unique(corpus.group_ids[rows])) <= 10:
        why = "among ten or fewer each finds its own in the first ten"
    else:
        return held_out
    raise InputError(
        f"--stop-fraction is {experiment.stop_fraction}, which holds out {len(rows):,} training items of "
        f"{source}, and {why}: no epoch is better than another; hold out more, or leave out --stop best"
    )


def best_line(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The line of the best epoch, the first of equals; None if the held-out items were not measured yet."""
    measured = [line for line in history if HELD_OUT in line]
    return max(measured, key=lambda line: line[HELD_OUT]["average"], default=None)


def is_best(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the newest epoch is the best."""
    return bool(history) and best_line(history) is history[-1]


def is_used_up(history: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Whether `patience` epochs or more were measured after the best one; a patience of 0 has no end.

    >>> lines = [{"epoch": n, "validation": {"average": a}} for n, a in enumerate((0.2, 0.4, 0.3, 0.4), 1)]
    >>> best_line(lines)["epoch"], is_used_up(lines, 2), is_used_up(lines, 3), is_used_up(lines, 0)
    (2, True, False, False)
    """
    best = best_line(history)
    if not patience or best is None:
        return False
    return sum(HELD_OUT in line and line["epoch"] > best["epoch"] for line in history) >= patience


def why_it_ended(history: Sequence[Mapping[str, Any]], patience: int) -> str:
    """What to say of a run that ended early."""
    best, last = best_line(history), history[-1]["epoch"] if history else 0
    return (
        f"ended after epoch {last}: in the last {patience} measurements no epoch was better than epoch "
        f"{best['epoch'] if best else 0} (--patience {patience})"
    )


def chosen_epoch(
    experiment: Experiment, corpus: Corpus, history: Sequence[Mapping[str, Any]], step: int
) -> dict[str, Any]:
    """What results.json says of the epoch that ended after `step` steps; {} of a run without a choice."""
    line = next((line for line in history if line["step"] == step and HELD_OUT in line), None)
    if line is None:
        return {}
    measured = {"measure": measure_of(experiment, corpus), **line[HELD_OUT]}
    items = len(corpus.splits[HELD_OUT])
    return {"chosen": {"epoch": line["epoch"], "of": len(history), "items": items, **measured}}


def in_words(chosen: Mapping[str, Any]) -> str:
    """
    >>> in_words({"epoch": 34, "of": 60, "measure": "recall@10", "average": 0.521, "items": 131})
    'chosen epoch 34 of 60: recall@10 .521 on 131 held-out training items'
    """
    name = "MAP" if chosen["measure"] == "standard" else chosen["measure"]
    score = f"{chosen['average']:.3f}".removeprefix("0")
    words = f"{name} {score} on {chosen['items']:,} held-out training items"
    return f"chosen epoch {chosen['epoch']} of {chosen['of']}: {words}"
