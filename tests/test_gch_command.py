"""GCH as a user meets it: runs, results, resumption, sweeps, pixels, refusals."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from small_folder import write_folder
from test_train_command import final_weights

from gcnxmodal import evaluate, search, sweep, train
from gcnxmodal.config import DataConfig, validate
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.nn.cnnf import CNNF
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import restore
from gcnxmodal.systems import PRESETS, build, gch, mesh_for
from gcnxmodal.systems.gch import GCHExperiment, GCHModel, GCHTrain

DATA = ["--data.name", "folder", "--data.image-feature", "features"]
SMALL = [
    *("gch-emoji-paper", *DATA, "--text.words", "40", "--model.bits", "20", "--model.width", "32"),
    *("--model.beacon-width", "16", "--train.batch", "20", "--train.image-rate", "0.01"),
    *("--train.decay", "0.99", "--epochs", "24", "--evaluate-every", "8", "--checkpoint-every", "8"),
]


def command(folder: Path, run_dir: Path, *more: str) -> list[str]:
    return [*SMALL, "--data.root", str(folder), "--run-dir", str(run_dir), *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder and a finished run on it."""
    root = tmp_path_factory.mktemp("gch")
    folder, run_dir = write_folder(root / "data"), root / "run"
    assert train.main(command(folder, run_dir)) == 0
    return folder, run_dir


def test_results_have_all_protocols_beside_signs_of_cca_sm_and_random_codes(finished):
    _, run_dir = finished
    results = json.loads((run_dir / "results.json").read_text())
    protocols = {"standard", "test@100", "authors", "hashing", "hashing@500"}
    assert set(results["yardsticks"]) == {"cca-sign", "sm"}
    for rows in (results["protocols"], *results["yardsticks"].values(), results["chance"]):
        assert set(rows) == protocols
    assert set(results["expected"]) == {"model", "cca-sign", "chance"}
    found = results["protocols"]["hashing"]
    assert found["average"] > results["chance"]["hashing"]["average"] + 0.3  # classes are easy to tell apart
    history = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    for network in ("loss", "teacher", "image", "text", "beacon"):
        assert history[-1][network] < history[0][network], network
    assert "GCH" in (run_dir / "report.html").read_text()


def test_a_run_measured_again_has_the_same_results(finished):
    _, run_dir = finished
    before = json.loads((run_dir / "results.json").read_text())
    assert evaluate.main([str(run_dir)]) == 0
    after = json.loads((run_dir / "results.json").read_text())
    for key in ("protocols", "expected", "yardsticks", "chance"):
        assert before[key] == after[key]


def test_a_new_text_finds_items_of_its_class(finished, capsys: pytest.CaptureFixture[str]):
    _, run_dir = finished
    found = search.run(search.Arguments(run_dir, text="word00 word01 word02 word03 word04 word05", k=5))
    assert all("class0" in one.labels for one in found)
    assert "score: 20 bits - 2 x Hamming distance" in capsys.readouterr().out


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


def test_members_that_differ_in_rates_and_weights_are_one_program_and_the_models_trained_apart(
    finished, tmp_path: Path
):
    folder, _ = finished
    few = ["--epochs", "2", "--evaluate-every", "0"]
    over = ["--over", "text_rate=0.01,0.001", "--over", "gamma=1,3", "--seeds", "2"]
    assert sweep.main([*command(folder, tmp_path / "sweep", *few), *over]) == 0
    assert (
        train.main(
            [
                *command(folder, tmp_path / "one", *few),
                *("--train.text-rate", "0.001", "--train.gamma", "3", "--seed", "1"),
            ]
        )
        == 0
    )
    together = final_weights(tmp_path / "sweep" / "members" / "text_rate=0.001,gamma=3.0,seed=1")
    for name, leaf in final_weights(tmp_path / "one").items():
        np.testing.assert_allclose(together[name], leaf, rtol=1e-3, atol=1e-4, err_msg=name)
    assert "checkpoints" not in {path.name for path in (tmp_path / "sweep").iterdir() if path.is_file()}


def test_ablation_has_its_own_name_and_other_codes(finished, tmp_path: Path):
    folder, _ = finished
    assert train.main(command(folder, tmp_path / "run", "--model.beacon", "dense", "--epochs", "1")) == 0
    run = restore(tmp_path / "run", None, print)
    assert run.system.title(run.system.experiment) == "GCH-A"


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--model.bits", "0", "--model.bits is 0; it must be from 1 to 1,024"),
        ("--train.decay", "1.5", "--train.decay is 1.5; it must be above 0 and at most 1"),
        ("--model.image-weights", "w.mat", "left out unless --data.image-feature is pixels"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(
    finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, says: str
):
    folder, _ = finished
    assert train.main(command(folder, tmp_path / "run", option, value)) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_pixels_train_cnn_f_from_a_file_that_a_finished_run_does_not_need(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small = functools.partial(CNNF, filters=(2,) * 5, features=6)
    monkeypatch.setattr(gch, "CNNF", small)
    shapes = {"conv1": (11, 11, 3, 2), "conv2": (5, 5, 2, 2), "fc6": (6, 6, 2, 6), "fc7": (1, 1, 6, 6)}
    shapes |= {f"conv{number}": (3, 3, 2, 2) for number in (3, 4, 5)}
    random = np.random.default_rng(0)
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = 0.1 * random.standard_normal(shape).astype(np.float32)
        tensors[f"{name}.bias"] = random.random(shape[-1]).astype(np.float32)
    weights = tmp_path / "cnn-f.safetensors"
    save_file(tensors, weights)

    folder, _ = finished
    experiment = GCHExperiment(
        data=DataConfig(name="folder", root=folder, image_feature="features"),
        model=GCHModel(bits=8, width=8, beacon_width=8, image_weights=weights),
        train=GCHTrain(batch=4),
    )
    with pytest.raises(InputError, match="224 for pixels"):
        validate(dataclasses.replace(experiment, data=DataConfig(image_feature="pixels", resolution=64)))
    corpus = load_corpus(experiment.data, experiment.text)
    pixels = random.integers(0, 255, (len(corpus), 224, 224, 3), dtype=np.uint8)
    system = build(experiment, dataclasses.replace(corpus, images=pixels))
    state = system.initial_state()
    first = np.asarray(state.params["image"]["path"]["convolutions"][0]["kernel"].get_value())
    np.testing.assert_array_equal(first, tensors["conv1.weight"])

    data = dataclasses.replace(system.data, plan=system.plan(0))
    after, metrics = jax.jit(system.step())(state, data, system.key(0))
    assert all(np.isfinite(value) for value in metrics.values())
    moved = np.asarray(after.params["image"]["path"]["convolutions"][0]["kernel"].get_value())
    assert not np.array_equal(first, moved)  # trained from end to end
    weights.unlink()
    system.shape_of_state()
    codes = Retriever.of_system(system, after.params).encode_items(system.inputs, np.arange(3))
    assert codes.images.shape == (3, 1)
    assert codes.bits == 8


def test_every_preset_is_valid_but_for_the_data(monkeypatch: pytest.MonkeyPatch):
    found = {name: experiment for name, (_, experiment) in PRESETS.items() if name.startswith("gch-")}
    assert len(found) == 12
    for experiment in found.values():
        validate(experiment)
        assert mesh_for(experiment).size == len(jax.devices())
