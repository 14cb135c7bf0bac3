"""A paper's figure with the numbers of the runs and baselines in its folder."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gcnxmodal.experiments.figure_baselines import Fit, fits
from gcnxmodal.experiments.paper_figures import Baseline, Line, PaperFigure, Point
from gcnxmodal.experiments.run_folder import RunFolder
from gcnxmodal.experiments.table_runs import PartFolder
from gcnxmodal.report.paper_figure import FilledFigure, FilledLine, FilledPanel, Reads

Curve = tuple[list[float], list[float]]
"""Where points are, and how high."""


@dataclasses.dataclass
class _Found:
    """What is there of a point: a curve a seed (None: of no seed), the results, seeds that have none."""

    curves: dict[int | None, Curve]
    results: list[dict[str, Any]]
    diverged: tuple[int, ...] = ()


def fill(figure: PaperFigure, folder: Path, seeds: int, command: str) -> FilledFigure:
    """The figure with the numbers of the runs in `folder`; what has none has a reason.

    A function of the runs and baselines alone: the same give the same figure.
    """
    parts = {part.name: PartFolder(part, folder / "runs") for part in figure.parts}
    fitted, used, missing, lost = fits(figure, folder, seeds), [], {}, {}
    panels = []
    for panel in figure.panels:
        lines = []
        for line in panel.lines:
            found = [_found(point, line, panel.reads, parts, fitted, seeds) for point in line.points]
            for point, one in zip(line.points, found, strict=True):
                used += one.results
                if one.diverged:
                    lost[point.part, json.dumps(dict(point.setting))] = one.diverged
                if not one.curves and not one.diverged:
                    reason = parts[point.part].part.missing or "not run yet: left out by --only"
                    missing.setdefault(reason, dict[str, None]())[point.part] = None
            lines.append(_line(line, found))
        if any(line.x for line in lines):
            panels.append(
                FilledPanel(
                    *(panel.name, panel.data, panel.title, panel.x_label, panel.reads),
                    tuple(lines),
                    panel.heat,
                )
            )
    reports = [sweep.path / "report.html" for part in parts.values() for sweep in part.sweeps().values()]
    return FilledFigure(
        figure.name,
        figure.title,
        tuple(panels),
        figure.caption,
        (*_counted(figure, parts, seeds), *figure.notes),
        figure.training,
        tuple(
            [f"{', '.join(names)}: {reason}." for reason, names in missing.items()]
            + [
                f"{part} {setting}: the loss was not a number with seed {', '.join(map(str, which))}."
                for (part, setting), which in lost.items()
            ]
        ),
        _made(used, seeds),
        tuple(path.relative_to(folder).as_posix() for path in reports if path.exists()),
        command,
    )


def _found(
    point: Point,
    line: Line,
    reads: Reads,
    parts: Mapping[str, PartFolder],
    fitted: Mapping[tuple[str, Baseline], list[Fit]],
    seeds: int,
) -> _Found:
    if point.baseline is not None:
        kept = {fit.seed: found for fit in fitted[point.part, point.baseline] if (found := fit.read())}
        curves = {seed: _curve_of_fit(found, point, line, reads) for seed, found in kept.items()}
        return _Found(curves, list(kept.values()))
    runs = parts[point.part].runs(point.setting, seeds)
    finished = {seed: run for seed, run in runs.items() if run.results.exists()}
    return _Found(
        {seed: _curve_of_run(run, point, line, reads) for seed, run in finished.items()},
        [_read(run.results) for run in finished.values()],
        tuple(seed for seed, run in runs.items() if run.diverged.exists()),
    )


def _curve_of_run(run: RunFolder, point: Point, line: Line, reads: Reads) -> Curve:
    if reads == "map":
        assert point.x is not None
        return [point.x], [_read(run.results)["protocols"]["standard"][line.value]]
    if reads == "scope":
        scope = _read(run.curves)["model"]["scope"][line.value]
        return scope["n"], scope["precision"]
    rows = [(row["step"], value) for row in run.history() if (value := _value(row, line.value)) is not None]
    return [step for step, _ in rows], [value for _, value in rows]


def _curve_of_fit(found: Mapping[str, Any], point: Point, line: Line, reads: Reads) -> Curve:
    if reads == "scope":
        return found["scope"][line.value]["n"], found["scope"][line.value]["precision"]
    assert point.x is not None
    return [point.x], [found["protocols"]["standard"][line.value]]


def _value(row: Any, path: str) -> float | None:
    """
    >>> _value({"standard": {"text_query": 0.5}}, "standard.text_query"), _value({}, "labels")
    (0.5, None)
    """
    for name in path.split("."):
        row = row.get(name) if row is not None else None
    return row


def _line(line: Line, found: Sequence[_Found]) -> FilledLine:
    """The points of a line, each with mean and standard deviation over its seeds."""
    x: list[float] = []
    mean: list[float] = []
    std: list[float | None] = []
    for one in found:
        if not one.curves:
            continue
        curves = list(one.curves.values())
        values = np.array([ys for _, ys in curves])
        x += curves[0][0]
        mean += values.mean(axis=0).tolist()
        std += values.std(axis=0).tolist() if len(values) > 1 else [None] * values.shape[1]
    seeds = sorted({seed for one in found for seed in one.curves if seed is not None})
    commits = dict.fromkeys(result["commit"] for one in found for result in one.results)
    return FilledLine(line.label, tuple(x), tuple(mean), tuple(std), tuple(seeds), tuple(commits))


def _counted(figure: PaperFigure, parts: Mapping[str, PartFolder], seeds: int) -> list[str]:
    """How many of the runs with alpha2 = 0, if any were swept, gave a number: where the paper had NaN."""
    settings = {
        (point.part, json.dumps(dict(point.setting), sort_keys=True)): point
        for panel in figure.panels
        for line in panel.lines
        for point in line.points
        if point.setting.get("train.alpha2") == 0
    }
    runs = [
        run for point in settings.values() for run in parts[point.part].runs(point.setting, seeds).values()
    ]
    numbers = sum(run.results.exists() for run in runs)
    ended = numbers + sum(run.diverged.exists() for run in runs)
    return [f"Here, of {ended} runs with alpha2 = 0, {numbers} ended with a number."] if ended else []


def _made(results: Iterable[Mapping[str, Any]], seeds: int) -> tuple[tuple[str, str], ...]:
    results = list(results)
    if not results:
        return ()
    dates = sorted(result["date"][:10] for result in results)
    return (
        ("mean and standard deviation over seeds", f"0 to {seeds - 1}") if seeds > 1 else ("seed", "0"),
        ("commit", _list(result["commit"] for result in results)),
        ("device", _list(result["device"] for result in results)),
        ("JAX", _list(result["versions"]["jax"] for result in results)),
        ("measured", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"),
    )


def _list(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
