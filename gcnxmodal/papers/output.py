"""A table or figure filled with our numbers, as lines of text, as Markdown, as CSV and as a page."""

import csv
import io
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gcnxmodal.data.cache import write_whole
from gcnxmodal.papers.plots import figure_plots, table_plots
from gcnxmodal.papers.table import DIRECTIONS, Cell, Figure, Panel, Row, Source, Table, short
from gcnxmodal.report import page
from gcnxmodal.report.comparison import PROTOCOL_MEANINGS
from gcnxmodal.report.values import DASH

_PLOT_WORDS = {
    "layers": (
        "MAP by layers of co-attention",
        "Ours, mean over seeds, with a standard deviation to either side.",
        "Dashed: the paper.",
    ),
    "heat": (
        "MAP by margin and balance",
        "Deeper: higher.",
        "Framed: settings the paper has, with its number.",
    ),
    "codes": (
        "Figure 2: hash lookup and precision@N",
        "Mean over seeds and queries, of the retrieval split, ties by index. Hash lookup has a point a "
        "Hamming radius, from 0 on, and leaves out queries without a hit within it, as the code that draws "
        "such figures does; a run's curves.json has the mean over all queries as well.",
        "The paper's curves are pictures without numbers: they are not drawn.",
    ),
    "": ("", "", ""),
}


class TextLine(NamedTuple):
    """A row's numbers from one source; `kind` is "paper", "quoted" or "ours"."""

    row: str
    source: str
    kind: str
    texts: tuple[str, ...]


class Numbers(NamedTuple):
    """Some of a panel's numbers in words: a row a line, a column an x."""

    heading: str
    x_label: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def write(folder: Path, exhibit: Table | Figure) -> str:
    """Write a table or figure with its page and plots; the same gives the same bytes. Returns where it is."""
    kind = "table" if isinstance(exhibit, Table) else "figure"
    numbers_file = folder / f"{kind}.csv"
    write_whole(numbers_file, as_csv(exhibit).encode())
    where = f"{kind}: {write_page(folder, exhibit)}"
    if not isinstance(exhibit, Table):
        return f"{where}, {numbers_file} and {folder / 'plots'}"
    write_whole(folder / "table.md", as_markdown(exhibit).encode())
    return f"{where}, {folder / 'table.md'} and {numbers_file}"


def lines(table: Table, direction: str) -> list[TextLine]:
    """A direction's lines: the paper's numbers of a row, and ours below them, a protocol a line.

    A protocol that is not of the row's system (ties are of codes) has none.
    """
    found = []
    for row in table.rows:
        cells = [table.cell(row, column) for column in table.columns]
        published = [cell.published(direction) for cell in cells]
        if any(value is not None for value in published):
            texts = tuple("" if value is None else short(value, table.digits) for value in published)
            source = f"paper (quoted; ours {DASH})" if row.quoted else "paper"
            found.append(TextLine(row.label, source, "quoted" if row.quoted else "paper", texts))
        measured = {protocol for cell in cells for protocol in cell.ours}
        for protocol in table.shown if not row.quoted else ():
            if measured and protocol not in measured:
                continue
            texts = tuple(_ours(cell, protocol, direction) for cell in cells)
            found.append(TextLine(row.label, f"ours, {protocol}", "ours", texts))
    return found


def numbers(panel: Panel, most: int = 6) -> Numbers:
    """All of a panel's numbers, or those at `most` places from the first to the last."""
    drawn = panel.lines()
    places = sorted({x for line in drawn for x in line.x})
    if len(places) > most:
        step = (len(places) - 1) / (most - 1)
        places = [places[round(number * step)] for number in range(most)]
    rows = []
    for line in drawn:
        moments = dict(zip(line.x, zip(line.mean, line.std, strict=True), strict=True))
        rows.append((line.row.label, tuple(_text(*moments.get(x, (None, None))) for x in places)))
    return Numbers(
        f"{panel.data}: {panel.title}", panel.x_label, tuple(f"{x:g}" for x in places), tuple(rows)
    )


def not_run(exhibit: Table | Figure) -> list[str]:
    """Which cells have no number of ours, or not of every seed, and for lack of what: a sentence a reason."""
    return _lacking_cells(exhibit) if isinstance(exhibit, Table) else _lacking_points(exhibit)


def as_text(exhibit: Table | Figure) -> str:
    """What is printed."""
    blocks = [f"{exhibit.title}\n{exhibit.training}"]
    if isinstance(exhibit, Table):
        for direction, heading in DIRECTIONS.items():
            block = lines(exhibit, direction)
            wide = max(len(line.row) for line in block) + 2
            rows = [(f"{name:<{wide}}{line.source}", line.texts) for name, line in _named_once(block)]
            blocks.append(_aligned(heading, [column.label for column in exhibit.columns], rows))
    else:
        for shown in map(numbers, exhibit.drawn):
            rows = [(f"{label}  ", texts) for label, texts in shown.rows]
            blocks.append(f"{shown.heading}\n{_aligned(f'{shown.x_label}  ', shown.columns, rows)}")
    below = [exhibit.caption, *exhibit.notes, *not_run(exhibit), _made(exhibit)]
    return "\n\n".join([*blocks, "\n".join(textwrap.fill(line, 100) for line in below if line)])


def as_markdown(table: Table) -> str:
    """The content of table.md."""
    blocks = [f"# {table.title}", f"MAP; ours {table.training}.", table.caption]
    for direction, heading in DIRECTIONS.items():
        rows = [[heading, "", *(column.label for column in table.columns)]]
        rows.append(["---"] * (2 + len(table.columns)))
        rows += [[name, line.source, *line.texts] for name, line in _named_once(lines(table, direction))]
        blocks.append("\n".join(f"| {' | '.join(_escaped(text) for text in row)} |" for row in rows))
    notes = [*(f"{name}: {PROTOCOL_MEANINGS[name]}" for name in table.shown), *table.notes, *not_run(table)]
    blocks += ["\n".join(f"- {_escaped(note)}" for note in notes), _made(table), f"    {table.command}"]
    return "\n\n".join(block for block in blocks if block) + "\n"


def as_csv(exhibit: Table | Figure) -> str:
    """A line a row, column, protocol and direction of a table; of a figure a line a point that is drawn."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows(_table_rows(exhibit) if isinstance(exhibit, Table) else _figure_rows(exhibit))
    return file.getvalue()


def write_page(folder: Path, exhibit: Table | Figure) -> Path:
    """Write `folder/table.html` or `figure.html`, and `folder/plots/*.png`; returns the path of the page."""
    if isinstance(exhibit, Table):
        kind, plots = "table", table_plots(exhibit)
        title, lead, beside = _PLOT_WORDS[exhibit.plot]
        content = {
            "blocks": [(heading, lines(exhibit, direction)) for direction, heading in DIRECTIONS.items()],
            "plot_title": title,
            "plot_lead": f"{lead} {beside}" if any(cell.paper for _, _, cell in exhibit) else lead,
            "drawn": any(column.drawn for column in exhibit.columns),
        }
    else:
        kind, plots = "figure", figure_plots(exhibit)
        drawn = exhibit.drawn
        content = {
            # The cells of a heat map have their numbers in them.
            "blocks": [numbers(panel) for panel in drawn if not panel.heat],
            "spread": any(std is not None for panel in drawn for line in panel.lines() for std in line.std),
        }
        shutil.rmtree(folder / "plots", ignore_errors=True)
    page.save_plots(folder, plots)
    content |= {
        "exhibit": exhibit,
        "plots": [page.figure(plot) for plot in plots],
        "missing": not_run(exhibit),
    }
    return page.write_page(folder / f"{kind}.html", f"{kind}.html", "gcnxmodal.papers", **content)


def _lacking_cells(table: Table) -> list[str]:
    rows: dict[str, dict[Row, list[str]]] = {}
    for row, column, cell in table:
        if cell.reason:
            rows.setdefault(cell.reason, {}).setdefault(row, []).append(column.label)
    sentences = []
    for reason, of_rows in rows.items():
        names: dict[str, list[str]] = {}  # rows that lack the same columns are named together
        for row, columns in of_rows.items():
            every = row.quoted or len(columns) == len(table.columns)
            names.setdefault("" if every else f" ({'; '.join(columns)})", []).append(row.label)
        words = ", ".join(f"{', '.join(same)}{columns}" for columns, same in names.items())
        sentences.append(f"{words}: {reason.removesuffix('.')}.")
    return sentences


def _lacking_points(figure: Figure) -> list[str]:
    missing: dict[str, dict[str, None]] = {}
    for panel in figure.panels:
        for _, _, cell in panel:
            for name, reason in _lacks(cell, cell.source, figure.seeds) if cell.source else ():
                missing.setdefault(reason, {})[name] = None
    return [f"{'; '.join(names)}: {reason}." for reason, names in missing.items()]


def _lacks(cell: Cell, source: Source, seeds: int) -> list[tuple[str, str]]:
    """What a point has no number of, and why."""
    setting = ", ".join(f"{field.rpartition('.')[2]} = {value:g}" for field, value in source.setting.items())
    name = " ".join(filter(None, (source.part, source.label, setting)))
    if cell.refused:
        return [(name, cell.refused)]
    if not cell.ours and not cell.diverged:
        return [(source.part, cell.absent)] if cell.absent else []
    lacks = []
    if cell.diverged:
        lacks.append((name, f"the loss was not a number with {_seeds(cell.diverged)}"))
    if cell.partly(seeds):
        there = _seeds(cell.seeds) or "no seed"
        lacks.append((name, f"{there} only, of the {seeds} that were asked for"))
    return lacks


def _seeds(seeds: Sequence[int]) -> str:
    """
    >>> _seeds([1]), _seeds([0, 1]), _seeds([])
    ('seed 1', 'seeds 0, 1', '')
    """
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""


def _table_rows(table: Table) -> Iterable[Sequence[Any]]:
    yield "row", "column", "protocol", "direction", "paper", "mean", "std", "seeds", "commit", "reason"
    for row, column, cell in table:
        for protocol in table.protocols:
            for direction in DIRECTIONS:
                ours, paper = cell.moments(protocol, direction), cell.published(direction)
                yield (
                    *(row.label, column.label, protocol, direction),
                    "" if paper is None else f"{paper:.{table.digits}f}",
                    "" if ours is None else repr(ours.mean),
                    "" if ours is None or ours.std is None else repr(ours.std),
                    " ".join(map(str, cell.seeds)),
                    " ".join(cell.commits),
                    cell.reason,
                )


def _figure_rows(figure: Figure) -> Iterable[Sequence[Any]]:
    yield "panel", "data", "measure", "line", "x_label", "x", "mean", "std", "seeds", "commit"
    for panel in figure.drawn:
        for line in panel.lines():
            for x, mean, std, seeds in zip(line.x, line.mean, line.std, line.seeds, strict=True):
                yield (
                    *(panel.name, panel.data, panel.title, line.row.label, panel.x_label, f"{x:g}"),
                    *(repr(mean), "" if std is None else repr(std)),
                    *(" ".join(map(str, seeds)), " ".join(line.commits)),
                )


def _aligned(heading: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Columns of text below their names, right-justified."""
    wide = max(len(heading), *(len(label) for label, _ in rows))
    column = max(len(text) for text in (*columns, *(text for _, texts in rows for text in texts))) + 2
    aligned = [
        f"{label:<{wide}}" + "".join(f"{text:>{column}}" for text in texts)
        for label, texts in [(heading, columns), *rows]
    ]
    return "\n".join(line.rstrip() for line in aligned)


def _named_once(block: Iterable[TextLine]) -> list[tuple[str, TextLine]]:
    """Each line with its row's name, "" if the line before it has the same."""
    named, before = [], ""
    for line in block:
        named.append(("" if line.row == before else line.row, line))
        before = line.row
    return named


def _ours(cell: Cell, protocol: str, direction: str) -> str:
    moments = cell.moments(protocol, direction)
    if moments is None:
        return "diverged" if cell.diverged else DASH
    return _text(*moments) + "*" * bool(cell.diverged)


def _text(mean: float | None, std: float | None) -> str:
    if mean is None:
        return DASH
    return short(mean) + ("" if std is None else f" ± {short(std)}")


def _made(exhibit: Table | Figure) -> str:
    return "; ".join(f"{name} {value}" for name, value in exhibit.made)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
