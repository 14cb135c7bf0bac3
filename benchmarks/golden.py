"""Do two commits give the same bits? `python -m benchmarks.golden make DIR`, later `... golden check DIR`.

`make` runs the commands below on the embedded emoji corpus and keeps what they wrote: the results, curves and
metrics of a short run of each system, the arrays of an export, the tables gch-1 and sspe-1. `check` runs them
again, with the code of the present checkout, and names every value that differs. On one machine nothing may:
a change that only moves code leaves every bit as it was.

The folder is a few MB and belongs to one machine, so it is not in the repository. About five minutes on two
cores.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

RUNS = {
    "gin": ["gin-emoji", "--epochs", "1"],
    "gin-lstm": ["gin-emoji-tuned", "--epochs", "1", "--model.text", "lstm", "--model.hidden", "16"],
    "scanet": ["scanet-emoji-authors-grid", "--epochs", "1"],
    "gch": ["gch-emoji-paper", "--epochs", "1", "--model.bits", "16"],
    "sspe": ["sspe-emoji", "--epochs", "1"],
}
EXPORTS = ("gin", "gch", "sspe")
SWEEP = ["gin-emoji-tuned", "--epochs", "1", "--over", "margin=0.5,0.6", "--seeds", "2"]
TABLES = ("gch-1", "sspe-1")

# What is no function of the code: when, where and how fast.
LEFT_OUT = {
    *("seconds", "pairs_per_second", "items_per_second", "draws_per_second", "per_second", "date", "load"),
    *("device", "platform", "cores", "allocator", "commit", "versions", "cached", "root", "preset"),
}


def run(module: str, *arguments: object) -> None:
    """Run an entry point of the checkout that this is called in."""
    command = [sys.executable, "-m", f"gcnxmodal.{module}", *map(str, arguments)]
    print("  " + " ".join(command[1:]), flush=True)
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def make(folder: Path) -> None:
    """Run everything and keep what is compared."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for name, words in RUNS.items():
            run("train", *words, "--run-dir", work / name)
            for file in ("results.json", "curves.json", "metrics.jsonl"):
                keep(work / name / file, folder / name / file)
        for name in EXPORTS:
            run("export", work / name, "--to", "npz", "--out", work / f"{name}-export")
            for file in (work / f"{name}-export").rglob("*"):
                if file.suffix in (".npz", ".safetensors", ".jsonl"):
                    keep(file, folder / f"{name}-export" / file.name)
        run("sweep", *SWEEP, "--run-dir", work / "sweep", "--no-member-reports")
        keep(work / "sweep" / "results.json", folder / "sweep" / "results.json")
        for name in TABLES:
            run("tables", name, "--data", "emoji", "--seeds", 1, "--epochs", 1, "--folder", work / "tables")
            for file in (work / "tables").rglob("table.csv"):
                if name in str(file):
                    keep(file, folder / f"table-{name}.csv")


def keep(source: Path, target: Path) -> None:
    """Copy a file, making its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def differences(before: Path, after: Path) -> list[str]:
    """What differs between two golden folders: a line a value."""
    found = []
    for old in sorted(path for path in before.rglob("*") if path.is_file()):
        name = str(old.relative_to(before))
        new = after / name
        if not new.exists():
            found.append(f"{name}: not made any more")
            continue
        first, second = read(old), read(new)
        for field in sorted(first.keys() | second.keys()):
            one, other = first.get(field), second.get(field)
            same = (
                np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
                if isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
                else one == other
            )
            if not same:
                found.append(f"{name}: {field}: {short(one)} before, {short(other)} now")
    return found


def read(path: Path) -> dict[str, Any]:
    """The values of a file by name."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    if path.suffix == ".safetensors":
        return load_file(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return flat(json.loads(text))
    if path.suffix == ".jsonl":
        return flat({str(number): json.loads(line) for number, line in enumerate(text.splitlines())})
    rows = csv.DictReader(text.splitlines())
    return {f"{n} {name}": v for n, row in enumerate(rows) for name, v in row.items() if name not in LEFT_OUT}


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of a JSON value by dotted name, without those that say when, where and how fast."""
    if isinstance(tree, dict):
        parts = {str(name): value for name, value in tree.items() if name not in LEFT_OUT}
    elif isinstance(tree, list):
        parts = {str(number): value for number, value in enumerate(tree)}
    else:
        return {prefix: tree}
    return {k: v for name, value in parts.items() for k, v in flat(value, f"{prefix}.{name}").items()}


def short(value: Any) -> str:
    """A value in at most 60 characters."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return str(value)[:60]


def main() -> int:
    """Entry point; 1 if anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("make", "check"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.action == "make":
        make(arguments.folder)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        now = Path(temporary) / "now"
        make(now)
        found = differences(arguments.folder, now)
    print("\n".join(found) or "the same bits")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
