"""Train many models together: `python -m gcnxmodal.sweep PRESET --over FIELD=VALUE,VALUE --seeds N`.

Members that differ in seed, margin, balance, L2, learning rate, decay or number of co-attention layers only
are trained as one vmapped program; other fields make groups, one program each. Every member ends as a run
folder of its own; the sweep's report has mean and spread over seeds.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from gcnxmodal.config import Experiment, field_named, validate
from gcnxmodal.console import status_of
from gcnxmodal.data.cache import keep_compiled_programs
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.runs import as_chosen, check_writable, wants_choice, with_choice
from gcnxmodal.sweeps import SweepFolder, run_sweep
from gcnxmodal.systems import PRESETS
from gcnxmodal.training.loop import Diverged
from gcnxmodal.tuning import choose


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The experiment they all start from, what differs, and where the sweep is kept."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    over: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """FIELD=VALUE,VALUE: a field and its values; with several of these, all combinations are trained."""
    seeds: int = 1
    """How many seeds each combination is trained with, from --seed on."""
    run_dir: Path | None = None
    """Folder of the sweep; by default runs/PRESET-sweep."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the sweep in the folder."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the sweep in the folder."""
    member_reports: Annotated[bool, tyro.conf.FlagCreatePairsOff] = True
    """Whether each member has a report of its own; without, `gcnxmodal.evaluate MEMBER` writes one."""


def parse(arguments: list[str]) -> tuple[str, Arguments]:
    """Preset and arguments of a command line."""
    parsed = tyro.extras.overridable_config_cli(
        {name: (summary, Arguments(experiment)) for name, (summary, experiment) in PRESETS.items()},
        prog="python -m gcnxmodal.sweep",
        description=__doc__,
        args=arguments,
    )
    return arguments[0], parsed


def parse_over(experiment: Experiment, words: Sequence[str]) -> dict[str, list[Any]]:
    """Fields and their values, from words like "train.margin=0.5,0.6" or "filters=[1,1],[4,4]".

    A field may be given by the end of its name, if that is one field's only.

    Raises:
        InputError: if there is no such field, or no values.
    """
    over: dict[str, list[Any]] = {}
    for word in words:
        given, equals, text = word.partition("=")
        try:
            field = field_named(experiment, given)
        except InputError as error:
            raise InputError(f"--over {word}: {error}") from error
        if field in ("seed", "epochs", "evaluate_every", "checkpoint_every"):
            raise InputError(f"--over {word}: {field} is the same for all members; leave it out")
        if not equals or not text:
            raise InputError(f"--over {word}: no values; write {given}=VALUE,VALUE")
        try:
            over[field] = json.loads(f"[{text}]")
        except ValueError:
            over[field] = text.split(",")
    return over


def run(preset: str, arguments: Arguments) -> SweepFolder:
    """Do what the command line says, as `run_sweep`; options are chosen once for all members."""
    experiment, choice = arguments.experiment, None
    folder = arguments.run_dir or Path("runs") / f"{preset}-sweep"
    over = parse_over(experiment, arguments.over)
    if wants_choice(experiment):
        validate(experiment)
        overwrite, resume = arguments.overwrite, arguments.resume
        check_writable(folder, "sweep", "sweep.json", "--run-dir", overwrite=overwrite, resume=resume)
        if arguments.resume:
            experiment = with_choice(experiment, folder)
        else:
            choice = choose(PRESETS[preset][1], experiment, load_corpus(experiment.data, experiment.text))
            experiment = as_chosen(experiment, choice)
    return run_sweep(
        preset,
        experiment,
        over=over,
        seeds=arguments.seeds,
        folder=folder,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        member_reports=arguments.member_reports,
        choice=choice,
    )


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    keep_compiled_programs()
    preset, parsed = parse(arguments)
    try:
        return status_of(lambda: run(preset, parsed), "gcnxmodal.sweep", arguments, resume=True)
    except Diverged as stop:
        print(f"error: no member has a loss that is a number at step {stop.step:,}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
