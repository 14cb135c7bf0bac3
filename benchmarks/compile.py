"""How long until a run has finished its first epoch: with nothing compiled yet, and with the programs kept.

    python -m benchmarks.compile [--root FOLDER_OF_WIKIPEDIA] [--rounds 3]

Each run is a fresh process of `python -m gcnxmodal.train` that does one short epoch, of `gin-emoji`, or of
`gin-wikipedia` with --root. Its cache lies in a folder of its own:

    nothing cached   corpus, picture features, word vectors and programs are made; once
    cold             only the programs are missing
    warm             nothing is missing

Columns: seconds until metrics.jsonl has the first epoch; of them in the compiler, as the run says in its
results.json; seconds until the report is written. Cold and warm runs alternate; medians of them.
Writes results/compile.json.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import table, write_result
from gcnxmodal.runs import RunFolder

PAIRS = 2_000  # of each kind, an epoch
PROGRAMS = "xla"  # the folder of the cache that keeps compiled programs


def command(root: Path | None, run_dir: Path) -> list[str]:
    """The run that is timed."""
    preset = ["gin-emoji"] if root is None else ["gin-wikipedia", "--data.root", str(root.absolute())]
    pairs = [f"--train.{kind}s={PAIRS}" for kind in ("positive", "negative")]
    return ["-m", "gcnxmodal.train", *preset, *pairs, "--epochs=1", f"--run-dir={run_dir}"]


def timed_run(arguments: list[str], run_dir: Path, cache: Path) -> dict[str, float]:
    """Seconds of one run, in a fresh process.

    Raises:
        SystemExit: if the run fails; with what it said.
    """
    folder = RunFolder(run_dir)
    environment = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
    started = time.perf_counter()
    first_epoch = None
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**environment, "GCNXMODAL_CACHE": str(cache)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            if first_epoch is None and folder.history(1):
                first_epoch = time.perf_counter() - started
            time.sleep(0.005)
        finished = time.perf_counter() - started
        if process.returncode or first_epoch is None:
            output.seek(0)
            raise SystemExit(f"the run ended with status {process.returncode}:\n{output.read()}")
    compile_seconds = json.loads(folder.results.read_text())["seconds"]["compile"]
    return {"first epoch s": first_epoch, "compiling s": compile_seconds, "report s": finished}


def measure(root: Path | None, rounds: int) -> list[dict[str, Any]]:
    """One row a state of the cache."""
    with tempfile.TemporaryDirectory() as temporary:
        cache, run_dir = Path(temporary) / "cache", Path(temporary) / "run"

        def run() -> dict[str, float]:
            shutil.rmtree(run_dir, ignore_errors=True)
            return timed_run(command(root, run_dir), run_dir, cache)

        seconds = {"nothing cached": [run()], "cold": [], "warm": []}
        for _ in range(rounds):
            shutil.rmtree(cache / PROGRAMS, ignore_errors=True)
            for name in ("cold", "warm"):
                seconds[name].append(run())
    return [
        {
            "cache": name,
            **{column: statistics.median(run[column] for run in runs) for column in runs[0]},
            "runs": {str(number): run for number, run in enumerate(runs)},
        }
        for name, runs in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder of the Wikipedia data set, to train on it")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = measure(arguments.root, arguments.rounds)
    print(table(rows))
    preset = "gin-emoji" if arguments.root is None else "gin-wikipedia"
    path = write_result("compile", {"preset": preset, "pairs_an_epoch": 2 * PAIRS, "rows": rows})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
