"""Damaged files of every format are read or refused; `fuzz_readers.py` says how, and does more of it."""

from formats import FORMATS
from fuzz_readers import GATE, find_faults, tasks_of


def test_damaged_files_are_read_or_refused_within_the_limits(tmp_path):
    faults, refused = find_faults(tasks_of(FORMATS, GATE), 0, tmp_path)
    assert faults == []
    assert refused > 800  # or the damage is none


def test_readers_that_raise_die_or_take_too_much_are_found_and_the_next_are_read(tmp_path):
    tasks = [("dies", 0), ("raises", 0), ("takes time", 0), ("takes memory", 0)]
    faults, refused = find_faults(tasks, 0, tmp_path, "faulty_formats")
    assert [(fault.format, fault.what) for fault in faults[:3]] == [
        ("dies", "the process died of SIGSEGV"),
        ("raises", "KeyError: 'x'"),
        ("takes time", "more than 10 s of the processor"),
    ]
    assert faults[3].what == "more than 1,073,741,824 bytes, refused by damaged"
    assert (len(faults), refused) == (4, 1)
