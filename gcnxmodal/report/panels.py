"""How one panel is drawn: lines named at their ends, or bars. Lengths are CSS pixels of the page's SVG."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from sklearn.isotonic import isotonic_regression

from gcnxmodal.report.values import COLOURS, DASH, Series

_WIDTH = 400  # a phone's column; wider ones scale it up
FONT = 11.0
_LONGEST_NAME = 24  # letters
_LEGEND: dict[str, Any] = {
    **{"loc": "upper left", "frameon": False, "borderpad": 0, "borderaxespad": 0},
    **{"handletextpad": 0.6, "columnspacing": 1.6},
}
INK, MUTED, _LINE, _CARD = (COLOURS[role][0] for role in ("ink", "muted", "line", "card"))


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve. Without `x`, a level across the whole width, at `y[0]`; without a label, it is not named.

    With `spread`, a band of so much to either side, and, if `marked`, a marker at each point.
    """

    label: str
    series: Series
    x: tuple[float, ...]
    y: tuple[float, ...]
    width: float = 1.6
    spread: tuple[float, ...] = ()
    marked: bool = True


@contextlib.contextmanager
def plain_text() -> Iterator[None]:
    """Names are shown as they are: "$" starts no formula, and a script the PNG's font lacks is no warning."""
    with matplotlib.rc_context({"text.parse_math": False, "font.size": FONT}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def line_panel(
    title: str,
    x_label: str,
    lines: Sequence[Line],
    *,
    top: float | None = None,
    right: float | None = None,
    wide: Literal["x", "y"] | None = None,
    ticks: Sequence[float] | None = None,
) -> Figure:
    """Curves over one x axis; y starts at 0 unless it is logarithmic or has negative values.

    Args:
        top: the upper end of the y axis; None lets the data choose.
        right: room right of the axes, where each line is named at its end; None names them in a row on top,
            for curves that meet on the right.
        wide: the axis that is logarithmic if its values are positive and span a factor of 30.
        ticks: where the x axis has its ticks; None lets the data choose.
    """
    with plain_text():
        above, below = 38, 42
        if right is None:
            rows = -(-len(lines) // _legend_columns([line.label for line in lines], handle_length=2))
            above += 4 + 16 * rows
        height = above + 186 + below
        figure, axes = new_panel(title, height, left=44, right=right or 14, above=above, below=below)
        handles = []
        for line in lines:
            style = {"color": line.series.colour, "linewidth": line.width, "zorder": 2 + line.width}
            style |= {"dashes": line.series.dashes or (None, None), "label": line.label}
            if line.spread:
                low, high = (np.add(line.y, np.multiply(sign, line.spread)) for sign in (-1, 1))
                axes.fill_between(line.x, low, high, color=line.series.colour, alpha=0.18, linewidth=0)
                if line.marked:
                    style |= {"marker": line.series.marker, "markersize": 5, "clip_on": False}
            if line.x:
                handles += axes.plot(line.x, line.y, **{"marker": "o" if len(line.x) == 1 else None, **style})
            else:
                handles.append(axes.axhline(line.y[0], **style))
        axes.margins(x=0)
        values = {"x": [x for line in lines for x in line.x], "y": [y for line in lines for y in line.y]}
        if wide and min(values[wide]) > 0 and max(values[wide]) > 30 * min(values[wide]):
            _make_logarithmic(axes, wide)
        if axes.get_yscale() == "linear":
            axes.set_ylim(min(0, *values["y"]), top)
        if ticks is not None:
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        elif axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=all(x == round(x) for x in values["x"])))
        axes.set_xlabel(x_label, color=MUTED, labelpad=4)
        axes.grid(axis="y", color=_LINE, linewidth=1)
        axes.spines["bottom"].set_visible(True)
        if right is None:
            _legend(figure, handles, height, handle_length=2)
        else:
            _name_ends(axes, lines, gap=14 / 186)
    return figure


def bar_panel(
    title: str, names: Sequence[str], rows: Mapping[Series, Sequence[float | None]], top: float
) -> Figure:
    """A row a name: the first series as a bar with its value in figures, the others as markers.

    A value of None leaves its row without a bar, and a dash for the figure.
    """
    names = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    above, below = 58, 8
    height = above + 21 * len(names) + below
    with plain_text():
        left = 20 + 6.2 * max(len(name) for name in names)
        figure, axes = new_panel(title, height, left=left, right=46, above=above, below=below)
        handles = []
        for place, (shown, values) in enumerate(rows.items()):
            ys = [y for y, value in enumerate(values) if value is not None]
            xs = [value for value in values if value is not None]
            if place == 0:
                # Paler than its colour elsewhere, so that the markers on it stand out.
                style = {"height": 0.6, "color": shown.colour, "alpha": 0.4}
                handles.append(axes.barh(ys, xs, label=shown.label, **style))
                for y, value in enumerate(values):
                    _beside(axes, DASH if value is None else f"{value:.2f}", y, "data", MUTED, 34, "right")
            else:
                style = {"marker": shown.marker, "color": shown.colour, "edgecolors": _CARD, "linewidths": 1}
                handles.append(
                    axes.scatter(xs, ys, s=42, zorder=3, clip_on=False, label=shown.label, **style)
                )
        axes.set_xlim(0, top)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xticks([])
        axes.set_yticks(range(len(names)), names, color=INK)
        axes.spines["left"].set_visible(True)
        _legend(figure, handles, height, handle_length=1)
    return figure


def new_panel(
    title: str, height: float, *, left: float, right: float, above: float, below: float
) -> tuple[Figure, Axes]:
    """An empty panel with its title, and so much room around the axes."""
    figure = Figure(figsize=(_WIDTH / 72, height / 72), dpi=72)  # a point is a pixel
    axes = figure.add_axes(
        (left / _WIDTH, below / height, (_WIDTH - left - right) / _WIDTH, (height - above - below) / height)
    )
    figure.text(12 / _WIDTH, 1 - 21 / height, title, size=FONT + 1, weight="bold", color=INK)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED, pad=6)
    for spine in axes.spines.values():
        spine.set(visible=False, color=_LINE)
    return figure, axes


def _legend(figure: Figure, handles: Sequence[Any], height: float, *, handle_length: float) -> None:
    columns = _legend_columns([handle.get_label() for handle in handles], handle_length)
    anchor = 12 / _WIDTH, 1 - 33 / height
    options = {"ncols": columns, "handlelength": handle_length, **_LEGEND}
    figure.legend(handles=handles, bbox_to_anchor=anchor, labelcolor=INK, scatterpoints=1, **options)


def _legend_columns(labels: Sequence[str], handle_length: float) -> int:
    """The most columns with which Matplotlib lays out a legend not wider than a panel."""
    figure = Figure(dpi=72)
    handles = [Line2D([], [], label=label) for label in labels]
    for columns in range(len(labels), 1, -1):
        options = {"ncols": columns, "handlelength": handle_length, **_LEGEND}
        if figure.legend(handles=handles, **options).get_window_extent().width <= _WIDTH - 24:
            return columns
    return 1


def _make_logarithmic(axes: Axes, name: Literal["x", "y"]) -> None:
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)


def _name_ends(axes: Axes, lines: Sequence[Line], gap: float) -> None:
    """Each name at the height of its line's right end, `gap` of the axes' height or more apart."""
    lines = [line for line in lines if line.label]
    if not lines:
        return
    to_fraction = axes.transData + axes.transAxes.inverted()
    start = axes.get_xlim()[0]
    ends = [to_fraction.transform((line.x[-1] if line.x else start, line.y[-1]))[1] for line in lines]
    for line, height in zip(lines, _apart(ends, gap), strict=True):
        _beside(axes, line.label, height, "axes fraction", line.series.colour, 6, "left")


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """The heights, moved the least (in squares) that keeps their order and puts `gap` between neighbours.

    >>> [round(float(height), 2) for height in _apart([0.5, 0.52, 0.9], 0.1)]
    [0.46, 0.56, 0.9]
    """
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    moved = np.empty(len(heights))
    # Without the steps the heights must not decrease.
    moved[order] = isotonic_regression(np.asarray(heights)[order] - steps) + steps
    return list(moved)


def _beside(axes: Axes, text: str, y: float, unit: str, colour: str, offset: float, align: str) -> None:
    """Text right of the axes, `offset` pixels from them, at height `y`."""
    axes.annotate(
        text,
        (1, y),
        (offset, 0),
        ("axes fraction", unit),
        "offset points",
        ha=align,
        va="center_baseline",
        color=colour,
    )
