"""Trains on meshes of simulated devices and writes what came of it: run by test_sharding.py, with 8 devices.

python tests/sharded_runs.py DATA_FOLDER RESULT.json
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.sharding import collectives
from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.data.load import load_corpus
from gcnxmodal.measure import map_of_test_items
from gcnxmodal.retriever import Retriever
from gcnxmodal.systems.base import DROPOUT, System
from gcnxmodal.systems.build import build, mesh_for
from gcnxmodal.systems.gch import GCHExperiment, GCHModel, GCHTrain
from gcnxmodal.systems.pair_config import ModelConfig, PairExperiment, TrainConfig
from gcnxmodal.systems.sspe.sspe import SSPEExperiment, SSPEModel, SSPETrain
from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.sharding import make_mesh
from gcnxmodal.training.state import TrainState, make_block, start_epoch

EPOCHS = 4
PAIRS = TrainConfig(positives=240, negatives=240, batch=40, learning_rate=0.02)
PLANS = {
    "pairs": (ModelConfig(dimension=16, order=2), PAIRS),
    # Rows that 8 devices on `model` cannot share, and two filters.
    "uneven": (ModelConfig(dimension=16, filters=(2, 2)), dataclasses.replace(PAIRS, batch=20)),
    "attention": (
        ModelConfig(
            dimension=16, order=2, attention_layers=2, attention_scale="half-d", attention_relu=False
        ),
        TrainConfig(pairing="grid", grid_texts=8, grid_images=16, learning_rate=0.005, l2=1e-4),
    ),
    "cnn": (ModelConfig(dimension=16, text="cnn"), dataclasses.replace(PAIRS, learning_rate=0.005)),
    "hashing": (
        GCHModel(bits=16, width=16, beacon_width=8),
        GCHTrain(batch=16, teacher_rate=0.01, text_rate=0.01, image_rate=0.01, decay=1.0),
    ),
    "neighbours": (
        SSPEModel(hidden=16, dimension=16),
        SSPETrain(batch=10, learning_rate=0.1, other=3, same=2, near=2),
    ),
    "grid": (
        ModelConfig(dimension=16, normalise=True, order=2),
        TrainConfig(pairing="grid", grid_texts=8, grid_images=16, learning_rate=0.02, l2=0.0),
    ),
}
MESHES = {
    "pairs": [(1, 1), (1, 2), (2, 2), (8, 1), (1, 8), (4, 2), (2, 4)],
    "uneven": [(1, 1), (1, 8)],
    "attention": [(1, 1), (8, 1), (2, 4)],
    "cnn": [(1, 1), (4, 2)],
    "hashing": [(1, 1), (8, 1), (4, 1)],
    "neighbours": [(1, 1), (2, 1), (5, 1)],
    "grid": [(1, 1), (8, 1), (1, 8), (4, 2), (2, 4)],
}
KINDS = {"hashing": GCHExperiment, "neighbours": SSPEExperiment}  # the others are pairs
# The mesh that trains the first half, and the one that goes on from its checkpoint.
MOVES = [((1, 1), (2, 4)), ((2, 4), (1, 1)), ((8, 1), (1, 8)), ((1, 8), (4, 2))]


class Trained:
    """A system on a mesh, with its compiled epoch."""

    def __init__(self, folder: Path, plan: str, shape: tuple[int, int]):
        model, train = PLANS[plan]
        kind = KINDS.get(plan, PairExperiment)
        experiment = kind(
            data=DataConfig(name="folder", root=folder, image_feature="features"),
            text=TextConfig(words=40, neighbours=4),
            model=model,
            train=train,
        )
        corpus = load_corpus(experiment.data, experiment.text)
        data, on_model = shape
        devices = jax.devices()[: data * on_model]
        mesh = make_mesh(on_model, dimension=16, rows={}, devices=devices)
        if len(devices) == 8:
            assert mesh == mesh_for(experiment, on_model)
        self.system: System = build(experiment, corpus, mesh)
        state = self.system.initial_state()
        shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
        self.compiled = make_block(self.system.step(), shardings).lower(*self._arguments(state, 0)).compile()

    def _arguments(self, state: TrainState, epoch: int) -> tuple:
        system = self.system
        data = dataclasses.replace(system.data, plan=system.plan(epoch))
        return state, data, system.key(DROPOUT), np.int32(system.steps_per_epoch)

    def train(self, state: TrainState, epochs: range) -> tuple[TrainState, list[float]]:
        losses = []
        for epoch in epochs:
            state = self.compiled(*self._arguments(start_epoch(state), epoch))
            losses.append(float(state.totals["loss"]) / self.system.steps_per_epoch)
        return state, losses

    def outcome(self, state: TrainState, losses: list[float]) -> dict[str, Any]:
        found = map_of_test_items(self.system, state.params)
        return {"losses": losses, "map": found, "head": np.asarray(head(state.params)).tolist()}

    def scores(self, state: TrainState, devices: int) -> list[list[float]]:
        """Of every pair of the test items, on so many devices."""
        retriever = Retriever(self.system, state.params)
        features = retriever.encode(self.system.inputs.corpus.splits["test"])
        return retriever.score(*features, devices=devices).tolist()


def head(params: Any) -> jax.Array:
    """The weights of the texts' last layer."""
    if "text_head" in params:
        own = params["text_head"]
    else:
        own = params["text"]["last"] if "last" in params["text"] else params["text"]["heads"]["codes"]
    return own["kernel"].get_value()


def main(folder: Path, result: Path) -> None:
    assert jax.device_count() == 8
    trained = {
        plan: {shape: Trained(folder, plan, shape) for shape in shapes} for plan, shapes in MESHES.items()
    }
    runs: dict[str, dict[str, Any]] = {}
    programs: dict[str, Any] = {}
    for plan, on_mesh in trained.items():
        runs[plan] = {}
        for shape, one in on_mesh.items():
            name = "x".join(map(str, shape))
            state, losses = one.train(one.system.initial_state(), range(EPOCHS))
            runs[plan][name] = one.outcome(state, losses)
            found = [dataclasses.asdict(c) for c in collectives(one.compiled.as_text())]
            trees = [state.params]
            if plan not in KINDS:  # which split nothing but rows, and have other optimizers
                trees += [state.opt_state[0].mu, state.opt_state[0].nu]
            parts = [head(tree).addressable_shards[0].data.shape for tree in trees]
            programs[f"{plan} {name}"] = {"collectives": found, "parts of the head": parts}

    moved = {}
    for before, after in MOVES:
        first, second = trained["pairs"][before], trained["pairs"][after]
        name = f"{'x'.join(map(str, before))} to {'x'.join(map(str, after))}"
        state, losses = first.train(first.system.initial_state(), range(EPOCHS // 2))
        checkpoints = Checkpoints(result.parent / name, first.system.fingerprint(), report=print)
        checkpoints.save(int(state.step), state)
        checkpoints.wait()
        restored = checkpoints.restore(second.system.initial_state())
        checkpoints.close()
        assert restored is not None
        state, more = second.train(restored[0], range(EPOCHS // 2, EPOCHS))
        moved[name] = second.outcome(state, losses + more)
    attention = trained["attention"][1, 1]
    scores = {count: attention.scores(attention.system.initial_state(), count) for count in (1, 3, 8)}
    found = {"runs": runs, "programs": programs, "moved": moved, "scores": scores}
    result.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
