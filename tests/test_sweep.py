"""Many models trained together: the same models as apart, and a sweep as a user meets it."""

import dataclasses
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_folder import write_folder
from test_train_command import final_weights

from gcnxmodal import evaluate, evaluation, sweep, train
from gcnxmodal.errors import InputError
from gcnxmodal.runs import RunFolder
from gcnxmodal.sweep import parse_over
from gcnxmodal.sweeps import command_line, expand, groups
from gcnxmodal.systems import PRESETS
from gcnxmodal.systems.gin import GINExperiment

SMALL = [
    *("gin-emoji", "--data.name", "folder", "--data.image-feature", "features"),
    *("--text.words", "40", "--text.neighbours", "4", "--model.dimension", "16"),
    *("--train.positives", "300", "--train.negatives", "300", "--train.batch", "50", "--epochs", "3"),
    *("--train.learning-rate", "0.02"),
]
OVER = ["--over", "balance=0.2,0.5", "--over", "train.decay=1,0.5", "--seeds", "2"]


def command(folder: Path, run_dir: Path, *more: str) -> list[str]:
    return [*SMALL, "--data.root", str(folder), "--run-dir", str(run_dir), *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder and a finished sweep on it."""
    root = tmp_path_factory.mktemp("sweep")
    folder, run_dir = write_folder(root / "data"), root / "sweep"
    assert sweep.main(command(folder, run_dir, *OVER)) == 0
    return folder, run_dir


def test_members_trained_together_are_the_models_trained_apart(finished, tmp_path: Path):
    folder, run_dir = finished
    for balance, decay, seed in ((0.2, 1.0, 0), (0.5, 0.5, 1)):
        apart = tmp_path / f"{balance}-{seed}"
        own = ["--train.balance", str(balance), "--train.decay", str(decay), "--seed", str(seed)]
        assert train.main(command(folder, apart, *own)) == 0
        together = run_dir / "members" / f"balance={balance},decay={decay},seed={seed}"
        weights, found_weights = final_weights(apart), final_weights(together)
        for name in weights:
            # A constant added to every score changes no loss: Adam makes steps of its gradient's rounding.
            if "score_head.bias" in name:
                continue
            leaf, found = weights[name], found_weights[name]
            np.testing.assert_allclose(found, leaf, rtol=1e-4, atol=1e-5, err_msg=name)
        results = [json.loads((path / "results.json").read_text()) for path in (apart, together)]
        for protocol, row in results[0]["protocols"].items():
            assert results[1]["protocols"][protocol] == pytest.approx(row, abs=2e-3)
        assert results[0]["yardsticks"] == results[1]["yardsticks"]


def test_models_of_different_depth_are_one_program_and_the_models_trained_apart(tmp_path: Path, capsys):
    folder = write_folder(tmp_path / "data")
    options = [
        *("--train.pairing", "grid", "--train.grid-texts", "10", "--train.grid-images", "12"),
        *("--model.attention-scale", "half-d", "--train.l2", "0.01", "--evaluate-every", "1"),
    ]

    depths = ["--over", "attention_layers=0,1,3"]
    assert (
        sweep.main(["scanet-emoji-paper", *command(folder, tmp_path / "sweep", *options, *depths)[1:]]) == 0
    )
    assert "3 models, 1 program" in capsys.readouterr().out
    for depth in (0, 1, 3):
        apart = tmp_path / str(depth)
        own = ["--model.attention-layers", str(depth)]
        assert train.main(["scanet-emoji-paper", *command(folder, apart, *options, *own)[1:]]) == 0
        member = tmp_path / "sweep" / "members" / f"attention_layers={depth},seed=0"
        weights, found_weights = final_weights(apart), final_weights(member)
        assert set(weights) == set(found_weights)
        for name, leaf in weights.items():
            if "score_head.bias" not in name and "totals.mean" not in name:  # as above
                np.testing.assert_allclose(found_weights[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
        results = [json.loads((path / "results.json").read_text()) for path in (apart, member)]
        for protocol, row in results[0]["protocols"].items():
            assert results[1]["protocols"][protocol] == pytest.approx(row, abs=5e-3)


def test_members_differ_by_value_and_by_seed(finished):
    _, run_dir = finished
    members = (run_dir / "members").iterdir()
    weights = [final_weights(path)["params.text_head.kernel.value"] for path in members]
    assert len(weights) == 8
    for i, one in enumerate(weights):
        assert all((one != other).any() for other in weights[:i])


def test_summary_is_mean_and_deviation_over_the_members_seeds(finished):
    _, run_dir = finished
    summary = json.loads((run_dir / "results.json").read_text())["summary"]
    assert [row["setting"] for row in summary] == [
        {"train.balance": balance, "train.decay": decay} for balance in (0.2, 0.5) for decay in (1.0, 0.5)
    ]
    for row in summary:
        members = [json.loads((run_dir / "members" / m / "results.json").read_text()) for m in row["members"]]
        values = [found["protocols"]["standard"]["average"] for found in members]
        assert len(values) == 2
        found = row["protocols"]["standard"]["average"]
        assert found == pytest.approx({"mean": np.mean(values), "std": np.std(values)})


def test_each_member_is_a_run_that_can_be_evaluated(finished):
    _, run_dir = finished
    member = run_dir / "members" / "balance=0.2,decay=1.0,seed=1"
    before = json.loads((member / "results.json").read_text())
    assert [json.loads(line)["epoch"] for line in (member / "metrics.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
    ]
    assert evaluate.main([str(member)]) == 0
    after = json.loads((member / "results.json").read_text())
    assert after["protocols"] == before["protocols"]
    assert not (run_dir / "checkpoints" / "0").exists()


def test_resuming_a_finished_sweep_trains_nothing(finished):
    folder, run_dir = finished
    before = {path: path.stat().st_mtime_ns for path in run_dir.glob("members/*/results.json")}
    assert sweep.main(command(folder, run_dir, *OVER, "--resume")) == 0
    assert {path: path.stat().st_mtime_ns for path in run_dir.glob("members/*/results.json")} == before


def test_a_sweep_killed_while_its_members_are_made_is_resumed(folder: Path, tmp_path: Path, monkeypatch):
    started = []

    def killed(self, *arguments, **options) -> None:
        started.append(self.path)
        raise RuntimeError("killed")

    arguments = command(folder, tmp_path / "sweep", "--seeds", "2", "--epochs", "1", "--no-member-reports")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "start", killed)
        with pytest.raises(RuntimeError, match="killed"):
            sweep.main(arguments)
    assert len(started) == 1
    assert sweep.main([*arguments, "--resume"]) == 0
    assert evaluate.main([str(tmp_path / "sweep" / "members" / "seed=1")]) == 0


def test_sweep_is_not_overwritten_and_not_resumed_with_other_values(finished, capsys):
    folder, run_dir = finished
    for more, word in (
        (OVER, "--overwrite"),
        ([*OVER, "--resume", "--model.dimension", "8"], "model.dimension"),
    ):
        assert sweep.main(command(folder, run_dir, *more)) == 2
        assert word in capsys.readouterr().err


def test_train_with_seeds_is_a_sweep_over_seeds(folder: Path, tmp_path: Path, capsys):
    assert train.main(command(folder, tmp_path / "run", "--seeds", "3", "--epochs", "1")) == 0
    assert "±" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "run" / "members").iterdir()} == {"seed=0", "seed=1", "seed=2"}


def test_fields_that_change_shapes_train_in_programs_of_their_own(folder: Path, tmp_path: Path):
    more = ["--over", "dimension=8,16", "--over", "filters=[1],[2,2]", "--epochs", "1"]
    assert sweep.main(command(folder, tmp_path / "run", *more)) == 0
    shapes = {
        path.name: final_weights(path)["params.text_head.kernel.value"].shape
        for path in (tmp_path / "run" / "members").iterdir()
    }
    assert shapes == {
        "dimension=8,filters=1,seed=0": (40, 8),
        "dimension=8,filters=2x2,seed=0": (80, 8),
        "dimension=16,filters=1,seed=0": (40, 16),
        "dimension=16,filters=2x2,seed=0": (80, 16),
    }


def test_a_member_whose_loss_is_not_a_number_does_not_stop_the_others(folder: Path, tmp_path: Path, capsys):
    more = ["--over", "learning-rate=0.02,1e30", "--data.image-scale", "raw"]
    assert sweep.main(command(folder, tmp_path / "run", *more)) == 0
    assert "learning_rate=1e+30,seed=0: the loss is not a number" in capsys.readouterr().out
    good, bad = json.loads((tmp_path / "run" / "results.json").read_text())["summary"]
    assert good["diverged"] == []
    assert bad["diverged"] == bad["members"]
    assert bad["protocols"] == {}
    assert "loss was not a number" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_stopped_sweep_resumes_to_the_same_bits(folder: Path, tmp_path: Path):
    long = [
        "--over",
        "balance=0.2,0.5",
        "--train.positives",
        "300000",
        "--train.negatives",
        "300000",
        "--epochs",
        "2",
    ]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    line = [sys.executable, "-m", "gcnxmodal.sweep", *command(folder, stopped, *long)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    metrics = stopped / "members" / "balance=0.2,seed=0" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "python -m gcnxmodal.sweep" in output
    again = subprocess.run([*line, "--resume"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "resuming at step" in again.stdout
    assert sweep.main(command(folder, whole, *long)) == 0
    for member in ("balance=0.2,seed=0", "balance=0.5,seed=0"):
        expected, found = (final_weights(path / "members" / member) for path in (whole, stopped))
        for name, leaf in expected.items():
            np.testing.assert_array_equal(found[name], leaf, err_msg=name)


def test_short_names_are_found_and_unclear_ones_refused():
    base = GINExperiment()
    assert parse_over(base, ["margin=0.5,0.6"]) == {"train.margin": [0.5, 0.6]}
    assert parse_over(base, ["image-scale=raw,unit"]) == {"data.image_scale": ["raw", "unit"]}
    assert parse_over(base, ["model.filters=[1,1],[4,4]"]) == {"model.filters": [[1, 1], [4, 4]]}
    for word in ("no_such=1", "seed=1,2", "epochs=3", "margin", "margin=", "e=1"):
        with pytest.raises(InputError, match=word):
            parse_over(base, [word])


def test_values_that_a_field_cannot_have_are_refused():
    for over, words in (
        ({"train.balance": ["wide"]}, "train.balance is wide"),
        ({"train.balance": [-1.0]}, "train.balance is -1"),
        ({"train.balance": [0.5, 0.5]}, "same"),
    ):
        with pytest.raises(InputError, match=words):
            expand(GINExperiment(), over, 1)


def test_groups_hold_members_of_one_shape():
    members = expand(GINExperiment(), {"model.dimension": [8, 16], "train.balance": [0.5, 0.6]}, 3)
    assert len(members) == 12
    assert [len(group) for group in groups(members)] == [6, 6]
    assert {member.experiment.model.dimension for member in groups(members)[0]} == {8}
    assert [member.experiment.seed for member in members[:3]] == [0, 1, 2]


def test_the_line_in_a_sweeps_report_makes_the_same_sweep():
    preset, experiment = "gin-emoji", PRESETS["gin-emoji"][1]
    over = {"data.image_scale": ["raw", "unit"], "model.filters": [[1, 1], [4, 4]], "train.l2": [0, 0.5]}
    line = command_line(preset, dataclasses.replace(experiment, epochs=3), over, 2, member_reports=False)
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "gcnxmodal.sweep"]
    again, parsed = sweep.parse(words[3:])
    assert (again, parsed.experiment.epochs, parsed.seeds, parsed.member_reports) == (preset, 3, 2, False)
    assert parse_over(parsed.experiment, parsed.over) == over


def test_help_says_what_may_be_swept(capsys):
    with pytest.raises(SystemExit):
        sweep.main(["gin-emoji", "--help"])
    assert "--over" in capsys.readouterr().out


def test_resuming_a_sweep_that_lacks_only_reports_makes_them(tmp_path, monkeypatch, capsys):
    words = command(write_folder(tmp_path / "data"), tmp_path / "sweep", "--seeds", "2", "--epochs", "1")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(evaluation, "write_report", stop)
        assert sweep.main(words) == 130
    first, line = capsys.readouterr().err.splitlines()
    assert "stopped, what is finished is kept" in first
    members = [tmp_path / "sweep" / "members" / f"seed={seed}" for seed in (0, 1)]
    assert (members[0] / "results.json").exists()
    assert sweep.main(shlex.split(line)[3:]) == 0
    assert all((member / "report.html").exists() for member in members)
