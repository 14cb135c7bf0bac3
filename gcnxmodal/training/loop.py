"""The training loop: epochs, progress, interruption and resumption around the compiled blocks of steps."""

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.interrupt import Interrupt
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Data, Step, TrainState, make_block, start_epoch

SECONDS_PER_BLOCK = 1.0


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


def train(
    state: TrainState,
    data: Data,
    step: Step,
    plan: Callable[[int], Plan],
    key: jax.Array,
    *,
    epochs: int,
    steps_per_epoch: int,
    checkpoints: Checkpoints,
    checkpoint_every: int,
    on_progress: Callable[[Progress], None],
    on_epoch: Callable[[int, TrainState, dict[str, float], float], None],
    interrupt: Interrupt,
) -> tuple[TrainState, float]:
    """Train from wherever `state` stands to the end of the last epoch.

    Every batch, dropout mask and pair is a function of (seed, step), and a block of steps is one compiled
    loop whose length is an argument: a run that was killed and resumed ends with the same bits.

    Args:
        state: at any step, also in the middle of an epoch; donated.
        data: the training items; its plan is replaced epoch by epoch.
        step: from `make_step`.
        plan: the batches of an epoch.
        key: of the dropout.
        epochs: the total, counted from the first step of the run.
        steps_per_epoch: rows of a plan.
        checkpoints: where the state is saved.
        checkpoint_every: epochs between two checkpoints; the last epoch is always saved.
        on_progress: told about once a second.
        on_epoch: told (epoch, state, mean metrics, seconds of training) at the end of each epoch.
        interrupt: asked after each block whether to stop.

    Returns:
        The final state, and the seconds spent compiling.

    Raises:
        Interrupted: after saving, when `interrupt` was requested.
        Diverged: when a loss is not finite.
    """
    done = int(state.step)
    if done >= epochs * steps_per_epoch:
        return state, 0.0
    data = dataclasses.replace(data, plan=plan(done // steps_per_epoch))
    started = time.perf_counter()
    block = make_block(step).lower(state, data, key, jnp.int32(0)).compile()
    compile_seconds = time.perf_counter() - started

    block_steps = 1  # adapted to take about a second; the bits of the run do not depend on it
    while done < epochs * steps_per_epoch:
        epoch, row = divmod(done, steps_per_epoch)
        data = dataclasses.replace(data, plan=plan(epoch))
        epoch_seconds = 0.0
        if row == 0:
            state = start_epoch(state)
        while row < steps_per_epoch:
            steps = min(block_steps, steps_per_epoch - row)
            started = time.perf_counter()
            state = block(state, data, key, jnp.int32(steps))
            totals, first_nan = jax.device_get((state.totals, state.first_nan))
            seconds = time.perf_counter() - started
            epoch_seconds += seconds
            block_steps = _fitting(steps, seconds)
            row, done = row + steps, done + steps
            if first_nan >= 0:
                raise Diverged(int(first_nan))
            on_progress(Progress(epoch, row, steps_per_epoch, float(totals["loss"]) / row, steps / seconds))
            if interrupt.requested and row < steps_per_epoch:
                _stop(checkpoints, done, state, interrupt.signal)
        means = {name: float(total) / steps_per_epoch for name, total in totals.items()}
        on_epoch(epoch, state, means, epoch_seconds)
        if (epoch + 1) % checkpoint_every == 0 or epoch + 1 == epochs:
            checkpoints.save(done, state)
        if interrupt.requested and epoch + 1 < epochs:
            _stop(checkpoints, done, state, interrupt.signal)
    return state, compile_seconds


def _stop(checkpoints: Checkpoints, step: int, state: TrainState, signal: int) -> None:
    checkpoints.save(step, state)
    checkpoints.wait()
    raise Interrupted(step, signal)


def _fitting(steps: int, seconds: float) -> int:
    """Steps for a block of about a second, given that `steps` took `seconds`; grows at most eightfold."""
    return max(1, min(int(steps * SECONDS_PER_BLOCK / max(seconds, 1e-4)), 8 * steps))
