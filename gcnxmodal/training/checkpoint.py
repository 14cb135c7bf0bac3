"""Checkpoints of a run: asynchronous, atomic, and never worse off than before the save."""

import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax

from gcnxmodal.errors import InputError
from gcnxmodal.training import cluster
from gcnxmodal.training.sharding import named_leaves

State = TypeVar("State")

HASH = 64
"""Characters of the hash that stood for the configuration in version 0.1.0 and before."""


class Checkpoints:
    """The checkpoints of one run, in one folder; the newest `keep` are kept.

    A save copies the state, returns, and writes in the background; a checkpoint appears under its step's
    number only when it is complete. A save that fails (a full disk) is reported and leaves the older ones
    as they are; in a job of several processes it is an error, which ends the job.

    A checkpoint holds whole arrays: it is restored onto any mesh, whatever mesh it was saved from. In a job
    of several processes all of them save and restore, in a folder that all of them see.

    Args:
        directory: the folder, made when the first save starts.
        fingerprint: what the state belongs to, such as {"model": ..., "corpus": ...}; stored with every
            checkpoint and compared on restore.
        report: called with a sentence for the user.
        keep: how many to keep.
    """

    def __init__(
        self, directory: Path, fingerprint: dict[str, Any], report: Callable[[str], None], keep: int = 3
    ):
        # Orbax logs a failed save six times over; we report it once.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._directory = directory.absolute()
        self._fingerprint = fingerprint
        self._report = report
        self._keep = keep
        self._pending: tuple[int, Any] | None = None
        self._open()

    def _open(self) -> None:
        # Typed as Any: Orbax's policies do not match its own annotations of them.
        from orbax.checkpoint import v1 as ocp  # not for a search, which reads none

        save: Any = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
        preserve: Any = ocp.training.preservation_policies.LatestN(self._keep)
        self._orbax = ocp.training.Checkpointer(
            str(self._directory),
            save_decision_policy=save,
            preservation_policy=preserve,
            cleanup_tmp_directories=True,
        )

    @property
    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, oldest first."""
        return [checkpoint.step for checkpoint in self._orbax.checkpoints]

    def save(self, step: int, state: Any) -> None:
        """Start saving `state` as checkpoint `step`; the save before it is finished first."""
        self.wait()
        if step in self.steps:
            return
        try:
            self._pending = (
                step,
                self._orbax.save_async(step, named_leaves(state), custom_metadata=self._fingerprint),
            )
        except (OSError, ValueError) as error:
            self._failed(step, error)

    def wait(self) -> bool:
        """Finish the save under way. False if it failed (which has been reported)."""
        if self._pending is None:
            return True
        (step, response), self._pending = self._pending, None
        try:
            response.result()
        except (OSError, ValueError) as error:
            self._failed(step, error)
            return False
        return True

    def restore(self, like: State, *, set_aside: bool = False) -> tuple[State, int] | None:
        """The newest checkpoint that can be read, as (state, step); None if there is none.

        Args:
            like: a state of the same structure, shapes and shardings.
            set_aside: whether newer ones, which cannot be read, are renamed, so that their steps can be saved
                again: STEP.damaged.

        Raises:
            InputError: if the checkpoints belong to another model or corpus, or none can be read.
        """
        steps, damaged = self.steps, []
        leaves = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in named_leaves(like).items()
        }
        for step in reversed(steps):
            path = self._directory / str(step)
            restored, fault = {}, "another process cannot"
            try:
                # A file system that was not written out leaves empty files; Orbax tells each by a traceback.
                if empty := next((f for f in path.rglob("*") if f.is_file() and not f.stat().st_size), None):
                    raise ValueError(f"{empty.relative_to(path)} is empty")
                stored = self._orbax.metadata(step).custom_metadata
                self._check_fingerprint(path, stored)
                restored = self._orbax.load(step, leaves)
            except InputError:
                raise
            except (
                Exception
            ) as error:  # Orbax raises KeyError, ValueError or OSError for a damaged checkpoint.
                fault = _first_line(error)
            # Processes read different parts of it: what one cannot read, none may go on from.
            if cluster.everywhere(bool(restored)):
                if damaged and set_aside:
                    cluster.together(lambda: cluster.first_only(self._set_aside, damaged))
                    self._orbax.close()
                    self._open()
                leaves = [restored[name] for name in leaves]
                return jax.tree.unflatten(jax.tree.structure(like), leaves), step
            self._report(f"{path}: this checkpoint cannot be read ({fault}); trying the one before")
            damaged.append(path)
        if steps:
            raise InputError(
                f"{self._directory}: none of the checkpoints {steps} can be read; "
                "start again with --overwrite, or in another --run-dir"
            )
        return None

    def close(self) -> None:
        """Finish the save under way and release the folder."""
        self.wait()
        self._orbax.close()

    def _set_aside(self, paths: Sequence[Path]) -> None:
        for path in paths:
            names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in itertools.count())
            aside = next(name for name in names if not name.exists())
            try:
                path.rename(aside)
            except OSError as error:
                raise InputError(
                    f"{path}: this checkpoint is damaged and cannot be renamed ({error.strerror}); delete it"
                ) from error
            self._report(f"{path}: set aside as {aside.name}")

    def _check_fingerprint(self, path: Path, stored: Any) -> None:
        if not (isinstance(stored, dict) and self._fingerprint.keys() <= stored.keys()):
            raise ValueError("it does not say of which model it is")
        for part, expected in self._fingerprint.items():
            # Older checkpoints have a hash of the whole configuration there, which no later version can make
            # again. The run's config.json says what they were trained with.
            of_older_version = part == "model" and len(stored.get(part, "")) == HASH and "{" in expected
            if stored.get(part) != expected and not of_older_version:
                if part == "corpus":
                    raise InputError(
                        f"{path}: this checkpoint is of another corpus: the data have changed since; restore "
                        "them, or train on the new ones in another --run-dir"
                    )
                raise InputError(
                    f"{path}: this checkpoint is of another {part}; run with the options in the run's "
                    "config.json, or train in another --run-dir"
                )

    def _failed(self, step: int, error: Exception) -> None:
        if jax.process_count() > 1:
            raise error  # the others cannot know of it, and would wait for this one in the next save
        # A broken save leaves Orbax's background thread in a failed state: open the folder anew.
        self._open()
        last_good = f"the last good one is {self.steps[-1]}" if self.steps else "there is no earlier one"
        self._report(
            f"{self._directory}: saving checkpoint {step} failed ({_first_line(error)}); {last_good}. "
            "Is the disk full?"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
