"""A run is a folder: what lies in it, when a folder may be written, and a finished run taken up again."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
from pydantic import ValidationError

from gcnxmodal.config import Experiment, changed, experiment_dict, flat
from gcnxmodal.data.cache import PARTIAL, partial_name, write_whole
from gcnxmodal.data.files import Schema, parse_json, read_bytes, read_json
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError, writing
from gcnxmodal.stopping import best_line, is_used_up
from gcnxmodal.systems import PRESETS, System, build, experiment_from
from gcnxmodal.training.checkpoint import Checkpoints

LOCK = ".lock"
"""The file by which a process claims a folder; there while it works in it."""


@contextlib.contextmanager
def claimed(path: Path, option: str) -> Iterator[None]:
    """The folder `path`, made if it is not there, for this process alone until the block ends.

    The system lifts the claim when the process ends, however that comes. Of a folder that was made for it and
    is still empty, nothing stays. Where a file system has no locks, nobody is kept out.

    Args:
        option: how the command line names the folder, such as "--run-dir".

    Raises:
        InputError: if another process has claimed it, or it cannot be written.
    """
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        lock = _lock(path)
    except BlockingIOError as error:
        raise InputError(
            f"{path}: another process is writing to this folder; wait until it has ended, or give another "
            f"{option}"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: {option} cannot be written ({error.strerror}); name another folder"
        ) from error
    try:
        yield
    finally:
        (path / LOCK).unlink(missing_ok=True)
        os.close(lock)
        with contextlib.suppress(OSError):  # the first that is not empty
            for folder in made:
                folder.rmdir()


def _lock(path: Path) -> int:
    """The open file of a claim. Raises BlockingIOError if another process has it."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # a claim that ended has just removed the folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(path / LOCK)):
                return lock
        except FileNotFoundError:  # or the file that we have just locked
            pass
        except BlockingIOError:
            os.close(lock)
            raise
        except OSError:
            return lock
        os.close(lock)


def clear(path: Path, mark: str) -> None:
    """Remove what is in a claimed folder, but for the claim; killed on the way, it can be done again.

    Args:
        mark: the file by which it is known what is in the folder: it goes last, and checkpoints first.
    """
    aside = partial_name(path / "overwritten")
    aside.mkdir()
    for content in sorted(path.iterdir(), key=lambda of: (of.name == mark, of.name != "checkpoints")):
        if content.name not in (LOCK, aside.name):
            content.rename(aside / content.name)
    shutil.rmtree(aside)


def remove_partial(path: Path) -> None:
    """Remove from a claimed folder what killed processes had not written to its end."""
    for left in [of for of in path.rglob(".*") if PARTIAL.fullmatch(of.name)]:
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def check_writable(
    path: Path, what: str, mark: str, option: str, *, overwrite: bool, resume: bool | None = None
) -> bool:
    """Refuse to write over what is in a folder already; changes nothing.

    Args:
        what: what is kept there, such as "run".
        mark: the file by which it is known.
        option: how the command line names the folder, such as "--run-dir".
        resume: whether it is to be gone on with; None where that is not possible.

    Returns:
        Whether there is one.

    Raises:
        InputError: if the folder has one and no flag allows for it, is a file, or holds something else.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other; give one")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: {option} is a file; name a folder")
    there = (path / mark).exists()
    names = {content.name for content in path.iterdir()} if path.exists() else set()
    if not there and any(name != LOCK and not PARTIAL.fullmatch(name) for name in names):
        raise InputError(f"{path}: {option} has files in it but no {what}; name an empty or a new folder")
    if resume and not there:
        raise InputError(f"{path}: no {mark}, so no {what} to resume; leave out --resume")
    if there and not (resume or overwrite):
        resumed = "" if resume is None else "--resume to go on with it, "
        article = "an" if what[0] in "aeiou" else "a"
        raise InputError(
            f"{path}: this folder already has {article} {what}; add {resumed}--overwrite to replace it, or "
            f"{option} for another folder"
        )
    return there


class _Versions(Schema):
    jax: str


class Made(Schema):
    """What says where a number is from, in every file with results."""

    commit: str
    device: str
    date: str
    versions: _Versions


class Scores(Schema):
    """A measure by the direction of the queries."""

    text_query: float
    image_query: float
    average: float


class _CurveByN(Schema):
    n: list[float]
    precision: list[float | None]


class _CurveByRecall(Schema):
    recall: list[float | None]
    precision: list[float | None]


class Curves(Schema):
    """Of one system, by direction: see `evaluation.kept_curves` and `kept_scope`."""

    lookup: Mapping[str, _CurveByRecall] = {}
    precision_at: Mapping[str, _CurveByN] = {}
    scope: Mapping[str, _CurveByN] = {}


class CurvesOfRun(pydantic.RootModel[dict[str, Curves]]):
    """Those of the model and of each baseline."""


class _Provenance(Schema):
    hash: dict[str, str] | None = None


class _Results(Made):
    protocols: dict[str, Scores]
    epochs: int
    chance: Mapping[str, Scores] = {}
    yardsticks: Mapping[str, dict[str, Scores]] = {}
    expected: Mapping[str, dict[str, Scores]] = {}
    provenance: _Provenance = _Provenance()


class _Config(Schema):
    preset: str
    kind: str = "pairs"
    experiment: dict[str, Any]


class _Line(Schema):
    epoch: int
    step: int
    seconds: float
    validation: dict[str, float] | None = None


class _Choice(Schema):
    chosen: dict[str, Any]


TUNING = "tuning.json"
_CHOOSE_AGAIN = "train again with --overwrite"


class RunFolder:
    """Paths and small files of one run.

    config.json     preset, kind and every value of the experiment
    tuning.json     the values that were chosen on held-out items, in place of those (`--tune on`)
    metrics.jsonl   a line an epoch
    results.json    the measurements at the end
    curves.json     precision by scope; of binary codes hash lookup and precision@N: what figures draw
    model/          the trained model and its items, see `retriever.py`
    diverged.json   in place of results, in a sweep: the step from which on the loss was not a number
    report.html, plots/, tensorboard/, checkpoints/
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.results = path / "results.json"
        self.curves = path / "curves.json"
        self.diverged = path / "diverged.json"
        self.report = path / "report.html"
        self.model = path / "model"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"

    def read_results(self) -> dict[str, Any]:
        """What results.json says. Raises InputError if the run is not finished, or the file is damaged."""
        if not self.results.exists():
            raise InputError(f"{self.results}: not there; the run is not finished, resume it")
        return read_json(self.results, _Results, "measure the run again with python -m gcnxmodal.evaluate")

    def check(self, experiment: Experiment, *, resume: bool, overwrite: bool) -> None:
        """Refuse what would write over another run; changes nothing.

        Raises:
            InputError: if the folder has a run and neither flag is given, holds something else than a run,
                or is to be resumed with other options than it was started with.
        """
        check_writable(self.path, "run", "config.json", "--run-dir", overwrite=overwrite, resume=resume)
        if resume:
            self._check_same(experiment)

    def start(
        self,
        preset: str,
        experiment: Experiment,
        *,
        overwrite: bool,
        choice: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the folder (emptied of a run that may be overwritten) and write what it is a run of."""
        self.path.mkdir(parents=True, exist_ok=True)
        if overwrite and self.config.exists():
            clear(self.path, self.config.name)
        config = {"preset": preset, "kind": experiment.kind, "experiment": experiment_dict(experiment)}
        write_json(self.config, config)
        if choice is not None:
            write_json(self.path / TUNING, choice)

    def wait_until_seen(self, seconds: float = 30.0) -> None:
        """Wait for the folder that another process has started: a shared file system may show it late.

        Raises:
            InputError: if it does not come.
        """
        deadline = time.monotonic() + seconds
        while not self.config.exists():
            if time.monotonic() > deadline:
                raise InputError(
                    f"{self.config}: process 0 has written it but it is not there; --run-dir must be on a "
                    "file system that all processes share"
                )
            time.sleep(0.2)

    def checkpoint_steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first: one that is not complete has a longer name."""
        if not self.checkpoints.exists():
            return []
        return sorted(int(path.name) for path in self.checkpoints.iterdir() if path.name.isdigit())

    def applied_step(self) -> int | None:
        """The step of the model that a run ends with, as its newest checkpoint has it; None without one."""
        steps = self.checkpoint_steps()
        if not steps:
            return None
        best = best_line([line for line in self.history() if line["step"] <= steps[-1]])
        return steps[-1] if best is None else best["step"]

    def read_config(self) -> tuple[str, Experiment]:
        """Preset and experiment of the run, with the values that were chosen for it.

        Raises:
            InputError: if config.json is missing or not one of ours.
        """
        preset, experiment = self._commanded()
        return preset, with_choice(experiment, self.path)

    def _commanded(self) -> tuple[str, Experiment]:
        """Preset and experiment as the command line had them."""
        if not self.config.exists():
            raise InputError(f"{self.config}: not there, so {self.path} is not a run folder; name one")
        config = read_json(self.config, _Config, "it is no configuration of a run; name another --run-dir")
        try:
            kind = config.get("kind", "pairs")  # all runs were, before there was a choice
            return config["preset"], experiment_from(kind, config["experiment"])
        except (ValidationError, KeyError) as error:
            raise InputError(f"{self.config}: not a configuration of this version: {error}") from error

    def choice(self) -> dict[str, Any] | None:
        """What `tuning.choose` said of the run; None where nothing was chosen."""
        path = self.path / TUNING
        return read_json(path, _Choice, _CHOOSE_AGAIN) if path.exists() else None

    def history(self, epochs: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, of the first `epochs` epochs; a line cut off by a crash ends them.

        Raises:
            InputError: if the file cannot be read.
        """
        lines: list[dict[str, Any]] = []
        if self.metrics.exists():
            for text in read_bytes(self.metrics).splitlines():
                try:
                    line = parse_json(text, str(self.metrics), "")
                    _Line.model_validate(line)
                except ValueError:
                    break
                lines.append(line)
        return [line for line in lines if epochs is None or line["epoch"] <= epochs]

    def epochs_of(self, trained: int, patience: int) -> int:
        """How many of the epochs that were trained belong to the run: all, but of a member of a sweep whose
        patience was used up before that of others."""
        lines = self.history(trained)
        return lines[-1]["epoch"] if is_used_up(lines, patience) else trained

    def missing_history(self, trained: int, patience: int) -> str:
        """What is wrong with metrics.jsonl, if it has not a line for each of its epochs; else ""."""
        epochs = self.epochs_of(trained, patience)
        missing = sorted(set(range(1, epochs + 1)) - {line["epoch"] for line in self.history(epochs)})
        if not missing:
            return ""
        return (
            f"{self.metrics}: lacks {len(missing):,} of the {epochs:,} epochs that the checkpoint has, the "
            f"first is {missing[0]}; put back a copy of the file"
        )

    def rewind(self, epochs: int, experiment: Experiment, report: Callable[[str], None]) -> None:
        """Drop the metrics of epochs that a resumed run will do again; killed here, it has dropped none.

        Raises:
            InputError: if lines are missing by which the epoch is chosen; other missing ones are reported.
        """
        if missing := self.missing_history(epochs, experiment.patience):
            if experiment.stop == "best":
                raise InputError(f"{missing}, by which --stop best chooses, or start again with --overwrite")
            report(f"{missing}; the report goes without them")
        kept = self.history(epochs)
        write_whole(self.metrics, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one epoch's line."""
        fix = "what was saved before is good: make room, then go on with --resume"
        with writing(self.metrics, fix), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _check_same(self, experiment: Experiment) -> None:
        _, stored = self._commanded()
        now, before = ({"kind": e.kind, **flat(experiment_dict(e))} for e in (experiment, stored))
        free = {"epochs", "evaluate_every", "checkpoint_every", "patience", "data.root"}
        for field in sorted(set(now) - free, key=lambda field: (field != "kind", field)):
            if now.get(field) != before.get(field):
                raise InputError(
                    f"{self.config}: the run has {field} = {before.get(field)} but the command says "
                    f"{now.get(field)}; resume with the same value, or start another --run-dir"
                )


class FinishedRun(NamedTuple):
    """A run and the model of its newest checkpoint (or of the best epoch so far), after so many steps.

    `trained` are the steps of the checkpoint, `step` those of the model.
    """

    folder: RunFolder
    preset: str
    system: System
    params: Any
    step: int
    trained: int


def restore(path: Path, root: Path | None, report: Callable[[str], None]) -> FinishedRun:
    """Restore a run with its corpus onto one device, whatever trained it.

    Args:
        path: the run's folder, as `gcnxmodal.train` made it.
        root: the folder of the data set, if it has moved since.
        report: called with a sentence for the user.

    Raises:
        InputError: if the folder is not a run, or its checkpoints cannot be used.
    """
    folder = RunFolder(path)
    preset, experiment = folder.read_config()
    if root is not None:
        experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, root=root))
    place = experiment.data.root
    if place is not None and not place.is_dir():
        raise InputError(f"{place}: the data set of the run is not there; if it has moved, name it by --root")
    if not folder.checkpoints.exists():
        raise InputError(f"{folder.checkpoints}: not there; the run has no checkpoint to restore")
    system = build(experiment, load_corpus(experiment.data, experiment.text))
    checkpoints = Checkpoints(folder.checkpoints, system.fingerprint(), report=report)
    restored = checkpoints.restore(system.shape_of_state())
    checkpoints.close()
    if restored is None:
        raise InputError(f"{folder.checkpoints}: no complete checkpoint; train again, or resume the run")
    state, trained = restored
    return FinishedRun(folder, preset, system, *system.chosen(state), trained)


def command_line(preset: str, experiment: Experiment, module: str = "gcnxmodal.train") -> str:
    """The line that makes this run: the preset, and each value that differs from it."""
    before = flat(experiment_dict(PRESETS[preset][1]))
    words = [preset]
    for field, value in flat(experiment_dict(experiment)).items():
        if value != before[field]:
            option = f"--{field.replace('_', '-')}"
            if isinstance(value, bool):
                section, dot, name = option[2:].rpartition(".")
                words.append(option if value else f"--{section}{dot}no-{name}")
            else:
                words += [option, *(str(v) for v in (value if isinstance(value, list) else [value]))]
    return f"python -m {module} {shlex.join(words)}"


def wants_choice(experiment: Any) -> bool:
    """Whether options are to be chosen before it trains (`tuning.py`)."""
    return getattr(experiment, "tune", "off") == "on"


def with_choice(experiment: Any, folder: Path) -> Any:
    """The experiment with the values that were chosen for the run or sweep in a folder, if some were.

    Raises:
        InputError: if the file that says so is not there or damaged.
    """
    if not wants_choice(experiment):
        return experiment
    return as_chosen(experiment, read_json(folder / TUNING, _Choice, _CHOOSE_AGAIN))


def as_chosen(experiment: Any, choice: Mapping[str, Any]) -> Any:
    """The experiment with the values of a choice, which need not be chosen again."""
    return changed(experiment, {**choice["chosen"], "tune": "off"})


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write JSON whole or not at all. Raises InputError if it cannot be written."""
    write_whole(path, f"{json.dumps(value, indent=indent, sort_keys=True, allow_nan=False)}\n".encode())
