import json
import sys
import types

import pytest

from benchmarks import compile as compile_benchmark
from benchmarks import evaluate, harness, peers


def test_alternatives_take_turns_and_each_goes_first():
    calls = []
    timings = harness.interleave({name: lambda name=name: calls.append(name) for name in "abc"}, 3, warm_up=1)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert all(timing.rounds == 3 for timing in timings.values())


def test_clock_waits_for_a_cuda_device(monkeypatch):
    waited = []
    cuda = types.SimpleNamespace(is_initialized=lambda: True, synchronize=lambda: waited.append("cuda"))
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    harness.interleave({"a": lambda: None}, rounds=2, warm_up=1)
    assert waited == ["cuda"] * 3


def test_repeated_calls_so_often_and_returns_the_last():
    calls = iter(range(10))
    assert harness.repeated(lambda: next(calls), 4)() == 3


@pytest.mark.parametrize(("platform", "file"), [("cpu", "made_up.json"), ("gpu", "made_up-gpu.json")])
def test_accelerators_do_not_overwrite_the_results_of_cpus(platform, file, tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(harness, "environment", lambda: {"platform": platform, "device": "1 x made up"})
    path = harness.write_result("made_up", {"answer": 42})
    assert path == tmp_path / file
    assert json.loads(path.read_text()) == {
        "environment": {"platform": platform, "device": "1 x made up"},
        "answer": 42,
    }


@pytest.mark.parametrize("cutoff", [None, 100])
@pytest.mark.parametrize("name", [name for name in evaluate.METHODS if name != evaluate.OURS])
def test_every_method_finds_the_same_map(name, cutoff):
    ranking = evaluate.make_ranking(evaluate.Case(60, 1_500, cutoff, 60))
    try:
        run = evaluate.METHODS[name](ranking, cutoff)
    except ImportError as missing:
        pytest.skip(str(missing))
    found, expected = run(), evaluate.ours(ranking, cutoff)()
    assert float(found.mean()) == pytest.approx(float(expected.mean()), abs=evaluate.TOLERANCE)
    assert 0.1 < float(expected.mean()) < 0.9  # neither chance nor trivial


def test_methods_that_disagree_are_not_timed(monkeypatch):
    wrong = {
        evaluate.OURS: evaluate.ours,
        "wrong": lambda ranking, cutoff: lambda: evaluate.ours(ranking, 3)(),
    }
    monkeypatch.setattr(evaluate, "METHODS", wrong)
    with pytest.raises(SystemExit, match="MAP of wrong differs"):
        evaluate.measure(evaluate.Case(20, 300, None, 20), rounds=1)


def test_peers_that_are_not_installed_are_skipped(monkeypatch, capsys):
    def missing(ranking, cutoff):
        raise ImportError("no such package")

    monkeypatch.setattr(evaluate, "METHODS", {evaluate.OURS: evaluate.ours, "other": missing})
    rows = evaluate.measure(evaluate.Case(20, 300, None, 20), rounds=1)
    assert [row[""] for row in rows] == [evaluate.OURS]
    assert "skipped other: no such package" in capsys.readouterr().out
    assert "ours" in peers.PEERS


def test_compile_runs_what_the_command_line_understands(tmp_path):
    from gcnxmodal import train

    for root in (None, tmp_path):
        preset, arguments = train.parse(compile_benchmark.command(root, tmp_path / "run")[2:])
        assert preset == ("gin-emoji" if root is None else "gin-wikipedia")
        assert arguments.experiment.train.positives == compile_benchmark.PAIRS
        assert arguments.experiment.epochs == 1
        assert arguments.run_dir == tmp_path / "run"


def test_compile_says_why_a_run_failed(tmp_path):
    with pytest.raises(SystemExit, match=r"status 3(.|\n)*no luck"):
        compile_benchmark.timed_run(["-c", "print('no luck'); exit(3)"], tmp_path / "run", tmp_path)
