"""What a checkpoint belongs to, and which mesh trains a model."""

import dataclasses
from pathlib import Path

import jax
import pytest
from small_folder import write_folder

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.systems import System, build, mesh_for
from gcnxmodal.systems.gin import GINExperiment, GINModel, GINTrain
from gcnxmodal.training.sharding import make_mesh


def system(root: Path, path: str) -> System:
    experiment = GINExperiment(
        data=DataConfig(name="folder", root=root, image_feature="features"),
        text=TextConfig(words=40, neighbours=4),
        model=GINModel(dimension=8, text=path, hidden=4),
        train=GINTrain(pairing="grid", grid_texts=8, grid_images=8),
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


@pytest.mark.parametrize(
    ("path", "image", "shape"),
    [
        ("gcn", "features", (1, 8)),
        ("lstm", "features", (8, 1)),
        ("gcn", "pixels", (8, 1)),
    ],
)
def test_paths_with_hardly_a_parameter_leave_the_devices_to_the_batch(monkeypatch, path, image, shape):
    monkeypatch.setattr(jax, "devices", lambda: list(range(8)))
    monkeypatch.setattr(jax, "make_mesh", lambda shape, *_, **__: shape)
    data, model = DataConfig(image_feature=image), GINModel(dimension=16, text=path)
    assert mesh_for(GINExperiment(data=data, model=model, train=GINTrain(batch=40))) == shape


def test_the_smallest_model_axis_leaves_most_devices_to_the_batch(monkeypatch):
    monkeypatch.setattr(jax, "make_mesh", lambda shape, *_, **__: shape[1])
    eight = {"devices": list(range(8)), "most_on_model": 1}
    assert make_mesh(dimension=16, rows={"train.batch": 40}, **eight) == 1
    assert make_mesh(dimension=16, rows={"train.batch": 20}, **eight) == 2
    with pytest.raises(InputError, match="cannot be shared evenly by 8 devices"):
        make_mesh(dimension=3, rows={"train.batch": 1}, **eight)
