"""A run is a folder: what lies in it, and when it may be written."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gcnxmodal.config import Experiment, experiment_dict, flat
from gcnxmodal.errors import InputError
from gcnxmodal.systems.gch_config import HashingExperiment
from gcnxmodal.systems.pair_config import PairExperiment
from gcnxmodal.systems.sspe_config import NeighbourExperiment

EXPERIMENTS: dict[str, TypeAdapter[Any]] = {
    kind.kind: TypeAdapter(kind) for kind in (PairExperiment, HashingExperiment, NeighbourExperiment)
}


class RunFolder:
    """Paths and small files of one run.

    config.json     preset and every value of the experiment
    metrics.jsonl   a line an epoch
    results.json    the measurements at the end
    curves.json     precision by scope; of binary codes hash lookup and precision@N: what figures draw
    diverged.json   in its place, in a sweep: the step from which on the loss was not a number
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
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"

    def check(self, experiment: Experiment, *, resume: bool, overwrite: bool) -> None:
        """Refuse what would write over another run; changes nothing.

        Raises:
            InputError: if the folder has a run and neither flag is given, holds something else than a run,
                or is to be resumed with other options than it was started with.
        """
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other; give one")
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: --run-dir is a file; name a folder")
        has_run = self.config.exists()
        if not has_run and self.path.exists() and any(self.path.iterdir()):
            raise InputError(
                f"{self.path}: --run-dir has files in it but no run; name an empty or a new folder"
            )
        if resume:
            if not has_run:
                raise InputError(f"{self.path}: no config.json, so no run to resume; leave out --resume")
            self._check_same(experiment)
        elif has_run and not overwrite:
            raise InputError(
                f"{self.path}: this folder already has a run; add --resume to go on with it, --overwrite to "
                "replace it, or --run-dir for another folder"
            )

    def start(self, preset: str, experiment: Experiment, *, overwrite: bool) -> None:
        """Make the folder (replacing a run that may be overwritten) and write config.json."""
        if overwrite and self.config.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        config = {"preset": preset, "kind": experiment.kind, "experiment": experiment_dict(experiment)}
        write_json(self.config, config)

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

    def read_config(self) -> tuple[str, Experiment]:
        """Preset and experiment of the run.

        Raises:
            InputError: if config.json is missing or not one of ours.
        """
        if not self.config.exists():
            raise InputError(f"{self.config}: not there, so {self.path} is not a run folder; name one")
        try:
            config = json.loads(self.config.read_text(encoding="utf-8"))
            kind = config.get("kind", PairExperiment.kind)  # all runs were, before there was a choice
            return config["preset"], EXPERIMENTS[kind].validate_python(config["experiment"])
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.config}: not a configuration of this version: {error}") from error

    def history(self, epochs: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, of the first `epochs` epochs; a line cut off by a crash ends them."""
        lines: list[dict[str, Any]] = []
        if self.metrics.exists():
            for line in self.metrics.read_text(encoding="utf-8").splitlines()[:epochs]:
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    break
        return lines

    def rewind(self, epochs: int) -> None:
        """Drop the metrics of epochs that a resumed run will do again."""
        kept = self.history(epochs)
        self.metrics.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one epoch's line."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _check_same(self, experiment: Experiment) -> None:
        _, stored = self.read_config()
        now, before = ({"kind": e.kind, **flat(experiment_dict(e))} for e in (experiment, stored))
        free = {"epochs", "evaluate_every", "checkpoint_every", "data.root"}
        for field in sorted(set(now) - free, key=lambda field: (field != "kind", field)):
            if now.get(field) != before.get(field):
                raise InputError(
                    f"{self.config}: the run has {field} = {before.get(field)} but the command says "
                    f"{now.get(field)}; resume with the same value, or start another --run-dir"
                )


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write JSON whole or not at all."""
    partial = path.with_suffix(".partial")
    text = json.dumps(value, indent=indent, sort_keys=True, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
