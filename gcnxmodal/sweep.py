"""Train many models together: `python -m gcnxmodal.sweep PRESET --over FIELD=VALUE,VALUE --seeds N`.

Members that differ in seed, margin, balance, L2, learning rate, decay or number of co-attention layers only
are trained as one vmapped program; other fields make groups, one program each. Every member ends as a run
folder of its own; the sweep's report has mean and spread over seeds.
"""

import dataclasses
import json
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from gcnxmodal import finish
from gcnxmodal.compilation import keep_compiled_programs
from gcnxmodal.config import Experiment
from gcnxmodal.console import TrainingDisplay, describe, how_to_go_on, say, sweep_table
from gcnxmodal.data.load import load_corpus
from gcnxmodal.environment import environment
from gcnxmodal.errors import InputError
from gcnxmodal.measure import map_of_test_items, measure_yardsticks
from gcnxmodal.members import Member, expand, groups, parse_over
from gcnxmodal.report.sweep_page import write_sweep_report
from gcnxmodal.runs import RunFolder, write_json
from gcnxmodal.sweep_folder import SweepFolder, summarise, sweep_config
from gcnxmodal.systems import PRESETS
from gcnxmodal.systems.base import DROPOUT, System
from gcnxmodal.systems.build import build
from gcnxmodal.together import Together
from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.loop import Diverged, Interrupt, Interrupted, train
from gcnxmodal.training.state import TrainState


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


def run(preset: str, arguments: Arguments) -> SweepFolder:
    """Train, measure and report every member; returns the finished sweep.

    Raises:
        InputError: for what the user can mend, before anything is computed or written.
        Interrupted: after saving, on SIGTERM or SIGINT.
    """
    if arguments.seeds < 1:
        raise InputError(f"--seeds is {arguments.seeds}; it must be at least 1")
    base = arguments.experiment
    over = parse_over(base, arguments.over)
    members = expand(base, over, arguments.seeds)
    folder = SweepFolder(arguments.run_dir or Path("runs") / f"{preset}-sweep")
    config = sweep_config(preset, base, over, arguments.seeds)
    folder.check(config, resume=arguments.resume, overwrite=arguments.overwrite)
    grouped = groups(members)
    # Every group's inputs are made before anything is written, the first group's last. The others are made
    # again when their turn comes: all at once they might not fit.
    for group in reversed(grouped):
        system = _build(group)
    if not arguments.resume:
        folder.start(config, members)
    say(f"{len(members)} models, {len(grouped)} {'programs' if len(grouped) > 1 else 'program'}")
    for number, group in enumerate(grouped):
        if not folder.finished(group):
            system = system if number == 0 else _build(group)
            _run_group(preset, folder, number, group, system, reports=arguments.member_reports)
    results = [_results(folder.member(member)) for member in members]
    summary = summarise(members, results)
    yardsticks = shared_yardsticks([found["yardsticks"] for found in results if found is not None])
    report = {"summary": summary, "yardsticks": yardsticks, **config, **environment()}
    write_json(folder.results, report)
    history = {member.name: folder.member(member).history() for member in members}
    page = write_sweep_report(
        folder.path,
        preset,
        report,
        history,
        command_line(preset, arguments),
        time.strftime("%Y-%m-%d"),
        linked={member.name for member in members if folder.member(member).report.exists()},
    )
    say("\n" + sweep_table(preset, summary, yardsticks) + f"\n\nreport: {page}")
    return folder


def _build(group: Sequence[Member]) -> System:
    experiment = group[0].experiment
    return build(experiment, load_corpus(experiment.data, experiment.text))


def _run_group(
    preset: str,
    folder: SweepFolder,
    number: int,
    group: Sequence[Member],
    system: System,
    *,
    reports: bool,
) -> None:
    folders = [folder.member(member) for member in group]
    together = Together(system, [member.experiment for member in group])
    say(f"\n{len(group)} x {describe(together.system)}")
    checkpoints = Checkpoints(folder.checkpoints(number), together.fingerprint(), report=say)
    state = together.initial_state()
    if restored := checkpoints.restore(state):
        state, step = restored
        say(f"resuming at step {step:,}")
    for member in folders:
        member.rewind(int(state.step) // system.steps_per_epoch)
    try:
        state, compile_seconds = _train(together, state, checkpoints, folders)
    except Diverged as stop:
        for member in folders:
            write_json(member.diverged, {"step": stop.step})
        raise
    checkpoints.close()
    yardsticks = measure_yardsticks(system)
    for index, (member, run_folder) in enumerate(zip(together.members, folders, strict=True)):
        own = together.state_of(state, index)
        if (broken := int(own.first_nan)) >= 0:
            say(f"{run_folder.path.name}: the loss is not a number from step {broken:,} on; left out")
            write_json(run_folder.diverged, {"step": broken})
            continue
        say(f"measuring {run_folder.path.name}")
        kept = Checkpoints(run_folder.checkpoints, member.fingerprint(), report=say)
        kept.save(int(own.step), own)
        kept.close()
        finish.finish(member, own.params, run_folder, preset, compile_seconds, yardsticks, report=reports)
    shutil.rmtree(folder.checkpoints(number))  # each member has its own now


def _train(
    together: Together, state: TrainState, checkpoints: Checkpoints, folders: Sequence[RunFolder]
) -> tuple[TrainState, float]:
    system, experiment = together.system, together.system.experiment
    pairs = system.pairs_per_step * len(folders)
    display = TrainingDisplay(experiment.epochs, system.steps_per_epoch, pairs, int(state.step))

    def on_epoch(epoch: int, state: TrainState, metrics: dict[str, Any], seconds: float) -> None:
        rate = system.steps_per_epoch * pairs / seconds
        lines = []
        for index, (member, run_folder) in enumerate(zip(together.members, folders, strict=True)):
            own = {name: values[index] for name, values in metrics.items()}
            if not np.isfinite(own["loss"]):
                continue
            # A member's share of the time that all of them took.
            line = {"epoch": epoch + 1, "step": int(state.step), **own, "seconds": seconds / len(folders)}
            line["pairs_per_second"] = rate
            if experiment.evaluate_every and (epoch + 1) % experiment.evaluate_every == 0:
                line["standard"] = map_of_test_items(member, together.params_of(state.params, index))
            run_folder.append_metrics(line)
            lines.append(line)
        if lines:
            display.epoch(_mean(lines))

    with Interrupt() as interrupt:
        try:
            return train(
                state,
                system.data,
                together.step(),
                together.plan,
                together.own(DROPOUT),
                epochs=experiment.epochs,
                steps_per_epoch=system.steps_per_epoch,
                checkpoints=checkpoints,
                checkpoint_every=experiment.checkpoint_every,
                on_progress=display.progress,
                on_epoch=on_epoch,
                interrupt=interrupt,
            )
        finally:
            display.close()


def _mean(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One line for all members: the mean of their numbers."""
    mean = {**lines[0], "loss": float(np.mean([line["loss"] for line in lines]))}
    if "standard" in mean:
        directions = mean["standard"]
        mean["standard"] = {d: float(np.mean([line["standard"][d] for line in lines])) for d in directions}
    return mean


def _results(folder: RunFolder) -> dict[str, Any] | None:
    return json.loads(folder.results.read_text(encoding="utf-8")) if folder.results.exists() else None


def shared_yardsticks(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The yardsticks that are the same for all members: CCA's signs are not, where the bits are swept.

    >>> shared_yardsticks([{"cca-sign": 0.25, "sm": 0.5}, {"cca-sign": 0.375, "sm": 0.5}])
    {'sm': 0.5}
    """
    return {name: own for name, own in (found or [{}])[0].items() if all(own == f[name] for f in found)}


def command_line(preset: str, arguments: Arguments) -> str:
    """The line that makes this sweep."""
    words = [word for field in arguments.over for word in ("--over", field)]
    words += ["--seeds", str(arguments.seeds), *([] if arguments.member_reports else ["--no-member-reports"])]
    line = finish.command_line(preset, arguments.experiment, "gcnxmodal.sweep")
    return f"{line} {shlex.join(words)}"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    keep_compiled_programs()
    preset, parsed = parse(arguments)
    try:
        run(preset, parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        say(how_to_go_on("gcnxmodal.sweep", stop.step, arguments))
        return 128 + stop.signal
    except Diverged as stop:
        print(f"error: no member has a loss that is a number at step {stop.step:,}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
