"""The panels of a paper's figure as plots: lines with a band of one standard deviation, or cells."""

from __future__ import annotations

from collections.abc import Sequence

from gcnxmodal.papers.figure_text import FilledFigure, FilledLine, FilledPanel
from gcnxmodal.papers.table_text import short
from gcnxmodal.report.palette import Series
from gcnxmodal.report.panels import Line, heat_panel, line_panel
from gcnxmodal.report.plots import Plot, ceiling

_Style = tuple[str, tuple[float, ...], str]  # colour role, dashes, marker

_METHODS: dict[str, _Style] = {  # the same in all figures
    "SSPE": ("model", (), "o"),
    "GMLDA": ("sm", (5, 2), "D"),
    "ml-CCA": ("other", (6, 2, 1, 2), "s"),
    "MMNN": ("muted", (3, 1), "^"),
    "DSPE": ("ink", (1, 1), "v"),
    "CCA": ("cca", (1.5, 1.5), "P"),
}
_OTHERS: tuple[_Style, ...] = (  # of other lines, in order
    ("model", (), "o"),
    ("sm", (5, 2), "D"),
    ("other", (6, 2, 1, 2), "s"),
    ("cca", (3, 1), "^"),
)
_FEW = 12  # points of a line that have a marker each
_ROOM = 98  # for names at the right ends of lines


def figure_plots(figure: FilledFigure) -> list[Plot]:
    """A plot a panel; panels of one data set that draw the same have one scale."""
    plots = []
    for panel in figure.panels:
        alike = [other for other in figure.panels if _kind(other) == _kind(panel)]
        plots.append(_heat(panel) if panel.heat else _lines(panel, alike))
    return plots


def _lines(panel: FilledPanel, alike: Sequence[FilledPanel]) -> Plot:
    heading = f"{panel.title}, {panel.data}"
    drawn = [line for line in panel.lines if line.x]
    lines = [_line(line, *_style(line, place)) for place, line in enumerate(drawn)]
    few = max(len(line.x) for line in drawn) <= _FEW
    shown = line_panel(
        heading,
        panel.x_label,
        lines,
        top=_top(alike),
        right=None if panel.reads == "scope" else _ROOM,
        ticks=sorted({x for line in drawn for x in line.x}) if few and panel.reads == "map" else None,
    )
    words = "; ".join(
        f"{line.label} {short(line.mean[0])} at {line.x[0]:g} to {short(line.mean[-1])} at {line.x[-1]:g}"
        for line in drawn
    )
    return Plot(panel.name, shown, f"{heading}: {words}.")


def _style(line: FilledLine, place: int) -> _Style:
    return _METHODS.get(line.label, _OTHERS[place % len(_OTHERS)])


def _line(line: FilledLine, role: str, dashes: tuple[float, ...], marker: str) -> Line:
    style = Series(line.label, role, dashes=dashes, marker=marker)
    width = 2.2 if role == "model" else 1.6
    spread = tuple(std or 0.0 for std in line.std)
    return Line(line.label, style, line.x, line.mean, width, spread, marked=len(line.x) <= _FEW)


def _kind(panel: FilledPanel) -> tuple[str, str, bool]:
    return panel.data, panel.reads, panel.share


def _top(panels: Sequence[FilledPanel]) -> float | None:
    """The upper end of y: of MAP and precision the next tenth above all; of losses what the data ask for."""
    highest = [
        mean + (std or 0.0)
        for panel in panels
        for line in panel.lines
        for mean, std in zip(line.mean, line.std, strict=True)
    ]
    return ceiling(highest) if panels[0].share else None


def _heat(panel: FilledPanel) -> Plot:
    columns = sorted({x for line in panel.lines for x in line.x})
    found = [dict(zip(line.x, zip(line.mean, line.std, strict=True), strict=True)) for line in panel.lines]
    values = [[row[x][0] if x in row else None for x in columns] for row in found]
    spreads = [
        [f"±{short(std)}" if (std := row.get(x, (0, None))[1]) is not None else "" for x in columns]
        for row in found
    ]
    heading = f"{panel.title}, {panel.data}"
    shown = heat_panel(
        heading,
        [line.label for line in panel.lines],
        [f"{x:g}" for x in columns],
        values,
        spreads,
        frames=False,
        corner=f"{panel.x_label} =",
    )
    words = "; ".join(
        f"{line.label}: {', '.join('none' if value is None else short(value) for value in row)}"
        for line, row in zip(panel.lines, values, strict=True)
    )
    names = ", ".join(f"{x:g}" for x in columns)
    return Plot(panel.name, shown, f"{heading}, by {panel.x_label} of {names}. {words}.")
