"""A paper's table filled with our numbers, as lines of text, as Markdown and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import textwrap
from collections.abc import Iterator, Mapping

from gcnxmodal.report.comparison import PROTOCOL_MEANINGS
from gcnxmodal.report.values import DASH

DIRECTIONS = {"text_query": "Text query", "image_query": "Image query", "average": "Average"}
Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Where its points are, and how high."""


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean over seeds, and standard deviation; None of one seed, or where nothing depends on it."""

    mean: float
    std: float | None = None


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is known of one row and column.

    Attributes:
        paper: the published MAP of text queries, of image queries, and their average if it is printed.
        ours: by protocol and direction.
        seeds: those that `ours` is the mean over; none for what does not depend on them.
        diverged: seeds without a number because their loss was none.
        reason: why there is no number of ours, or not of all seeds.
        curves: of binary codes, mean over seeds, by kind ("lookup": precision by recall, a point a Hamming
            radius; "precision_at": by N) and direction.
    """

    paper: tuple[float, float, float | None] | None = None
    ours: Mapping[str, Mapping[str, Moments]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    diverged: tuple[int, ...] = ()
    commits: tuple[str, ...] = ()
    reason: str = ""
    curves: Mapping[str, Mapping[str, Curve]] = dataclasses.field(default_factory=dict)

    def published(self, direction: str) -> float | None:
        return None if self.paper is None else self.paper[list(DIRECTIONS).index(direction)]

    def moments(self, protocol: str, direction: str) -> Moments | None:
        return self.ours.get(protocol, {}).get(direction)


@dataclasses.dataclass(frozen=True)
class FilledTable:
    """A paper's table with our numbers.

    Attributes:
        kinds: what rows and columns are.
        cells: by row and column; where the paper has no cell and we have none there is none.
        quoted: rows of which there is no number of ours, and why.
        digits: of the published numbers.
        made: (name, value) of device, commit and the like, of the runs that the numbers are from.
        runs: the sweeps' reports, relative to the table's folder.
        plot: which plots go with it.
        shown: the protocols that stand beside the paper's numbers.
        protocols: those of the CSV file.
        drawn: columns whose curves the plots show, and what these call them.
        own: rows of the paper's system, which the plots draw first.
    """

    name: str
    title: str
    kinds: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    quoted: Mapping[str, str]
    digits: int
    caption: str
    training: str
    notes: tuple[str, ...]
    made: tuple[tuple[str, str], ...]
    runs: tuple[str, ...]
    plot: str
    shown: tuple[str, ...]
    protocols: tuple[str, ...]
    drawn: Mapping[str, str]
    command: str
    own: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a block: a row's numbers from one source; `kind` is "paper", "quoted" or "ours"."""

    row: str
    source: str
    kind: str
    texts: tuple[str, ...]


def lines(table: FilledTable, direction: str) -> list[Line]:
    """A direction's lines: the paper's numbers of a row, and ours below them, a protocol a line.

    A protocol that is not of the row's system (ties are of codes) has none.
    """
    found = []
    for row in table.rows:
        cells = [table.cells.get((row, column), Cell()) for column in table.columns]
        quoted = row in table.quoted
        published = [cell.published(direction) for cell in cells]
        if any(value is not None for value in published):
            texts = tuple("" if value is None else short(value, table.digits) for value in published)
            source = f"paper (quoted; ours {DASH})" if quoted else "paper"
            found.append(Line(row, source, "quoted" if quoted else "paper", texts))
        measured = {protocol for cell in cells for protocol in cell.ours}
        for protocol in table.shown if not quoted else ():
            if measured and protocol not in measured:
                continue
            texts = tuple(_ours(cell, protocol, direction) for cell in cells)
            found.append(Line(row, f"ours, {protocol}", "ours", texts))
    return found


def not_run(table: FilledTable) -> list[str]:
    """Which cells have no number of ours, or not of every seed, and for lack of what: a sentence a reason."""
    rows: dict[str, dict[str, list[str]]] = {}
    for row in table.rows:
        for column in table.columns:
            if (cell := table.cells.get((row, column))) and cell.reason:
                rows.setdefault(cell.reason, {}).setdefault(row, []).append(column)
    sentences = []
    for reason, found in rows.items():
        names: dict[str, list[str]] = {}  # rows that lack the same columns are named together
        for row, columns in found.items():
            every = row in table.quoted or len(columns) == len(table.columns)
            names.setdefault("" if every else f" ({'; '.join(columns)})", []).append(row)
        words = ", ".join(f"{', '.join(same)}{columns}" for columns, same in names.items())
        sentences.append(f"{words}: {reason.removesuffix('.')}.")
    return sentences


def as_text(table: FilledTable) -> str:
    """What is printed."""
    parts = [f"{table.title}\n{table.training}"]
    for direction, heading in DIRECTIONS.items():
        block = lines(table, direction)
        wide = max(len(line.row) for line in block) + 2
        source = max(len(line.source) for line in block)
        column = (
            max(*(len(name) for name in table.columns), *(len(t) for line in block for t in line.texts)) + 2
        )
        rows = [f"{heading:<{wide + source}}" + "".join(f"{name:>{column}}" for name in table.columns)]
        before = ""
        for line in block:
            name = "" if line.row == before else line.row
            texts = "".join(f"{text:>{column}}" for text in line.texts)
            rows.append(f"{name:<{wide}}{line.source:<{source}}{texts}".rstrip())
            before = line.row
        parts.append("\n".join(rows))
    below = [table.caption, *table.notes, *not_run(table)]
    below.append("; ".join(f"{name} {value}" for name, value in table.made))
    return "\n\n".join([*parts, "\n".join(textwrap.fill(line, 100) for line in below if line)])


def as_markdown(table: FilledTable) -> str:
    """The content of table.md."""
    parts = [f"# {table.title}", f"MAP; ours {table.training}.", table.caption]
    for direction, heading in DIRECTIONS.items():
        rows = [[heading, "", *table.columns], ["---"] * (2 + len(table.columns))]
        before = ""
        for line in lines(table, direction):
            rows.append(["" if line.row == before else line.row, line.source, *line.texts])
            before = line.row
        parts.append("\n".join(f"| {' | '.join(_escaped(text) for text in row)} |" for row in rows))
    notes = [*(f"{name}: {PROTOCOL_MEANINGS[name]}" for name in table.shown), *table.notes, *not_run(table)]
    parts.append("\n".join(f"- {_escaped(note)}" for note in notes))
    parts.append("; ".join(f"{name} {value}" for name, value in table.made))
    parts.append(f"    {table.command}")
    return "\n\n".join(part for part in parts if part) + "\n"


def as_csv(table: FilledTable) -> str:
    """The content of table.csv: a line a row, column, protocol and direction."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("row", "column", "protocol", "direction", "paper", "mean", "std", "seeds", "commit", "reason")
    )
    for row, column, cell in cells(table):
        for protocol in table.protocols:
            for direction in DIRECTIONS:
                ours = cell.moments(protocol, direction)
                paper = cell.published(direction)
                writer.writerow(
                    (
                        *(row, column, protocol, direction),
                        "" if paper is None else f"{paper:.{table.digits}f}",
                        "" if ours is None else repr(ours.mean),
                        "" if ours is None or ours.std is None else repr(ours.std),
                        " ".join(map(str, cell.seeds)),
                        " ".join(cell.commits),
                        cell.reason,
                    )
                )
    return file.getvalue()


def cells(table: FilledTable) -> Iterator[tuple[str, str, Cell]]:
    """Row, column and cell, in order."""
    for row in table.rows:
        for column in table.columns:
            if (cell := table.cells.get((row, column))) is not None:
                yield row, column, cell


def short(value: float, digits: int = 3) -> str:
    """
    >>> short(0.8049), short(0.81, 2), short(1.0)
    ('.805', '.81', '1.000')
    """
    return f"{value:.{digits}f}".removeprefix("0")


def _ours(cell: Cell, protocol: str, direction: str) -> str:
    found = cell.moments(protocol, direction)
    if found is None:
        return "diverged" if cell.diverged else DASH
    spread = "" if found.std is None else f" ± {short(found.std)}"
    return f"{short(found.mean)}{spread}{'*' if cell.diverged else ''}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
