"""What every benchmark needs: fair timing of alternatives, and a record of where it ran."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gcnxmodal.environment import environment

RESULTS = Path(__file__).parent / "results"
PAUSE = 0.01  # seconds
MATMULS = ("float32", "tf32")


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
    Results of JAX and of PyTorch are waited for; the worker threads of the alternative before, which spin for
    a while after their work, are given time to sleep. Compare the medians, as ratios.
    """
    names = list(alternatives)
    for name in names * warm_up:
        wait(alternatives[name]())
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            start = time.perf_counter()
            wait(alternatives[name]())
            seconds[name].append(time.perf_counter() - start)
    timings = {}
    for name, values in seconds.items():
        lower, median, upper = 1e3 * np.percentile(values, [25, 50, 75])
        timings[name] = Timing(float(median), float(lower), float(upper), rounds)
    return timings


def repeated(function: Callable[[], Any], times: int) -> Callable[[], Any]:
    """A function that calls another so many times, without waiting in between, and returns its last result.

    What takes an accelerator less than the host needs to look at the clock is timed many times over.
    """

    def run() -> Any:
        for _ in range(times - 1):
            function()
        return function()

    return run


def wait(result: Any) -> Any:
    """`result`, when whatever device computes it is done."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return jax.block_until_ready(result)


def grown(run: Callable[[], Any]) -> tuple[Any, float | None]:
    """What `run` returns, and how many MB this process took at most in it, over what it held before.

    Linux only, None elsewhere. Call it once before, so that libraries are loaded and programs compiled.
    """
    if sys.platform != "linux":
        return run(), None
    ctypes.CDLL(None).malloc_trim(0)  # what is free is returned, and cannot be taken unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what it is now
    before = _status("VmRSS")
    result = run()
    return result, (_status("VmHWM") - before) / 1e3


def _status(field: str) -> int:
    """kB"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def set_matmul(precision: str) -> None:
    """How accelerators multiply float32 matrices, in JAX and in PyTorch: "float32", or "tf32" where they can.

    The two libraries disagree on what they do unasked. A CPU always multiplies in float32.
    """
    if jax.default_backend() == "cpu":
        return
    name = {"float32": "float32", "tf32": "tensorfloat32"}[precision]
    jax.config.update("jax_default_matmul_precision", name)
    try:
        import torch
    except ImportError:
        return
    torch.set_float32_matmul_precision({"float32": "highest", "tf32": "high"}[precision])


def write_result(name: str, result: Mapping[str, Any]) -> Path:
    """Write the result beside the environment it was measured in, to `result_path`."""
    path = result_path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"environment": environment(), **result}, indent=2) + "\n")
    return path


def kept_result(name: str, **settings: Any) -> dict[str, Any]:
    """What an earlier call with the same settings has written, to go on with; empty if there is none."""
    path = result_path(name)
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return before if all(before.get(key) == value for key, value in settings.items()) else {}


def result_path(name: str) -> Path:
    """benchmarks/results/NAME.json; NAME-gpu.json or NAME-tpu.json on an accelerator."""
    platform = environment()["platform"]
    return RESULTS / f"{name}{'' if platform == 'cpu' else f'-{platform}'}.json"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table; floats to three digits. What is nested is left to JSON.

    >>> print(table([{"": "ours", "ms": 12.345, "timing": {"rounds": 3}}, {"": "PyG", "ms": None}]))
    |      | ms   |
    | ---- | ---- |
    | ours | 12.3 |
    | PyG  | -    |
    """
    columns = [key for key, value in rows[0].items() if not isinstance(value, Mapping)]
    lines = [columns, *([_cell(row[key]) for key in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
