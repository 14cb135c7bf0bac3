"""Measure a run again from its newest checkpoint: `gcnxmodal evaluate RUN`.

`python -m gcnxmodal.evaluate` is the same. In Python the
module is called as a function, with a `Retriever` and a `Corpus`: see `evaluation.evaluate`.

>>> import gcnxmodal
>>> retriever = gcnxmodal.Retriever.from_pretrained("runs/gin-emoji-seed0")  # doctest: +SKIP
>>> gcnxmodal.evaluate(retriever, gcnxmodal.load_dataset("emoji"))["protocols"]["standard"]  # doctest: +SKIP
{'text_query': 0.513, 'image_query': 0.526, 'average': 0.52}
"""

import dataclasses
import sys
import types
from pathlib import Path
from typing import Annotated, Any

import tyro

from gcnxmodal import evaluation
from gcnxmodal.console import results_table, say, status_of
from gcnxmodal.data.cache import keep_compiled_programs
from gcnxmodal.errors import InputError
from gcnxmodal.runs import RunFolder, claimed, restore


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
    with claimed(arguments.run, "RUN"):
        folder, preset, system, params, step, trained = restore(arguments.run, arguments.root, say)
        say(f"checkpoint at step {step:,}")
        patience, epochs = system.experiment.patience, trained // system.steps_per_epoch
        _check_not_older(folder, folder.epochs_of(epochs, patience))
        if missing := folder.missing_history(epochs, patience):
            say(f"{missing}; the report goes without them")
        results = evaluation.finish(system, params, folder, preset, step, trained)
    say("\n" + results_table(preset, results) + f"\n\nreport: {folder.report}")
    return folder


def _check_not_older(folder: RunFolder, epochs: int) -> None:
    try:
        measured = folder.read_results()["epochs"]
    except (InputError, ValueError, KeyError, TypeError):
        return  # not measured yet, or damaged: nothing to keep
    if measured > epochs:
        raise InputError(
            f"{folder.results}: is of {measured} epochs, but the newest checkpoint that can be read is of "
            f"{epochs}; resume the run, or move the file away to measure that one"
        )


class _Callable(types.ModuleType):
    """The module is also the function: `gcnxmodal.evaluate(...)` is `evaluation.evaluate(...)`."""

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        return evaluation.evaluate(*arguments, **options)


sys.modules[__name__].__class__ = _Callable


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad arguments or data."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = tyro.cli(Arguments, prog="python -m gcnxmodal.evaluate", description=__doc__, args=arguments)
    keep_compiled_programs()
    return status_of(lambda: run(parsed), "gcnxmodal.evaluate", arguments)


if __name__ == "__main__":
    sys.exit(main())
