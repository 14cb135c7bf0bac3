"""`report.html` of a sweep: mean and spread over seeds by setting, and links to the members' own reports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gcnxmodal.report import values
from gcnxmodal.report.page import figure, write_page
from gcnxmodal.report.plots import save_png, sweep_plot


def write_sweep_report(
    folder: Path,
    title: str,
    report: Mapping[str, Any],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    command: str,
    date: str,
    linked: Collection[str] | None = None,
) -> Path:
    """Write `folder/report.html` and `folder/plots/map.png`.

    Args:
        title: the preset.
        report: the content of the sweep's `results.json`.
        histories: each member's lines of `metrics.jsonl`, by name.
        command: the command line that made the sweep.
        date: when it was measured, as it is to be shown.
        linked: members that have reports of their own; None for all.

    Returns:
        The path of the page.
    """
    rows = [{**row, "name": setting_name(row["setting"])} for row in report["summary"]]
    finished = [row for row in rows if row["protocols"]]
    best = max(finished, key=lambda row: row["protocols"]["standard"]["average"]["mean"], default=None)
    plot = None
    if best is not None:
        members = [name for name in best["members"] if name not in best["diverged"]]
        label = "best setting" if len(rows) > 1 else "mean"
        plot = sweep_plot(histories, members, label, report["yardsticks"])
    if plot is not None:
        (folder / "plots").mkdir(exist_ok=True)
        save_png(plot, folder / "plots")
    return write_page(
        folder / "report.html",
        "sweep.html",
        title=title,
        report=report,
        rows=rows,
        best=best,
        protocols=list(best["protocols"]) if best else [],
        baselines={name.upper(): scores for name, scores in report["yardsticks"].items()},
        plot=None if plot is None else figure(plot),
        linked=[name for row in rows for name in row["members"] if linked is None or name in linked],
        command=command,
        date=date,
        config=list(values.flatten(report["experiment"])),
        versions=list(values.flatten(report["versions"])),
    )


def setting_name(setting: Mapping[str, Any]) -> str:
    """
    >>> setting_name({"train.margin": 0.5, "model.filters": [1, 1]}), setting_name({})
    ('margin 0.5, filters [1, 1]', 'the preset')
    """
    words = (f"{field.split('.')[-1].replace('_', ' ')} {value}" for field, value in setting.items())
    return ", ".join(words) or "the preset"
