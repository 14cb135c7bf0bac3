"""The README's commands, run as it says."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def readme_commands() -> list[str]:
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_readme_gives_the_two_commands():
    assert {"launch/local", "launch/test"} <= set(readme_commands())


@pytest.mark.parametrize(
    "line", [line for line in readme_commands() if line.startswith("launch/local ") and "--help" not in line]
)
def test_every_training_command_of_the_readme_is_understood(line: str):
    from gcnxmodal import train

    preset, arguments = train.parse(line.split()[1:])
    assert preset in train.PRESETS
    assert arguments.experiment is not None


@pytest.mark.slow
def test_the_first_command_trains_on_the_embedded_corpus(tmp_path: Path):
    """`launch/local`, with a few epochs of one member."""
    short = ["--epochs", "5", "--model.members", "1"]
    run_dir = tmp_path / "run"
    finished = subprocess.run(
        ["launch/local", *short, "--run-dir", str(run_dir)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert f"report: {run_dir / 'report.html'}" in finished.stdout
    for row in ("joint-emoji", "cca", "sm"):
        assert re.search(rf"^{row} +\.\d\d\d", finished.stdout, re.M), finished.stdout
    results = json.loads((run_dir / "results.json").read_text())
    assert results["provenance"]["source"] == "emoji"
    assert results["protocols"]["standard"]["average"] > results["chance"]["standard"]["average"]
