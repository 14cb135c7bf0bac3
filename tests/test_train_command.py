"""The command line as a user meets it: runs, results, resumption, refusals."""

import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from small_folder import write_folder

from gcnxmodal import evaluate, search, train
from gcnxmodal.retrieval.metrics import PAIR_MEASURES

SMALL = [
    *("gin-emoji", "--data.name", "folder", "--data.image-feature", "features"),
    *("--text.words", "40", "--text.neighbours", "4", "--model.dimension", "16"),
    *("--train.positives", "300", "--train.negatives", "300", "--train.batch", "50", "--epochs", "3"),
    *("--train.learning-rate", "0.02"),
]


def command(folder: Path, run_dir: Path, *more: str) -> list[str]:
    return [*SMALL, "--data.root", str(folder), "--run-dir", str(run_dir), *more]


def subprocess_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gcnxmodal.train", *arguments]


def final_weights(run_dir: Path) -> dict[str, np.ndarray]:
    """The newest checkpoint, read by Orbax itself."""
    with warnings.catch_warnings(), ocp.training.Checkpointer(run_dir / "checkpoints") as checkpointer:
        warnings.simplefilter("ignore")  # "Sharding info not provided": on purpose, we want what is there
        return {name: np.asarray(leaf) for name, leaf in checkpointer.load().items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder and a finished run on it."""
    root = tmp_path_factory.mktemp("finished")
    folder, run_dir = write_folder(root / "data"), root / "run"
    assert train.main(command(folder, run_dir)) == 0
    return folder, run_dir


def test_run_folder_holds_what_the_contract_says(finished):
    _, run_dir = finished
    for name in ("config.json", "metrics.jsonl", "results.json", "report.html", "plots", "checkpoints"):
        assert (run_dir / name).exists(), name
    results = json.loads((run_dir / "results.json").read_text())
    for protocol in ("standard", "test@100", "authors"):
        for rows in (results["protocols"], results["yardsticks"]["cca"], results["yardsticks"]["sm"]):
            assert set(rows[protocol]) == {"text_query", "image_query", "average"}
            assert 0 <= rows[protocol]["average"] <= 1
    for direction in ("text_query", "image_query"):
        assert set(results["exact_pair"][direction]) == set(PAIR_MEASURES)
    assert set(results["seconds"]) == {"compile", "train", "evaluate"}
    assert {"seed", "commit", "device", "versions", "provenance"} <= set(results)


def test_training_learns_what_can_be_learnt(finished):
    _, run_dir = finished
    results = json.loads((run_dir / "results.json").read_text())
    history = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    chance = results["chance"]["standard"]["average"]
    assert results["protocols"]["standard"]["average"] > chance + 0.1
    assert history[-1]["standard"] == pytest.approx(results["protocols"]["standard"])


def test_same_seed_gives_the_same_bits_and_another_seed_other_ones(finished, tmp_path: Path):
    folder, run_dir = finished
    assert train.main(command(folder, tmp_path / "again")) == 0
    assert train.main(command(folder, tmp_path / "other", "--seed", "1")) == 0
    first, again, other = (final_weights(d) for d in (run_dir, tmp_path / "again", tmp_path / "other"))
    for name, leaf in first.items():
        np.testing.assert_array_equal(leaf, again[name], err_msg=name)
    assert any((first[name] != other[name]).any() for name in first)


def test_evaluate_repeats_the_results_from_the_checkpoint(finished):
    _, run_dir = finished
    before = json.loads((run_dir / "results.json").read_text())
    assert evaluate.main([str(run_dir)]) == 0
    after = json.loads((run_dir / "results.json").read_text())
    for part in ("protocols", "yardsticks", "exact_pair"):
        assert after[part] == before[part]


@pytest.mark.slow
@pytest.mark.parametrize("pairing", ["balanced", "grid"])
def test_run_killed_at_several_points_ends_with_the_same_bits(folder: Path, tmp_path: Path, pairing: str):
    arguments = ["--train.pairing", pairing, "--train.grid-texts", "6", "--train.grid-images", "12"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train.main(command(folder, whole, *arguments, "--epochs", "40")) == 0
    arguments += ["--epochs", "40"]
    for attempt, lines in enumerate((1, 7, 23)):
        more = ["--resume"] if attempt else []
        process = subprocess.Popen(subprocess_command(*command(folder, killed, *arguments, *more)))
        metrics = killed / "metrics.jsonl"
        while process.poll() is None:
            if metrics.exists() and len(metrics.read_text().splitlines()) >= lines:
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert train.main(command(folder, killed, *arguments, "--resume")) == 0
    expected, found = final_weights(whole), final_weights(killed)
    assert expected.keys() == found.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)
    epochs = [json.loads(line)["epoch"] for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert epochs == list(range(1, 41))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_says_how_to_resume_to_the_same_bits(folder: Path, tmp_path: Path, number: int):
    # Epochs of seconds: the signal comes in the middle of one.
    arguments = ["--train.positives", "300000", "--train.negatives", "300000", "--epochs", "2"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = subprocess.Popen(
        subprocess_command(*command(folder, stopped, *arguments)), stdout=subprocess.PIPE, text=True
    )
    metrics = stopped / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.01)
    time.sleep(0.5)  # into the second epoch
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "To go on:" in output
    line = next(line for line in output.splitlines() if line.strip().startswith("python -m gcnxmodal.train"))
    saved = max(int(path.name) for path in (stopped / "checkpoints").iterdir())
    assert 12_000 < saved < 24_000
    again = subprocess.run([sys.executable, *line.split()[1:]], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"resuming at step {saved:,}" in again.stdout
    assert train.main(command(folder, whole, *arguments)) == 0
    expected, found = final_weights(whole), final_weights(stopped)
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)


def snapshot(path: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(path.rglob("*"))}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The message of a command that must exit with 2."""
    capsys.readouterr()
    assert train.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "Traceback" not in message
    return message


def test_run_folder_with_a_run_is_left_as_it_is(finished, capsys):
    folder, run_dir = finished
    before = snapshot(run_dir)
    message = refused(command(folder, run_dir), capsys)
    assert str(run_dir) in message
    assert "--resume" in message
    assert "--overwrite" in message
    assert snapshot(run_dir) == before


def test_folder_with_other_files_is_never_overwritten(folder: Path, tmp_path: Path, capsys):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    for more in ([], ["--overwrite"], ["--resume"]):
        assert "precious" in refused(command(folder, tmp_path / "precious", *more), capsys)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_overwriting_with_bad_data_keeps_the_old_run(finished, tmp_path: Path, capsys):
    _, run_dir = finished
    before = snapshot(run_dir)
    refused(command(tmp_path / "absent", run_dir, "--overwrite"), capsys)
    assert snapshot(run_dir) == before


def test_resuming_with_another_value_names_the_field(finished, capsys):
    folder, run_dir = finished
    message = refused(command(folder, run_dir, "--resume", "--train.margin", "0.7"), capsys)
    assert "train.margin = 0.6" in message
    assert "0.7" in message


def test_a_changed_corpus_is_not_resumed_but_the_model_keeps_answering(tmp_path: Path, capsys):
    folder, run_dir = write_folder(tmp_path / "data"), tmp_path / "run"
    assert train.main(command(folder, run_dir, "--epochs", "2")) == 0
    question = [str(run_dir), "--text", "word01", "--k", "1"]
    assert search.main(question) == 0
    before = capsys.readouterr().out.splitlines()[-1]
    write_folder(folder, items=93)
    changed = "another corpus: the data have changed since"
    assert changed in refused(command(folder, run_dir, "--epochs", "2", "--resume"), capsys)
    assert search.main(question) == 0
    assert capsys.readouterr().out == f"{before}\n"
    (about,) = run_dir.glob("model/model.json")
    about.write_text(about.read_text().replace('"checkpoint": 24', '"checkpoint": 12'))  # as after a stop
    assert search.main(question) == 0
    out = capsys.readouterr().out
    assert changed in out
    assert "the model of step 12 answers" in out
    assert out.endswith(f"{before}\n")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--data.root", "nowhere"], ["nowhere"]),
        (["--text.neighbours", "40"], ["neighbours", "40"]),
        (["--train.batch", "601"], ["train.batch", "601", "600"]),
        (["--epochs", "0"], ["epochs"]),
        (["--train.learning-rate", "-1"], ["train.learning-rate"]),
        (["--model.dropout", "1"], ["model.dropout"]),
        (["--model.order", "0"], ["model.order"]),
        (["--text.vectors", "file"], ["text.vector-file"]),
        (["--data.validation", "1.5"], ["data.validation"]),
    ],
)
def test_bad_value_is_named_before_anything_is_written(folder, tmp_path, capsys, more, words):
    message = refused(command(folder, tmp_path / "run", *more), capsys)
    for word in words:
        assert word in message, message
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_what_to_try(folder, tmp_path, capsys):
    more = ["--train.learning-rate", "1e30", "--data.image-scale", "raw"]
    assert train.main(command(folder, tmp_path / "run", *more)) == 1
    message = capsys.readouterr().err
    assert "not a number at step" in message
    assert "--train.learning-rate" in message


def test_help_lists_the_presets_with_a_line_each(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for preset in ("gin-emoji", "gin-wikipedia", "gin-nus-wide", "gin-pascal", "gin-tvgraz", "gin-ch-wiki"):
        assert preset in text


def test_no_preset_means_the_embedded_corpus():
    preset, arguments = train.parse(["--seed", "3"])
    assert preset == "joint-emoji"
    assert arguments.experiment.data.name == "emoji"
    assert arguments.experiment.seed == 3


def test_unknown_option_exits_with_2():
    with pytest.raises(SystemExit) as stop:
        train.main(["gin-emoji", "--no-such-option"])
    assert stop.value.code == 2


def test_evaluating_a_folder_without_a_run_exits_with_2(tmp_path: Path, capsys):
    assert evaluate.main([str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err
