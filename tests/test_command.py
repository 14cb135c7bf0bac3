"""The command `gcnxmodal`: verbs, version, presets."""

import importlib
import subprocess
import tomllib
from pathlib import Path

import pytest

from gcnxmodal import __version__, train
from gcnxmodal.__main__ import VERBS, main
from gcnxmodal.systems import PRESETS

ROOT = Path(__file__).parents[1]


def test_every_entry_point_is_a_verb_and_is_told_in_the_help(capsys: pytest.CaptureFixture[str]):
    package = ROOT / "gcnxmodal"
    modules = {path.stem for path in package.glob("*.py") if "def main(arguments" in path.read_text()}
    assert modules - {"__main__"} == set(VERBS)
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for verb, summary in VERBS.items():
        assert f"{verb:<10}{summary}" in told


def test_the_script_of_the_package_is_this_main():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["gcnxmodal"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_version_and_an_unknown_verb(capsys: pytest.CaptureFixture[str]):
    for arguments in (["--version"], ["train", "--version"], ["search", "--version"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out.strip() == f"gcnxmodal {__version__}"
    assert train.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"gcnxmodal {__version__}"
    assert main(["trian"]) == 2
    assert "no verb 'trian'; there are train, search" in capsys.readouterr().err


def test_presets_are_listed_as_a_table(capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    for line in lines:
        name, data, *_ = line.split()
        assert data == PRESETS[name][1].data.name


def test_training_from_python_takes_short_names_and_refuses_what_is_none(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no preset 'gin'; there are"):
        train("gin")
    with pytest.raises(ValueError, match="'epoch' is not one field of GINExperiment"):
        train("gin-emoji", run_dir=tmp_path / "run", epoch=3)
    with pytest.raises(ValueError, match=r"--train\.margin is -1; it must be at least 0"):
        train("gin-emoji", run_dir=tmp_path / "run", margin=-1)
    assert not (tmp_path / "run").exists()


def test_the_options_of_all_presets_are_completed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        train.main(["--tyro-print-completion", "bash"])
    script = capsys.readouterr().out
    assert not stop.value.code
    for words in (*PRESETS, "--train.grid-texts", "--resume"):
        assert words in script


def test_the_shell_completes_verbs_presets_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["completion"]) == 0
    script = capsys.readouterr().out
    (tmp_path / "my-run").mkdir()

    def completed(*words: str) -> set[str]:
        line = (
            f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _gcnxmodal; echo ${{COMPREPLY[@]}}"
        )
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{line}"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    assert completed("gcnxmodal", "se") == {"search"}
    assert completed("gcnxmodal", "train", "gin-emoji") == {"gin-emoji", "gin-emoji-tuned"}
    assert completed("gcnxmodal", "search", "my") == {"my-run"}
