"""The report's plots: which curves there are, in what order, and what each says in words."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from gcnxmodal.report.panels import Line, bar_panel, line_panel, plain_text
from gcnxmodal.report.values import DASH, DIRECTIONS, Series, measured, series
from gcnxmodal.retrieval.metrics import PAIR_MEASURE
from gcnxmodal.stopping import HELD_OUT


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure, its file name without suffix, and what it shows in a sentence."""

    name: str
    figure: Figure
    alt: str


def save_png(plot: Plot, folder: Path) -> Path:
    """Write `folder/<name>.png` on white, two pixels a point; the same figure gives the same bytes."""
    path = folder / f"{plot.name}.png"
    with plain_text():
        plot.figure.savefig(path, dpi=144, facecolor="white", metadata={"Software": None})
    return path


def curve_plots(details: Mapping[str, Any], system: str) -> list[Plot]:
    """Precision-recall and precision-scope, a panel a direction; the two directions share a scale.

    Of binary codes also hash lookup, precision by recall from Hamming radius 0 on, and precision@N (GCH, Fig.
    2). Lookup has a second, thin line of the model's: the mean with 0 for queries without a hit.

    Args:
        details: {"model": what `evaluate_embeddings` or `evaluate_codes` gave for it, "cca": ..., ...}; only
            "curves", "lookup" and "precision_at" are read.
    """
    return [plot for kind in _CURVES for plot in _panels(kind, details, system)]


@dataclasses.dataclass(frozen=True)
class _Curve:
    """A plot of `details[system][of][direction]`: its values `y` by its values `x`."""

    name: str
    title: str
    x_label: str
    of: str
    x: str
    y: str
    wide: Literal["x"] | None = "x"
    thin: tuple[str, str, str] | None = None  # of the model only: what the label adds, x, y


_CURVES = (
    _Curve("precision-recall", "Precision by recall", "Recall", "curves", "recall", "precision"),
    _Curve(
        "precision-scope", "Precision by scope", "Items retrieved", "curves", "scope", "precision_at_scope"
    ),
    _Curve(
        "lookup",
        "Hash lookup by radius",
        "Recall in the retrieval split",
        "lookup",
        x="recall",
        y="precision",
        wide=None,
        thin=(", no hit counts 0", "recall_of_all", "precision_of_all"),
    ),
    _Curve("precision-at", "Precision@N", "N, of the retrieval split", "precision_at", "n", "precision"),
)


def training_plots(
    history: Sequence[Mapping[str, Any]], results: Mapping[str, Any], system: str
) -> list[Plot]:
    """The loss by epoch; the MAP under `standard` by epoch (without labels, recall@10 of own pairs), with the
    averages of the baselines as levels."""
    model = series("model", system)
    plots = []
    loss = _line(model, [row["epoch"] for row in history], [row.get("loss") for row in history], width=2.2)
    if loss.x:
        title = "Training loss by epoch"
        loss = dataclasses.replace(loss, label=f"{loss.y[-1]:.3g}")
        figure = line_panel(title, "Epoch", [loss], right=52, wide="y")
        plots.append(Plot("loss", figure, _in_words(title, [loss])))
    measure = _measured_on_the_way(history)
    scored = [(row["epoch"], row[measure]) for row in history if row.get(measure)]
    shown = {
        "average": (Series("average", "model"), 2.4),
        "text_query": (Series("text queries", "model", dashes=(4, 2)), 1.2),
        "image_query": (Series("image queries", "model", dashes=(1, 1.5)), 1.2),
    }
    lines = [
        _line(style, [epoch for epoch, _ in scored], [scores.get(direction) for _, scores in scored], width)
        for direction, (style, width) in shown.items()
    ]
    lines = [line for line in lines if line.x]
    if lines:
        title = _BY_EPOCH[measure]
        if measure == HELD_OUT:  # the baselines are measured on other items
            title = f"{_held_out_measure(results.get('chosen', {}))} of held-out training items by epoch"
        else:
            lines += _levels(results.get("yardsticks", {}), measure, " average")
        plots.append(Plot("map", _map_panel(title, lines), _in_words(title, lines)))
    return plots


def sweep_plot(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    best: Sequence[str],
    label: str,
    baselines: Mapping[str, Any],
) -> Plot | None:
    """Average MAP under `standard` by epoch (without labels, recall@10 of own pairs): a thin line a member, a
    thick one the mean of the best setting.

    Args:
        histories: each member's lines of `metrics.jsonl`.
        best: the members whose mean is the thick line.
        label: its name.
        baselines: the `yardsticks` of `results.json`; their averages are levels.
    """
    measure = _measured_on_the_way([row for rows in histories.values() for row in rows])
    points = {
        name: {row["epoch"]: row[measure]["average"] for row in rows if row.get(measure)}
        for name, rows in histories.items()
    }
    shared = sorted(set.intersection(*(set(points[name]) for name in best))) if best else []
    if not shared:
        return None
    mean = tuple(math.fsum(points[name][epoch] for name in best) / len(best) for epoch in shared)
    style = Series("", "muted")
    thin = [Line("", style, tuple(row), tuple(row.values()), 0.8) for row in points.values() if row]
    levels = [] if measure == HELD_OUT else _levels(baselines, measure)
    named = [Line(label, series("model", label), tuple(shared), mean, 2.4), *levels]
    title = f"Average {_BY_EPOCH[measure]}"
    words = f"{_in_words(title, named)} Thin: each of {len(points)} members."
    return Plot("map", _map_panel(title, [*thin, *named]), words)


_BY_EPOCH = {
    "standard": "MAP by epoch, standard protocol",
    PAIR_MEASURE: f"{PAIR_MEASURE} of own pairs by epoch",
    HELD_OUT: "score of held-out training items by epoch",
}


def _measured_on_the_way(history: Iterable[Mapping[str, Any]]) -> str:
    found = {name for row in history for name in (HELD_OUT, PAIR_MEASURE) if row.get(name)}
    return min(found, key=(HELD_OUT, PAIR_MEASURE).index, default="standard")


def _held_out_measure(chosen: Mapping[str, Any]) -> str:
    return PAIR_MEASURE if chosen.get("measure") == PAIR_MEASURE else "MAP"


def _levels(baselines: Mapping[str, Any], measure: str, suffix: str = "") -> list[Line]:
    """The average of each baseline by this measure, by epoch a level."""
    lines = []
    for key, scores in baselines.items():
        level = measured(scores.get(measure, {}).get("average"))
        if level is not None:
            style = series(key, key)
            lines.append(Line(f"{style.label}{suffix}", style, (), (level,)))
    return lines


def _map_panel(title: str, lines: Sequence[Line]) -> Figure:
    return line_panel(title, "Epoch", lines, top=ceiling(y for line in lines for y in line.y), right=92)


def class_plots(details: Mapping[str, Any], class_names: Sequence[str], system: str) -> list[Plot]:
    """MAP of each class's queries, a panel a direction: bars for the model, markers for the baselines.

    Both panels have the model's best class on average first. A class without a value (no test query is of
    it) comes last and has no bar.
    """
    panels = {direction: _per_class(details, system, direction) for direction in DIRECTIONS}
    model = series("model", system)
    panels = {direction: rows for direction, rows in panels.items() if model in rows}
    means = [
        [value for rows in panels.values() if (value := rows[model][c]) is not None]
        for c in range(len(class_names))
    ]
    order = sorted(
        range(len(class_names)), key=lambda c: -math.fsum(means[c]) / len(means[c]) if means[c] else math.inf
    )
    top = ceiling(
        value for rows in panels.values() for values in rows.values() for value in values if value is not None
    )
    names = [class_names[c] for c in order]
    plots = []
    for direction, rows in panels.items():
        title = f"MAP by class, {DIRECTIONS[direction]}"
        ordered = {style: [values[c] for c in order] for style, values in rows.items()}
        words = (
            f"{name} {DASH if v is None else f'{v:.2f}'}"
            for name, v in zip(names, ordered[model], strict=True)
        )
        alt = f"{title}. {system}: {', '.join(words)}."
        plots.append(Plot(f"classes-{_short(direction)}", bar_panel(title, names, ordered, top), alt))
    return plots


def ceiling(values: Iterable[float]) -> float:
    """The upper end of a MAP or precision axis: the next tenth above all values.

    >>> ceiling([0.31, 0.4]), ceiling([0.41]), ceiling([])
    (0.4, 0.5, 0.1)
    """
    return max(math.ceil(round(max(values, default=0.0) * 10, 6)), 1) / 10


def _panels(kind: _Curve, details: Mapping[str, Any], system: str) -> list[Plot]:
    panels = {direction: _curves(kind, details, system, direction) for direction in DIRECTIONS}
    top = ceiling(value for lines in panels.values() for line in lines for value in line.y)
    plots = []
    for direction, lines in panels.items():
        if lines:
            heading = f"{kind.title}, {DIRECTIONS[direction]}"
            figure = line_panel(heading, kind.x_label, lines, top=top, wide=kind.wide)
            plots.append(Plot(f"{kind.name}-{_short(direction)}", figure, _in_words(heading, lines)))
    return plots


def _curves(kind: _Curve, details: Mapping[str, Any], system: str, direction: str) -> list[Line]:
    lines = []
    for key, entry in _model_first(details):
        curve = entry.get(kind.of, {}).get(direction, {})
        width = 2.4 if key == "model" else 1.6
        lines.append(_line(series(key, system), curve.get(kind.x, ()), curve.get(kind.y, ()), width))
        if key == "model" and kind.thin:
            words, x, y = kind.thin
            style = Series(f"{system}{words}", "model", dashes=(4, 2))
            lines.append(_line(style, curve.get(x, ()), curve.get(y, ()), 1.2))
    return [line for line in lines if line.x]


def _line(style: Series, xs: Sequence[Any], ys: Sequence[Any], width: float) -> Line:
    """The points that were measured: a NaN or a missing value leaves a point out."""
    points = [(measured(x), measured(y)) for x, y in zip(xs, ys, strict=True)]
    points = [(x, y) for x, y in points if x is not None and y is not None]
    return Line(style.label, style, tuple(x for x, _ in points), tuple(y for _, y in points), width)


def _per_class(details: Mapping[str, Any], system: str, direction: str) -> dict[Series, list[float | None]]:
    rows = {}
    for key, entry in _model_first(details):
        values = [measured(value) for value in entry.get("per_class", {}).get(direction, ())]
        if any(value is not None for value in values):
            rows[series(key, system)] = values
    return rows


def _model_first(details: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(details.items(), key=lambda item: item[0] != "model")


def _short(direction: str) -> str:
    return direction.removesuffix("_query")


def _in_words(title: str, lines: Sequence[Line]) -> str:
    parts = [
        f"{line.label} from {line.y[0]:.3g} at {line.x[0]:g} to {line.y[-1]:.3g} at {line.x[-1]:g}"
        if line.x
        else f"{line.label} {line.y[0]:.3g}"
        for line in lines
    ]
    return f"{title}: {'; '.join(parts)}."
