import dataclasses
import importlib.util
import os

import numpy as np
import pytest

from benchmarks import codes

SMALL = codes.Case(40, 700, None, 16)
SEARCH = dataclasses.replace(SMALL, cutoff=30, search=True)


@pytest.mark.parametrize("case", [SMALL, dataclasses.replace(SMALL, cutoff=50, several=True), SEARCH])
def test_ours_is_first_and_the_rest_is_timed_beside_it(case, capsys):
    rows = codes.measure(case, rounds=1)
    assert rows[0][""] == codes.OURS
    assert all(row["ms"] > 0 for row in rows)
    compared = {row[""]: row["differs by"] for row in rows}
    assert compared["ours, XLA"] <= (0 if case.search else 1e-12)
    if case.search and importlib.util.find_spec("faiss") is None:
        assert "the extra `faiss` has it" in capsys.readouterr().out


def test_a_search_with_another_distance_stops_the_benchmark(monkeypatch):
    def wrong(part, k):
        found = codes.ours_search(part, k)()
        return lambda: found + (np.arange(len(found)) == 3)[:, None]

    monkeypatch.setitem(codes.SEARCHES, "ours, XLA", wrong)
    with pytest.raises(SystemExit, match="ours, XLA differs from ours by 1"):
        codes.measure(SEARCH, rounds=1)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak is read from /proc")
def test_memory_is_what_a_measure_takes_at_most(monkeypatch):
    monkeypatch.setattr(codes, "LARGEST", codes.Case(200, 3_000, None, 16))
    monkeypatch.setitem(codes.MEASURES, "a", lambda _: lambda: np.ones(2**22))  # 34 MB
    assert 30 < (codes.grow("a") or 0) < 40
