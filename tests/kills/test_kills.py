"""A killed run ends as one that was not; `kill_and_resume.py` says how, and does it with all that trains."""

import os
import subprocess
import sys

import pytest
from kill_and_resume import _first_difference, _timeless


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    script = os.path.join(os.path.dirname(__file__), "kill_and_resume.py")
    options = ["--only", "gin", "--brief", "--kills", "2", "--no-result", "--keep", str(tmp_path)]
    # A process of its own: pytest's has used JAX, and cannot be forked.
    ended = subprocess.run([sys.executable, script, *options], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "  2/2 gin" in ended.stdout


def test_times_are_no_difference_and_numbers_are():
    results = {"date": "today", "seconds": {"train": 1.0}, "protocols": {"standard": [0.5, 0.25]}}
    later = {"date": "then", "seconds": {"train": 2.0}, "protocols": {"standard": [0.5, 0.25]}}
    assert _timeless(results) == _timeless(later)
    other = {"protocols": {"standard": [0.5, 0.75]}}
    assert _timeless(results) != other
    assert _first_difference(_timeless(results), other) == ".protocols.standard.1 is 0.75, not 0.25"
