"""Sweeps: every combination of some values, each with some seeds.

Members that differ in numbers only (`Experiment.arguments` and the seed) are one vmapped program: the
step of a member under `jax.vmap`, over parameters, optimizer state, batches, key and the values that
differ. Every member ends as a run folder of its own.
"""

import contextlib
import dataclasses
import itertools
import json
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pydantic import ValidationError

from gcnxmodal import runs, stopping
from gcnxmodal.config import Experiment, changed, experiment_dict, flat, validate
from gcnxmodal.console import TrainingDisplay, describe, say, sweep_table
from gcnxmodal.data.files import Schema, read_json
from gcnxmodal.data.load import load_corpus
from gcnxmodal.environment import environment
from gcnxmodal.errors import InputError, saying
from gcnxmodal.evaluation import epoch_line, finish, measure_baselines, measured_on_the_way
from gcnxmodal.report.page import write_sweep_report
from gcnxmodal.retrieval.metrics import PAIR_MEASURE, PAIR_MEASURES, headline_scores
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS, PROTOCOLS
from gcnxmodal.runs import RunFolder, check_writable, claimed, clear, remove_partial, write_json
from gcnxmodal.systems import System, build, experiment_from
from gcnxmodal.systems.base import DROPOUT
from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.loop import Diverged, Interrupt, train
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.sharding import named_leaves
from gcnxmodal.training.state import Data, TrainState, keep_if_better, make_block

# Which leaves have an entry a member, on their first axis.
STATE_AXES: Any = TrainState(params=0, opt_state=0, step=None, totals=0, first_nan=0, best=0)  # pyright: ignore
DATA_AXES: Any = Data(None, None, None, None, plan=0, groups_n=None)  # pyright: ignore


@dataclasses.dataclass(frozen=True)
class Member:
    """One experiment of a sweep.

    Attributes:
        name: of its folder, such as "margin=0.5,seed=3".
        setting: the values it was given, by field, without the seed.
    """

    name: str
    setting: dict[str, Any]
    experiment: Experiment


def expand(experiment: Experiment, over: Mapping[str, Sequence[Any]], seeds: int) -> list[Member]:
    """Every combination of the values, each with `seeds` seeds from the experiment's own on.

    Raises:
        InputError: if a value is not one the field can have, or two members are the same.
    """
    members = []
    for values in itertools.product(*over.values()):
        setting_values = dict(zip(over, values, strict=True))
        for seed in range(experiment.seed, experiment.seed + seeds):
            member = changed(experiment, {**setting_values, "seed": seed})
            validate(member)
            fields = flat(experiment_dict(member))
            setting = {field: fields[field] for field in over}
            words = [f"{field.split('.')[-1]}={_word(value)}" for field, value in setting.items()]
            members.append(Member(",".join([*words, f"seed={seed}"]), setting, member))
    if len({member.name for member in members}) < len(members):
        raise InputError("--over: two of the values are the same; name each once")
    return members


def groups(members: Sequence[Member]) -> list[list[Member]]:
    """The members that train as one program, in order: they differ in `Experiment.arguments` only."""
    by_shape: dict[str, list[Member]] = {}
    for member in members:
        fields = flat(experiment_dict(member.experiment))
        free = ("seed", *member.experiment.arguments)
        shape = json.dumps({name: value for name, value in fields.items() if name not in free})
        by_shape.setdefault(shape, []).append(member)
    return list(by_shape.values())


class Program:
    """Members of one shape on one corpus as one program; each trains as it would alone, up to rounding.

    Members of fewer co-attention layers than the deepest carry the others along, unused and unchanged.

    Args:
        system: of any of them; they share its inputs and data.
        experiments: theirs, different in the seed and in `Experiment.arguments` only.
    """

    def __init__(self, system: System, experiments: Sequence[Experiment]):
        self._experiments = experiments
        self.members = [dataclasses.replace(system, experiment=experiment) for experiment in experiments]
        self.system = self.members[0].covering(experiments)
        self._shapes = [member.shape_of_state() for member in self.members]

    def initial_state(self) -> TrainState:
        # A model's first layers start the same however many follow.
        return stack_states([member.covering(self._experiments).initial_state() for member in self.members])

    def state_of(self, state: TrainState, index: int) -> TrainState:
        """The state of one member, as it would be alone."""
        steps = jnp.broadcast_to(state.step, state.first_nan.shape)
        stacked = dataclasses.replace(state, step=steps)
        return _leaves_of(jax.tree.map(lambda leaf: leaf[index], stacked), self._shapes[index])

    def params_of(self, params: Any, index: int) -> Any:
        """The parameters of one member, as they would be alone."""
        return _leaves_of(jax.tree.map(lambda leaf: leaf[index], params), self._shapes[index].params)

    def plan(self, epoch: int) -> Plan:
        return stack_plans([member.plan(epoch) for member in self.members])

    def arguments(self, purpose: int) -> dict[str, Any]:
        """What the step takes for each member: its key of this purpose, and the values that differ."""
        fields = [flat(experiment_dict(member.experiment)) for member in self.members]
        values = {name: [of[name] for of in fields] for name in self.system.experiment.arguments}
        differing = {name: jnp.array(given) for name, given in values.items() if len(set(given)) > 1}
        return {"key": jnp.stack([member.key(purpose) for member in self.members]), "values": differing}

    def step(self) -> Callable[[TrainState, Data, dict[str, Any]], tuple[TrainState, dict[str, jax.Array]]]:
        def one(state: TrainState, data: Data, arguments: dict[str, Any]):
            return self.system.step(arguments["values"])(state, data, arguments["key"])

        return over_members(one)

    def fingerprint(self) -> dict[str, str]:
        """As a system's, of all members."""
        prints = [member.fingerprint() for member in self.members]
        models = ", ".join(of["model"] for of in prints)
        return {"model": f"[{models}]", "corpus": prints[0]["corpus"]}


def trained_members(
    system: System, experiments: Sequence[Experiment], report: Callable[[str], None]
) -> list[tuple[System, Any]]:
    """Train members as one program to their last epoch, and keep nothing: each with its parameters.

    Args:
        system: of any of them, on their corpus.
        report: told four times how far it is.
    """
    program = Program(system, experiments)
    block: Any = make_block(program.step())
    state, arguments = program.initial_state(), program.arguments(DROPOUT)
    epochs = system.experiment.epochs
    for epoch in range(epochs):
        data = dataclasses.replace(system.data, plan=program.plan(epoch))
        state = block(state, data, arguments, np.int32(system.steps_per_epoch))
        if (epoch + 1) % max(1, epochs // 4) == 0:
            jax.block_until_ready(state.params)
            report(f"epoch {epoch + 1} of {epochs}")
    return [
        (member, program.params_of(member.trained(state), index))
        for index, member in enumerate(program.members)
    ]


def over_members(step: Callable[[TrainState, Data, Any], tuple[TrainState, dict[str, Array]]]) -> Callable:
    """`state, metrics = step(state, data, members)` for all members at once.

    Args:
        step: of one member; its third argument is a pytree that is the member's own, such as its key.
    """
    return jax.vmap(step, in_axes=(STATE_AXES, DATA_AXES, 0), out_axes=(STATE_AXES, 0))


def stack_states(states: Sequence[TrainState]) -> TrainState:
    """The states of members that have done the same number of steps, as one."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return dataclasses.replace(stacked, step=states[0].step)


def stack_plans(plans: Sequence[Plan]) -> Plan:
    """Plans of the same shape as one, members first."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *plans)


class _Config(Schema):
    preset: str
    kind: str = ""
    experiment: dict[str, Any]
    over: dict[str, list[Any]]
    seeds: int


class SweepFolder:
    """Paths of one sweep.

    tuning.json     the values that were chosen on held-out items, if some were
    sweep.json      preset, kind, base experiment, fields and values, seeds
    members/NAME/   a run folder each
    checkpoints/I/  of group I while it trains, all of its members in one state
    results.json    mean and standard deviation over seeds, by setting
    report.html, plots/
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "sweep.json"
        self.results = path / "results.json"
        self.report = path / "report.html"

    def checkpoints(self, group: int) -> Path:
        return self.path / "checkpoints" / str(group)

    def member(self, member: Member) -> RunFolder:
        return RunFolder(self.path / "members" / member.name)

    def finished(self, members: Sequence[Member]) -> bool:
        """Whether each of the members has results, or none because its loss was not a number."""
        folders = [self.member(member) for member in members]
        return all(folder.results.exists() or folder.diverged.exists() for folder in folders)

    def ended(self, members: Sequence[Member]) -> bool:
        """Whether nothing is left to do: all members are finished, and what any has measured is reported."""
        measured = any(self.member(member).results.exists() for member in members)
        return self.finished(members) and (self.report.exists() or not measured)

    def lacks_reports(self, group: int, members: Sequence[Member]) -> bool:
        """Whether a group was stopped between results and reports, and has the state to make these."""
        folders = [self.member(member) for member in members]
        lacking = any(folder.results.exists() and not folder.report.exists() for folder in folders)
        return lacking and self.checkpoints(group).exists()

    def check(self, config: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Refuse what would write over another sweep; changes nothing.

        Raises:
            InputError: if the folder has a sweep and neither flag is given, holds something else, or is to be
                resumed with other options than it was started with.
        """
        check_writable(self.path, "sweep", self.config.name, "--run-dir", overwrite=overwrite, resume=resume)
        if resume and (difference := self.difference(config)):
            field, stored, value = difference
            raise InputError(
                f"{self.config}: the sweep has {field} = {stored} but the command says "
                f"{value}; resume with the same value, or start another --run-dir"
            )

    def start(
        self, config: Mapping[str, Any], members: Sequence[Member], choice: Mapping[str, Any] | None = None
    ) -> None:
        """Make the folder, emptied of a sweep that may be overwritten, and each member's."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.config.exists():
            clear(self.path, self.config.name)
        write_json(self.config, config)
        if choice is not None:
            write_json(self.path / runs.TUNING, choice)
        self.start_members(config, members)

    def start_members(self, config: Mapping[str, Any], members: Sequence[Member]) -> None:
        """Make the folders of members that are not there: all, or those that a stop has prevented."""
        for member in members:
            if not (folder := self.member(member)).config.exists():
                folder.start(config["preset"], member.experiment, overwrite=False)

    def read_config(self) -> dict[str, Any]:
        """What sweep.json says. Raises InputError if it is not one of ours."""
        return read_json(self.config, _Config, "it is no configuration of a sweep; name another folder")

    def difference(self, config: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
        """Name, stored value and `config`'s value of the first field that differs; None if none does.

        Where the data lie is no difference. A field that is younger than the sweep has its default there.

        Raises:
            InputError: if sweep.json is not one of ours.
        """
        # Sweeps that were begun before kinds were written down are of the kind of their preset.
        stored = {"kind": config["kind"], **self.read_config()}
        try:
            experiment = experiment_from(stored["kind"], stored["experiment"])
        except (ValidationError, KeyError) as error:
            raise InputError(
                f"{self.config}: not a sweep's configuration of this version: {error}"
            ) from error
        stored["kind"] = experiment.kind
        for field in ("preset", "kind"):
            if stored[field] != config[field]:
                return field, stored[field], config[field]
        before = flat({**stored, "experiment": experiment_dict(experiment)})
        for field, value in flat(dict(config)).items():
            if before.get(field) != value and field != "experiment.data.root":
                return field, before.get(field), value
        return None


def sweep_config(
    preset: str, base: Experiment, over: Mapping[str, Sequence[Any]], seeds: int
) -> dict[str, Any]:
    """What sweep.json holds."""
    return {
        "preset": preset,
        "kind": base.kind,
        "experiment": experiment_dict(base),
        "over": {field: list(values) for field, values in over.items()},
        "seeds": seeds,
    }


def run_sweep(
    preset: str,
    experiment: Experiment,
    *,
    over: Mapping[str, Sequence[Any]],
    seeds: int,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
    member_reports: bool = True,
    choice: Mapping[str, Any] | None = None,
) -> SweepFolder:
    """Train, measure and report every member; returns the finished sweep.

    Args:
        preset: of the experiment, for titles and the command line in the report.
        experiment: what all members start from; its seed is the first.
        over: fields by dotted name, and their values; all combinations are trained.
        seeds: how many seeds each combination is trained with.
        folder: where the sweep is kept; `resume` goes on with the one there, `overwrite` replaces it.
        member_reports: whether each member has a report of its own.
        choice: how the experiment's values were chosen, see `tuning.choose`; it is kept with the sweep.

    Raises:
        InputError: for what the user can mend, before anything is computed or written.
        Interrupted: after saving, on SIGTERM or SIGINT.
        Diverged: when no member of a group has a loss that is a number.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; it must be at least 1")
    members = expand(experiment, over, seeds)
    sweep = SweepFolder(folder)
    config = sweep_config(preset, experiment, over, seeds)
    with claimed(folder, "--run-dir"):
        sweep.check(config, resume=resume, overwrite=overwrite)
        grouped = groups(members)
        # Every group's inputs are made before anything is written, the first group's last. The others are
        # made again when their turn comes: all at once they might not fit.
        for group in reversed(grouped):
            system = _build(group)
        remove_partial(folder)
        if resume:
            sweep.start_members(config, members)
        else:
            sweep.start(config, members, choice)
        say(f"{len(members)} models, {len(grouped)} {'programs' if len(grouped) > 1 else 'program'}")
        with saying(lambda: f"what is finished is kept in {folder}"):
            for number, group in enumerate(grouped):
                if not sweep.finished(group) or (member_reports and sweep.lacks_reports(number, group)):
                    system = system if number == 0 else _build(group)
                    _run_group(preset, sweep, number, group, system, reports=member_reports)
            _report(preset, experiment, sweep, config, members, member_reports=member_reports)
    return sweep


def summarise(members: Sequence[Member], results: Sequence[Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """By setting: the members, and mean and standard deviation over their seeds of each protocol's MAP, or
    without labels of each measure of exact pairs.

    Args:
        results: each member's results.json; None where its loss was not a number.
    """
    settings: dict[str, list[int]] = {}
    for index, member in enumerate(members):
        settings.setdefault(json.dumps(member.setting), []).append(index)
    rows = []
    for indices in settings.values():
        measured = [result for i in indices if (result := results[i]) is not None]
        rows.append(
            {
                "setting": members[indices[0]].setting,
                "members": [members[i].name for i in indices],
                "diverged": [members[i].name for i in indices if results[i] is None],
                **({"chosen": chosen} if (chosen := _chosen(members, results, indices)) else {}),
                "protocols": _moments([headline_scores(result) for result in measured]),
            }
        )
    return rows


def _chosen(
    members: Sequence[Member], results: Sequence[Mapping[str, Any] | None], indices: Sequence[int]
) -> dict[str, int]:
    """The epoch that each of these members chose, by name; without those that chose none."""
    found = ((members[i].name, (results[i] or {}).get("chosen")) for i in indices)
    return {name: chosen["epoch"] for name, chosen in found if chosen}


def shared_yardsticks(yardsticks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The yardsticks that are the same for all members: CCA's signs are not, where the bits are swept.

    >>> shared_yardsticks([{"cca-sign": 0.25, "sm": 0.5}, {"cca-sign": 0.375, "sm": 0.5}])
    {'sm': 0.5}
    """
    first = yardsticks[0] if yardsticks else {}
    return {name: value for name, value in first.items() if all(value == of.get(name) for of in yardsticks)}


def command_line(
    preset: str,
    experiment: Experiment,
    over: Mapping[str, Sequence[Any]],
    seeds: int,
    *,
    member_reports: bool = True,
) -> str:
    """The line that makes a sweep."""
    words = []
    for field, values in over.items():
        words += ["--over", f"{field}={','.join(map(json.dumps, values))}"]
    words += ["--seeds", str(seeds), *([] if member_reports else ["--no-member-reports"])]
    return f"{runs.command_line(preset, experiment, 'gcnxmodal.sweep')} {shlex.join(words)}"


def _build(group: Sequence[Member]) -> System:
    experiment = group[0].experiment
    return build(experiment, load_corpus(experiment.data, experiment.text))


def _run_group(
    preset: str, sweep: SweepFolder, number: int, group: Sequence[Member], system: System, *, reports: bool
) -> None:
    """Train the members of a group as one program, and measure each."""
    folders = [sweep.member(member) for member in group]
    program = Program(system, [member.experiment for member in group])
    say(f"\n{len(group)} x {describe(program.system)}")
    checkpoints = Checkpoints(sweep.checkpoints(number), program.fingerprint(), report=say)
    state = program.initial_state()
    if restored := checkpoints.restore(state, set_aside=True):
        state, step = restored
        say(f"resuming at step {step:,}")
    for folder, broken in zip(folders, np.asarray(state.first_nan), strict=True):
        steps = int(state.step) if broken < 0 else int(broken)
        folder.rewind(steps // system.steps_per_epoch, system.experiment, say)
    try:
        state, compile_seconds = _train(program, state, checkpoints, folders)
    except Diverged as stop:
        for folder in folders:
            write_json(folder.diverged, {"step": stop.step})
        raise
    checkpoints.close()
    baselines = measure_baselines(system.inputs.corpus, system.applied_model.bits)
    for index, (member, folder) in enumerate(zip(program.members, folders, strict=True)):
        alone = program.state_of(state, index)
        if (broken := int(alone.first_nan)) >= 0:
            say(f"{folder.path.name}: the loss is not a number from step {broken:,} on; left out")
            write_json(folder.diverged, {"step": broken})
            continue
        say(f"measuring {folder.path.name}")
        shutil.rmtree(folder.checkpoints, ignore_errors=True)  # what a killed sweep may have left
        with contextlib.closing(Checkpoints(folder.checkpoints, member.fingerprint(), report=say)) as its_own:
            its_own.save(int(alone.step), alone)
        params, step = member.chosen(alone)
        finish(
            member, params, folder, preset, step, int(alone.step), compile_seconds, baselines, report=reports
        )
    shutil.rmtree(sweep.checkpoints(number))  # each member has its own now


def _train(
    program: Program, state: TrainState, checkpoints: Checkpoints, folders: Sequence[RunFolder]
) -> tuple[TrainState, float]:
    """Train to the last epoch, a line of metrics a member and epoch: the state, and seconds of compiling."""
    system, experiment = program.system, program.system.experiment
    display = TrainingDisplay(system, int(state.step), len(folders))
    histories = [folder.history() for folder in folders]

    def ended(index: int) -> bool:
        return stopping.is_used_up(histories[index], experiment.patience)

    def on_epoch(
        epoch: int, state: TrainState, metrics: dict[str, Any], seconds: float
    ) -> tuple[TrainState, bool]:
        lines = []
        better, going_on = np.zeros(len(folders), bool), np.zeros(len(folders), bool)
        for index, (member, folder) in enumerate(zip(program.members, folders, strict=True)):
            values = {name: of_members[index] for name, of_members in metrics.items()}
            if not np.isfinite(values["loss"]) or ended(index):
                continue
            line = epoch_line(system, epoch, state, values, seconds, len(folders))
            if experiment.evaluate_every and (epoch + 1) % experiment.evaluate_every == 0:
                line |= measured_on_the_way(member, program.params_of(member.trained(state), index))
            folder.append_metrics(line)
            histories[index].append(line)
            lines.append(line)
            better[index], going_on[index] = stopping.is_best(histories[index]), not ended(index)
        if lines:
            display.epoch(_mean_line(lines))
        if experiment.stop == "last":
            return state, False
        return keep_if_better(state, program.system.trained(state), better), not going_on.any()

    with contextlib.closing(display), Interrupt() as interrupt:
        return train(
            state,
            system.data,
            program.step(),
            program.plan,
            program.arguments(DROPOUT),
            epochs=experiment.epochs if not all(map(ended, range(len(folders)))) else 0,
            steps_per_epoch=system.steps_per_epoch,
            checkpoints=checkpoints,
            checkpoint_every=experiment.checkpoint_every,
            on_progress=display.progress,
            on_epoch=on_epoch,
            interrupt=interrupt,
        )


def _report(
    preset: str,
    experiment: Experiment,
    sweep: SweepFolder,
    config: Mapping[str, Any],
    members: Sequence[Member],
    *,
    member_reports: bool,
) -> None:
    """Write results.json and report.html of a finished sweep, and print its table."""
    folders = {member.name: sweep.member(member) for member in members}
    results = [folder.read_results() if folder.results.exists() else None for folder in folders.values()]
    summary = summarise(members, results)
    yardsticks = shared_yardsticks([result["yardsticks"] for result in results if result is not None])
    report = {"summary": summary, "yardsticks": yardsticks, **config, **environment()}
    write_json(sweep.results, report)
    page = write_sweep_report(
        sweep.path,
        preset,
        report,
        {name: folder.history() for name, folder in folders.items()},
        command_line(preset, experiment, config["over"], config["seeds"], member_reports=member_reports),
        time.strftime("%Y-%m-%d"),
        linked={name for name, folder in folders.items() if folder.report.exists()},
    )
    say("\n" + sweep_table(preset, summary, yardsticks) + f"\n\nreport: {page}")


def _mean_line(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One line for all members: the mean of their numbers."""
    mean = {**lines[0], "loss": float(np.mean([line["loss"] for line in lines]))}
    for name in ("standard", PAIR_MEASURE, stopping.HELD_OUT):
        if name in mean:
            mean[name] = {way: float(np.mean([line[name][way] for line in lines])) for way in mean[name]}
    return mean


def _moments(protocols: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    if not protocols:
        return {}
    return {
        protocol: {
            direction: {
                "mean": float(np.mean(values := [of[protocol][direction] for of in protocols])),
                "std": float(np.std(values)),
            }
            for direction in directions
        }
        for protocol in (*PROTOCOLS, *HASHING_PROTOCOLS, *PAIR_MEASURES)
        if (directions := protocols[0].get(protocol))
    }


def _leaves_of(tree: Any, like: Any) -> Any:
    """The leaves of a tree that another one, of fewer leaves, has by name."""
    leaves = named_leaves(tree)
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in named_leaves(like)])


def _word(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value).replace("/", "_")
