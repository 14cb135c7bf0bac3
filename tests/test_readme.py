"""The Python of the README and of docs/python.md, run as it stands, in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> str:
    """All Python blocks of a page, one after another."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


@pytest.mark.slow
def test_the_python_of_the_pages_runs_as_written(tmp_path: Path):
    code = f"{blocks('README.md')}\n{blocks('docs/python.md')}"
    assert "Retriever.from_pretrained" in code
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "my-model" / "model.json").exists()


def test_every_command_of_the_readme_names_a_verb_and_a_preset_that_are_there():
    from gcnxmodal.__main__ import VERBS
    from gcnxmodal.systems import PRESETS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = re.findall(r"^(?:\.venv/bin/)?gcnxmodal (\w+)", text, re.MULTILINE)
    assert verbs
    assert set(verbs) <= set(VERBS)
    presets = re.findall(r"(?:launch/local|gcnxmodal (?:train|sweep)) ([a-z][\w-]+)", text)
    assert presets
    assert set(presets) <= set(PRESETS)
