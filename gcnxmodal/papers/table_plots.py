"""The plots that go with a paper's table: MAP by number of layers, a heat map of margin and balance, and the
curves of binary codes.
"""

from __future__ import annotations

from collections.abc import Callable

from gcnxmodal.papers.table_text import DIRECTIONS, Cell, FilledTable, short
from gcnxmodal.report.palette import Series
from gcnxmodal.report.panels import Line, heat_panel, line_panel
from gcnxmodal.report.plots import Plot, ceiling

_ROLES = ("sm", "cca", "model", "other", "ink")  # a row each, in order
_MARKERS = ("D", "s", "o", "^", "v")


def layer_plots(table: FilledTable) -> list[Plot]:
    """MAP against the columns' place, a line a row; a panel a protocol and direction, all on one scale.

    Ours is solid, with a standard deviation to either side; the paper's, under whatever protocol, is dashed.
    """
    panels = {
        (protocol, direction): _layer_lines(table, protocol, direction)
        for protocol in table.shown
        for direction in DIRECTIONS
    }
    lines = [line for found in panels.values() for line in found]
    top = ceiling(
        y + s for line in lines for y, s in zip(line.y, line.spread or (0,) * len(line.y), strict=True)
    )
    plots = []
    for (protocol, direction), lines in panels.items():
        if any(not line.series.dashes for line in lines):
            dashed = any(line.series.dashes for line in lines)
            heading = (
                f"MAP, {DIRECTIONS[direction].lower()}, {protocol}{' (dashed: the paper)' if dashed else ''}"
            )
            x_label = table.kinds[1].capitalize()
            drawn = line_panel(heading, x_label, lines, top=top, right=122)
            words = "; ".join(
                f"{line.label or 'the paper'} {', '.join(short(y) for y in line.y)}" for line in lines
            )
            plots.append(
                Plot(f"layers-{protocol}-{direction}", drawn, f"{heading}, by {table.kinds[1]}: {words}.")
            )
    return plots


def heat_plots(table: FilledTable) -> list[Plot]:
    """Our MAP by row and column, deeper where higher, with the paper's number in the cells that it has."""
    plots = []
    for protocol in table.shown:
        for direction in DIRECTIONS:
            cells = [
                [table.cells.get((row, column), Cell()) for column in table.columns] for row in table.rows
            ]
            ours = [[cell.moments(protocol, direction) for cell in row] for row in cells]
            if not any(found for row in ours for found in row):
                continue
            published = [[cell.published(direction) for cell in row] for row in cells]
            heading = f"MAP, {DIRECTIONS[direction].lower()}, {protocol}"
            drawn = heat_panel(
                heading,
                table.rows,
                table.columns,
                [[None if found is None else found.mean for found in row] for row in ours],
                [["" if p is None else f"paper {short(p, table.digits)}" for p in row] for row in published],
            )
            words = (
                f"{row}, {column}: {short(found.mean)}"
                + ("" if paper is None else f" (paper {short(paper, 3)})")
                for row, line, papers in zip(table.rows, ours, published, strict=True)
                for column, found, paper in zip(table.columns, line, papers, strict=True)
                if found is not None
            )
            plots.append(Plot(f"heat-{protocol}-{direction}", drawn, f"{heading}. {'; '.join(words)}."))
    return plots


def code_plots(table: FilledTable) -> list[Plot]:
    """Precision by recall within each Hamming radius, and precision@N, of each drawn column; a panel a
    direction, both on one scale, a line a row.
    """
    plots = []
    for number, (column, name) in enumerate(table.drawn.items()):
        for kind, (title, x_label) in _CODE_PANELS.items():
            panels = {
                direction: _code_lines(table, column, kind, direction)
                for direction in ("text_query", "image_query")
            }
            top = ceiling(y for lines in panels.values() for line in lines for y in line.y)
            for direction, lines in panels.items():
                if not lines:
                    continue
                heading = f"{title}, {DIRECTIONS[direction].lower()}, {name}"
                words = "; ".join(
                    f"{line.label} {short(line.y[0])} at {line.x[0]:.3g} to {short(line.y[-1])} at "
                    f"{line.x[-1]:.3g}"
                    for line in lines
                )
                plots.append(
                    Plot(
                        f"{kind.replace('_', '-')}-{number}-{direction}",
                        line_panel(heading, x_label, lines, top=top),
                        f"{heading}: {words}.",
                    )
                )
    return plots


_CODE_PANELS = {"lookup": ("Hash lookup", "Recall"), "precision_at": ("Precision@N", "N")}
_CODE_STYLES = (  # of the rows that have curves, the paper's own first
    ("model", ()),
    ("other", (6, 2, 1, 2)),
    ("cca", (1.5, 1.5)),
    ("sm", (5, 2)),
    ("ink", (3, 1)),
    ("right", ()),
    ("wrong", (6, 2, 1, 2)),
    ("model", (1.5, 1.5)),
    ("other", (5, 2)),
    ("cca", (3, 1)),
)

PLOTS: dict[str, Callable[[FilledTable], list[Plot]]] = {
    "layers": layer_plots,
    "heat": heat_plots,
    "codes": code_plots,
}
"""By the word that a table has for its plots."""


def _layer_lines(table: FilledTable, protocol: str, direction: str) -> list[Line]:
    lines = []
    for place, row in enumerate(table.rows):
        published, here = _names(row)
        role, marker = _ROLES[place % len(_ROLES)], _MARKERS[place % len(_MARKERS)]
        cells = [table.cells.get((row, column), Cell()) for column in table.columns]
        ours = [(x, found) for x, cell in enumerate(cells) if (found := cell.moments(protocol, direction))]
        paper = [(x, y) for x, cell in enumerate(cells) if (y := cell.published(direction)) is not None]
        if ours:
            xs, ys = tuple(x for x, _ in ours), tuple(found.mean for _, found in ours)
            spread = tuple(found.std or 0.0 for _, found in ours)
            lines.append(Line(here, Series(here, role, marker=marker), xs, ys, 2.0, spread))
        if paper:
            # Named only where there is no line of ours that has its colour.
            label = "" if ours else published
            style = Series(label, role, dashes=(4, 2))
            lines.append(Line(label, style, tuple(x for x, _ in paper), tuple(y for _, y in paper), 1.2))
    return lines


def _code_lines(table: FilledTable, column: str, kind: str, direction: str) -> list[Line]:
    rows = [row for row in table.rows if any(table.cells.get((row, c), Cell()).curves for c in table.drawn)]
    rows.sort(key=lambda row: row not in table.own)
    lines = []
    for place, row in enumerate(rows):
        xs, ys = table.cells.get((row, column), Cell()).curves.get(kind, {}).get(direction, ((), ()))
        if xs:
            role, dashes = _CODE_STYLES[place % len(_CODE_STYLES)]
            lines.append(Line(row, Series(row, role, dashes=dashes), xs, ys, 2.2 if place == 0 else 1.6))
    return lines


def _names(row: str, longest: int = 19) -> tuple[str, str]:
    """A row's name in the paper, and ours, whose features may be others.

    >>> _names("GCN + VGG-19 (here cnn)"), _names("GCN + CNN-5")
    (('GCN + VGG-19', 'GCN + cnn'), ('GCN + CNN-5', 'GCN + CNN-5'))
    """
    published, _, here = row.removesuffix(")").partition(" (here ")
    ours = f"{published.split(' + ')[0]} + {here}" if here else published
    return published[:longest], ours[:longest]
