"""Two real processes on this machine train one model; what happens when one is missing, stopped or killed."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from small_folder import write_folder

from gcnxmodal import train
from gcnxmodal.errors import InputError
from gcnxmodal.training import cluster

SMALL = [
    *("gin-emoji", "--data.name", "folder", "--data.image-feature", "features"),
    *("--text.words", "40", "--text.neighbours", "4", "--model.dimension", "16", "--model.order", "2"),
    *("--train.positives", "500", "--train.negatives", "500", "--train.batch", "50", "--epochs", "3"),
    *("--train.learning-rate", "0.02"),
]
LONG = ("--model-parallel", "1", "--train.positives", "4000", "--train.negatives", "4000", "--epochs", "500")
PATIENCE = 120  # seconds for what takes a few on an idle machine


@dataclasses.dataclass
class Job:
    """The processes of one job."""

    processes: list[subprocess.Popen[str]]

    def wait(self) -> list[tuple[int, str, str]]:
        """Exit code, output and errors of each."""
        said = [process.communicate(timeout=PATIENCE) for process in self.processes]
        return [(p.returncode, *text) for p, text in zip(self.processes, said, strict=True)]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch):
    """Starts a job of `of` processes, or `started` of them; those still running at the end are killed."""
    monkeypatch.setenv("GCNXMODAL_HEARTBEAT_SECONDS", "20")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    jobs = []

    def begin(folder: Path, run_dir: Path, *more: str, of: int = 2, started: int = 2) -> Job:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "gcnxmodal.train", *SMALL, "--data.root", str(folder), *more]
        command += ["--run-dir", str(run_dir), "--processes", str(of), "--coordinator", f"127.0.0.1:{port}"]
        pipe = subprocess.PIPE
        jobs.append(
            Job(
                [
                    subprocess.Popen([*command, "--process-id", str(i)], stdout=pipe, stderr=pipe, text=True)
                    for i in range(started)
                ]
            )
        )
        return jobs[-1]

    yield begin
    for process in (process for job in jobs for process in job.processes):
        if process.poll() is None:
            process.kill()


def weights(run_dir: Path) -> dict[str, np.ndarray]:
    """The parameters in the newest checkpoint, read by Orbax itself onto one device."""
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with ocp.training.Checkpointer(run_dir / "checkpoints") as checkpointer:
        step = max(checkpoint.step for checkpoint in checkpointer.checkpoints)
        stored = checkpointer.metadata(step).metadata
        like = {n: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one) for n, leaf in stored.items()}
        loaded = checkpointer.load(step, like)
    return {name: np.asarray(leaf) for name, leaf in loaded.items() if name.startswith("params")}


def history(run_dir: Path) -> list[dict]:
    metrics = run_dir / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []


def wait_for_an_epoch(job: Job, run_dir: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not history(run_dir):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in job.processes), job.wait()
        time.sleep(0.05)


def assert_same_run(run_dir: Path, expected_dir: Path) -> None:
    expected = weights(expected_dir)
    for name, found in weights(run_dir).items():
        # The loss does not change when all scores do by as much: the last bias is led by rounding alone.
        if name != "params.score_head.bias.value":
            atol = 2e-5 * np.abs(expected[name]).max()
            np.testing.assert_allclose(found, expected[name], rtol=0, atol=atol, err_msg=name)
    for line, one in zip(history(run_dir), history(expected_dir), strict=True):
        assert line["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert line["standard"] == pytest.approx(one["standard"], abs=1e-3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder, and a finished run on it of one process with one device."""
    root = tmp_path_factory.mktemp("alone")
    folder = write_folder(root / "data")
    assert train.main([*SMALL, "--data.root", str(folder), "--run-dir", str(root / "run")]) == 0
    return folder, root / "run"


@pytest.mark.slow
def test_two_processes_train_the_model_of_one_and_the_first_speaks_and_writes(start, alone, tmp_path: Path):
    folder, expected = alone
    (first, said, errors), (second, silence, _) = start(folder, tmp_path / "run").wait()
    assert (first, second) == (0, 0), errors
    assert "2 x cpu (1 data x 2 model) of 2 processes" in said
    assert "epoch   3/3" in said
    assert [line for line in silence.splitlines() if line and not line.startswith("[Gloo]")] == []
    assert [line["epoch"] for line in history(tmp_path / "run")] == [1, 2, 3]
    assert_same_run(tmp_path / "run", expected)

    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "run").rglob("*"))
    for code, _, errors in start(folder, tmp_path / "run").wait():
        assert code == 2
        assert "already has a run" in errors
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "run").rglob("*")) == before


@pytest.mark.slow
def test_signal_to_one_saves_and_stops_both_and_a_killed_one_ends_the_other(start, alone, tmp_path: Path):
    folder, run_dir = alone[0], tmp_path / "run"
    job = start(folder, run_dir, *LONG)
    wait_for_an_epoch(job, run_dir)
    job.processes[1].send_signal(signal.SIGTERM)
    (first, said, _), (second, _, _) = job.wait()
    assert (first, second) == (128 + signal.SIGTERM, 128 + signal.SIGTERM)
    saved = max(int(path.name) for path in (run_dir / "checkpoints").iterdir())
    assert f"stopped, saved at step {saved:,}. To go on:" in said

    epochs = len(history(run_dir))
    job = start(folder, run_dir, *LONG, "--resume")
    deadline = time.monotonic() + PATIENCE
    while len(history(run_dir)) <= epochs and time.monotonic() < deadline:
        time.sleep(0.05)
    killed = time.monotonic()
    job.processes[1].kill()
    (first, said, errors), _ = job.wait()
    assert time.monotonic() - killed < 60  # the heartbeat's 20 s, and patience; measured: 1 s
    assert first not in (0, 2)
    assert f"resuming at step {saved:,}" in said
    steps = sorted(int(path.name) for path in (run_dir / "checkpoints").iterdir() if path.name.isdigit())
    assert "another process of the job died or cannot be reached" in errors
    assert f"The last good checkpoint is that of step {steps[-1]:,}" in errors
    assert "--resume" in errors


@pytest.mark.slow
def test_a_process_that_does_not_come_ends_the_others_with_the_count(start, alone, tmp_path, monkeypatch):
    monkeypatch.setenv("GCNXMODAL_START_SECONDS", "5")
    began = time.monotonic()
    for code, _, errors in start(alone[0], tmp_path / "run", of=3, started=2).wait():
        assert code == 1
        assert "--processes is 3, and not all of them have met" in errors
        assert "Traceback" not in errors
    assert time.monotonic() - began < 60
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ((None, None, None), {"SLURM_STEP_NUM_TASKS": "4"}, ["Slurm started 4", "--processes 4"]),
        ((3, None, None), {"OMPI_COMM_WORLD_SIZE": "2"}, ["--processes is 3", "mpirun started 2"]),
        ((2, "127.0.0.1:1", 2), {}, ["--process-id is 2", "0 to 1"]),
        ((None, "127.0.0.1:1", None), {}, ["--coordinator", "--processes"]),
        ((0, None, None), {}, ["--processes is 0"]),
    ],
)
def test_a_count_that_cannot_be_is_refused_at_once(monkeypatch, arguments, environment, words):
    for variable in cluster.LAUNCHERS.values():
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(InputError) as refusal:
        cluster.join(*arguments)
    for word in words:
        assert word in str(refusal.value)


def test_a_platform_that_shows_more_processes_than_expected_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(InputError, match="4 processes but --processes is 1"):
        cluster.join(1, None, None)


def test_one_process_agrees_with_itself():
    assert cluster.together(lambda: "done") == "done"
    assert cluster.agree(7, signal.SIGTERM) == (7, signal.SIGTERM)
    assert not cluster.everywhere(False)
    cluster.check_same({"corpus": "x"})
    assert cluster.first_only(os.path.basename, "a/b") == "b"


@pytest.mark.slow
def test_both_processes_keep_the_best_epoch_and_end_after_the_same(folder: Path, tmp_path: Path, start):
    run_dir = tmp_path / "run"
    more = ("--stop", "best", "--stop-fraction", "0.3", "--patience", "1", "--epochs", "40")
    (code, said, _), (other_code, _, _) = start(folder, run_dir, *more, "--train.learning-rate", "0.1").wait()
    assert (code, other_code) == (0, 0)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    scores = [line["validation"]["average"] for line in lines]
    chosen = json.loads((run_dir / "results.json").read_text())["chosen"]
    assert chosen["epoch"] == int(np.argmax(scores)) + 1 == len(lines) - 1 < 39
    assert "(--patience 1)" in said
    with ocp.training.Checkpointer(run_dir / "checkpoints") as checkpointer:
        step = max(checkpoint.step for checkpoint in checkpointer.checkpoints)
    assert step == lines[-1]["step"]
