"""SSPE as a user meets it: runs, results, resumption, sweeps, export, refusals."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from small_folder import write_folder
from test_train_command import final_weights

from gcnxmodal import export, search, sweep, train
from gcnxmodal.config import validate
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import restore
from gcnxmodal.systems import PRESETS, mesh_for

SMALL = [
    *("sspe-folder", "--data.image-feature", "features", "--text.words", "40", "--model.hidden", "16"),
    *("--model.dimension", "8", "--train.decay-steps", "50", "--epochs", "24"),
    *("--evaluate-every", "8", "--checkpoint-every", "8"),
]


def command(folder: Path, run_dir: Path, *more: str) -> list[str]:
    return [*SMALL, "--data.root", str(folder), "--run-dir", str(run_dir), *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder and a finished run on it."""
    root = tmp_path_factory.mktemp("sspe")
    folder, run_dir = write_folder(root / "data"), root / "run"
    assert train.main(command(folder, run_dir)) == 0
    return folder, run_dir


def test_results_stand_beside_cca_sm_and_chance(finished):
    _, run_dir = finished
    results = json.loads((run_dir / "results.json").read_text())
    assert set(results["yardsticks"]) == {"cca", "sm"}
    found = results["protocols"]["standard"]
    assert found["average"] > results["chance"]["standard"]["average"] + 0.3  # classes are easy to tell apart
    history = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    for term in ("loss", "semantic", "labels"):
        assert history[-1][term] < history[0][term], term
    assert {"image_graph", "text_graph"} <= history[0].keys()
    assert "SSPE" in (run_dir / "report.html").read_text()


def test_a_new_text_finds_items_of_its_class(finished):
    _, run_dir = finished
    found = search.run(search.Arguments(run_dir, text="word00 word01 word02 word03 word04 word05", k=5))
    assert all("class0" in one.labels for one in found)


def test_a_killed_run_resumes_to_the_same_bits(finished, tmp_path: Path):
    folder, run_dir = finished
    line = [sys.executable, "-m", "gcnxmodal.train", *command(folder, tmp_path / "run")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        next(text for text in process.stdout if text.startswith("epoch  10/"))
        process.kill()
    assert not (tmp_path / "run" / "results.json").exists()
    assert train.main(command(folder, tmp_path / "run", "--resume")) == 0
    whole, resumed = final_weights(run_dir), final_weights(tmp_path / "run")
    assert set(whole) == set(resumed)
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)


def test_members_that_differ_in_alphas_are_one_program_and_the_models_trained_apart(finished, tmp_path: Path):
    folder, _ = finished
    few = ["--epochs", "2", "--evaluate-every", "0"]
    over = ["--over", "alpha1=0,0.4", "--over", "alpha2=0,0.4"]
    assert sweep.main([*command(folder, tmp_path / "sweep", *few), *over]) == 0
    alone = ["--train.alpha1", "0.4", "--train.alpha2", "0"]
    assert train.main(command(folder, tmp_path / "one", *few, *alone)) == 0
    together = final_weights(tmp_path / "sweep" / "members" / "alpha1=0.4,alpha2=0.0,seed=0")
    for name, leaf in final_weights(tmp_path / "one").items():
        np.testing.assert_allclose(together[name], leaf, rtol=1e-3, atol=1e-4, err_msg=name)


def test_every_argument_may_be_a_traced_number(finished):
    system = restore(finished[1], None, print).system
    data = dataclasses.replace(system.data, plan=system.plan(0))
    values = dict.fromkeys(system.experiment.arguments, jax.ShapeDtypeStruct((), np.float32))

    def one(values):
        return system.step(values)(system.initial_state(), data, system.key(0))

    _, metrics = jax.eval_shape(one, values)
    assert metrics["loss"].shape == ()


def test_an_exported_encoder_has_the_rows_of_the_run_without_its_data(finished, tmp_path: Path):
    _, run_dir = finished
    assert export.main([str(run_dir), "--to", "npz", "--out", str(tmp_path / "out")]) == 0
    made, corpus = (
        Retriever.from_pretrained(tmp_path / "out"),
        restore(run_dir, None, print).system.inputs.corpus,
    )
    assert (made.about["score"], made.database.texts.shape[1]) == ("inner product", 8)
    texts, images = made.encode_text(corpus.texts), made.encode_image(corpus.images)
    np.testing.assert_array_equal(images, made.database.images)
    np.testing.assert_array_equal(texts, made.database.texts)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-5)  # so that scores are cosines


def test_faiss_finds_the_graphs_too_and_is_asked_for_by_name_where_it_is_missing(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    exact = restore(finished[1], None, print).system
    train_values = dataclasses.replace(exact.experiment.train, knn="faiss")
    other = dataclasses.replace(exact.experiment, train=train_values)
    made = type(exact).build(other, exact.inputs.corpus, exact.mesh)
    for ours, theirs in zip(exact.data.extra[1:], made.data.extra[1:], strict=True):  # one cell: exact
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert train.main(command(finished[0], tmp_path / "run", "--train.knn", "faiss")) == 2
    assert "--train.knn faiss needs the package faiss" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--train.momentum", "1", "--train.momentum is 1.0; it must be from 0 up to, but not, 1"),
        ("--train.alpha2", "-1", "--train.alpha2 is -1.0; it must be at least 0"),
        ("--data.image-feature", "pixels", "SSPE has no network for pixels"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(
    finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, says: str
):
    folder, _ = finished
    assert train.main(command(folder, tmp_path / "run", option, value)) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_every_preset_is_valid_but_for_the_data(monkeypatch: pytest.MonkeyPatch):
    found = {name: experiment for name, (_, experiment) in PRESETS.items() if name.startswith("sspe-")}
    assert set(found) == {
        f"sspe-{d}" for d in ("emoji", "corel5k", "pascal", "mirflickr", "nus-wide", "folder")
    }
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    for experiment in found.values():
        validate(experiment)
        assert mesh_for(experiment).size == len(jax.devices())
