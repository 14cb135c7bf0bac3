"""What lies in a sweep's folder, and when it may be written."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from gcnxmodal.config import experiment_dict, flat
from gcnxmodal.errors import InputError
from gcnxmodal.members import Member
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS, PROTOCOLS
from gcnxmodal.runs import EXPERIMENTS, RunFolder, write_json


class SweepFolder:
    """Paths of one sweep.

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

    def checkpoints(self, group: int) -> Path:
        return self.path / "checkpoints" / str(group)

    def member(self, member: Member) -> RunFolder:
        return RunFolder(self.path / "members" / member.name)

    def finished(self, members: Sequence[Member]) -> bool:
        """Whether each of the members has results, or none because its loss was not a number."""
        folders = [self.member(member) for member in members]
        return all(folder.results.exists() or folder.diverged.exists() for folder in folders)

    def check(self, config: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Refuse what would write over another sweep; changes nothing.

        Raises:
            InputError: if the folder has a sweep and neither flag is given, holds something else, or is to be
                resumed with other options than it was started with.
        """
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other; give one")
        has_sweep = self.config.exists()
        if not has_sweep and self.path.exists() and (self.path.is_file() or any(self.path.iterdir())):
            raise InputError(f"{self.path}: --run-dir holds something else than a sweep; name a new folder")
        if resume and not has_sweep:
            raise InputError(f"{self.path}: no sweep.json, so no sweep to resume; leave out --resume")
        if has_sweep and not (resume or overwrite):
            raise InputError(
                f"{self.path}: this folder already has a sweep; add --resume to go on with it, --overwrite "
                "to replace it, or --run-dir for another folder"
            )
        if resume:
            self._check_same(config)

    def start(self, config: Mapping[str, Any], members: Sequence[Member]) -> None:
        """Make the folder, replacing a sweep that may be overwritten, and each member's."""
        if self.config.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        for member in members:
            self.member(member).start(config["preset"], member.experiment, overwrite=False)
        write_json(self.config, config)

    def difference(self, config: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
        """Name, stored value and `config`'s value of the first field that differs; None if none does.

        Where the data lie is no difference. A field that is younger than the sweep has its default there.

        Raises:
            InputError: if sweep.json is not one of ours.
        """
        try:
            stored = json.loads(self.config.read_text(encoding="utf-8"))
            # Sweeps that were begun before kinds were written down are of the kind of their preset.
            stored = {"kind": config["kind"], **stored}
            for field in ("preset", "kind"):
                if stored[field] != config[field]:
                    return field, stored[field], config[field]
            experiment = EXPERIMENTS[stored["kind"]].validate_python(stored["experiment"])
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.config}: not a sweep's configuration of this version: {error}"
            ) from error
        before = flat({**stored, "experiment": experiment_dict(experiment)})
        for field, value in flat(dict(config)).items():
            if before.get(field) != value and field != "experiment.data.root":
                return field, before.get(field), value
        return None

    def _check_same(self, config: Mapping[str, Any]) -> None:
        if found := self.difference(config):
            field, stored, value = found
            raise InputError(
                f"{self.config}: the sweep has {field} = {stored} but the command says "
                f"{value}; resume with the same value, or start another --run-dir"
            )


def sweep_config(preset: str, base: Any, over: Mapping[str, Sequence[Any]], seeds: int) -> dict[str, Any]:
    """What sweep.json holds."""
    over = {field: list(values) for field, values in over.items()}
    return {
        "preset": preset,
        "kind": base.kind,
        "experiment": experiment_dict(base),
        "over": over,
        "seeds": seeds,
    }


def summarise(members: Sequence[Member], results: Sequence[Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """By setting: the members, and mean and standard deviation over their seeds of each protocol's MAP.

    Args:
        results: each member's results.json; None where its loss was not a number.
    """
    settings: dict[str, list[int]] = {}
    for index, member in enumerate(members):
        settings.setdefault(json.dumps(member.setting), []).append(index)
    rows = []
    for indices in settings.values():
        finished = [found for i in indices if (found := results[i]) is not None]
        rows.append(
            {
                "setting": members[indices[0]].setting,
                "members": [members[i].name for i in indices],
                "diverged": [members[i].name for i in indices if results[i] is None],
                "protocols": _moments([found["protocols"] for found in finished]),
            }
        )
    return rows


def _moments(protocols: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    if not protocols:
        return {}
    return {
        protocol: {
            direction: {
                "mean": float(np.mean(values := [found[protocol][direction] for found in protocols])),
                "std": float(np.std(values)),
            }
            for direction in directions
        }
        for protocol in (*PROTOCOLS, *HASHING_PROTOCOLS)
        if (directions := protocols[0].get(protocol))
    }
