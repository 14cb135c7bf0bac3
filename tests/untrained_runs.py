"""Runs of every kind without their training, for tests of what is done with a trained system."""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from gcnxmodal.config import DataConfig, Experiment, TextConfig
from gcnxmodal.data.load import load_corpus
from gcnxmodal.runs import FinishedRun, RunFolder
from gcnxmodal.systems import build
from gcnxmodal.systems.gch import GCHExperiment, GCHModel, GCHTrain
from gcnxmodal.systems.gin import GINExperiment, GINModel, GINTrain
from gcnxmodal.systems.joint import JointExperiment, JointModel
from gcnxmodal.systems.scanet import SCANetExperiment, SCANetModel

GRID = GINTrain(pairing="grid", grid_texts=8, grid_images=8)
HASHING = {"model": GCHModel(bits=40, width=16, beacon_width=8), "train": GCHTrain(batch=8)}


RUNS: dict[str, dict[str, Any]] = {
    "gin": {"model": GINModel(dimension=8), "train": GRID},
    "gin tfidf": {
        "model": GINModel(dimension=8, filters=(2, 2)),
        "train": GRID,
        "text": TextConfig(weighting="tfidf", graph="directed", lambda_max="two"),
        "image_scale": "standard",
    },
    "scanet": {"model": SCANetModel(dimension=8, attention_layers=1), "train": GRID},
    "scanet of two layers": {"model": SCANetModel(dimension=8, attention_layers=2), "train": GRID},
    "lstm": {"model": GINModel(dimension=8, text="lstm", hidden=4), "train": GRID},
    "cnn of pixels": {
        "model": GINModel(dimension=8, text="cnn"),
        "train": GRID,
        "image_feature": "pixels",
    },
    "joint": {
        "model": JointModel(dimension=4, members=2, image_hidden=8),
        "text": TextConfig(weighting="tfidf", mapped_words=10),
    },
    "gch": {**HASHING, "text": TextConfig(weighting="l2")},
}


def untrained(root: Path, name: str, **more: Any) -> FinishedRun:
    """A run without its training: first parameters, each moved a little, so that none is zero."""
    options = {**RUNS[name], **more}
    kinds = {
        GCHModel: GCHExperiment,
        GINModel: GINExperiment,
        JointModel: JointExperiment,
        SCANetModel: SCANetExperiment,
    }
    kind = kinds[type(options["model"])]
    text = options.pop("text", TextConfig())
    feature = options.pop("image_feature", "features")
    experiment: Experiment = kind(
        data=DataConfig(
            name="folder",
            root=root,
            image_feature=feature,
            resolution=32 if feature == "pixels" else None,
            image_scale=options.pop("image_scale", "unit"),
        ),
        text=dataclasses.replace(text, words=40, neighbours=4),
        **options,
    )
    system = build(experiment, load_corpus(experiment.data, experiment.text))
    leaves, structure = jax.tree.flatten(system.initial_state().params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    moved = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    params = jax.tree.unflatten(structure, moved)
    return FinishedRun(RunFolder(root / "run"), "preset", system, params, 7, 7)
