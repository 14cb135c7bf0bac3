"""A paper's figure with the numbers of the runs and baselines in its folder."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gcnxmodal.papers.figure_parts import Line, PaperFigure, Point
from gcnxmodal.papers.figure_text import FilledFigure, FilledLine, FilledPanel, Reads
from gcnxmodal.papers.table_baselines import BaselineFolder
from gcnxmodal.papers.table_parts import Source
from gcnxmodal.papers.table_runs import LEFT_OUT, PartFolder, made, read_json
from gcnxmodal.runs import RunFolder

Curve = tuple[list[float], list[float]]
"""Where points are, and how high."""


@dataclasses.dataclass
class _Found:
    """What is there of a point: a curve a seed (None: of no seed), the results, and why others are not.

    Attributes:
        diverged: seeds whose loss was not a number.
        refused: why the method cannot take the data.
    """

    curves: dict[int | None, Curve]
    results: list[dict[str, Any]]
    diverged: tuple[int, ...] = ()
    refused: str = ""

    def partly(self, seeds: int) -> bool:
        """Whether some of the seeds have been trained, and not all."""
        there = {*self.curves, *self.diverged}
        return bool(there) and None not in there and len(there) < seeds


def fill(figure: PaperFigure, folder: Path, seeds: int, command: str) -> FilledFigure:
    """The figure with the numbers of the runs in `folder`; what has none, or not of all seeds, has a reason.

    A function of the runs and baselines alone: the same give the same figure.
    """
    parts = {part.name: PartFolder(part, folder / "runs") for part in figure.parts}
    baselines = BaselineFolder(figure.sources, folder / "baselines")
    used, panels, partly = [], [], False
    missing: dict[str, dict[str, None]] = {}  # by its reason: what has none
    for panel in figure.panels:
        lines = []
        for line in panel.lines:
            found = [_found(point, line, panel.reads, parts, baselines, seeds) for point in line.points]
            for point, one in zip(line.points, found, strict=True):
                used += one.results
                partly |= one.partly(seeds)
                for name, reason in _lacks(point.source, one, parts[point.source.part], seeds):
                    missing.setdefault(reason, {})[name] = None
            lines.append(_line(line, found))
        if any(line.x for line in lines):
            panels.append(
                FilledPanel(
                    *(panel.name, panel.data, panel.title, panel.x_label, panel.reads),
                    tuple(lines),
                    panel.heat,
                    panel.share,
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
        tuple(f"{'; '.join(names)}: {reason}." for reason, names in missing.items()),
        made(used, seeds, ", of some points fewer" if partly else ""),
        tuple(path.relative_to(folder).as_posix() for path in reports if path.exists()),
        command,
    )


def _lacks(source: Source, found: _Found, folder: PartFolder, seeds: int) -> list[tuple[str, str]]:
    """What a point has no number of, and why."""
    setting = ", ".join(f"{field.rpartition('.')[2]} = {value:g}" for field, value in source.setting.items())
    name = " ".join(filter(None, (source.part, source.label, setting)))
    if found.refused:
        return [(name, found.refused)]
    if not found.curves and not found.diverged:
        return [(source.part, folder.part.missing or LEFT_OUT)]
    lacks = []
    if found.diverged:
        lacks.append((name, f"the loss was not a number with {_seeds(found.diverged)}"))
    if found.partly(seeds):
        there = _seeds([seed for seed in found.curves if seed is not None])
        lacks.append((name, f"{there or 'no seed'} only, of the {seeds} that were asked for"))
    return lacks


def _seeds(seeds: Sequence[int]) -> str:
    """
    >>> _seeds([1]), _seeds([0, 1]), _seeds([])
    ('seed 1', 'seeds 0, 1', '')
    """
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""


def _found(
    point: Point,
    line: Line,
    reads: Reads,
    parts: Mapping[str, PartFolder],
    baselines: BaselineFolder,
    seeds: int,
) -> _Found:
    source = point.source
    if not source.of_runs:
        results = baselines.results(parts[source.part].part, source, seeds)
        kept = [(measured, result) for measured, result in results if not result["reason"]]
        return _Found(
            {measured.seed: _curve(result, measured.curves, point, line, reads) for measured, result in kept},
            [result for _, result in kept],
            refused="; ".join(dict.fromkeys(result["reason"] for _, result in results if result["reason"])),
        )
    runs = parts[source.part].runs(source.setting, seeds)
    finished = {seed: run for seed, run in runs.items() if run.results.exists()}
    results = {seed: read_json(run.results) for seed, run in finished.items()}
    return _Found(
        {
            seed: _history(run, line)
            if reads == "history"
            else _curve(results[seed], run.curves, point, line, reads)
            for seed, run in finished.items()
        },
        list(results.values()),
        tuple(seed for seed, run in runs.items() if run.diverged.exists()),
    )


def _curve(result: Mapping[str, Any], curves: Path, point: Point, line: Line, reads: Reads) -> Curve:
    """Of the results of a run or baseline, and the curves that it keeps."""
    if reads == "scope":
        kept = read_json(curves)
        scope = kept.get("model", kept)["scope"][line.value]
        return scope["n"], scope["precision"]
    assert point.x is not None
    return [point.x], [result["protocols"]["standard"][line.value]]


def _history(run: RunFolder, line: Line) -> Curve:
    rows = [(row["step"], value) for row in run.history() if (value := _value(row, line.value)) is not None]
    return [step for step, _ in rows], [value for _, value in rows]


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
    seeds: list[tuple[int, ...]] = []
    for one in found:
        if not one.curves:
            continue
        curves = list(one.curves.values())
        values = np.array([ys for _, ys in curves])
        x += curves[0][0]
        mean += values.mean(axis=0).tolist()
        std += values.std(axis=0).tolist() if len(values) > 1 else [None] * values.shape[1]
        seeds += [tuple(seed for seed in one.curves if seed is not None)] * values.shape[1]
    commits = dict.fromkeys(result["commit"] for one in found for result in one.results)
    return FilledLine(line.label, tuple(x), tuple(mean), tuple(std), tuple(seeds), tuple(commits))


def _counted(figure: PaperFigure, parts: Mapping[str, PartFolder], seeds: int) -> list[str]:
    """How many of the runs with alpha2 = 0, if any were swept, gave a number: where the paper had NaN."""
    settings: dict[tuple[Any, ...], Source] = {
        (source.part, *source.setting.items()): source
        for source in figure.sources
        if source.setting.get("train.alpha2") == 0
    }
    runs = [
        run for source in settings.values() for run in parts[source.part].runs(source.setting, seeds).values()
    ]
    numbers = sum(run.results.exists() for run in runs)
    ended = numbers + sum(run.diverged.exists() for run in runs)
    return [f"Here, of {ended} runs with alpha2 = 0, {numbers} ended with a number."] if ended else []
