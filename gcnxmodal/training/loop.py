"""The training loop: epochs, progress, interruption and resumption around the compiled blocks of steps."""

import dataclasses
import signal as signals
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import jax
import numpy as np

from gcnxmodal.training import cluster
from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Data, Step, TrainState, make_block, start_epoch

SECONDS_PER_BLOCK = 1.0


class Interrupt:
    """Stops a run from outside: SIGTERM (a preempted machine) and SIGINT (Ctrl-C).

    While active, the first of either is only noted in `signal`; a second one acts as usual.

    >>> with Interrupt() as interrupt:
    ...     interrupt.signal
    0
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        for number in (signals.SIGTERM, signals.SIGINT):
            self._before[number] = signals.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signals.signal(number, handler)  # pyright: ignore[reportArgumentType]


class Interrupted(Exception):
    """The run was stopped by `signal`, and has saved its state at `step`."""

    def __init__(self, step: int, signal: int):
        super().__init__(f"stopped at step {step} by signal {signal}")
        self.step, self.signal = step, signal


class Diverged(Exception):
    """The loss is not finite from `step` on; nothing after the last checkpoint was saved."""

    def __init__(self, step: int):
        super().__init__(f"the loss is not a number at step {step}")
        self.step = step


@dataclasses.dataclass(frozen=True)
class Progress:
    """What the host knows while an epoch runs."""

    epoch: int
    steps_done: int
    steps: int
    loss: float
    steps_per_second: float
    first_step_seconds: float | None = None
    """In the first report only: from the call of `train` to the end of its first step, mostly compiling."""


def train(
    state: TrainState,
    data: Data,
    step: Step,
    plan: Callable[[int], Plan],
    key: Any,
    *,
    epochs: int,
    steps_per_epoch: int,
    checkpoints: Checkpoints,
    checkpoint_every: int,
    on_progress: Callable[[Progress], None],
    on_epoch: Callable[[int, TrainState, dict[str, Any], float], tuple[TrainState, bool]],
    interrupt: Interrupt,
) -> tuple[TrainState, float]:
    """Train from wherever `state` stands to the end of the last epoch.

    Every batch, dropout mask and pair is a function of (seed, step), and a block of steps is one compiled
    loop whose length is an argument: a run that was killed and resumed ends with the same bits. In a job of
    several processes all call this, and take the same blocks and stop at the same step.

    Args:
        state: at any step, also in the middle of an epoch, where it shall lie; donated.
        data: the training items, on the same devices; its plan is replaced epoch by epoch.
        step: from `make_step`.
        plan: the batches of an epoch, on these devices.
        key: of the dropout, on these devices; what `step` takes as its third argument.
        epochs: the total, counted from the first step of the run.
        steps_per_epoch: rows of a plan.
        checkpoints: where the state is saved.
        checkpoint_every: epochs between two checkpoints; the last epoch is always saved.
        on_progress: told about once a second.
        on_epoch: told (epoch, state, mean metrics, seconds of training) at the end of each epoch; gives the
            state to go on with, and whether this epoch shall be the last.
        interrupt: asked after each block whether to stop; a signal to one process stops all.

    Returns:
        The final state, and the seconds spent compiling.

    Raises:
        Interrupted: after saving, when `interrupt` has noted a signal.
        Diverged: when a loss is not finite.
    """
    done = int(state.step)
    if done >= epochs * steps_per_epoch:
        return state, 0.0
    called = time.perf_counter()
    data = dataclasses.replace(data, plan=plan(done // steps_per_epoch))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    started = time.perf_counter()
    block = make_block(step, shardings).lower(state, data, key, np.int32(0)).compile()
    compile_seconds = time.perf_counter() - started

    block_steps = 1  # adapted to take about a second; the bits of the run do not depend on it
    first_block = True
    while done < epochs * steps_per_epoch:
        epoch, row = divmod(done, steps_per_epoch)
        data = dataclasses.replace(data, plan=plan(epoch))
        epoch_seconds = 0.0
        if row == 0:
            state = start_epoch(state)
        while row < steps_per_epoch:
            steps = min(block_steps, steps_per_epoch - row)
            started = time.perf_counter()
            state = block(state, data, key, np.int32(steps))
            row, done = row + steps, done + steps
            means, broken_step = _read(state, row)
            seconds = time.perf_counter() - started
            epoch_seconds += seconds
            if broken_step >= 0:
                raise Diverged(broken_step)
            first = time.perf_counter() - called if first_block else None
            loss = float(np.nanmean(means["loss"]))
            on_progress(Progress(epoch, row, steps_per_epoch, loss, steps / seconds, first))
            first_block = False
            block_steps, stop = cluster.agree(_fitting(steps, seconds), interrupt.signal)
            if stop and row < steps_per_epoch:
                _stop(checkpoints, done, state, stop)
        state, ended = on_epoch(epoch, state, means, epoch_seconds)
        ended |= epoch + 1 == epochs
        if (epoch + 1) % checkpoint_every == 0 or ended:
            checkpoints.save(done, state)
        if ended:
            break
        _, stop = cluster.agree(block_steps, interrupt.signal)
        if stop:
            _stop(checkpoints, done, state, stop)
    return state, compile_seconds


def _read(state: TrainState, steps: int) -> tuple[dict[str, Any], int]:
    """Means of the metrics over the epoch's first `steps` steps; the step when the last loss was lost, or -1.

    Of several models trained together, a mean is a list, and one that is lost does not stop the others.
    """
    totals, first_nan = jax.device_get((state.totals, state.first_nan))
    means = {name: (np.asarray(total, float) / steps).tolist() for name, total in totals.items()}
    return means, int(first_nan.max()) if (first_nan >= 0).all() else -1


def _stop(checkpoints: Checkpoints, step: int, state: TrainState, signal: int) -> None:
    checkpoints.save(step, state)
    checkpoints.wait()
    raise Interrupted(step, signal)


def _fitting(steps: int, seconds: float) -> int:
    """Steps for a block of about a second, given that `steps` took `seconds`; grows at most eightfold."""
    return max(1, min(int(steps * SECONDS_PER_BLOCK / max(seconds, 1e-4)), 8 * steps))
