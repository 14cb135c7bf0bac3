"""Grid pairs against the papers' 1:1 pairs: the time to a given MAP on Wikipedia.

    python -m benchmarks.epoch ROOT [--faithful RUN ...] [--epochs 1] [--seeds 3] [--steps 300]

Faithful is `gin-wikipedia` as it is: 200 pairs a step, 200 texts through the network. Grid is the same with
only `train.pairing` changed, and at most L2 and the weighting of the counts; it scores every text of a step
with every image. The question is how long each trains until the average `standard` MAP of the test set is

    final   what the faithful run has at its end
    best    the best that the faithful run had

Seconds are steps times seconds a step. The steps are those of the first measurement that reaches the MAP;
grid, which is measured more often, must reach it twice in a row. The seconds a step of all programs are
medians of interleaved rounds in this process, so that it does not matter when and beside what a run was
trained. Compiling and measuring MAP are left out.

The faithful runs are finished run folders of `gcnxmodal.train` (--faithful, one a seed, each measured once an
epoch), or are trained here: --seeds seeds, --epochs epochs. All grid CANDIDATES train on the first seed, for
at most --steps steps; the one that reaches `best` soonest trains on the other seeds too, each against the
faithful run of its seed; the ratio is 0 where it does not get there. Writes results/epoch.json.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.harness import interleave, table, write_result
from benchmarks.select_gin import replaced
from gcnxmodal.config import Experiment
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.evaluation import map_of_test_items
from gcnxmodal.runs import RunFolder
from gcnxmodal.systems import PRESETS, build
from gcnxmodal.systems.base import DROPOUT, System
from gcnxmodal.training.state import make_block

PRESET = "gin-wikipedia"
CANDIDATES = {
    f"{size} x {size}, l2 {l2:g}, {weighting}": {
        "train.pairing": "grid",
        "train.grid_texts": size,
        "train.grid_images": size,
        "train.l2": l2,
        "text.weighting": weighting,
    }
    for size, l2, weighting in itertools.product((100, 200), (0.005, 0.0), ("counts", "log1p"))
}
TARGETS = ("final", "best")

Point = tuple[int, float]
"""Steps done, and the average `standard` MAP then."""


@dataclasses.dataclass(frozen=True)
class Faithful:
    """A faithful run: what it is, and how its MAP rose."""

    experiment: Experiment
    points: list[Point]
    source: str

    def target(self, name: str) -> float:
        return self.points[-1][1] if name == "final" else max(average for _, average in self.points)


def read_run(path: Path, root: Path) -> Faithful:
    """A finished run of `gcnxmodal.train`, on the data set in `root` wherever it was then.

    Raises:
        InputError: if it is not a faithful run of the preset, or was not measured on the way.
    """
    folder = RunFolder(path)
    preset, experiment = folder.read_config()
    experiment = replaced(experiment, {"data.root": root})
    faithful = replaced(PRESETS[PRESET][1], {"data.root": root})
    for part in ("data", "text", "model", "train"):
        if getattr(experiment, part) != getattr(faithful, part):
            raise InputError(f"{path}: its {part} is not that of {PRESET}; name a run of the preset as it is")
    lines = [line for line in folder.history() if "standard" in line]
    if preset != PRESET or not lines:
        raise InputError(f"{path}: not a run of {PRESET} with a measured epoch; name one")
    points = [(line["step"], line["standard"]["average"]) for line in lines]
    return Faithful(experiment, points, f"{path}, {points[-1][0]} steps, measured each epoch")


def trajectory(system: System, every: int) -> Iterator[Point]:
    """Train, and measure every so many steps."""
    block, key, state = make_block(system.step()), system.key(DROPOUT), system.initial_state()
    for done in itertools.count(0, every):
        left = every
        while left:  # a block ends with its epoch
            epoch, row = divmod(done + every - left, system.steps_per_epoch)
            data = dataclasses.replace(system.data, plan=system.plan(epoch))
            count = min(left, system.steps_per_epoch - row)
            state = block(state, data, key, jnp.int32(count))
            left -= count
        yield done + every, map_of_test_items(system, state.params)["average"]


def steps_to(target: float, points: list[Point], in_a_row: int = 1) -> int | None:
    """Steps at the first measurement that ends a row of measurements at or above the target."""
    row = 0
    for step, average in points:
        row = row + 1 if average >= target else 0
        if row == in_a_row:
            return step
    return None


def grid_points(experiment: Experiment, name: str, target: float, limit: int, every: int) -> list[Point]:
    """The trajectory of a candidate until it has reached the target or done `limit` steps."""
    system = build_system(replaced(experiment, CANDIDATES[name]))
    points: list[Point] = []
    for point in trajectory(system, every):
        points.append(point)
        if steps_to(target, points, in_a_row=2) or point[0] >= limit:
            break
    return points


def build_system(experiment: Experiment) -> System:
    return build(experiment, load_corpus(experiment.data, experiment.text))


def seconds_per_step(experiments: dict[str, Experiment], rounds: int, steps: int = 4) -> dict[str, float]:
    """Median seconds of a step of each experiment, interleaved."""
    alternatives = {}
    for name, experiment in experiments.items():
        system = build_system(experiment)
        block, key = make_block(system.step()), system.key(DROPOUT)
        data, states = dataclasses.replace(system.data, plan=system.plan(0)), [system.initial_state()]

        def train(block=block, key=key, data=data, states=states):
            states.append(block(states.pop(), data, key, jnp.int32(steps)))
            return states[0].step

        alternatives[name] = train
    timings = interleave(alternatives, rounds)
    return {name: timing.median / 1e3 / steps for name, timing in timings.items()}


def train_faithful(experiment: Experiment, epochs: int, every: int) -> Faithful:
    """A faithful run, measured every so many steps."""
    system = build_system(experiment)
    steps = epochs * system.steps_per_epoch
    points = list(itertools.islice(trajectory(system, every), steps // every))
    return Faithful(experiment, points, f"trained here, {steps} steps, measured every {every}")


def compare(
    faithful: Faithful, points: list[Point], faithful_step: float, grid_step: float
) -> dict[str, dict[str, Any]]:
    """For each target: its MAP, the seconds of both, and how many times as long the faithful run takes."""
    rows = {}
    for name in TARGETS:
        target = faithful.target(name)
        steps, grid_steps = steps_to(target, faithful.points), steps_to(target, points, in_a_row=2)
        assert steps is not None
        seconds = steps * faithful_step
        grid_seconds = None if grid_steps is None else grid_steps * grid_step
        rows[name] = {
            "MAP": target,
            "faithful s": seconds,
            "grid s": grid_seconds,
            "faithful / grid": None if grid_seconds is None else seconds / grid_seconds,
        }
    return rows


def soonest(trials: dict[str, dict[str, Any]]) -> str:
    """The candidate that reached `best` first, or else `final`."""

    def seconds(name: str) -> list[float]:
        found = [trials[name]["targets"][target]["grid s"] for target in ("best", "final")]
        return [np.inf if value is None else value for value in found]

    return min(trials, key=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder of the Wikipedia data set, with cnn_features.npz")
    parser.add_argument("--faithful", type=Path, nargs="+", default=[], help="finished runs of the preset")
    parser.add_argument("--epochs", type=int, default=1, help="of a faithful run that is trained here")
    parser.add_argument("--seeds", type=int, default=3, help="faithful runs that are trained here")
    parser.add_argument("--steps", type=int, default=300, help="at most, of a grid candidate")
    parser.add_argument("--every", type=int, default=5, help="grid steps between two measurements")
    parser.add_argument(
        "--faithful-every", type=int, default=40, help="the same of a faithful run trained here"
    )
    parser.add_argument("--rounds", type=int, default=7, help="of the timing")
    arguments = parser.parse_args()

    preset = replaced(PRESETS[PRESET][1], {"data.root": arguments.root})
    runs = [read_run(path, arguments.root) for path in arguments.faithful]
    sizes = {name: name.split(",")[0] for name in CANDIDATES}  # counts and L2 do not change the work
    programs = {sizes[name]: replaced(preset, values) for name, values in CANDIDATES.items()}
    step = seconds_per_step({"faithful": preset, **programs}, arguments.rounds)
    print(", ".join(f"{name}: {1e3 * seconds:.0f} ms a step" for name, seconds in step.items()), flush=True)

    for seed in range(0 if runs else arguments.seeds):
        experiment = dataclasses.replace(preset, seed=seed)
        runs.append(train_faithful(experiment, arguments.epochs, arguments.faithful_every))
        print(f"faithful, seed {seed}: final MAP {runs[-1].target('final'):.4f}", flush=True)

    def trial(name: str, run: Faithful) -> dict[str, Any]:
        points = grid_points(run.experiment, name, run.target("best"), arguments.steps, arguments.every)
        targets = compare(run, points, step["faithful"], step[sizes[name]])
        seconds = {target: found["grid s"] for target, found in targets.items()}
        print(f"seed {run.experiment.seed}, {name}: {seconds} s, MAP {points[-1][1]:.4f}", flush=True)
        return {"targets": targets, "points": points}

    trials = {name: trial(name, runs[0]) for name in CANDIDATES}
    chosen = soonest(trials)
    found = [trials[chosen], *(trial(chosen, run) for run in runs[1:])]
    print(f"\ngrid {chosen}, chosen on seed {runs[0].experiment.seed}\n")
    rows = [
        {"seed": run.experiment.seed, "target": target, **result["targets"][target]}
        for run, result in zip(runs, found, strict=True)
        for target in TARGETS
    ]
    print(table(rows) + "\n")
    medians = {}
    for target in TARGETS:
        ratios = [row["faithful / grid"] or 0.0 for row in rows if row["target"] == target]
        medians[target] = float(np.median(ratios))
        print(f"time to {target}: {medians[target]:.3g}x less (median of {len(ratios)} seeds)")
    faithful = [{"source": run.source, "points": run.points} for run in runs]
    seeds = {"rows": rows, "faithful": faithful, "grid": found}
    path = write_result(
        "epoch", {"step_seconds": step, "chosen": chosen, "median_ratio": medians, **seeds, "trials": trials}
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
