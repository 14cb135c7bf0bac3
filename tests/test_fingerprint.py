"""What a checkpoint belongs to: a new option orphans no run, another value does."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import pytest
from small_folder import WORDS

from gcnxmodal import runs, search, train
from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.errors import InputError
from gcnxmodal.systems import PRESETS
from gcnxmodal.systems.pair_config import ModelConfig, PairExperiment, TrainConfig
from gcnxmodal.training.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class LaterTrain(TrainConfig):
    """The options of a later version: one more, with a default."""

    warm_up: int = 0


@dataclasses.dataclass(frozen=True)
class LaterExperiment(PairExperiment):
    train: LaterTrain = LaterTrain()


def arguments(folder: Path, run_dir: Path, kind: type, options: type, **more) -> train.Arguments:
    experiment = kind(
        data=DataConfig(name="folder", root=folder, image_feature="features"),
        text=TextConfig(words=40, neighbours=4),
        model=ModelConfig(dimension=8),
        train=options(pairing="grid", grid_texts=10, grid_images=10),
        epochs=more.pop("epochs"),
    )
    return train.Arguments(experiment, run_dir=run_dir, **more)


def test_a_run_of_before_a_new_option_is_resumed_and_searched(monkeypatch, folder: Path, tmp_path: Path):
    run_dir = tmp_path / "run"
    train.run("gin-folder", arguments(folder, run_dir, PairExperiment, TrainConfig, epochs=1))
    monkeypatch.setitem(runs.EXPERIMENTS, "pairs", runs.TypeAdapter(LaterExperiment))
    monkeypatch.setitem(PRESETS, "gin-folder", ("", LaterExperiment()))
    later = arguments(folder, run_dir, LaterExperiment, LaterTrain, epochs=2, resume=True)
    train.run("gin-folder", later)
    assert json.loads((run_dir / "results.json").read_text())["epochs"] == 2
    assert len(search.run(search.Arguments(run_dir, text=WORDS[0], k=3))) == 3
    other = dataclasses.replace(later.experiment, train=dataclasses.replace(later.experiment.train, warm_up=1))
    with pytest.raises(InputError, match="warm_up = 0 but the command says 1"):
        train.run("gin-folder", dataclasses.replace(later, experiment=other))


def test_checkpoints_with_the_hash_of_older_versions_are_read_if_they_are_of_the_same_corpus(tmp_path: Path):
    state = {"w": jnp.arange(4.0)}

    def opened(model: str, corpus: str) -> Checkpoints:
        return Checkpoints(tmp_path, {"model": model, "corpus": corpus}, report=pytest.fail)

    older = opened("0" * 64, "c")
    older.save(1, state)
    older.close()
    assert opened('{"kind": "pairs"}', "c").restore(state)[1] == 1
    with pytest.raises(InputError, match="another corpus"):
        opened('{"kind": "pairs"}', "d").restore(state)
