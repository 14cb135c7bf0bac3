"""What a checkpoint belongs to, and which mesh trains a model."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_folder import write_folder

from gcnxmodal.config import DataConfig, TextConfig, changed
from gcnxmodal.console import describe
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.systems import PRESETS, System, build, mesh_for
from gcnxmodal.systems.gin import GINExperiment, GINModel, GINTrain
from gcnxmodal.training.sharding import make_mesh
from gcnxmodal.training.state import Data, match_of


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


def unlabelled(corpus: Corpus, groups: np.ndarray | None) -> Corpus:
    none = np.zeros((len(corpus), 0), bool)
    return dataclasses.replace(corpus, labels=none, class_names=(), groups=groups)


def grid_of(corpus: Corpus, pairing="grid") -> System:
    train = GINTrain(pairing=pairing, grid_texts=8, grid_images=8)
    text = TextConfig(words=40, neighbours=4)
    return build(GINExperiment(text=text, model=GINModel(dimension=8), train=train), corpus)


def test_without_labels_items_match_by_group_and_each_text_meets_its_image(folder: Path):
    corpus = load_corpus(DataConfig(name="folder", root=folder, image_feature="features"), TextConfig())
    groups = np.arange(90) // 2
    one = grid_of(unlabelled(corpus, groups))
    assert one.data.labels_nC.shape == (60, 0)
    np.testing.assert_array_equal(one.data.groups_n, groups[:60])
    texts, images = jnp.array([0, 1, 5]), jnp.array([1, 2, 4])
    np.testing.assert_array_equal(
        match_of(one.data, texts, images, grid=True),
        np.array([[True, False, False], [True, False, False], [False, False, True]]),
    )
    np.testing.assert_array_equal(match_of(one.data, texts, images, grid=False), [True, False, True])
    plan = one.plan(0)
    assert match_of(one.data, plan.texts[0], plan.images[0], grid=True).any(axis=1).all()
    alone = grid_of(unlabelled(corpus, None))
    np.testing.assert_array_equal(alone.data.groups_n, np.arange(60))
    assert alone.fingerprint()["corpus"] != one.fingerprint()["corpus"]


def test_with_labels_groups_match_nothing():
    labels = jnp.array([[True, False], [False, True]])
    data = Data(jnp.zeros(()), jnp.zeros(()), labels, None, groups_n=jnp.zeros(2, int))
    rows = jnp.arange(2)
    np.testing.assert_array_equal(match_of(data, rows, rows, grid=True), np.eye(2, dtype=bool))


@pytest.mark.parametrize(
    ("preset", "title"),
    [("gch-folder-paper", "GCH"), ("gch-folder-official", "GCH"), ("sspe-folder", "SSPE")],
)
def test_systems_that_learn_from_classes_refuse_a_corpus_without(folder: Path, preset: str, title: str):
    corpus = load_corpus(DataConfig(name="folder", root=folder, image_feature="features"), TextConfig())
    with pytest.raises(InputError, match=f"has no labels, and {title} learns from .* gin-folder"):
        build(PRESETS[preset][1], unlabelled(corpus, None))


@pytest.mark.parametrize("pairing", ["balanced", "uniform"])
def test_pairs_by_class_are_refused_without_labels(folder: Path, pairing: str):
    corpus = load_corpus(DataConfig(name="folder", root=folder, image_feature="features"), TextConfig())
    with pytest.raises(InputError, match=f"--train.pairing is {pairing}, .* choose --train.pairing grid"):
        grid_of(unlabelled(corpus, None), pairing)


@pytest.mark.parametrize("preset", [name for name in PRESETS if "-folder" in name])
def test_batches_of_the_folder_presets_fit_a_small_folder_and_say_so(tmp_path: Path, preset: str):
    root = write_folder(tmp_path / "data", items=12)
    values = {"data.root": root, "data.image_feature": "features", "words": 40, "stop": "last", "patience": 0}
    experiment = changed(PRESETS[preset][1], values)
    one = build(experiment, load_corpus(experiment.data, experiment.text))
    plan = one.plan(0)
    by_pairs = getattr(experiment.train, "pairing", "grid") != "grid"  # which are drawn, as many as asked for
    assert 1 <= plan.texts.shape[1] <= (experiment.train.batch if by_pairs else 8)
    assert len(plan.texts) == one.steps_per_epoch >= 1
    bare = one.without_training_data()
    assert bare.data.texts_nT is None
    jax.tree.map(np.testing.assert_array_equal, bare.constants, one.constants)
    assert bare.parameters == one.parameters
    for name in one.within_items:
        asked, used = (getattr(of, name) for of in (experiment.train, one.fitted))
        assert used == asked or f"--train.{name.replace('_', '-')} is {asked}, but" in describe(one)
