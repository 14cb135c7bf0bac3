"""Measure a run again from its newest checkpoint: `python -m gcnxmodal.evaluate RUN`."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from gcnxmodal.compilation import keep_compiled_programs
from gcnxmodal.console import results_table, say, status_of
from gcnxmodal.finish import finish
from gcnxmodal.finished_run import restore
from gcnxmodal.runs import RunFolder


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which run to measure."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder, as `gcnxmodal.train` made it."""
    root: Path | None = None
    """Folder of the data set, if it has moved since."""


def run(arguments: Arguments) -> RunFolder:
    """Restore onto one device, whatever trained it; measure, and write results.json and report.html anew.

    Raises:
        InputError: if the folder is not a run, or its checkpoints cannot be used.
    """
    folder, preset, system, params, step = restore(arguments.run, arguments.root, say)
    say(f"checkpoint at step {step:,}")
    results = finish(system, params, folder, preset)
    say("\n" + results_table(preset, results) + f"\n\nreport: {folder.report}")
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad arguments or data."""
    parsed = tyro.cli(Arguments, prog="python -m gcnxmodal.evaluate", description=__doc__, args=arguments)
    keep_compiled_programs()
    return status_of(lambda: run(parsed))


if __name__ == "__main__":
    sys.exit(main())
