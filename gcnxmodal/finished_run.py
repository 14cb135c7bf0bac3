"""A finished run taken up again: its folder, its system and its trained parameters."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.runs import RunFolder
from gcnxmodal.systems.base import System
from gcnxmodal.systems.build import build
from gcnxmodal.training.checkpoint import Checkpoints


class FinishedRun(NamedTuple):
    """A run and what its newest checkpoint holds, after so many steps."""

    folder: RunFolder
    preset: str
    system: System
    params: Any
    step: int


def restore(path: Path, root: Path | None, report: Callable[[str], None]) -> FinishedRun:
    """Restore a run onto one device, whatever trained it.

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
    if not folder.checkpoints.exists():
        raise InputError(f"{folder.checkpoints}: not there; the run has no checkpoint to restore")
    system = build(experiment, load_corpus(experiment.data, experiment.text))
    checkpoints = Checkpoints(folder.checkpoints, system.fingerprint(), report=report)
    restored = checkpoints.restore(system.initial_state(as_shape=True))
    checkpoints.close()
    if restored is None:
        raise InputError(f"{folder.checkpoints}: no complete checkpoint; train again, or resume the run")
    state, step = restored
    return FinishedRun(folder, preset, system, state.params, step)
