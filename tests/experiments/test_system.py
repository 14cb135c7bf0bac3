"""What a checkpoint belongs to, and which mesh trains a model."""

import dataclasses
from pathlib import Path

import jax
import pytest
from small_folder import write_folder

from gcnxmodal.experiments.config import DataConfig, Experiment, ModelConfig, TextConfig, TrainConfig
from gcnxmodal.experiments.corpora import load_corpus
from gcnxmodal.experiments.system import System, build
from gcnxmodal.training.sharding import smallest_model_axis


def system(root: Path, path: str) -> System:
    experiment = Experiment(
        data=DataConfig(name="folder", root=root, image_feature="features"),
        text=TextConfig(words=40, neighbours=4),
        model=ModelConfig(dimension=8, text=path, hidden=4),
        train=TrainConfig(pairing="grid", grid_texts=8, grid_images=8),
    )
    return build(experiment, load_corpus(experiment.data, experiment.text))


@pytest.mark.parametrize("path", ["gcn", "lstm", "cnn"])
def test_a_checkpoint_belongs_to_its_word_vectors_where_they_are_read(tmp_path: Path, path: str):
    one = system(write_folder(tmp_path / "data"), path)
    inputs = dataclasses.replace(one.inputs, vectors=10 * one.inputs.vectors)
    other = dataclasses.replace(one, inputs=inputs)
    assert (one.fingerprint() == other.fingerprint()) == (path == "gcn")


def test_all_processes_hold_the_same_constants_and_parameters_have_the_declared_number(tmp_path: Path):
    one = system(write_folder(tmp_path / "data"), "lstm")
    assert set(one.identity()) == {*one.fingerprint(), "word graph"}
    assert one.parameters == sum(leaf.size for leaf in jax.tree.leaves(one.initial_state().params))


def test_the_smallest_model_axis_leaves_most_devices_to_the_batch(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: list(range(8)))
    assert smallest_model_axis(16, {"train.batch": 40}) == 1
    assert smallest_model_axis(16, {"train.batch": 20}) == 2
    assert smallest_model_axis(3, {"train.batch": 1}) is None
