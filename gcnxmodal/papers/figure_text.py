"""A paper's figure with our numbers, as values, as lines of text and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import textwrap
from typing import Literal

from gcnxmodal.papers.table_text import short
from gcnxmodal.report.values import DASH

Reads = Literal["map", "scope", "history"]
"""What of a run a panel draws: MAP under `standard`, precision by scope, or its history by step."""


@dataclasses.dataclass(frozen=True)
class FilledLine:
    """Points that are joined: mean and standard deviation over seeds at each.

    Attributes:
        std: None of one seed, or where nothing depends on it.
        seeds: those that the mean of a point is over; none for what does not depend on them.
    """

    label: str
    x: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float | None, ...] = ()
    seeds: tuple[tuple[int, ...], ...] = ()
    commits: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FilledPanel:
    """One pair of axes; see `experiments.figure_parts.Panel`."""

    name: str
    data: str
    title: str
    x_label: str
    reads: Reads
    lines: tuple[FilledLine, ...]
    heat: bool = False
    share: bool = True


@dataclasses.dataclass(frozen=True)
class FilledFigure:
    """A paper's figure with our numbers.

    Attributes:
        missing: what has no number, or not of all seeds, and why: a sentence each.
        made: (name, value) of device, commit and the like, of the runs that the numbers are from.
        runs: the sweeps' reports, relative to the figure's folder.
    """

    name: str
    title: str
    panels: tuple[FilledPanel, ...]
    caption: str
    notes: tuple[str, ...]
    training: str
    missing: tuple[str, ...]
    made: tuple[tuple[str, str], ...]
    runs: tuple[str, ...]
    command: str


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Some of a panel's numbers in words: a row a line, a column an x."""

    heading: str
    x_label: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def numbers(panel: FilledPanel, most: int = 6) -> Numbers:
    """All of them, or those at `most` places from the first to the last."""
    places = sorted({x for line in panel.lines for x in line.x})
    if len(places) > most:
        step = (len(places) - 1) / (most - 1)
        places = [places[round(number * step)] for number in range(most)]
    rows = []
    for line in panel.lines:
        found = dict(zip(line.x, zip(line.mean, line.std, strict=True), strict=True))
        rows.append((line.label, tuple(_text(*found.get(x, (None, None))) for x in places)))
    return Numbers(
        f"{panel.data}: {panel.title}", panel.x_label, tuple(f"{x:g}" for x in places), tuple(rows)
    )


def as_text(figure: FilledFigure) -> str:
    """What is printed."""
    parts = [f"{figure.title}\n{figure.training}"]
    for panel in figure.panels:
        shown = numbers(panel)
        if not shown.columns:
            continue
        name = max(len(label) for label in (shown.x_label, *(label for label, _ in shown.rows))) + 2
        wide = max(len(text) for text in (*shown.columns, *(t for _, texts in shown.rows for t in texts))) + 2
        lines = [shown.heading, f"{shown.x_label:<{name}}" + "".join(f"{x:>{wide}}" for x in shown.columns)]
        lines += [f"{label:<{name}}" + "".join(f"{t:>{wide}}" for t in texts) for label, texts in shown.rows]
        parts.append("\n".join(lines))
    below = [figure.caption, *figure.notes, *figure.missing]
    below.append("; ".join(f"{name} {value}" for name, value in figure.made))
    return "\n\n".join([*parts, "\n".join(textwrap.fill(line, 100) for line in below if line)])


def as_csv(figure: FilledFigure) -> str:
    """The content of figure.csv: a line a point that is drawn."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("panel", "data", "measure", "line", "x_label", "x", "mean", "std", "seeds", "commit"))
    for panel in figure.panels:
        for line in panel.lines:
            for x, mean, std, seeds in zip(line.x, line.mean, line.std, line.seeds, strict=True):
                writer.writerow(
                    (
                        *(panel.name, panel.data, panel.title, line.label, panel.x_label, f"{x:g}"),
                        *(repr(mean), "" if std is None else repr(std)),
                        *(" ".join(map(str, seeds)), " ".join(line.commits)),
                    )
                )
    return file.getvalue()


def _text(mean: float | None, std: float | None) -> str:
    if mean is None:
        return DASH
    return short(mean) + ("" if std is None else f" ± {short(std)}")
