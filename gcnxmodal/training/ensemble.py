"""Many models of one shape, trained together as one program: the step under `jax.vmap`.

The members share the data and the number of the step; each has its own parameters, optimizer state, batches,
key and hyper-parameters.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Data, TrainState

# Which leaves have an entry a member, on their first axis.
STATE_AXES: Any = TrainState(params=0, opt_state=0, step=None, totals=0, first_nan=0)  # pyright: ignore
DATA_AXES: Any = Data(None, None, None, None, plan=0)  # pyright: ignore


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


def member_state(state: TrainState, index: int) -> TrainState:
    """The state of one member."""
    steps = jnp.broadcast_to(state.step, state.first_nan.shape)
    return jax.tree.map(lambda leaf: leaf[index], dataclasses.replace(state, step=steps))
