"""`--stop best`: the epoch is chosen on held-out training items, and every later command takes its model."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from small_folder import WORDS, write_folder
from test_train_command import final_weights

from gcnxmodal import evaluate, evaluation, stopping, sweep, train
from gcnxmodal.config import DataConfig, TextConfig, experiment_dict, validate
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import RunFolder
from gcnxmodal.systems import PRESETS, build
from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.sharding import named_leaves

EPOCHS = 4
SMALL = ["--text.words", "40", "--text.neighbours", "4", "--model.dimension", "8"]
GIN = [*SMALL, "--train.grid-texts", "10", "--train.grid-images", "10", "--train.learning-rate", "0.1"]
JOINT = [*SMALL, "--model.text", "linear", "--model.members", "1", "--train.average", "0.9"]
JOINT += ["--tune", "off"]


def gin(folder: Path, run_dir: Path, *more: str) -> list[str]:
    where = ["--data.root", str(folder), "--data.image-feature", "features", "--run-dir", str(run_dir)]
    return ["gin-folder", *where, *GIN, "--stop", "best", *more]


def lines_of(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def results_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "results.json").read_text())


def best_of(lines: list[dict]) -> dict:
    return lines[int(np.argmax([line["validation"]["average"] for line in lines]))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), items=240)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with the checkpoints of all its epochs."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "Checkpoints", functools.partial(Checkpoints, keep=20))
        assert train.main(gin(data, run_dir, "--epochs", str(EPOCHS))) == 0
    return run_dir


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch):
    """Runs end without baselines and report."""
    monkeypatch.setattr(evaluation, "measure_baselines", lambda corpus, bits=None: {})
    monkeypatch.setattr(evaluation, "write_report", lambda *arguments, **options: None)


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let the held-out items score so, epoch by epoch."""
    told = iter(scores)

    def score(system, params) -> dict:
        return {"validation": dict.fromkeys(("text_query", "image_query", "average"), next(told))}

    monkeypatch.setattr(train, "measured_on_the_way", score)


def test_the_model_of_a_run_is_of_the_best_epoch_and_the_test_items_are_measured_once(finished: Path):
    lines, results = lines_of(finished), results_of(finished)
    assert len(lines) == EPOCHS
    assert not any("standard" in line for line in lines)
    best = best_of(lines)
    assert results["chosen"] == {
        **{"epoch": best["epoch"], "of": EPOCHS, "items": 15, "measure": "standard"},
        **best["validation"],
    }
    retriever = Retriever.from_pretrained(finished)
    assert retriever.about["checkpoint"] == best["step"]
    splits = [item["splits"] for item in retriever.items]
    assert splits.count(["validation"]) == 15
    assert splits.count(["test"]) == 80
    assert {"validation", "train"} not in map(set, splits)
    page = (finished / "report.html").read_text()
    assert f"chosen epoch {best['epoch']} of {EPOCHS}: MAP " in page
    assert "MAP of held-out training items by epoch" in page


def test_the_weights_are_those_of_a_run_that_was_as_long(finished: Path, data: Path, tmp_path, briefly):
    best = best_of(lines_of(finished))
    assert train.main(gin(data, tmp_path / "short", "--epochs", str(best["epoch"]))) == 0
    last, kept = final_weights(tmp_path / "short"), final_weights(finished)
    names = [name for name in last if name.startswith("params.")]
    assert names
    for name in names:
        np.testing.assert_array_equal(last[name], kept[f"best.{name}"], err_msg=name)


def test_evaluate_repeats_the_results(finished: Path):
    before = results_of(finished)
    assert evaluate.main([str(finished)]) == 0
    after = results_of(finished)
    for part in ("protocols", "exact_pair", "yardsticks", "chance", "chosen"):
        assert after[part] == before[part]


def test_a_run_killed_after_any_epoch_ends_with_the_same_bits_and_choice(
    finished: Path, data: Path, tmp_path: Path, briefly
):
    per_epoch = lines_of(finished)[0]["step"]
    for epoch in range(1, EPOCHS):
        killed = tmp_path / str(epoch)
        shutil.copytree(finished, killed)
        for name in ("results.json", "report.html"):
            (killed / name).unlink()
        shutil.rmtree(killed / "model")
        for later in range(epoch + 1, EPOCHS + 1):
            shutil.rmtree(killed / "checkpoints" / str(later * per_epoch))
        # The line of the epoch whose checkpoint was not complete is there already.
        kept = (killed / "metrics.jsonl").read_text().splitlines(keepends=True)[: epoch + 1]
        (killed / "metrics.jsonl").write_text("".join(kept))
        assert RunFolder(killed).applied_step() == best_of(lines_of(finished)[:epoch])["step"]
        assert train.main(gin(data, killed, "--epochs", str(EPOCHS), "--resume")) == 0
        assert results_of(killed)["chosen"] == results_of(finished)["chosen"]
        assert results_of(killed)["protocols"] == results_of(finished)["protocols"]
        expected, found = final_weights(finished), final_weights(killed)
        assert expected.keys() == found.keys()
        for name, leaf in expected.items():
            np.testing.assert_array_equal(found[name], leaf, err_msg=name)


def test_a_choice_without_the_lines_that_it_is_made_by_is_refused(finished, data, tmp_path, capsys):
    run_dir = shutil.copytree(finished, tmp_path / "run")
    (run_dir / "metrics.jsonl").write_text("")
    assert train.main(gin(data, run_dir, "--epochs", str(EPOCHS + 1), "--resume")) == 2
    said = capsys.readouterr().err
    assert f"metrics.jsonl: lacks {EPOCHS} of the {EPOCHS} epochs" in said
    assert "by which --stop best chooses" in said


def test_patience_ends_a_run_and_more_of_it_goes_on_from_the_newest_epoch(
    data: Path, tmp_path: Path, monkeypatch, capsys, briefly
):
    run_dir = tmp_path / "run"
    scripted(monkeypatch, [0.2, 0.5, 0.5, 0.4, 0.3, 0.6, 0.1])
    arguments = gin(data, run_dir, "--epochs", "6", "--checkpoint-every", "5")
    assert train.main([*arguments, "--patience", "2"]) == 0
    said = capsys.readouterr().out
    assert "ended after epoch 4: in the last 2 measurements no epoch was better than epoch 2" in said
    assert "chosen epoch 2 of 4: MAP .500 on 15 held-out training items" in said
    step = lines_of(run_dir)[0]["step"]
    assert RunFolder(run_dir).checkpoint_steps() == [4 * step]
    assert train.main([*arguments, "--patience", "2", "--resume"]) == 0
    assert len(lines_of(run_dir)) == 4
    assert train.main([*arguments, "--patience", "0", "--resume"]) == 0
    said = capsys.readouterr().out
    assert f"resuming at step {4 * step}" in said
    assert [line["epoch"] for line in lines_of(run_dir)] == [1, 2, 3, 4, 5, 6]
    assert results_of(run_dir)["chosen"]["epoch"] == 6


def test_members_of_a_sweep_choose_and_end_each_for_itself_though_it_is_killed(
    data: Path, tmp_path: Path, monkeypatch, briefly
):
    run_dir = tmp_path / "sweep"
    where = ["--data.root", str(data), "--data.image-feature", "features", "--run-dir", str(run_dir)]
    stop = ["--stop", "best", "--patience", "2", "--epochs", "5", "--train.batch", "40"]
    arguments = ["joint-folder", *where, *JOINT, *stop, "--seeds", "2", "--no-member-reports"]
    told = {0: [0.5, 0.4, 0.3], 1: [0.1, 0.2, 0.3, 0.2, 0.1]}
    members = {seed: run_dir / "members" / f"seed={seed}" for seed in told}
    kill, params = [True], {}

    def score(system, trained) -> dict:
        seed = system.experiment.seed
        epoch = len(RunFolder(members[seed]).history())
        if epoch == 3 and kill:
            kill.clear()
            raise RuntimeError("killed")
        params[seed, epoch + 1] = named_leaves(trained)
        return {"validation": dict.fromkeys(("text_query", "image_query", "average"), told[seed][epoch])}

    monkeypatch.setattr("gcnxmodal.sweeps.measured_on_the_way", score)
    with pytest.raises(RuntimeError, match="killed"):
        sweep.main(arguments)
    assert sweep.main([*arguments, "--resume"]) == 0
    for seed, chosen in ((0, 1), (1, 3)):
        results, lines, kept = (of(members[seed]) for of in (results_of, lines_of, final_weights))
        assert (results["chosen"]["epoch"], results["chosen"]["of"]) == (chosen, len(told[seed]))
        assert Retriever.from_pretrained(members[seed]).about["checkpoint"] == lines[chosen - 1]["step"]
        for name, leaf in params[seed, chosen].items():
            np.testing.assert_array_equal(kept[f"best.params.{name}"], leaf, err_msg=name)
    [row] = results_of(run_dir)["summary"]
    assert row["chosen"] == {"seed=0": 1, "seed=1": 3}
    assert "(epoch 3)" in (run_dir / "report.html").read_text()
    before = results_of(members[1])
    assert evaluate.main([str(members[1])]) == 0
    assert results_of(members[1])["protocols"] == before["protocols"]


# Without training.


@pytest.fixture(scope="module")
def experiment(data: Path):
    preset = PRESETS["joint-folder"][1]
    return dataclasses.replace(
        preset,
        data=DataConfig(name="folder", root=data, image_feature="features"),
        text=TextConfig(words=40),
        model=dataclasses.replace(preset.model, text="linear", dimension=8),
        train=dataclasses.replace(preset.train, batch=40),
    )


@pytest.fixture(scope="module")
def corpus(experiment) -> Corpus:
    return load_corpus(experiment.data, experiment.text)


def test_without_it_nothing_changes(experiment, corpus):
    assert experiment_dict(experiment)["stop"] == "last"
    plain, choosing = (build(dataclasses.replace(experiment, stop=stop), corpus) for stop in ("last", "best"))
    assert set(plain.inputs.corpus.splits) == {"train", "test"}
    assert plain.initial_state().best is None
    assert plain.fingerprint()["model"] == choosing.fingerprint()["model"]
    assert plain.fingerprint()["corpus"] != choosing.fingerprint()["corpus"]
    assert "stop" not in plain.fingerprint()["model"]
    assert int(choosing.initial_state().best.step) == 0


def test_no_buffer_of_the_first_state_is_there_twice(experiment, corpus):
    """The state is donated to the compiled loop."""
    average = dataclasses.replace(experiment.train, average=0.9)
    system = build(dataclasses.replace(experiment, train=average, stop="best"), corpus)
    leaves = jax.tree.leaves(system.initial_state())
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_the_held_out_items_are_whole_groups_of_training_items(corpus):
    grouped = dataclasses.replace(
        corpus, groups=np.arange(len(corpus)) // 2, splits={"retrieval": np.arange(160), **corpus.splits}
    )
    held_out = grouped.with_validation(0.2, 0)
    assert set(held_out.splits) == {"train", "validation", "test", "retrieval"}
    train_rows, rows = held_out.splits["train"], held_out.splits["validation"]
    assert sorted([*train_rows, *rows]) == sorted(corpus.splits["train"])
    assert not set(grouped.groups[train_rows]) & set(grouped.groups[rows])
    for name in ("test", "retrieval"):
        np.testing.assert_array_equal(held_out.splits[name], grouped.splits[name])
    np.testing.assert_array_equal(rows, grouped.validation(0.2, 0).splits["test"])
    again = held_out.without_validation()
    assert {name: split.tolist() for name, split in again.splits.items()} == {
        name: split.tolist() for name, split in grouped.splits.items()
    }
    splits = {**held_out.splits, "train": np.append(train_rows, rows[0])}
    with pytest.raises(InputError, match=r"is in train and in validation \(1 such rows\)"):
        dataclasses.replace(held_out, splits=splits)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stop": "best", "evaluate_every": 0}, "--evaluate-every is 0; it must be from 1 to the epochs"),
        ({"stop": "best", "evaluate_every": 61}, r"--evaluate-every is 61; .*\(60\)"),
        ({"patience": 3}, "--patience is 3; it must be left out without --stop best"),
        ({"stop_measure": "standard"}, "--stop-measure is standard; .* without --stop best"),
        ({"stop": "best", "stop_fraction": 0.0}, "--stop-fraction is 0.0; it must be above 0 and below 1"),
        ({"stop": "first"}, "--stop is first; it must be one of last, best"),
    ],
)
def test_options_that_do_not_go_together_are_refused(experiment, values, message):
    with pytest.raises(InputError, match=message):
        validate(dataclasses.replace(experiment, **values))


def test_too_few_held_out_items_are_refused(experiment, corpus):
    bare = dataclasses.replace(corpus, labels=corpus.labels[:, :0], class_names=())
    best = dataclasses.replace(experiment, stop="best")

    def held_out(corpus: Corpus, **values) -> Corpus:
        return stopping.hold_out(dataclasses.replace(best, **values), corpus)

    with pytest.raises(InputError, match=r"--stop-measure is standard, but .* has no labels"):
        held_out(bare, stop_measure="standard")
    with pytest.raises(InputError, match=r"--stop-fraction is 0\.05, which holds out 8 .* ten or fewer"):
        held_out(bare, stop_fraction=0.05)
    with pytest.raises(InputError, match=r"a fraction of 0\.001 of its 160 training items is none"):
        held_out(corpus, stop_fraction=0.001)
    assert len(held_out(bare).splits["validation"]) == 16
    assert stopping.measure_of(best, bare) == "recall@10"
    assert stopping.measure_of(best, corpus) == "standard"


def test_words_of_the_held_out_items_stay_in_the_vocabulary(corpus):
    assert set(corpus.with_validation(0.3, 0).vocabulary.words) == set(WORDS)
