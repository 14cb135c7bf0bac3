"""The members of a group, made concrete as one system: what trains them all as one program."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gcnxmodal.config import Experiment, experiment_dict, flat
from gcnxmodal.systems.base import System
from gcnxmodal.training.ensemble import member_state, over_members, stack_plans, stack_states
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.sharding import named_leaves
from gcnxmodal.training.state import Data, TrainState


class Together:
    """Members of one shape on one corpus; each trains as it would alone, up to rounding.

    Members of fewer co-attention layers than the deepest carry the others along, unused and unchanged.

    Args:
        system: of any of them; they share its inputs and data.
        experiments: theirs, different in the seed and in `Experiment.arguments` only.
    """

    def __init__(self, system: System, experiments: Sequence[Experiment]):
        self.members = [dataclasses.replace(system, experiment=experiment) for experiment in experiments]
        self.system = self._covering(self.members[0])
        self._shapes = [
            jax.eval_shape(functools.partial(member.initial_state, as_shape=True)) for member in self.members
        ]

    def _covering(self, member: System) -> System:
        return member.covering([other.experiment for other in self.members])

    def initial_state(self) -> TrainState:
        # A model's first layers start the same however many follow.
        return stack_states([self._covering(member).initial_state() for member in self.members])

    def state_of(self, state: TrainState, index: int) -> TrainState:
        """The state of one member, as it would be alone."""
        return _part(member_state(state, index), self._shapes[index])

    def params_of(self, params: Any, index: int) -> Any:
        """The parameters of one member, as they would be alone."""
        own = jax.tree.map(lambda leaf: leaf[index], params)
        return _part(own, self._shapes[index].params)

    def plan(self, epoch: int) -> Plan:
        return stack_plans([member.plan(epoch) for member in self.members])

    def own(self, purpose: int) -> dict[str, Any]:
        """What the step takes for each member: its key of this purpose, and the values that differ."""
        fields = [flat(experiment_dict(member.experiment)) for member in self.members]
        values = {name: [own[name] for own in fields] for name in self.system.experiment.arguments}
        differing = {name: jnp.array(found) for name, found in values.items() if len(set(found)) > 1}
        return {"key": jnp.stack([member.key(purpose) for member in self.members]), "values": differing}

    def step(self) -> Callable[[TrainState, Data, dict[str, Any]], tuple[TrainState, dict[str, jax.Array]]]:
        def one(state: TrainState, data: Data, own: dict[str, Any]):
            return self.system.step(own["values"])(state, data, own["key"])

        return over_members(one)

    def fingerprint(self) -> dict[str, str]:
        """As a system's, of all members."""
        prints = [member.fingerprint() for member in self.members]
        models = ", ".join(found["model"] for found in prints)
        return {"model": f"[{models}]", "corpus": prints[0]["corpus"]}


def _part(tree: Any, like: Any) -> Any:
    """The leaves of a tree that another one, of fewer leaves, has by name."""
    leaves = named_leaves(tree)
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in named_leaves(like)])
