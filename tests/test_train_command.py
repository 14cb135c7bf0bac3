"""The command line as a user meets it: runs, results, resumption, refusals."""

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from orbax.checkpoint import v1 as ocp
from small_folder import write_folder

from gcnxmodal import evaluate, evaluation, search, train
from gcnxmodal.retrieval.metrics import PAIR_MEASURES
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import RunFolder
from gcnxmodal.stores import files

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


def copy_of(finished, tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """A data folder, a copy of its finished run, and the results."""
    folder, run_dir = finished
    copy = shutil.copytree(run_dir, tmp_path / "copy")
    return folder, copy, json.loads((copy / "results.json").read_text())


def damage(checkpoint: Path) -> None:
    for file in checkpoint.rglob("*"):
        if file.is_file() and file.parent.name == "d":  # the arrays
            os.truncate(file, 0)


def test_damaged_newest_checkpoint_is_written_anew_by_resume(finished, tmp_path: Path):
    folder, run_dir, before = copy_of(finished, tmp_path)
    damage(run_dir / "checkpoints" / "36")
    (run_dir / "checkpoints" / "99").mkdir()
    assert train.main(command(folder, run_dir, "--resume")) == 0
    after = json.loads((run_dir / "results.json").read_text())
    for part in ("protocols", "epochs", "step"):
        assert after[part] == before[part]
    assert (after["epochs"], after["step"]) == (3, 36)
    for name, leaf in final_weights(finished[1]).items():
        np.testing.assert_array_equal(final_weights(run_dir)[name], leaf, err_msg=name)
    assert {"36", "36.damaged", "99.damaged"} <= {path.name for path in (run_dir / "checkpoints").iterdir()}
    assert evaluate.main([str(run_dir)]) == 0
    assert Retriever.from_pretrained(run_dir).about["checkpoint"] == 36


def test_numbers_of_an_earlier_checkpoint_do_not_replace_those_of_a_later_one(finished, tmp_path, capsys):
    _, run_dir, before = copy_of(finished, tmp_path)
    damage(run_dir / "checkpoints" / "36")
    assert evaluate.main([str(run_dir)]) == 2
    said = capsys.readouterr().err
    assert "results.json: is of 3 epochs, but the newest checkpoint that can be read is of 2; resume" in said
    assert json.loads((run_dir / "results.json").read_text()) == before
    (run_dir / "results.json").unlink()
    assert evaluate.main([str(run_dir)]) == 0
    after = json.loads((run_dir / "results.json").read_text())
    assert (after["epochs"], after["step"]) == (2, 24)
    # The model is still that of the end, and a search does not go back to an earlier one.
    shutil.rmtree(run_dir / "checkpoints" / "36")
    shutil.copytree(finished[1] / "model", run_dir / "model", dirs_exist_ok=True)
    assert Retriever.from_pretrained(run_dir, report=pytest.fail).about["checkpoint"] == 36


@pytest.mark.parametrize(
    ("lines", "lacks"), [([], "3 of the 3 epochs that the checkpoint has, the first is 1"), ([0, 2], "1 of")]
)
def test_missing_lines_of_metrics_are_told(finished, tmp_path: Path, capsys, lines: list[int], lacks: str):
    folder, run_dir, before = copy_of(finished, tmp_path)
    metrics = run_dir / "metrics.jsonl"
    whole = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(whole[line] for line in lines))
    assert evaluate.main([str(run_dir)]) == 0
    assert f"metrics.jsonl: lacks {lacks}" in capsys.readouterr().out
    assert json.loads((run_dir / "results.json").read_text())["epochs"] == before["epochs"] == 3
    assert train.main(command(folder, run_dir, "--resume", "--epochs", "4")) == 0
    assert f"metrics.jsonl: lacks {lacks}" in capsys.readouterr().out
    assert json.loads((run_dir / "results.json").read_text())["epochs"] == 4
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == [
        *(line + 1 for line in lines),
        4,
    ]


def test_a_kill_while_old_lines_of_metrics_are_dropped_loses_none(finished, tmp_path: Path, monkeypatch):
    _, run_dir, _ = copy_of(finished, tmp_path)
    run, before = RunFolder(run_dir), RunFolder(run_dir).history()
    _, experiment = run.read_config()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run.rewind(2, experiment, pytest.fail)
    assert run.history() == before
    run.rewind(2, experiment, pytest.fail)
    assert run.history() == before[:2]


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


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_full_at(name: str, patch: pytest.MonkeyPatch) -> None:
    """Let whatever writes the file or folder of this name find no room."""
    replace, open_ = os.replace, Path.open
    targets = {"plots": (Figure, "savefig"), "model": (files, "save_file")}

    def replacing(source: Path, target: Path) -> None:
        (full_disk if Path(target).name == name else replace)(source, target)

    def opening(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        return (full_disk if path.name == name and "a" in mode else open_)(path, mode, *arguments, **options)

    patch.setattr(os, "replace", replacing)
    patch.setattr(Path, "open", opening)
    if name in targets:
        patch.setattr(*targets[name], full_disk)


@pytest.mark.parametrize(
    "name", ["config.json", "metrics.jsonl", "model", "results.json", "plots", "report.html"]
)
def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_room(
    finished, tmp_path, monkeypatch, capsys, name
):
    folder, run_dir = finished[0], tmp_path / "run"
    with monkeypatch.context() as full:
        disk_full_at(name, full)
        message = refused(command(folder, run_dir), capsys)
    assert f"{run_dir / name}: cannot be written (No space left on device)" in message
    assert "make room" in message
    assert train.main(command(folder, run_dir, *([] if name == "config.json" else ["--resume"]))) == 0
    found, expected = (json.loads((path / "results.json").read_text()) for path in (run_dir, finished[1]))
    assert found["protocols"] == expected["protocols"]
    assert (run_dir / "report.html").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its file is left open
def test_a_full_disk_ends_the_curves_for_tensorboard_and_not_the_run(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tensorboardX.event_file_writer.EventsWriter.write_event", full_disk)
    assert train.main(command(finished[0], tmp_path / "run", "--epochs", "1")) == 0
    assert capsys.readouterr().out.count("the curves for TensorBoard end here") == 1


def test_the_curves_for_tensorboard_are_those_of_the_metrics(finished):
    _, run_dir = finished
    (events,) = (run_dir / "tensorboard").iterdir()
    written = events.read_bytes()
    assert all(name in written for name in (b"loss", b"pairs_per_second", b"standard/text_query"))
    assert written.count(b"loss") == 3


def stop_by(number: int) -> Callable[..., None]:
    def stop(*_: object, **__: object) -> None:
        if signal.getsignal(number) is signal.SIG_IGN:  # as in a job that a shell started in the background
            signal.signal(number, signal.default_int_handler)
        os.kill(os.getpid(), number)
        time.sleep(10)  # the signal comes before that is over

    return stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_data_are_read_writes_nothing(finished, tmp_path, monkeypatch, capsys, number):
    monkeypatch.setattr(train, "load_corpus", stop_by(number))
    assert train.main(command(finished[0], tmp_path / "run")) == 128 + number
    assert capsys.readouterr().err == "stopped; the same command starts again\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("number", "during"), [(signal.SIGTERM, "measure"), (signal.SIGINT, "write_report")])
def test_a_stop_after_training_says_what_is_saved_and_resuming_makes_the_rest(
    finished, tmp_path, monkeypatch, capsys, number, during
):
    folder, run_dir = finished[0], tmp_path / "run"
    with monkeypatch.context() as stopping:
        stopping.setattr(evaluation, during, stop_by(number))
        assert train.main(command(folder, run_dir)) == 128 + number
    first, line = capsys.readouterr().err.splitlines()
    assert first == "stopped, saved at step 36. To go on:"
    assert (run_dir / "results.json").exists() == (during == "write_report")
    assert train.main(shlex.split(line)[3:]) == 0
    assert "resuming at step 36" in capsys.readouterr().out
    assert (run_dir / "report.html").exists()


@pytest.mark.parametrize(("form", "code"), [("gcnxmodal.search", -signal.SIGINT), ("gcnxmodal search", 130)])
def test_a_stop_while_modules_are_imported_prints_no_traceback(tmp_path, form, code):
    (tmp_path / "tyro.py").write_text("raise KeyboardInterrupt")
    path = os.pathsep.join([str(tmp_path), str(Path(train.__file__).parents[1])])
    run = subprocess.run(
        [sys.executable, "-m", *form.split(), "RUN"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (run.stderr, run.returncode) == ("stopped; the same command starts again\n", code)


@pytest.mark.parametrize("preset", ["gin-emoji", "gch-emoji-paper"])
def test_features_that_are_all_equal_leave_baselines_out_with_their_reason(folder, tmp_path, capsys, preset):
    np.savez(folder / "features.npz", images=np.ones((90, 12), np.float32))
    options = {
        "gin-emoji": SMALL[1:],
        "gch-emoji-paper": [*SMALL[1:7], "--model.width", "16", "--train.batch", "50", "--epochs", "1"],
    }[preset]
    run_dir = tmp_path / "run"
    words = [preset, *options, "--data.root", str(folder), "--run-dir", str(run_dir), "--epochs", "1"]
    assert train.main(words) == 0
    left_out = json.loads((run_dir / "results.json").read_text())["left_out"]
    assert any(reason.startswith("CCA") and "cannot be fitted" in reason for reason in left_out.values())
    assert "cannot be fitted" in capsys.readouterr().out
    assert (run_dir / "report.html").exists()
