"""What stands beside every number."""

import subprocess
from pathlib import Path

import jax
import pytest

from gcnxmodal import __version__, environment
from gcnxmodal.environment import commit, processor


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "code")
    return tmp_path


def test_environment_keeps_the_contract_of_results_json():
    found = environment.environment()
    assert isinstance(found["device"], str)
    assert isinstance(found["commit"], str)
    assert found["versions"]["jax"] == jax.__version__
    assert found["versions"]["gcnxmodal"] == __version__
    assert all(isinstance(version, str) for version in found["versions"].values())


def test_device_is_the_count_and_the_processor_on_a_cpu_and_the_kind_elsewhere(monkeypatch):
    class Accelerator:
        platform, device_kind = "gpu", "Made-up 100"

    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert environment.environment()["device"] == f"8 x {processor()}"
    monkeypatch.setattr(jax, "devices", lambda: [Accelerator()] * 8)
    found = environment.environment()
    assert found["device"] == "8 x Made-up 100"
    assert found["platform"] == "gpu"


def test_processor_is_the_model_name(tmp_path: Path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Made-up 9 : 5\nmodel name\t: Made-up 9 : 5\n")
    assert processor(cpuinfo) == "Made-up 9 : 5"
    assert processor(tmp_path / "absent")


def test_commit_is_that_of_the_checkout_and_says_whether_it_was_changed(checkout: Path):
    expected = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert commit(checkout) == expected
    (checkout / "new.py").write_text("not tracked")
    assert commit(checkout) == expected
    (checkout / "code.py").write_text("2")
    assert commit(checkout) == expected + "+"


def test_results_of_benchmarks_do_not_change_the_commit(checkout: Path):
    results = checkout / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "speed.json").write_text("1")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "results")
    (results / "speed.json").write_text("2")
    assert commit(checkout) == git(checkout, "rev-parse", "--short=12", "HEAD")


def test_a_tag_does_not_take_the_place_of_the_commit(checkout: Path):
    git(checkout, "tag", "-a", "v9", "-m", "nine")
    assert commit(checkout) == git(checkout, "rev-parse", "--short=12", "HEAD")


def test_a_package_inside_another_repository_tells_its_version(checkout: Path):
    (checkout / "site-packages").mkdir()
    assert commit(checkout / "site-packages") == f"v{__version__}"


def test_a_repository_without_a_commit_tells_the_version(tmp_path: Path):
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) == f"v{__version__}"
