"""The folder of a run: who may write in it."""

import contextlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gcnxmodal import evaluate, export, search, sweep, tables, train
from gcnxmodal.console import say, status_of
from gcnxmodal.data.cache import partial_name
from gcnxmodal.errors import InputError
from gcnxmodal.runs import LOCK, RunFolder, check_writable, claimed, clear, remove_partial

SMALL = ("gin-emoji", "--data.name", "folder", "--data.image-feature", "features", "--text.words", "40")


def test_of_many_claims_at_once_one_has_the_folder(tmp_path: Path):
    folder, together = tmp_path / "deep" / "run", threading.Barrier(8)
    refusals: list[str] = []

    def claim() -> None:
        together.wait()
        try:
            with claimed(folder, "--run-dir"):
                (folder / "config.json").write_text("{}")
                together.wait()  # until all the others were refused
        except InputError as error:
            refusals.append(str(error))
            together.wait()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 7
    assert refusals[0].startswith(f"{folder}: another process is writing to this folder")
    assert "--run-dir" in refusals[0]
    assert os.listdir(folder) == ["config.json"]


HOLD = """
import fcntl, sys, time
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("claimed", flush=True)
time.sleep(60)
"""


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    hold = [sys.executable, "-c", HOLD, str(run_dir / LOCK)]
    with subprocess.Popen(hold, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(InputError, match="another process"), claimed(run_dir, "--run-dir"):
            raise AssertionError("claimed twice")
        process.kill()
    with claimed(run_dir, "--run-dir"):
        assert os.listdir(run_dir) == [LOCK]


def test_what_a_killed_process_was_writing_is_no_content_and_is_removed(tmp_path: Path):
    run_dir = tmp_path / "run"
    for path in (run_dir / "config.json", run_dir / "members" / "seed=0" / "results.json"):
        path.parent.mkdir(parents=True)
        partial_name(path).write_text("{")
    model = partial_name(run_dir / "model")
    model.mkdir()
    (model / "model.json").write_text("{")
    remove_partial(run_dir / "members")
    (run_dir / "members" / "seed=0").rmdir()
    (run_dir / "members").rmdir()
    assert not check_writable(run_dir, "run", "config.json", "--run-dir", overwrite=False, resume=False)
    (run_dir / ".hidden").write_text("")
    remove_partial(run_dir)
    assert os.listdir(run_dir) == [".hidden"]
    with pytest.raises(InputError, match="has files in it but no run"):
        check_writable(run_dir, "run", "config.json", "--run-dir", overwrite=False, resume=False)


@pytest.mark.parametrize("moved", range(4))
def test_a_run_whose_overwriting_was_killed_is_a_run_without_checkpoints_or_none(
    tmp_path: Path, monkeypatch, moved: int
):
    folder = RunFolder(tmp_path / "run")
    (folder.checkpoints / "8").mkdir(parents=True)
    for path in (folder.config, folder.metrics):
        path.write_text("{}")
    rename, count = Path.rename, iter(range(moved))

    def killed(path: Path, to: Path) -> Path:
        if next(count, None) is None:
            raise KeyboardInterrupt
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", killed)
    with contextlib.suppress(KeyboardInterrupt):
        clear(folder.path, folder.config.name)
    assert (folder.config.exists(), folder.checkpoint_steps()) == (moved < 3, [8] if moved == 0 else [])
    assert check_writable(
        folder.path, "run", "config.json", "--run-dir", overwrite=moved < 3, resume=False
    ) == (moved < 3)


def test_of_a_claim_that_wrote_nothing_nothing_stays(tmp_path: Path):
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "there", tmp_path / "made" / "run"):
        with claimed(folder, "--run-dir"):
            assert (folder / LOCK).exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize("verb", ["train", "overwrite", "resume", "sweep", "evaluate"])
def test_a_command_in_the_folder_of_a_running_one_exits_with_2_and_changes_nothing(
    folder: Path, tmp_path: Path, capsys, verb
):
    run_dir = tmp_path / "run"
    words = [*SMALL, "--data.root", str(folder), "--run-dir", str(run_dir)]
    with claimed(run_dir, "--run-dir"):
        code = {
            "train": lambda: train.main(words),
            "overwrite": lambda: train.main([*words, "--overwrite"]),
            "resume": lambda: train.main([*words, "--resume"]),
            "sweep": lambda: sweep.main([*words, "--seeds", "2"]),
            "evaluate": lambda: evaluate.main([str(run_dir)]),
        }[verb]()
        assert os.listdir(run_dir) == [LOCK]
    assert code == 2
    assert "another process is writing to this folder" in capsys.readouterr().err


def test_a_table_is_made_by_one_process_at_a_time(tmp_path: Path, capsys):
    with claimed(tmp_path / "gin-1", "--folder"):
        assert tables.main(["gin-1", "--folder", str(tmp_path)]) == 2
        assert os.listdir(tmp_path / "gin-1") == [LOCK]
    message = capsys.readouterr().err
    assert "gin-1: another process is writing to this folder" in message
    assert "--folder" in message


@pytest.mark.parametrize("name", ["a" * 300, "loop", "file", "file/below", "/proc/nowhere"])
@pytest.mark.parametrize("verb", ["train", "search", "evaluate", "export"])
def test_a_path_that_cannot_be_is_named_in_a_sentence(folder: Path, tmp_path: Path, capsys, name, verb):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    path = str(tmp_path / name)
    code = {
        "train": lambda: train.main([*SMALL, "--data.root", str(folder), "--run-dir", path]),
        "search": lambda: search.main([path, "--text", "a cat"]),
        "evaluate": lambda: evaluate.main([path]),
        "export": lambda: export.main([path, "--to", "npz"]),
    }[verb]()
    message = capsys.readouterr().err
    assert code == 2
    assert message.startswith("error: ")
    assert path in message


def test_what_a_terminal_cannot_show_is_printed_as_its_number(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", shown)
    assert status_of(lambda: say("caf\xe9 \u732b \ud800"), "gcnxmodal.search", []) == 0
    assert shown.buffer.getvalue() == b"caf\xe9 \\u732b \\ud800\n"
