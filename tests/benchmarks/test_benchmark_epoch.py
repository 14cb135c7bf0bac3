import dataclasses
import types

import pytest

from benchmarks import epoch
from gcnxmodal.errors import InputError
from gcnxmodal.runs import RunFolder
from gcnxmodal.systems import PRESETS

POINTS = [(10, 0.2), (20, 0.4), (30, 0.3), (40, 0.4), (50, 0.5), (60, 0.45)]


def faithful(points=POINTS) -> epoch.Faithful:
    return epoch.Faithful(PRESETS[epoch.PRESET][1], points, "made up")


def test_targets_are_the_end_and_the_best_of_the_faithful_run():
    assert faithful().target("final") == 0.45
    assert faithful().target("best") == 0.5


def test_grid_must_reach_the_target_twice_in_a_row():
    assert epoch.steps_to(0.4, POINTS) == 20
    assert epoch.steps_to(0.4, POINTS, in_a_row=2) == 50
    assert epoch.steps_to(0.6, POINTS) is None


def test_ratio_is_of_steps_times_seconds_a_step():
    grid = [(5, 0.4), (10, 0.46), (15, 0.47), (20, 0.48)]
    found = epoch.compare(faithful(), grid, faithful_step=2.0, grid_step=0.5)
    # The faithful run had .45 first at step 50; grid at 10, and again at 15.
    assert found["final"] == {
        "MAP": 0.45,
        "faithful s": 100.0,
        "grid s": 7.5,
        "faithful / grid": pytest.approx(100 / 7.5),
    }
    assert found["best"]["grid s"] is None
    assert found["best"]["faithful / grid"] is None


def test_the_candidate_that_reaches_the_best_soonest_is_chosen():
    def trial(best, final):
        return {"targets": {"best": {"grid s": best}, "final": {"grid s": final}}}

    assert epoch.soonest({"a": trial(9.0, 1.0), "b": trial(8.0, 2.0), "c": trial(None, 0.5)}) == "b"
    assert epoch.soonest({"a": trial(None, 2.0), "b": trial(None, 1.0), "c": trial(None, None)}) == "b"


def test_candidates_change_pairing_l2_and_weighting_only():
    faithful = PRESETS[epoch.PRESET][1]
    for values in epoch.CANDIDATES.values():
        changed = epoch.replaced(faithful, values)
        train = dataclasses.replace(
            changed.train, pairing="balanced", grid_texts=100, grid_images=100, l2=faithful.train.l2
        )
        text = dataclasses.replace(changed.text, weighting=faithful.text.weighting)
        assert dataclasses.replace(changed, train=train, text=text) == faithful


def write_run(path, experiment, lines):
    folder = RunFolder(path)
    folder.start(epoch.PRESET, experiment, overwrite=False)
    for line in lines:
        folder.append_metrics(line)


LINE = {"epoch": 1, "step": 400, "seconds": 1.0}


def test_finished_runs_are_read(tmp_path):
    experiment = dataclasses.replace(PRESETS[epoch.PRESET][1], seed=4, epochs=2)
    averages = [0.3, 0.35]
    lines = [
        {"epoch": i, "step": 400 * i, "seconds": 1.0, "standard": {"average": a}}
        for i, a in enumerate(averages, 1)
    ]
    write_run(tmp_path / "run", experiment, lines)
    run = epoch.read_run(tmp_path / "run", tmp_path)
    assert run.points == [(400, 0.3), (800, 0.35)]
    assert run.experiment.seed == 4
    assert run.experiment.data.root == tmp_path


@pytest.mark.parametrize("fault", ["another loss", "not measured"])
def test_runs_that_are_not_faithful_are_refused(fault, tmp_path):
    experiment, lines = PRESETS[epoch.PRESET][1], [{**LINE, "standard": {"average": 0.3}}]
    if fault == "another loss":
        experiment = epoch.replaced(experiment, {"train.margin": 0.9})
    else:
        lines = [{**LINE, "loss": 1.0}]
    write_run(tmp_path / "run", experiment, lines)
    with pytest.raises(InputError, match="its train is not" if fault == "another loss" else "measured epoch"):
        epoch.read_run(tmp_path / "run", tmp_path)


def test_trajectory_measures_every_so_many_steps_across_epochs(monkeypatch):
    """A system whose state is what it was trained on: (epoch, rows) of every block."""

    @dataclasses.dataclass
    class FakeData:
        plan: int | None = None

    system = types.SimpleNamespace(
        data=FakeData(),
        steps_per_epoch=3,
        plan=lambda epoch: epoch,
        step=lambda: None,
        key=lambda purpose: None,
        initial_state=lambda: types.SimpleNamespace(params=()),
    )

    def block(state, data, key, steps):
        return types.SimpleNamespace(params=(*state.params, (data.plan, int(steps))))

    monkeypatch.setattr(epoch, "make_block", lambda step: block)
    monkeypatch.setattr(epoch, "map_of_test_items", lambda system, params: {"average": params})
    points = epoch.trajectory(system, every=2)
    assert [next(points) for _ in range(3)] == [
        (2, ((0, 2),)),
        (4, ((0, 2), (0, 1), (1, 1))),
        (6, ((0, 2), (0, 1), (1, 1), (1, 2))),
    ]
