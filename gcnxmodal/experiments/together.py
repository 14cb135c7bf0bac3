"""The members of a group, made concrete as one system: what trains them all as one program."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gcnxmodal.experiments.config import Experiment
from gcnxmodal.experiments.members import VALUES
from gcnxmodal.experiments.system import System
from gcnxmodal.training.ensemble import over_members, stack_plans, stack_states
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Data, TrainState


class Together:
    """Members of one shape on one corpus; each trains as it would alone, up to rounding.

    Args:
        system: of any of them; they share its inputs and data.
        experiments: theirs, different in the seed and in `VALUES` only.
    """

    def __init__(self, system: System, experiments: Sequence[Experiment]):
        self.system = system
        self.members = [dataclasses.replace(system, experiment=experiment) for experiment in experiments]

    def initial_state(self) -> TrainState:
        return stack_states([member.initial_state() for member in self.members])

    def plan(self, epoch: int) -> Plan:
        return stack_plans([member.plan(epoch) for member in self.members])

    def own(self, purpose: int) -> dict[str, Any]:
        """What the step takes for each member: its key of this purpose, and its values."""
        trains = [member.experiment.train for member in self.members]
        values = {name: jnp.array([getattr(train, name) for train in trains]) for name in VALUES}
        return {"key": jnp.stack([member.key(purpose) for member in self.members]), "values": values}

    def step(self) -> Callable[[TrainState, Data, dict[str, Any]], tuple[TrainState, dict[str, jax.Array]]]:
        def one(state: TrainState, data: Data, own: dict[str, Any]):
            return self.system.step(own["values"])(state, data, own["key"])

        return over_members(one)

    def fingerprint(self) -> dict[str, str]:
        """As a system's, of all members."""
        prints = [member.fingerprint() for member in self.members]
        models = "".join(found["model"] for found in prints)
        return {"model": hashlib.sha256(models.encode()).hexdigest(), "corpus": prints[0]["corpus"]}
