"""The first sentence of the page: does the model beat the yardsticks?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from gcnxmodal.report.palette import series
from gcnxmodal.report.values import DIRECTIONS, measured

# Differences below half of the last digit shown are no difference.
_LEVEL = 0.0005


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`headline` is one sentence; `details` add what it leaves out; `tone` picks the colour and the icon."""

    tone: Literal["ahead", "level", "behind", "unknown"]
    headline: str
    details: tuple[str, ...]


def verdict(system: str, results: Mapping[str, Any]) -> Verdict:
    """Compare the model's MAP under `main_protocol` with every yardstick's, the average first.

    A yardstick that is ahead in the average makes the page say that the model loses, and by how much; one
    that is ahead in a single direction is named in the details.
    """
    protocol = main_protocol(results)
    ours = results["protocols"].get(protocol, {})
    theirs = {
        series(key, system).label: scores.get(protocol, {})
        for key, scores in results.get("yardsticks", {}).items()
    }
    leads = {name: lead(ours, scores, "average") for name, scores in theirs.items()}
    leads = {name: value for name, value in leads.items() if value is not None}
    if not leads:
        return Verdict("unknown", f"There is no yardstick to judge {system} by.", ())
    # The strongest yardstick first.
    leads = dict(sorted(leads.items(), key=lambda pair: pair[1]))
    lost = {name: -value for name, value in leads.items() if value <= -_LEVEL}
    won = {name: value for name, value in leads.items() if value >= _LEVEL}
    level = [name for name in leads if name not in lost and name not in won]
    details = []
    if lost:
        tone, headline = "behind", f"{system} loses to {_amounts(lost)}."
        if won:
            details.append(f"It beats {_amounts(won)}.")
        if level:
            details.append(f"It is level with {join(level)}.")
    elif level:
        tone, headline = "level", f"{system} is only level with {join(level)}."
        if won:
            details.append(f"It beats {_amounts(won)}.")
    else:
        tone, headline = "ahead", f"{system} beats {_amounts(won)}."
    for direction, words in DIRECTIONS.items():
        ahead = {name: lead(scores, ours, direction) for name, scores in theirs.items() if name not in lost}
        ahead = {name: value for name, value in ahead.items() if value is not None and value >= _LEVEL}
        if ahead:
            details.append(f"On {words} alone it loses to {_amounts(ahead)}.")
    return Verdict(tone, headline, tuple(details))


def main_protocol(results: Mapping[str, Any]) -> str:
    """The protocol a system is judged by: `standard`, or for binary codes that of their papers."""
    return "hashing@500" if "hashing@500" in results["protocols"] else "standard"


def lead(ours: Mapping[str, Any], theirs: Mapping[str, Any], direction: str) -> float | None:
    """Our MAP minus theirs; None unless both were measured."""
    a, b = measured(ours.get(direction)), measured(theirs.get(direction))
    return None if a is None or b is None else a - b


def join(words: Iterable[str]) -> str:
    """ "A", "A and B", "A, B and C"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _amounts(leads: Mapping[str, float]) -> str:
    return join(f"{name} by {value:.3f}" for name, value in leads.items())
