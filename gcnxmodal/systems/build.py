"""The system of an experiment, whatever its kind."""

from typing import Any

from jax.sharding import Mesh

from gcnxmodal.config import Experiment
from gcnxmodal.corpus import Corpus
from gcnxmodal.systems.base import System
from gcnxmodal.systems.gch import GCHSystem
from gcnxmodal.systems.pair_system import PairSystem
from gcnxmodal.systems.sspe import SSPESystem
from gcnxmodal.training import sharding

SYSTEMS: dict[str, Any] = {
    "pairs": PairSystem,
    "hashing": GCHSystem,
    "neighbours": SSPESystem,
}
"""By `Experiment.kind`. A new kind is its configuration, its system and its line here."""


def mesh_for(experiment: Experiment, model_parallel: int | None = None) -> Mesh:
    """All devices of the job, as the mesh that trains the experiment.

    Raises:
        InputError: if they cannot share the batch and the large layers evenly, or not by `model_parallel`.
    """
    return SYSTEMS[experiment.kind].mesh_for(experiment, model_parallel)


def build(experiment: Experiment, corpus: Corpus, mesh: Mesh | None = None) -> System:
    """Make the system of an experiment on its corpus.

    Args:
        mesh: the devices that train it; the first one of this process if not given.

    Raises:
        InputError: as `make_inputs`, and if a batch is larger than the data.
    """
    mesh = sharding.one_device() if mesh is None else mesh
    return SYSTEMS[experiment.kind].build(experiment, corpus, mesh)
