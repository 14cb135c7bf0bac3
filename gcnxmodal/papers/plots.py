"""The plots of tables (MAP by layers, heat maps, curves of binary codes) and of the panels of figures."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
from matplotlib.patches import Rectangle

from gcnxmodal.papers.table import DIRECTIONS, Figure, Panel, Table, short
from gcnxmodal.report import panels
from gcnxmodal.report.panels import FONT, INK, MUTED, line_panel, new_panel, plain_text
from gcnxmodal.report.plots import Plot, ceiling
from gcnxmodal.report.values import COLOURS, DASH, Series

_Style = tuple[str, tuple[float, ...], str]  # colour role, dashes, marker

_ROLES = ("sm", "cca", "model", "other", "ink")  # of layer plots, a row each, in order
_MARKERS = ("D", "s", "o", "^", "v")
_LONGEST_NAME = 19  # letters of a layer plot's line
_CODE_PANELS = {"lookup": ("Hash lookup", "Recall"), "precision_at": ("Precision@N", "N")}
_CODE_STYLES: tuple[_Style, ...] = (  # of the rows that have curves, the paper's own first
    ("model", (), ""),
    ("other", (6, 2, 1, 2), ""),
    ("cca", (1.5, 1.5), ""),
    ("sm", (5, 2), ""),
    ("ink", (3, 1), ""),
    ("right", (), ""),
    ("wrong", (6, 2, 1, 2), ""),
    ("model", (1.5, 1.5), ""),
    ("other", (5, 2), ""),
    ("cca", (3, 1), ""),
)
_OWN: _Style = ("model", (), "o")  # of the paper's system in its figures
_METHODS: dict[str, _Style] = {  # and of other methods, the same in all of them
    "gmlda": ("sm", (5, 2), "D"),
    "ml-cca": ("other", (6, 2, 1, 2), "s"),
    "mmnn": ("muted", (3, 1), "^"),
    "dspe": ("ink", (1, 1), "v"),
    "cca": ("cca", (1.5, 1.5), "P"),
}
_OTHERS: tuple[_Style, ...] = (  # of other lines, in order
    ("model", (), "o"),
    ("sm", (5, 2), "D"),
    ("other", (6, 2, 1, 2), "s"),
    ("cca", (3, 1), "^"),
)
_FEW = 12  # points of a line that have a marker each
_ROOM = 98  # for names at the right ends of lines


def table_plots(table: Table) -> list[Plot]:
    """The plots that go with a table."""
    kinds = {"layers": layer_plots, "heat": heat_plots, "codes": code_plots}
    return kinds[table.plot](table) if table.plot else []


def layer_plots(table: Table) -> list[Plot]:
    """MAP against the columns' place, a line a row; a panel a protocol and direction, all on one scale.

    Ours is solid, with a standard deviation to either side; the paper's, under whatever protocol, is dashed.
    """
    lines = {
        (protocol, direction): _layer_lines(table, protocol, direction)
        for protocol in table.shown
        for direction in DIRECTIONS
    }
    top = ceiling(
        y + s
        for of_panel in lines.values()
        for line in of_panel
        for y, s in zip(line.y, line.spread or (0,) * len(line.y), strict=True)
    )
    plots = []
    for (protocol, direction), of_panel in lines.items():
        if all(line.series.dashes for line in of_panel):
            continue
        dashed = " (dashed: the paper)" if any(line.series.dashes for line in of_panel) else ""
        heading = f"MAP, {DIRECTIONS[direction].lower()}, {protocol}{dashed}"
        drawn = line_panel(heading, table.kinds[1].capitalize(), of_panel, top=top, right=122)
        words = "; ".join(
            f"{line.label or 'the paper'} {', '.join(short(y) for y in line.y)}" for line in of_panel
        )
        plots.append(
            Plot(f"layers-{protocol}-{direction}", drawn, f"{heading}, by {table.kinds[1]}: {words}.")
        )
    return plots


def heat_plots(table: Table) -> list[Plot]:
    """Our MAP by row and column, deeper where higher, with the paper's number in the cells that it has."""
    plots = []
    rows, columns = ([of.label for of in side] for side in (table.rows, table.columns))
    cells = [[table.cell(row, column) for column in table.columns] for row in table.rows]
    for protocol in table.shown:
        for direction in DIRECTIONS:
            moments = [[cell.moments(protocol, direction) for cell in row] for row in cells]
            ours = [[of and of.mean for of in row] for row in moments]
            if all(mean is None for row in ours for mean in row):
                continue
            published = [[cell.published(direction) for cell in row] for row in cells]
            heading = f"MAP, {DIRECTIONS[direction].lower()}, {protocol}"
            papers = [
                ["" if p is None else f"paper {short(p, table.digits)}" for p in row] for row in published
            ]
            drawn = _heat_panel(heading, rows, columns, ours, papers)
            words = (
                f"{row}, {column}: {short(mean)}" + ("" if paper is None else f" (paper {short(paper, 3)})")
                for row, means, of_row in zip(rows, ours, published, strict=True)
                for column, mean, paper in zip(columns, means, of_row, strict=True)
                if mean is not None
            )
            plots.append(Plot(f"heat-{protocol}-{direction}", drawn, f"{heading}. {'; '.join(words)}."))
    return plots


def code_plots(table: Table) -> list[Plot]:
    """Precision by recall within each Hamming radius, and precision@N, of each drawn column; a panel a
    direction, both on one scale, a line a row.
    """
    columns = [column for column in table.columns if column.drawn]
    rows = [row for row in table.rows if any("lookup" in table.cell(row, c).curves for c in columns)]
    rows.sort(key=lambda row: not row.own)
    # A row keeps its style where another has no curve.
    styles = dict(zip((row.label for row in rows), itertools.cycle(_CODE_STYLES), strict=False))
    plots = []
    for number, column in enumerate(columns):
        for kind, (title, x_label) in _CODE_PANELS.items():
            pair = [
                Panel(
                    name=f"{kind.replace('_', '-')}-{number}-{direction}",
                    data=column.drawn,
                    title=f"{title}, {DIRECTIONS[direction].lower()}",
                    x_label=x_label,
                    reads=kind,
                    rows=tuple(dataclasses.replace(row, reads=direction) for row in rows),
                    columns=(column,),
                    cells=table.cells,
                )
                for direction in ("text_query", "image_query")
            ]
            plots += [_lines(panel, pair, styles) for panel in pair if any(line.x for line in panel.lines())]
    return plots


def figure_plots(figure: Figure) -> list[Plot]:
    """A plot a panel; panels of one data set that draw the same have one scale."""
    plots = []
    for panel in figure.drawn:
        kind = (panel.data, panel.reads, panel.share)
        alike = [other for other in figure.drawn if (other.data, other.reads, other.share) == kind]
        plots.append(_heat(panel) if panel.heat else _lines(panel, alike))
    return plots


def _layer_lines(table: Table, protocol: str, direction: str) -> list[panels.Line]:
    lines = []
    for place, row in enumerate(table.rows):
        role, marker = _ROLES[place % len(_ROLES)], _MARKERS[place % len(_MARKERS)]
        cells = [table.cell(row, column) for column in table.columns]
        ours = [(x, m) for x, cell in enumerate(cells) if (m := cell.moments(protocol, direction))]
        paper = [(x, y) for x, cell in enumerate(cells) if (y := cell.published(direction)) is not None]
        if ours:
            label = (row.in_plots or row.label)[:_LONGEST_NAME]
            xs, ys = tuple(x for x, _ in ours), tuple(moments.mean for _, moments in ours)
            spread = tuple(moments.std or 0.0 for _, moments in ours)
            lines.append(panels.Line(label, Series(label, role, marker=marker), xs, ys, 2.0, spread))
        if paper:
            # Named only where there is no line of ours that has its colour.
            label = "" if ours else (row.in_paper or row.label)[:_LONGEST_NAME]
            xs, ys = zip(*paper, strict=True)
            lines.append(panels.Line(label, Series(label, role, dashes=(4, 2)), xs, ys, 1.2))
    return lines


def _lines(panel: Panel, alike: Sequence[Panel], code_styles: Mapping[str, _Style] | None = None) -> Plot:
    """A panel of lines on the scale of those that are alike.

    Args:
        code_styles: by row, of the curves of binary codes: the first is wide, and none has a band.
    """
    heading = f"{panel.title}, {panel.data}"
    drawn = [line for line in panel.lines() if line.x]
    few = max(len(line.x) for line in drawn) <= _FEW
    lines = []
    for place, line in enumerate(drawn):
        label, other = line.row.label, _OTHERS[place % len(_OTHERS)]
        if code_styles:
            (role, dashes, marker), first, band = code_styles[label], label == next(iter(code_styles)), ()
        else:
            role, dashes, marker = _OWN if line.row.own else _METHODS.get(line.row.method, other)
            first, band = role == "model", tuple(std or 0.0 for std in line.std)
        style = Series(label, role, dashes=dashes, marker=marker)
        width, marked = 2.2 if first else 1.6, len(line.x) <= _FEW
        lines.append(panels.Line(label, style, line.x, line.mean, width, band, marked))
    highest = [
        mean + (0.0 if code_styles else std or 0.0)
        for other in alike
        for line in other.lines()
        for mean, std in zip(line.mean, line.std, strict=True)
    ]
    shown = line_panel(
        heading,
        panel.x_label,
        lines,
        # Of MAP and precision the next tenth above all; of losses what the data ask for.
        top=ceiling(highest) if panel.share else None,
        right=_ROOM if panel.reads in ("map", "history") else None,
        ticks=sorted({x for line in drawn for x in line.x}) if few and panel.reads == "map" else None,
    )
    digits = ".3g" if code_styles else "g"
    words = "; ".join(
        f"{line.row.label} {short(line.mean[0])} at {line.x[0]:{digits}} to {short(line.mean[-1])} at "
        f"{line.x[-1]:{digits}}"
        for line in drawn
    )
    return Plot(panel.name, shown, f"{heading}: {words}.")


def _heat(panel: Panel) -> Plot:
    lines = panel.lines()
    columns = sorted({x for line in lines for x in line.x})
    moments = [dict(zip(line.x, zip(line.mean, line.std, strict=True), strict=True)) for line in lines]
    values = [[row[x][0] if x in row else None for x in columns] for row in moments]
    spreads = [
        [f"±{short(std)}" if (std := row.get(x, (0, None))[1]) is not None else "" for x in columns]
        for row in moments
    ]
    heading = f"{panel.title}, {panel.data}"
    shown = _heat_panel(
        heading,
        [line.row.label for line in lines],
        [f"{x:g}" for x in columns],
        values,
        spreads,
        frames=False,
        corner=f"{panel.x_label} =",
    )
    words = "; ".join(
        f"{line.row.label}: {', '.join('none' if value is None else short(value) for value in row)}"
        for line, row in zip(lines, values, strict=True)
    )
    names = ", ".join(f"{x:g}" for x in columns)
    return Plot(panel.name, shown, f"{heading}, by {panel.x_label} of {names}. {words}.")


def _heat_panel(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    second: Sequence[Sequence[str]],
    *,
    frames: bool = True,
    corner: str = "",
) -> matplotlib.figure.Figure:
    """A table whose cells are the deeper the higher their value, which stands in them.

    Args:
        second: a second line for each cell.
        frames: whether a cell that has one is framed.
        corner: what the columns are, left of their names.
    """
    above, below, side = 60, 12, 56
    height = above + side * len(rows) + below
    measured = [value for row in values for value in row if value is not None]
    low, high = min(measured), max(measured)
    with plain_text():
        left = 20 + 6.2 * max(len(name) for name in rows)
        figure, axes = new_panel(title, height, left=left, right=14, above=above, below=below)
        for y, (line, words) in enumerate(zip(values, second, strict=True)):
            for x, (value, below_it) in enumerate(zip(line, words, strict=True)):
                # Not deeper than lets the ink be read on it, in the light colours and in the dark ones.
                share = 0.5 if high == low or value is None else (value - low) / (high - low)
                fill = {"color": COLOURS["model"][0], "alpha": 0.0 if value is None else 0.06 + 0.36 * share}
                axes.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, linewidth=0, **fill))
                if below_it and frames:
                    frame = {"edgecolor": INK, "linewidth": 1.4, "facecolor": "none"}
                    axes.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, **frame))
                text = DASH if value is None else f"{value:.3f}".removeprefix("0")
                middle: Any = {"ha": "center", "va": "center", "color": INK}
                weight = "bold" if value == high else "normal"
                axes.text(x, y - (0.14 if below_it else 0), text, size=FONT + 2, weight=weight, **middle)
                axes.text(x, y + 0.22, below_it, size=FONT - 1, **middle)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), columns, color=MUTED)
        axes.set_yticks(range(len(rows)), rows, color=MUTED)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        if corner:
            beside: Any = {"xytext": (-6, 8.5), "textcoords": "offset points", "ha": "right"}
            axes.annotate(corner, (0, 1), xycoords="axes fraction", color=MUTED, **beside)
    return figure
