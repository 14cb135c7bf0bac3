"""Options that are chosen on held-out items: what may be chosen, and that a run keeps to it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_folder import write_folder

from gcnxmodal import sweep, train, tuning
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import RunFolder
from gcnxmodal.systems import PRESETS

PRESET = PRESETS["joint-folder"][1]
SMALL = ["--data.image-feature", "features", "--text.words", "40", "--model.dimension", "16"]
SMALL += ["--model.members", "2", "--model.image-hidden", "16", "--train.batch", "64"]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few settings and steps."""
    monkeypatch.setattr(tuning, "SETTINGS", {"train.weight_decay": (0.1, 1.0)})
    monkeypatch.setattr(tuning, "MIXES", {name: values[:2] for name, values in tuning.MIXES.items()})
    monkeypatch.setattr(tuning, "EPOCHS", (2, 8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tuning") / "data", items=240)


def arguments_of(folder: Path, run_dir: Path) -> list[str]:
    return ["joint-folder", "--data.root", str(folder), "--run-dir", str(run_dir), *SMALL]


def test_a_run_trains_with_what_was_chosen_and_keeps_it(folder: Path, tmp_path: Path, capsys):
    arguments = arguments_of(folder, tmp_path / "run")
    assert train.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "tuning: chosen" in shown
    assert "Joint as chosen" in shown
    choice = json.loads((tmp_path / "run" / "tuning.json").read_text())
    assert choice["chosen"]["epochs"] == 8
    assert len(choice["settings"]) == 2
    of_run: Any = RunFolder(tmp_path / "run").read_config()[1]
    assert (of_run.epochs, of_run.tune) == (8, "off")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["epochs"] == 8
    assert results["tuning"]["found"] == choice["found"]
    before = Retriever.from_pretrained(tmp_path / "run")._arrays
    assert before[1].keys() >= {"texts_by_sm"}
    # A damaged choice is an error, and the run is not resumed with other values.
    assert train.main([*arguments, "--resume"]) == 0
    (tmp_path / "run" / "tuning.json").write_text("{")
    assert train.main([*arguments, "--resume"]) == 2
    assert "tuning.json: is not JSON" in capsys.readouterr().err


def test_seeds_share_one_choice(folder: Path, tmp_path: Path):
    arguments = [*arguments_of(folder, tmp_path / "sweep"), "--seeds", "2"]
    assert sweep.main(arguments) == 0
    choice = json.loads((tmp_path / "sweep" / "tuning.json").read_text())["chosen"]
    of_members = [
        RunFolder(path).read_config()[1] for path in sorted((tmp_path / "sweep" / "members").iterdir())
    ]
    assert [of.epochs for of in of_members] == 2 * [choice["epochs"]]
    assert sweep.main([*arguments, "--resume"]) == 0


def test_what_the_command_line_changes_is_left_as_it_is(folder: Path):
    data = dataclasses.replace(PRESET.data, root=folder, image_feature="features")
    model = dataclasses.replace(PRESET.model, dimension=16, image_hidden=16, cca=0.4, sm_texts=0.25)
    train_ = dataclasses.replace(PRESET.train, weight_decay=0.5, batch=64)
    experiment = dataclasses.replace(PRESET, data=data, model=model, train=train_, epochs=3)
    choice = tuning.choose(PRESET, experiment, load_corpus(data, experiment.text))
    assert not choice["chosen"].keys() & {"epochs", "model.cca", "model.sm_texts", "train.weight_decay"}
    assert len(choice["settings"]) == 1
    assert choice["settings"][0]["values"] == {}


def test_without_labels_nothing_of_the_classes_is_chosen(folder: Path):
    data = dataclasses.replace(PRESET.data, root=folder, image_feature="features")
    corpus = load_corpus(data, PRESET.text)
    none = dataclasses.replace(corpus, labels=np.zeros((len(corpus), 0), bool), class_names=())
    choice = tuning.choose(PRESET, dataclasses.replace(PRESET, data=data, epochs=2), none)
    assert choice["chosen"].keys() <= {*tuning.SETTINGS, "model.cca"}
    assert choice["found"]["tuned"].keys() == {"recall@10"}


def test_too_few_items_choose_nothing_but_the_epochs(tmp_path: Path, capsys):
    data = dataclasses.replace(PRESET.data, root=write_folder(tmp_path, items=60), image_feature="features")
    choice = tuning.choose(PRESET, PRESET, load_corpus(data, PRESET.text))
    assert choice["chosen"].keys() <= {"epochs"}
    assert "too few to choose by" in capsys.readouterr().out


def test_a_value_stays_unless_another_is_clearly_better():
    assert tuning._best([0.5, 0.504, 0.2], items=400) == 0
    assert tuning._best([0.5, 0.51, 0.506], items=400) == 1


def test_mixes_are_those_of_the_model(folder: Path):
    """The search scores what the trained model would: the same posteriors and the same cosines."""
    data = dataclasses.replace(PRESET.data, root=folder, image_feature="features")
    shares = {
        "sm_texts": 0.5,
        "sm_images": 0.3,
        "cca": 0.2,
        "text_temperature": 0.5,
        "image_temperature": 2.0,
    }
    alone = {"sm_texts": 0.0, "sm_images": 0.0, "cca": 0.0, "text_temperature": 1.0, "image_temperature": 1.0}
    model = dataclasses.replace(PRESET.model, dimension=16, image_hidden=16, members=1, class_share=0.5)
    experiment = dataclasses.replace(
        PRESET, data=data, model=dataclasses.replace(model, **alone), epochs=2, tune="off"
    )
    held = load_corpus(data, experiment.text).validation(0.2, 0)
    inputs, [parts] = tuning._trained(experiment, [{}], held)
    fixed = tuning._by_yardsticks(inputs, held.splits["test"], experiment.model)
    found = tuning._mixed(parts, fixed, {f"model.{name}": value for name, value in shares.items()})
    whole = dataclasses.replace(experiment, model=dataclasses.replace(model, **shares))
    _, [expected] = tuning._trained(whole, [{}], held)
    for mixed, of_model in zip(found.classes, expected.classes, strict=True):
        classes = of_model[:, -mixed.shape[1] :]  # behind CCA's part
        np.testing.assert_allclose(mixed, classes, atol=1e-4)


def test_a_run_whose_choice_is_lost_is_refused(tmp_path: Path):
    folder = RunFolder(tmp_path)
    folder.start("joint-folder", PRESET, overwrite=False)
    with pytest.raises(InputError, match=r"tuning\.json: cannot be read"):
        folder.read_config()
