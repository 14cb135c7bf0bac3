"""Train, evaluate and report: `gcnxmodal train [PRESET] [--field.path VALUE ...]`.

`python -m gcnxmodal.train` is the same; in a job of several processes each runs this: docs/sharding.md. In
Python the module is called as a function:

>>> import gcnxmodal
>>> run = gcnxmodal.train("gin-emoji", epochs=3)  # doctest: +SKIP
>>> run.read_results()["protocols"]["standard"]  # doctest: +SKIP
{'text_query': 0.49, 'image_query': 0.5, 'average': 0.49}
"""

import contextlib
import dataclasses
import hashlib
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.summary import scalar

from gcnxmodal import __version__, stopping, sweep
from gcnxmodal.config import Experiment, changed, experiment_dict, flat, validate
from gcnxmodal.console import TrainingDisplay, describe, presets_table, results_table, say, status_of
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.cache import keep_compiled_programs
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError, saying
from gcnxmodal.evaluation import epoch_line, finish, measured_on_the_way
from gcnxmodal.runs import RunFolder, claimed, remove_partial, wants_choice, with_choice
from gcnxmodal.systems import PRESETS, System, build, mesh_for
from gcnxmodal.systems.base import DROPOUT
from gcnxmodal.training import cluster
from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.loop import Diverged, Interrupt, Interrupted, train
from gcnxmodal.training.sharding import to_one_device
from gcnxmodal.training.state import TrainState, keep_if_better
from gcnxmodal.tuning import choose

DEFAULT_PRESET = "joint-emoji"

FLUSH_SECONDS = 10
"""How late TensorBoard may show an epoch."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """An experiment, and where and how to run it."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    run_dir: Path | None = None
    """Folder of the run; by default runs/PRESET-seedS."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in the folder, from its newest checkpoint."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run in the folder."""
    seeds: int = 1
    """Train this many seeds, from --seed on, as one program; mean and spread. See gcnxmodal.sweep."""
    model_parallel: int | None = None
    """Devices that share the large layers; the rest share the batch. By default as many as fit, up to 16."""
    processes: int | None = None
    """Processes that this job must have: start as many, with the same command. By default 1."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where the platform does not tell (TPU VMs, GKE and Slurm do)."""
    process_id: int | None = None
    """Which process this is, from 0, where the platform does not tell."""


def train_preset(
    preset: str | Experiment,
    *,
    run_dir: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **values: Any,
) -> RunFolder:
    """Train a preset or an experiment, evaluate it and write its report.

    Args:
        preset: a name of `gcnxmodal.presets`, or a configuration of your own.
        run_dir: folder of the run; by default runs/PRESET-seedS.
        resume: go on with the run in the folder.
        overwrite: replace the run in the folder.
        values: in place of the preset's, by the field's name: epochs=3, margin=0.5, root="my-data"; where two
            sections have the name, with the section and two underscores: data__labels=24.

    Returns:
        The finished run; `read_results()` gives its measurements.

    Raises:
        InputError: for what the caller can mend, before anything is computed or written.
        Interrupted: after saving, on SIGTERM or SIGINT.
        Diverged: when the loss is not a number.

    >>> run = train_preset("gin-emoji", epochs=3, seed=1)  # doctest: +SKIP
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise InputError(f"there is no preset '{preset}'; there are {', '.join(PRESETS)}")
        name, experiment = preset, PRESETS[preset][1]
    else:
        kinds = (name for name, (_, known) in PRESETS.items() if known.kind == preset.kind)
        name, experiment = next(kinds), preset
    experiment = changed(experiment, {field.replace("__", "."): value for field, value in values.items()})
    folder = None if run_dir is None else Path(run_dir)
    return run(name, Arguments(experiment, run_dir=folder, resume=resume, overwrite=overwrite))


class _Callable(types.ModuleType):
    """The module is also the function: `gcnxmodal.train(...)` is `train_preset(...)`."""

    def __call__(self, *arguments: Any, **options: Any) -> RunFolder:
        return train_preset(*arguments, **options)


sys.modules[__name__].__class__ = _Callable


def parse(arguments: list[str]) -> tuple[str, Arguments]:
    """Preset and arguments of a command line; without a preset, the default one."""
    of_all_presets = arguments and arguments[0].startswith(("-h", "--help", "--tyro-"))
    if not arguments or (arguments[0].startswith("-") and not of_all_presets):
        arguments = [DEFAULT_PRESET, *arguments]
    parsed = tyro.extras.overridable_config_cli(
        {name: (summary, Arguments(experiment)) for name, (summary, experiment) in PRESETS.items()},
        prog="python -m gcnxmodal.train",
        description=(
            "Train a cross-modal retriever, evaluate it under every protocol and write a report. Without a "
            f"PRESET: {DEFAULT_PRESET}. `PRESET --help` lists the values that can be changed; `--list` "
            "prints the presets as a table."
        ),
        args=arguments,
    )
    return arguments[0], parsed


def folder_of(preset: str, arguments: Arguments) -> RunFolder:
    """The folder of the run."""
    return RunFolder(arguments.run_dir or Path("runs") / f"{preset}-seed{arguments.experiment.seed}")


def run(preset: str, arguments: Arguments) -> RunFolder:
    """Do what the command line says; returns the finished run.

    Raises:
        InputError: for what the user can mend, before anything is computed or written; in every process of
            the job, if in one.
        Interrupted: after saving, on SIGTERM or SIGINT.
        Diverged: when the loss is not a number.
    """
    cluster.join(arguments.processes, arguments.coordinator, arguments.process_id)
    folder = folder_of(preset, arguments)
    with contextlib.ExitStack() as claim:
        claiming = claimed(folder.path, "--run-dir")
        cluster.together(lambda: cluster.first_only(claim.enter_context, claiming))
        system = _begin(preset, arguments, folder)
        with saying(lambda: _saved(folder)):
            _go_on(preset, arguments, folder, system)
    return folder


def _saved(folder: RunFolder) -> str:
    steps = folder.checkpoint_steps()
    return f"saved at step {steps[-1]:,}" if steps else "before the first checkpoint"


def _begin(preset: str, arguments: Arguments, folder: RunFolder) -> System:
    """Check everything, and unless a run is resumed choose what is to be chosen and write config.json."""
    experiment, resume, overwrite = arguments.experiment, arguments.resume, arguments.overwrite

    def read() -> Corpus:
        return load_corpus(experiment.data, experiment.text)

    def prepare() -> System:
        validate(experiment)
        folder.check(experiment, resume=resume, overwrite=overwrite)
        mesh = mesh_for(experiment, arguments.model_parallel)
        as_trained = with_choice(experiment, folder.path) if resume else experiment
        return build(as_trained, read(), mesh)

    system = cluster.together(prepare)
    options = repr((preset, experiment_dict(experiment), resume, overwrite, system.mesh.shape))
    cluster.check_same({"options": hashlib.sha256(options.encode()).hexdigest(), **system.identity()})
    tell(describe(system))
    cluster.together(lambda: cluster.first_only(remove_partial, folder.path))
    if not resume:

        def start() -> None:
            begun = PRESETS[preset][1]
            choice = choose(begun, experiment, read()) if wants_choice(experiment) else None
            folder.start(preset, experiment, overwrite=overwrite, choice=choice)

        cluster.together(lambda: cluster.first_only(start))
        cluster.together(folder.wait_until_seen)
        if wants_choice(experiment):
            system = build(with_choice(experiment, folder.path), read(), system.mesh)
    return system


def _go_on(preset: str, arguments: Arguments, folder: RunFolder, system: System) -> None:
    """Train from where the run stands to its end, measure it and write its report."""
    experiment, resume = system.experiment, arguments.resume
    checkpoints = Checkpoints(folder.checkpoints, system.fingerprint(), report=tell)
    state = system.initial_state()
    if resume and (restored := cluster.together(lambda: checkpoints.restore(state, set_aside=True))):
        state, step = restored
        tell(f"resuming at step {step:,} (epoch {step // system.steps_per_epoch + 1})")
    epochs = int(state.step) // system.steps_per_epoch
    cluster.together(lambda: cluster.first_only(folder.rewind, epochs, experiment, say))
    record = cluster.first_only(_Record, system, folder, int(state.step))
    history = cluster.first_only(folder.history) or []  # process 0 alone has the measurements, and decides
    (used_up,) = cluster.as_the_first([stopping.is_used_up(history, experiment.patience)])

    def on_epoch(
        epoch: int, state: TrainState, metrics: dict[str, float], seconds: float
    ) -> tuple[TrainState, bool]:
        line = epoch_line(system, epoch, state, metrics, seconds)
        if experiment.evaluate_every and (epoch + 1) % experiment.evaluate_every == 0:
            params = to_one_device(system.trained(state))
            line |= cluster.together(lambda: cluster.first_only(measured_on_the_way, system, params)) or {}
        cluster.together(lambda: cluster.first_only(record.epoch, line) if record else None)
        if experiment.stop == "last":
            return state, False
        history.append(line)
        better, ended = cluster.as_the_first(
            [stopping.is_best(history), stopping.is_used_up(history, experiment.patience)]
        )
        return keep_if_better(state, system.trained(state), bool(better)), bool(ended)

    with contextlib.closing(record) if record else contextlib.nullcontext(), Interrupt() as interrupt:
        state, compile_seconds = train(
            state,
            system.data,
            system.step(),
            system.plan,
            system.key(DROPOUT),
            epochs=0 if used_up else experiment.epochs,
            steps_per_epoch=system.steps_per_epoch,
            checkpoints=checkpoints,
            checkpoint_every=experiment.checkpoint_every,
            on_progress=record.display.progress if record else lambda _: None,
            on_epoch=on_epoch,
            interrupt=interrupt,
        )
    checkpoints.close()
    if experiment.stop == "best" and int(state.step) < experiment.epochs * system.steps_per_epoch:
        tell(stopping.why_it_ended(history, experiment.patience))
    params, step = system.chosen(state)
    params = to_one_device(params)
    system = system.without_training_data()
    results = cluster.together(
        lambda: cluster.first_only(
            finish, system, params, folder, preset, step, int(state.step), compile_seconds
        )
    )
    if results is not None:
        tell("\n" + results_table(preset, results) + f"\n\nreport: {folder.report}")


class _Record:
    """What a run shows and writes while it trains."""

    def __init__(self, system: System, folder: RunFolder, step: int):
        self.display = TrainingDisplay(system, step)
        self._folder = folder
        self._board = _Board(folder.tensorboard)

    def epoch(self, line: dict[str, Any]) -> None:
        self._folder.append_metrics(line)
        self.display.epoch(line)
        self._board.epoch(line)

    def close(self) -> None:
        self.display.close()
        self._board.close()


class _Board:
    """The curves for TensorBoard. Written as they come: where there is no room they end, and the run goes on.

    tensorboardX's own `SummaryWriter` writes in a thread, which dies of a full disk, and then waits for it.
    """

    def __init__(self, folder: Path):
        self._folder, self._full = folder, False
        self._unless_full(self._open)

    def epoch(self, line: dict[str, Any]) -> None:
        self._unless_full(lambda: self._write(line))

    def close(self) -> None:
        self._unless_full(lambda: self._events.close())

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(self._folder / "events"))
        self._flushed = time.monotonic()

    def _write(self, line: dict[str, Any]) -> None:
        for name, value in flat(line).items():
            if name not in ("epoch", "step", "seconds"):
                summary = scalar(name.replace(".", "/"), value)
                self._events.write_event(Event(wall_time=time.time(), step=line["step"], summary=summary))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._events.flush()
            self._flushed = time.monotonic()

    def _unless_full(self, write: Callable[[], Any]) -> None:
        try:
            if not self._full:
                write()
        except OSError as error:
            self._full = True
            say(f"{self._folder}: cannot be written ({error.strerror}); the curves for TensorBoard end here")


def tell(text: str) -> None:
    """Say it, in the process that speaks for the job."""
    cluster.first_only(say, text)


def _many_seeds(preset: str, arguments: Arguments) -> sweep.Arguments:
    """The sweep over seeds only."""
    if any(value is not None for value in (arguments.processes, arguments.model_parallel)):
        raise InputError(
            "--seeds trains on one device; leave out --processes and --model-parallel, or --seeds"
        )
    first = arguments.experiment.seed
    folder = arguments.run_dir or Path("runs") / f"{preset}-seeds{first}-{first + arguments.seeds - 1}"
    kept = {name: getattr(arguments, name) for name in ("experiment", "seeds", "resume", "overwrite")}
    return sweep.Arguments(**kept, run_dir=folder)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--list"]:
        print(presets_table(PRESETS))
        return 0
    if arguments == ["--version"]:
        print(f"gcnxmodal {__version__}")
        return 0
    preset, parsed = parse(arguments)
    keep_compiled_programs()

    def job() -> None:
        try:
            run(preset, parsed) if parsed.seeds == 1 else sweep.run(preset, _many_seeds(preset, parsed))
        except (InputError, Interrupted, Diverged):
            raise
        except (KeyboardInterrupt, Exception) as error:  # whatever it is, the other processes must not wait
            if cluster.is_several():
                cluster.leave(error, _how_to_go_on(folder_of(preset, parsed)))
            raise

    try:
        return status_of(job, "gcnxmodal.train", arguments, resume=True)
    except Diverged as stop:
        print(
            f"error: the loss is not a number at step {stop.step:,}. The checkpoints up to the epoch before "
            "are good. Try a smaller --train.learning-rate, --data.image-scale standard, or "
            "--text.weighting log1p.",
            file=sys.stderr,
        )
        return 1


def _how_to_go_on(folder: RunFolder) -> str:
    if not folder.config.exists():
        return "Nothing was saved; start all processes again."
    steps = folder.checkpoint_steps()
    last = (
        f"The last good checkpoint is that of step {steps[-1]:,}" if steps else "There is no checkpoint yet"
    )
    return f"{last}, in {folder.checkpoints}; start all processes again, with --resume."


if __name__ == "__main__":
    sys.exit(main())
