"""The launchers for clusters, against stand-ins for gcloud, kubectl and Slurm; no real one is met."""

import contextlib
import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "tests/schemas/jobset.json").read_text(encoding="utf-8"))
INDEX = "$(JOB_COMPLETION_INDEX)"  # Kubernetes knows this one
AWKWARD = ["gin-emoji", "--data.root", f'my "own" {INDEX} d\'ata & @args@\\n\n*', "--epochs", "3"]
TPU = ["--name", "gin", "--zone", "z-b"]
TPU_RUN = [*TPU, "--accelerator", "v6e-16", "--bucket", "b"]
GKE = ["--name", "gin", "--bucket", "b"]
GKE_RUN = [*GKE, "--tpu", "tpu-v6e-slice", "--topology", "4x4"]
RUNS = {
    "tpu_vm": [*TPU_RUN],
    "gke": [*GKE_RUN],
    "slurm": ["--name", "gin", "--run-dir", "my runs/gin"],
}

# A stand-in notes its arguments. Asked something, it prints the next line of $FAKE/QUESTION; the last stays.
STAND_IN = r"""#!/usr/bin/env bash
{ printf '%s\037' "${0##*/}" "$@"; printf '\036'; } >>"$FAKE/calls"
answer() {
    local file=$FAKE/$1 line
    [ -e "$file" ] || return 0
    IFS= read -r line <"$file"
    [ "$(wc -l <"$file")" -le 1 ] || sed -i 1d "$file"
    case $line in
        NOT_FOUND) echo "ERROR: (gcloud) NOT_FOUND: Resource was not found" >&2; exit 1 ;;
        DENIED) echo "ERROR: (gcloud) PERMISSION_DENIED: no" >&2; exit 1 ;;
        exit*) exit "${line#exit}" ;;
        *) printf '%b\n' "$line" ;;
    esac
}
case "${0##*/} $*" in
    *" storage buckets describe "*) answer bucket ;;
    *" tpu-vm describe "*networkEndpoints*) answer workers ;;
    *" tpu-vm describe "*) answer tpu ;;
    *" queued-resources describe "*) answer request ;;
    *"worker status") answer training ;;
    *"worker follow") answer follow ;;
    *"worker start "*) answer start ;;
    *" scp "*) answer scp ;;
    *"test -e"*) answer shared ;;
    "kubectl "*"get jobset"*terminalState*name*|"kubectl "*"get jobset"*name*) answer jobset ;;
    "kubectl "*"get jobset"*) answer ended ;;
    "kubectl "*"get pods"*) answer codes ;;
    "kubectl "*"apply"*) cat >"$FAKE/applied" ;;
    sbatch*) echo "Submitted batch job 7" ;;
esac
"""


# All else that the scripts call. PATH has nothing more: no test may reach a real gcloud or kubectl.
BASICS = (
    "awk bash cat cksum cp dirname env git grep gzip kill mkdir mktemp mountpoint rm sed setsid sleep sort "
    "tail tar test touch wc"
)


class Tools:
    """Stand-ins in a folder of their own."""

    def __init__(self, folder: Path, names: list[str]):
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "basics").mkdir()
        for name in BASICS.split():
            (folder / "basics" / name).symlink_to(shutil.which(name) or name)
        for name in names:
            self.add(name, STAND_IN)

    def add(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def answers(self, **answers: list[str]) -> None:
        for question, lines in answers.items():
            (self.folder / question).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{self.folder / 'basics'}"
        more = {"PATH": path, "FAKE": str(self.folder), "GCNXMODAL_POLL": "0", "PYTHON": sys.executable}
        return {**os.environ, **more}

    def calls(self) -> list[list[str]]:
        """Every call so far, in order."""
        file = self.folder / "calls"
        calls = file.read_text(encoding="utf-8").split("\x1e")[:-1] if file.exists() else []
        return [call.split("\x1f")[:-1] for call in calls]

    def steps(self) -> list[str]:
        """The calls that change something or follow, by what tells them apart."""
        marks = ["queued-resources create", "queued-resources delete", "tpu-vm delete", "tpu-vm start", "scp",
                 "worker install", "worker start", "worker follow", "worker stop", "rsync", "storage cp",
                 "apply", "delete jobset", "logs", "sbatch"]  # fmt: skip
        lines = [" ".join(call) for call in self.calls()]
        return [mark for line in lines for mark in marks if mark in line]

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments, cwd=ROOT, capture_output=True, text=True, env=self.environment, timeout=60, **more
        )  # fmt: skip


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    tools = Tools(tmp_path, ["gcloud", "kubectl", "sbatch"])
    tools.answers(bucket=["True"], workers=["10.0.0.1\\n10.0.0.2\\n10.0.0.3\\n10.0.0.4"], tpu=["READY"])
    return tools


def launch(tools: Tools, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return tools.run(f"launch/{script}", *arguments)


def started_on_workers(call: list[str]) -> list[str]:
    """The words that the shell of a worker makes of what `ssh --command` has it start."""
    line = next(word for word in call if word.startswith("--command=cd gcnxmodal && launch/worker start "))
    script = f"printf '%s\\037' {line.split('launch/worker start ')[1]}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\x1f")[:-1]


def scripts() -> list[str]:
    return sorted(str(f.relative_to(ROOT)) for f in (ROOT / "launch").iterdir() if os.access(f, os.X_OK))


# All launchers


def test_shellcheck_finds_nothing():
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck; the gate installs it")
    found = subprocess.run(["shellcheck", "-x", *scripts()], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("script", RUNS)
def test_dry_run_prints_the_training_line_and_runs_nothing(tools: Tools, script: str):
    done = launch(tools, script, *RUNS[script], "--dry-run", "--", *AWKWARD)
    assert done.returncode == 0, done.stderr
    assert tools.calls() == []
    assert "gin-emoji" in done.stdout
    assert "--processes" in done.stdout
    assert "--run-dir" in done.stdout


@pytest.mark.parametrize("script", RUNS)
def test_dry_run_needs_none_of_the_tools_and_can_be_pasted(tmp_path: Path, tools: Tools, script: str):
    """What it prints is shell, in which the arguments are as they were given."""
    for tool in ("gcloud", "kubectl", "sbatch"):
        (tmp_path / "bin" / tool).unlink()
    done = launch(tools, script, *RUNS[script], "--dry-run", "--", *AWKWARD)
    assert done.returncode == 0, done.stderr
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True).returncode == 0
    if script == "gke":
        document = done.stdout.split("<<'EOF'\n")[1].split("\nEOF\n")[0]
        words = seen_by_container(yaml.safe_load(document))
    else:
        mark = "launch/slurm_job" if script == "slurm" else "worker start"
        (line,) = [line for line in pasted(done.stdout) if mark in " ".join(line)]
        words = line if script == "slurm" else started_on_workers(line)
    start = words.index("gin-emoji")
    assert words[start : start + len(AWKWARD)] == AWKWARD


def pasted(text: str) -> Iterator[list[str]]:
    """The commands of a script and their arguments, as bash sees them."""
    script = "print() { printf '%s\\037' \"$@\"; printf '\\036'; }\n"
    for name in ("gcloud", "kubectl", "sbatch", "git", "mkdir"):
        script += f'{name}() {{ print {name} "$@"; }}\n'
    done = subprocess.run(["bash"], input=script + text, capture_output=True, text=True, check=True)
    return (call.split("\x1f")[:-1] for call in done.stdout.split("\x1e")[:-1])


@pytest.mark.parametrize("script", RUNS)
def test_help_teaches(tools: Tools, script: str):
    done = launch(tools, script, "--help")
    assert done.returncode == 0
    for word in ("Options", "Examples", "--dry-run", f"launch/{script} "):
        assert word in done.stdout
    assert "set -euo" not in done.stdout


@pytest.mark.parametrize("script", RUNS)
def test_every_option_is_in_the_help(tools: Tools, script: str):
    text = (ROOT / "launch" / script).read_text(encoding="utf-8")
    parser = text.split("case $1 in")[1].split("esac")[0]
    cases = [line.split(")")[0] for line in parser.splitlines() if line.startswith("        --")]
    options = [word for case in cases for word in case.replace("|", " ").split() if len(word) > 2]
    assert len(options) > 5
    shown = launch(tools, script, "--help").stdout
    assert [option for option in options if option not in shown] == []


@pytest.mark.parametrize("script", RUNS)
@pytest.mark.parametrize(
    ("training", "fix"),
    [
        (["--run-dir", "x"], "put it before"),
        (["--processes=4"], "leave it out"),
        (["--process_id", "0"], "leave it out"),
        (["--resume"], "leave it out"),
        (["--overwrite"], "another --run-dir"),
    ],
)
def test_options_that_a_launcher_sets_are_refused(tools: Tools, script: str, training: list[str], fix: str):
    done = launch(tools, script, *RUNS[script], "--", "gin-emoji", *training)
    assert (done.returncode, tools.calls()) == (2, [])
    assert fix in done.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "complaint"),
    [
        ("tpu_vm", [], "--name"),
        ("tpu_vm", ["frobnicate"], "unknown command frobnicate; one of run"),
        ("tpu_vm", ["--name", "Gin"], "--name is 'Gin'; give small letters"),
        ("tpu_vm", ["--name", "gin"], "--zone is missing"),
        ("tpu_vm", [*TPU], "--accelerator is missing"),
        ("tpu_vm", [*TPU, "--accelerator", "v9-4", "--bucket", "b"], "name one with --runtime"),
        ("tpu_vm", [*TPU, "--accelerator", "v6e-4"], "--bucket BUCKET outlives the TPU"),
        ("tpu_vm", [*TPU_RUN, "--run-dir", "/x"], "--run-dir /x is absolute"),
        ("tpu_vm", [*TPU_RUN, "--epochs", "3"], "unknown option --epochs; training options come after --"),
        ("tpu_vm", ["--name"], "--name needs a value"),
        ("gke", [], "--name is ''"),
        ("gke", ["--name", "g" * 41], "at most 40"),
        ("gke", ["--name", "gin"], "--bucket is missing"),
        ("gke", [*GKE], "give either --tpu TYPE --topology T, or --gpu TYPE"),
        ("gke", [*GKE_RUN, "--gpu", "nvidia-l4"], "give either"),
        ("gke", [*GKE, "--tpu", "t"], "--topology is ''"),
        ("gke", [*GKE, "--tpu", "t", "--topology", "2x3", "--chips", "4"], "has 6 chips"),
        ("gke", [*GKE, "--gpu", "g", "--hosts", "0"], "--hosts is 0"),
        ("slurm", ["--nodes", "two"], "--nodes is two"),
        ("slurm", ["--partition=gpu"], "those of sbatch after --sbatch"),
        ("slurm", ["--run-dir", "a%b"], "which sbatch replaces"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_done(
    tools: Tools, script: str, arguments: list[str], complaint: str
):
    done = launch(tools, script, *arguments)
    assert (done.returncode, tools.calls()) == (2, [])
    assert done.stderr.startswith("error: ")
    assert complaint in done.stderr


@pytest.mark.parametrize(("script", "tool"), [("tpu_vm", "gcloud"), ("gke", "kubectl"), ("slurm", "sbatch")])
def test_a_missing_tool_is_named_with_where_to_get_it(tools: Tools, script: str, tool: str):
    (tools.folder / "bin" / tool).unlink()
    done = launch(tools, script, *RUNS[script])
    assert done.returncode == 2
    assert f"error: {tool} is not installed; " in done.stderr
    assert "--dry-run" in done.stderr


@pytest.mark.parametrize("script", ["tpu_vm", "gke"])
def test_a_bucket_that_cannot_rename_folders_is_refused_before_anything_is_made(tools: Tools, script: str):
    tools.answers(bucket=[""])
    done = launch(tools, script, *RUNS[script])
    assert done.returncode == 2
    assert "--enable-hierarchical-namespace" in done.stderr
    assert tools.steps() == []


# TPU VM


def test_tpu_run_creates_installs_starts_follows_and_fetches_in_this_order(tools: Tools, tmp_path: Path):
    tools.answers(
        tpu=["NOT_FOUND", "NOT_FOUND", "CREATING", "READY"],
        request=["NOT_FOUND", "WAITING_FOR_RESOURCES", "PROVISIONING"],
        training=["", "0"],
    )
    options = ["--spot", "--to", str(tmp_path / "runs"), "--delete"]
    done = launch(tools, "tpu_vm", *TPU_RUN, *options, "--", *AWKWARD)
    assert done.returncode == 0, done.stderr
    assert tools.steps() == [
        "queued-resources create", "scp", "worker install", "worker start", "worker follow", "rsync",
        "queued-resources delete",
    ]  # fmt: skip
    (create,) = [call for call in tools.calls() if "create" in call]
    assert create[5:] == [
        "gin", "--zone=z-b", "--node-id=gin", "--accelerator-type=v6e-16",
        "--runtime-version=v2-alpha-tpuv6e", "--spot",
    ]  # fmt: skip
    (start,) = [call for call in tools.calls() if "worker start" in " ".join(call)]
    assert "--worker=all" in start
    assert started_on_workers(start) == [
        "launch/local", *AWKWARD, "--processes", "4", "--run-dir", "bucket/runs/gin",
    ]  # fmt: skip
    (fetch,) = [call for call in tools.calls() if "rsync" in call]
    assert fetch[3:5] == ["gs://b/runs/gin", str(tmp_path / "runs" / "gin")]


PREEMPTED = ["READY", "PREEMPTED", "PREEMPTED", "NOT_FOUND", "READY"]
TERMINATED = ["READY", "TERMINATED", "TERMINATED", "NOT_FOUND", "READY"]
GONE = ["READY", "NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "READY"]


@pytest.mark.parametrize(
    ("tpu", "request_", "connection"),
    [
        (PREEMPTED, ["ACTIVE", "ACTIVE", "NOT_FOUND"], "follow"),
        (TERMINATED, ["ACTIVE", "ACTIVE", "NOT_FOUND"], "start"),
        (GONE, ["SUSPENDING", "SUSPENDED", "SUSPENDED", "NOT_FOUND"], "scp"),
    ],
)
def test_a_preempted_tpu_is_made_again_and_training_started_again(
    tools: Tools, tmp_path: Path, tpu: list[str], request_: list[str], connection: str
):
    """Whatever the connection was for when the TPU went away. `--resume` is up to the worker, see below."""
    tools.answers(tpu=tpu, request=request_, training=["", "", "0"], **{connection: ["exit255", ""]})
    done = launch(tools, "tpu_vm", *TPU_RUN, "--to", str(tmp_path / "runs"), "--", "gin-emoji")
    assert done.returncode == 0, done.stderr
    assert "the TPU is gone" in done.stderr
    steps = tools.steps()
    again = steps.index("queued-resources delete")
    assert steps[again:] == [
        "queued-resources delete", "queued-resources create", "scp", "worker install", "worker start",
        "worker follow", "rsync",
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["1", "2", "137"])
def test_a_training_fault_on_a_living_tpu_ends_without_another_try(tools: Tools, status: str):
    tools.answers(training=["", status], follow=["exit1"])
    done = launch(tools, "tpu_vm", *TPU_RUN, "--", "gin-emoji")
    assert done.returncode == int(status)
    assert tools.steps() == ["scp", "worker install", "worker start", "worker follow"]
    assert "costs money" in done.stderr


def test_a_lost_connection_is_not_a_lost_training(tools: Tools, tmp_path: Path):
    tools.answers(training=["", "running", "running", "0"], follow=["exit255", ""])
    done = launch(tools, "tpu_vm", *TPU_RUN, "--to", str(tmp_path), "--", "gin-emoji")
    assert done.returncode == 0, done.stderr
    assert tools.steps() == ["scp", "worker install", "worker start", *["worker follow"] * 2, "rsync"]


@pytest.mark.parametrize("status", ["143", "lost"])
def test_an_interrupted_training_is_started_again_when_its_rest_has_ended(
    tools: Tools, tmp_path: Path, status: str
):
    tools.answers(training=["", status, status, "0"])
    done = launch(tools, "tpu_vm", *TPU_RUN, "--to", str(tmp_path), "--", "gin-emoji")
    assert done.returncode == 0, done.stderr
    first, second = ["worker install", "worker start", "worker follow"], ["worker stop", "scp"]
    assert tools.steps() == ["scp", *first, *second, *first, "rsync"]


def test_a_stopped_training_is_not_started_again(tools: Tools):
    tools.answers(training=["running", "stopped"])
    done = launch(tools, "tpu_vm", *TPU_RUN, "--", "gin-emoji")
    assert done.returncode == 143
    assert tools.steps() == ["worker follow"]


def test_an_error_of_gcloud_is_not_taken_for_an_absent_tpu(tools: Tools):
    tools.answers(tpu=["DENIED"])
    done = launch(tools, "tpu_vm", *TPU_RUN, "--", "gin-emoji")
    assert done.returncode == 1
    assert "PERMISSION_DENIED" in done.stderr
    assert tools.steps() == []


def test_a_request_that_fails_is_not_made_for_ever(tools: Tools):
    tools.answers(tpu=["NOT_FOUND"], request=["FAILED", "FAILED", "NOT_FOUND", "FAILED"])
    done = launch(tools, "tpu_vm", *TPU_RUN, "--", "gin-emoji")
    assert done.returncode == 1
    assert "queued-resources describe gin --zone=z-b" in done.stderr
    assert tools.steps() == ["queued-resources delete", "queued-resources create"]


def test_a_failed_install_on_a_living_tpu_ends_the_run(tools: Tools):
    """Although the worker still has the exit status of an earlier training."""
    tools.answers(training=["0"], scp=["exit7"])
    done = launch(tools, "tpu_vm", *TPU_RUN, "--", "gin-emoji")
    assert done.returncode == 7
    assert tools.steps() == ["worker stop", "scp"]


def test_several_workers_must_share_the_run_folder(tools: Tools):
    tools.answers(shared=["exit1"])
    done = launch(tools, "tpu_vm", "start", *TPU, "--run-dir", "runs/gin", "--", "gin-emoji")
    assert done.returncode == 2
    assert "not all 4 workers see runs/gin" in done.stderr
    assert "worker start" not in tools.steps()


def test_a_stopped_tpu_is_started_not_deleted(tools: Tools):
    tools.answers(tpu=["STOPPED", "READY"], request=["NOT_FOUND"])
    assert launch(tools, "tpu_vm", "up", *TPU_RUN).returncode == 0
    assert tools.steps() == ["tpu-vm start"]


@pytest.mark.parametrize(
    ("request_", "step"), [("ACTIVE", "queued-resources delete"), ("NOT_FOUND", "tpu-vm delete")]
)
def test_down_deletes_the_queued_resource_or_the_tpu_made_without_one(tools: Tools, request_: str, step: str):
    tools.answers(request=[request_])
    assert launch(tools, "tpu_vm", "down", *TPU).returncode == 0
    assert tools.steps() == [step]


# The worker's side


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A checkout whose launch/local only notes its arguments and does as $TRAINING says."""
    checkout = tmp_path / "check out"
    shutil.copytree(ROOT / "launch", checkout / "launch")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    (checkout / "launch/local").write_text(
        "#!/usr/bin/env bash\nprintf '%s\\n' \"$@\" >>arguments\nprintf 'line of the log\\n'\n"
        'mkdir -p run && touch run/config.json\neval "${TRAINING:-exit 0}"\n'
    )
    yield checkout
    if (checkout / "train.pid").exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((checkout / "train.pid").read_text()), signal.SIGKILL)


def worker(checkout: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        ["launch/worker", *arguments], cwd=checkout, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_until(condition: Any) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited a minute")


def arguments_of(checkout: Path) -> list[str]:
    return (checkout / "arguments").read_text(encoding="utf-8").splitlines()


def test_worker_adds_resume_only_when_the_run_folder_has_a_run(checkout: Path):
    line = ["train", "launch/local", "gin-emoji", "a 'b' c", "--run-dir", "run"]
    worker(checkout, *line)
    assert arguments_of(checkout) == ["gin-emoji", "a 'b' c", "--run-dir", "run"]
    worker(checkout, *line)
    assert arguments_of(checkout)[4:] == ["gin-emoji", "a 'b' c", "--run-dir", "run", "--resume"]


@pytest.mark.parametrize("status", [0, 1, 143])
def test_worker_keeps_the_exit_status_of_a_training_nobody_waits_for(checkout: Path, status: int):
    assert worker(checkout, "status") == ""
    worker(checkout, "start", "launch/local", "run", TRAINING=f"exit {status}")
    wait_until(lambda: worker(checkout, "status") != "running")
    assert worker(checkout, "status") == str(status)


def test_worker_starts_no_second_training_and_stop_lets_the_first_one_save(checkout: Path):
    saving = "trap 'touch saved; exit 143' TERM; touch ready; while :; do sleep 0.05; done"
    worker(checkout, "start", "launch/local", "run", TRAINING=saving)
    wait_until((checkout / "ready").exists)
    assert worker(checkout, "start", "launch/local", "run") == "training is already running"
    assert worker(checkout, "status") == "running"
    worker(checkout, "stop")
    assert (checkout / "saved").exists()
    assert worker(checkout, "status") == "stopped"
    assert arguments_of(checkout) == ["run"]
    worker(checkout, "start", "launch/local", "run")
    wait_until(lambda: worker(checkout, "status") == "0")
    assert arguments_of(checkout) == ["run", "run", "--resume"]


def test_worker_notes_the_exit_status_even_when_the_machine_shuts_down(checkout: Path):
    """Which sends SIGTERM to all processes."""
    saving = "trap 'exit 143' TERM; touch ready; while :; do sleep 0.05; done"
    worker(checkout, "start", "launch/local", "run", TRAINING=saving)
    wait_until((checkout / "ready").exists)
    os.killpg(int((checkout / "train.pid").read_text()), signal.SIGTERM)
    wait_until(lambda: worker(checkout, "status") == "143")


def test_worker_kills_what_does_not_stop_and_tells_a_killed_training(checkout: Path):
    deaf = "trap '' TERM; touch ready; while :; do sleep 0.05; done"
    worker(checkout, "start", "launch/local", "run", TRAINING=deaf)
    wait_until((checkout / "ready").exists)
    worker(checkout, "stop", GRACE="1")
    wait_until(lambda: worker(checkout, "status") == "stopped")
    worker(checkout, "start", "launch/local", "run", TRAINING="rm ready; sleep 30")
    wait_until(lambda: not (checkout / "ready").exists())
    os.killpg(int((checkout / "train.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: worker(checkout, "status") == "lost")


def test_worker_follow_prints_the_log_and_ends_with_the_training(checkout: Path):
    worker(checkout, "start", "launch/local", "run", TRAINING="sleep 0.3; echo the end")
    assert worker(checkout, "follow").splitlines() == ["line of the log", "the end"]


def test_worker_installs_once_with_a_mounted_bucket(checkout: Path, tmp_path: Path):
    stand_in_python(checkout)
    tools = Tools(tmp_path, ["gcsfuse"])
    environment = tools.environment
    worker(checkout, "install", "my-bucket", "touch 'set up'", **environment)
    assert (checkout / "set up").exists()
    ((_, *mount),) = tools.calls()
    assert mount[-2:] == ["my-bucket", "bucket"]
    assert mount[:-2] == ["--metadata-cache-ttl-secs=0", "--metadata-cache-negative-ttl-secs=0"]
    assert arguments_of(checkout).count("pip") == 1
    worker(checkout, "install", "", "", **environment)
    assert arguments_of(checkout).count("pip") == 1


def stand_in_python(checkout: Path, text: str = "") -> None:
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    note = 'printf "%s\\n" "$@" >>arguments\n'
    python.write_text(f"#!/usr/bin/env bash\n{note}{text}", encoding="utf-8")
    python.chmod(0o755)


# Slurm


def test_slurm_submits_one_process_a_gpu_with_time_to_save(tools: Tools, tmp_path: Path):
    run_dir = str(tmp_path / "my runs" / "gin")
    sbatch = ["--sbatch", "--partition=gpu", "--sbatch", "--account=a b"]
    scale = ["--nodes", "2", "--gpus-per-node", "4", "--time", "4:00:00"]
    done = launch(tools, "slurm", "--name", "gin", *scale, *sbatch, "--run-dir", run_dir, "--", *AWKWARD)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my runs").is_dir()
    assert tools.calls() == [[
        "sbatch", "--job-name=gin", "--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--time=4:00:00",
        "--signal=B:USR1@120", "--requeue", "--open-mode=append", f"--output={run_dir}.log",
        "--partition=gpu", "--account=a b",
        "launch/slurm_job", *AWKWARD, "--processes", "8", "--run-dir", run_dir,
    ]]  # fmt: skip


def test_slurm_without_gpus_trains_one_process_a_node(tools: Tools, tmp_path: Path):
    launch(tools, "slurm", "--nodes", "3", "--run-dir", str(tmp_path / "gin"))
    (call,) = tools.calls()
    assert "--ntasks-per-node=1" in call
    assert not [word for word in call if word.startswith("--gpu")]
    assert call[-4:] == ["--processes", "3", "--run-dir", str(tmp_path / "gin")]


SRUN = """#!/usr/bin/env bash
{ printf '%s\\037' srun "$@"; printf '\\036'; } >>"$FAKE/calls"
while [[ $1 == --* ]]; do shift; done
[ "$1" != test ] || exec "$@" ${BLIND:+-a ''}
"$@" & echo $! >"$FAKE/step"
wait $!
while kill -0 "$(<"$FAKE/step")" 2>/dev/null; do :; done
wait "$(<"$FAKE/step")"
"""
SCANCEL = """#!/usr/bin/env bash
{ printf '%s\\037' scancel "$@"; printf '\\036'; } >>"$FAKE/calls"
kill -TERM "$(<"$FAKE/step")"
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Tools:
    tools = Tools(tmp_path, ["scontrol"])
    tools.add("srun", SRUN)
    tools.add("scancel", SCANCEL)
    return tools


def start_job(slurm: Tools, checkout: Path, **environment: str) -> subprocess.Popen[str]:
    """The batch script as Slurm starts it: elsewhere, from a copy, in a job of two nodes."""
    job = {"SLURM_SUBMIT_DIR": str(checkout), "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2"}
    return subprocess.Popen(
        ["bash", str(ROOT / "launch/slurm_job"), *TRAINS],
        cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**slurm.environment, **job, **environment},
    )  # fmt: skip


def finish(job: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = job.communicate(timeout=60)
    return job.returncode, output, errors


def trainings(checkout: Path) -> list[list[str]]:
    """The arguments of each training so far."""
    words = "\n".join(arguments_of(checkout)).split("-m\ngcnxmodal.train\n")[1:]
    return [training.splitlines() for training in words]


SAVES = "trap 'exit 143' TERM; touch ready; while :; do sleep 0.05; done"
TRAINS = ["gin-emoji", "a 'b' c", "--processes", "2", "--run-dir", "run"]


def test_slurm_job_that_runs_out_of_time_saves_and_is_queued_again(slurm: Tools, checkout: Path):
    stand_in_python(checkout, f'[ "$2" != gcnxmodal.train ] || {{ {SAVES}; }}')
    with start_job(slurm, checkout) as job:
        wait_until((checkout / "ready").exists)
        job.send_signal(signal.SIGUSR1)
        status, output, _ = finish(job)
    assert status == 143
    assert [call for call in slurm.calls() if call[0] != "srun"] == [
        ["scancel", "--signal=TERM", "7"],
        ["scontrol", "requeue", "7"],
    ]
    assert "queueing the job again" in output


def test_slurm_job_installs_once_and_resumes_after_it_was_queued_again(slurm: Tools, checkout: Path):
    stand_in_python(checkout)
    (checkout / "run").mkdir()
    for _ in range(2):
        assert finish(start_job(slurm, checkout))[0] == 0
        (checkout / "run/config.json").touch()
    assert arguments_of(checkout)[:3] == ["-m", "pip", "install"]
    assert arguments_of(checkout).count("pip") == 1
    assert trainings(checkout) == [TRAINS, [*TRAINS, "--resume"]]


@pytest.mark.parametrize("status", [0, 1, 143])
def test_slurm_job_that_ends_by_itself_or_is_cancelled_is_not_queued_again(
    slurm: Tools, checkout: Path, status: int
):
    stand_in_python(checkout, f'[ "$2" != gcnxmodal.train ] || exit {status}')
    assert finish(start_job(slurm, checkout))[0] == status
    assert "scontrol" not in [call[0] for call in slurm.calls()]


def test_slurm_job_refuses_a_run_folder_that_other_nodes_do_not_see(slurm: Tools, checkout: Path):
    stand_in_python(checkout)
    status, _, errors = finish(start_job(slurm, checkout, BLIND="1"))
    assert status == 2
    assert "must be on a file system they share" in errors
    assert not (checkout / "arguments").exists()
    assert list(checkout.glob("run.seen*")) == []


# GKE

VARIANTS = {
    "one TPU host": [*GKE, "--tpu", "tpu-v5-lite-podslice", "--topology", "2x2"],
    "one TPU chip": [*GKE, "--tpu", "tpu-v5-lite-podslice", "--topology", "1x1"],
    "TPU slice": GKE_RUN,
    "TPU cube": [*GKE, "--tpu", "tpu-v5p-slice", "--topology", "2x2x4", "--chips", "4"],
    "Spot TPU slice": [*GKE_RUN, "--spot", "--service-account", "trainer"],
    "one GPU": [*GKE, "--gpu", "nvidia-l4"],
    "Spot GPU hosts": [*GKE, "--gpu", "nvidia-h100-80gb", "--gpus", "8", "--hosts", "2", "--spot"],
}


def manifest(tools: Tools, *arguments: str) -> dict[str, Any]:
    done = launch(tools, "gke", "manifest", *arguments)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def job_of(jobset: dict[str, Any]) -> dict[str, Any]:
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]


def pod_of(jobset: dict[str, Any]) -> dict[str, Any]:
    return job_of(jobset)["template"]["spec"]


def seen_by_container(jobset: dict[str, Any]) -> list[str]:
    """The arguments after Kubernetes has replaced $(NAME), and $$( by $(, on host 5."""
    words = pod_of(jobset)["containers"][0]["args"]
    return ["$(".join(part.replace(INDEX, "5") for part in word.split("$$(")) for word in words]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_jobset_is_one_by_the_schema(tools: Tools, variant: str):
    jobset = manifest(tools, *VARIANTS[variant], "--", *AWKWARD)
    jsonschema.Draft202012Validator(SCHEMA).validate(jobset)
    assert seen_by_container(jobset)[1 : 2 + len(AWKWARD)] == ["launch/local", *AWKWARD]
    assert seen_by_container(jobset)[-2:] == ["--run-dir", "/bucket/runs/gin"]


def keys_of(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all keys, except below those whose keys are anybody's."""
    free = {"annotations", "nodeSelector", "limits", "volumeAttributes"}
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            if key not in free:
                yield from keys_of(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from keys_of(value, (*path, index))


def test_a_misspelt_field_is_refused_by_the_schema_wherever_it_is(tools: Tools):
    """Otherwise the test above would show nothing."""
    jobset = manifest(tools, *VARIANTS["Spot GPU hosts"], "--", "gin-emoji")
    paths = list(keys_of(jobset))
    assert len(paths) > 50
    for *parents, key in paths:
        wrong = copy.deepcopy(jobset)
        parent = wrong
        for step in parents:
            parent = parent[step]
        parent[f"{key}x"] = parent.pop(key)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate(wrong)


def test_jobset_has_a_pod_for_each_host_of_the_slice(tools: Tools):
    for variant, hosts, chips in [("one TPU host", 1, "4"), ("one TPU chip", 1, "1"), ("TPU slice", 4, "4"),
                                  ("TPU cube", 4, "4")]:  # fmt: skip
        jobset = manifest(tools, *VARIANTS[variant])
        job, (container,) = job_of(jobset), pod_of(jobset)["containers"]
        assert (job["parallelism"], job["completions"]) == (hosts, hosts)
        assert container["resources"]["limits"] == {"google.com/tpu": chips}
        assert container["args"][-4:-2] == ["--processes", str(hosts)]
        assert "--coordinator" not in container["args"]


def test_hosts_with_gpus_are_told_where_their_coordinator_is(tools: Tools):
    jobset = manifest(tools, *VARIANTS["Spot GPU hosts"], "--", "gin-emoji")
    (container,) = pod_of(jobset)["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert seen_by_container(jobset)[2:] == [
        "gin-emoji", "--processes", "2", "--coordinator", "gin-workers-0-0.gin:8476",
        "--process-id", "5", "--run-dir", "/bucket/runs/gin",
    ]  # fmt: skip
    assert pod_of(jobset)["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert "--coordinator" not in pod_of(manifest(tools, *VARIANTS["one GPU"]))["containers"][0]["args"]


def test_jobset_starts_again_after_a_preemption_and_not_after_a_fault(tools: Tools):
    jobset = manifest(tools, *GKE_RUN, "--max-restarts", "7")
    failure, job = jobset["spec"]["failurePolicy"], job_of(jobset)
    assert failure["maxRestarts"] == 7
    assert [(rule["action"], rule["onJobFailureReasons"]) for rule in failure["rules"]] == [
        ("FailJobSet", ["PodFailurePolicy"])
    ]
    evicted, fault = job["podFailurePolicy"]["rules"]
    assert (evicted["action"], evicted["onPodConditions"][0]["type"]) == ("Count", "DisruptionTarget")
    assert (fault["action"], fault["onExitCodes"]["values"]) == ("FailJob", [1, 2])
    assert job["backoffLimit"] == 0  # so that any other end of a pod starts all of them again


def test_the_pod_unpacks_the_source_and_trains(tools: Tools, checkout: Path, tmp_path: Path):
    """The pod's own command, with / replaced by a folder."""
    jobset = manifest(tools, *GKE_RUN, "--run-dir", "run", "--", *AWKWARD)
    (container,) = pod_of(jobset)["containers"]
    pod = tmp_path / "pod"
    (pod / "bucket").mkdir(parents=True)
    subprocess.run(["tar", "-czf", pod / "bucket/run.tar.gz", "-C", checkout, "."], check=True)
    command = [word.replace("/bucket", f"{pod}/bucket").replace("/gcnxmodal", f"{pod}/gcnxmodal")
               for word in [*container["command"], *seen_by_container(jobset)]]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, env=tools.environment)
    given = (pod / "gcnxmodal/arguments").read_text(encoding="utf-8")
    assert given == "\n".join([*AWKWARD, "--processes", "4", "--run-dir", f"{pod}/bucket/run", ""])


def test_gke_run_sends_applies_follows_and_fetches_in_this_order(tools: Tools, tmp_path: Path):
    tools.answers(jobset=[""], ended=["", "Completed"])
    done = launch(tools, "gke", *GKE_RUN, "--namespace", "ml", "--to", str(tmp_path / "runs"), "--", *AWKWARD)
    assert done.returncode == 0, done.stderr
    assert tools.steps() == ["storage cp", "apply", "logs", "logs", "rsync"]
    jsonschema.validate(yaml.safe_load((tmp_path / "applied").read_text()), SCHEMA)
    assert all("--namespace=ml" in call for call in tools.calls() if call[0] == "kubectl")
    (copied,) = [call for call in tools.calls() if "cp" in call]
    assert copied[-1] == "gs://b/runs/gin.tar.gz"


@pytest.mark.parametrize(("codes", "status"), [("\\n1\\n143", 1), ("2", 2), ("", 1)])
def test_gke_ends_with_the_exit_status_of_a_failed_training(tools: Tools, codes: str, status: int):
    tools.answers(ended=["Failed"], codes=[codes])
    done = launch(tools, "gke", *GKE_RUN, "--", "gin-emoji")
    assert done.returncode == status
    assert tools.steps() == ["storage cp", "apply", "logs"]


def test_gke_follows_a_running_jobset_and_replaces_one_that_has_ended(tools: Tools, tmp_path: Path):
    tools.answers(jobset=["gin/"], ended=["Completed"])
    assert launch(tools, "gke", *GKE_RUN, "--to", str(tmp_path)).returncode == 0
    assert tools.steps() == ["logs", "rsync"]
    tools.answers(jobset=["gin/Failed"])
    assert launch(tools, "gke", "up", *GKE_RUN).returncode == 0
    assert tools.steps()[2:] == ["delete jobset", "storage cp", "apply"]
