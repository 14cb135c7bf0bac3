"""What every benchmark needs: fair timing of alternatives, and a record of where it ran."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

RESULTS = Path(__file__).parent / "results"
PAUSE = 0.01  # seconds
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "scipy", "torch", "torch_geometric", "dgl")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Wall times of one alternative, in milliseconds."""

    median: float
    lower_quartile: float
    upper_quartile: float
    rounds: int


def interleave(
    alternatives: Mapping[str, Callable[[], Any]], rounds: int = 15, warm_up: int = 2
) -> dict[str, Timing]:
    """Time each alternative once a round, so that whatever else the machine does falls on all of them alike.

    Each round starts with another alternative: none of them always runs in the cache of the same neighbour.
    JAX results are waited for; the worker threads of the alternative before, which spin for a while after
    their work, are given time to sleep. Compare the medians, as ratios.
    """
    names = list(alternatives)
    for name in names * warm_up:
        jax.block_until_ready(alternatives[name]())
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            start = time.perf_counter()
            jax.block_until_ready(alternatives[name]())
            seconds[name].append(time.perf_counter() - start)
    timings = {}
    for name, values in seconds.items():
        lower, median, upper = 1e3 * np.percentile(values, [25, 50, 75])
        timings[name] = Timing(float(median), float(lower), float(upper), rounds)
    return timings


def environment() -> dict[str, Any]:
    """Device, cores, commit, versions and date: what a number means nothing without."""
    device = jax.devices()[0]
    return {
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "platform": device.platform,
        "devices": jax.device_count(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "allocator": os.environ.get("GLIBC_TUNABLES", "default"),
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **_versions()},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_result(name: str, result: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/NAME.json: the result beside the environment it was measured in."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **result}, indent=2) + "\n")
    return path


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table; floats to three significant digits."""
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        root = Path(__file__).parents[1]
        found = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return found.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
