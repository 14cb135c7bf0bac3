"""The structure of the package: what may import what, what is public, and that a system can be deleted."""

import ast
import doctest
import inspect
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from small_folder import write_folder

import gcnxmodal

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gcnxmodal"

# From the top to the bottom: a module imports those of its own line and of lower ones.
LAYERS = [
    {"__main__"},
    {"train", "sweep", "evaluate", "search", "export", "features", "tables", "figures"},
    {"papers"},
    {"tuning"},
    {"sweeps", "console"},
    {"evaluation"},
    {"retriever", "report"},
    {"runs"},
    {"systems"},
    {"inputs", "stores", "stopping"},
    {"data", "training", "nn", "baselines"},
    {"graph", "chebyshev", "retrieval"},
    {"corpus", "text", "holdout"},
    {"config", "environment", "errors"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports_of(path: Path) -> set[str]:
    """The top-level parts of the package that a module imports, not those for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gcnxmodal":
            names = (
                [node.module] if "." in node.module else [f"gcnxmodal.{alias.name}" for alias in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("gcnxmodal.")]
        found |= {name.split(".")[1] for name in names}
    return found & LEVEL.keys()


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_run_downwards_only(path: Path):
    part = part_of(path)
    if part == "__init__":
        assert not imports_of(path)
        return
    assert part in LEVEL, f"{part} has no layer: give it one in LAYERS"
    assert {name for name in imports_of(path) if LEVEL[name] < LEVEL[part]} == set()


def test_every_folder_of_the_package_is_one():
    """A folder without __init__.py would be left out of an installation."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_import_loads_neither_jax_nor_numpy_and_is_fast():
    code = (
        "import time; start = time.perf_counter(); import gcnxmodal, sys; "
        "print(time.perf_counter() - start, [m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    )
    seconds, loaded = min(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        .stdout.strip()
        .split(" ", 1)
        for _ in range(3)
    )
    assert loaded == "[]"
    assert float(seconds) < 0.3


@pytest.mark.parametrize("name", gcnxmodal.__all__)
def test_every_public_name_is_there_with_an_example_that_runs(name: str):
    value = getattr(gcnxmodal, name)
    text = inspect.getdoc(value) or ""
    assert ">>>" in text
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for test in finder.find(value, name, globs={}):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_dir_names_what_is_public_and_an_unknown_name_is_told_what_there_is():
    assert {*gcnxmodal.__all__, "__version__"} == set(dir(gcnxmodal))
    with pytest.raises(AttributeError, match="public are Corpus, Hit"):
        gcnxmodal.Retreiver  # noqa: B018


def test_without_sspe_the_rest_trains_and_passes_its_smoke_list(tmp_path: Path):
    """Deleting a system is deleting its module, its page of tables and its tests."""
    tree = tmp_path / "tree"
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache")
    )
    shutil.rmtree(tree / "gcnxmodal" / "systems" / "sspe")
    (tree / "gcnxmodal" / "papers" / "sspe.py").unlink()
    left = "import gcnxmodal.systems as s, gcnxmodal.papers; print(sorted(s.SYSTEMS))"
    environment = {**os.environ, "PYTHONPATH": str(tree)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    assert run("-c", left).strip() == "['gch', 'gin', 'joint', 'scanet']"
    data = write_folder(tmp_path / "data")
    words = ["-m", "gcnxmodal", "train", "gin-folder", "--data.root", str(data)]
    words += ["--data.image-feature", "features", "--text.words", "40", "--text.neighbours", "4"]
    words += ["--train.grid-texts", "10", "--train.grid-images", "10", "--epochs", "1"]
    assert "report:" in run(*words, "--run-dir", str(tmp_path / "run"))
    smoke = ["tests/systems/test_gin.py", "tests/systems/test_gch.py", "tests/test_corpus.py"]
    assert " passed" in run("-m", "pytest", "-p", "no:cacheprovider", *smoke)


def test_the_lowest_versions_allowed_are_those_that_were_tried():
    """Whoever changes a bound runs tests/versions.sh again."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    script = (ROOT / "tests" / "versions.sh").read_text(encoding="utf-8")
    tried = next(line for line in script.splitlines() if line.startswith("extras=")).removeprefix("extras=")
    lines = [*project["dependencies"], *(line for name in tried.split(",") for line in extras[name])]
    lowest = {}
    for requirement in map(Requirement, lines):
        (bound,) = requirement.specifier
        lowest[canonicalize_name(requirement.name)] = Version(bound.version)
    found = (ROOT / "tests" / "versions.txt").read_text(encoding="utf-8")
    words = found.partition("lowest: passes")[2].partition("newest:")[0].split()
    pairs = [word.split("==") for word in words if "==" in word]
    assert {canonicalize_name(name): Version(version) for name, version in pairs} == lowest
