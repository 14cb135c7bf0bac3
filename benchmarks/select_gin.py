"""Choose the tuned presets of GIN on a validation split of the training items; the test items stay unseen.

    python -m benchmarks.select_gin gin-emoji [--root DIR] [--epochs 60] [--seeds 2]

Coordinate search: starting from START, each field of SPACE in turn takes the value that does best with the
others held. A candidate trains with grid pairs on four fifths of the training items and is measured under
`standard` on the other fifth every few epochs, mean over seeds, so that the number of epochs is chosen too.
The yardsticks are fitted and measured on the same split. Writes benchmarks/results/select_PRESET.json.
"""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.harness import write_result
from gcnxmodal.baselines import BASELINES
from gcnxmodal.config import Experiment
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.evaluation import evaluate_baseline, map_of_test_items
from gcnxmodal.systems import PRESETS, build
from gcnxmodal.systems.base import DROPOUT, System
from gcnxmodal.training.state import make_block

VALIDATION = 0.2
DIRECTIONS = ("text_query", "image_query", "average")
START: dict[str, Any] = {
    "model.normalise": True,
    "data.image_scale": "unit",
    "model.dropout": 0.2,
    "train.l2": 3e-4,
    "text.weighting": "log1p",
    "model.dimension": 256,
    "model.filters": (1, 1),
    "train.grid_images": 100,
    "train.learning_rate": 1e-3,
}
SPACE: dict[str, tuple[Any, ...]] = {
    "model.normalise": (False,),
    "data.image_scale": ("standard",),
    "train.l2": (1e-4, 1e-3),
    "model.dropout": (0.0, 0.5),
    "text.weighting": ("counts", "tfidf", "l2"),
    "model.dimension": (128, 512),
    "model.filters": ((4, 4),),
    "train.grid_images": (400,),
    "train.learning_rate": (3e-4, 3e-3),
}


def replaced(experiment: Experiment, values: dict[str, Any]) -> Experiment:
    """The experiment with dotted fields replaced."""
    for field, value in values.items():
        part, name = field.split(".")
        changed = dataclasses.replace(getattr(experiment, part), **{name: value})
        experiment = dataclasses.replace(experiment, **{part: changed})
    return experiment


def validation_curve(
    experiment: Experiment,
    corpus: Corpus,
    every: int,
    map_of: Callable[[System, Any], Mapping[str, float]] = map_of_test_items,
) -> np.ndarray:
    """MAP of the held-out items, by default `standard`, every so many epochs: text, image query, average."""
    system = build(experiment, corpus)
    block, key = make_block(system.step()), system.key(DROPOUT)
    state, points = system.initial_state(), []
    for epoch in range(experiment.epochs):
        data = dataclasses.replace(system.data, plan=system.plan(epoch))
        state = block(state, data, key, jnp.int32(system.steps_per_epoch))
        if (epoch + 1) % every == 0:
            found = map_of(system, state.params)
            points.append([found[name] for name in DIRECTIONS])
    return np.array(points)


def measure(experiment: Experiment, corpus: Corpus, seeds: int, every: int) -> dict[str, Any]:
    """The best point of the curve averaged over seeds, and each seed's average there."""
    curves = [
        validation_curve(dataclasses.replace(experiment, seed=seed), corpus, every) for seed in range(seeds)
    ]
    mean = np.mean(curves, axis=0)
    best = int(mean[:, -1].argmax())
    return {
        "epochs": every * (best + 1),
        **dict(zip(DIRECTIONS, mean[best].tolist(), strict=True)),
        "by_seed": [curve[best, -1] for curve in curves],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--root", type=Path, default=None, help="folder of the data set, if it needs one")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    _, experiment = PRESETS[arguments.preset]
    experiment = replaced(
        dataclasses.replace(experiment, epochs=arguments.epochs),
        {"data.root": arguments.root, "data.validation": VALIDATION, "train.pairing": "grid"},
    )
    corpus = load_corpus(experiment.data, experiment.text)

    yardsticks = {
        name: evaluate_baseline(method(), corpus)["protocols"]["standard"]
        for name, method in BASELINES.items()
    }
    for name, found in yardsticks.items():
        print(f"{found['average']:.4f}  {name}", flush=True)
    tried: list[dict[str, Any]] = []

    def consider(values: dict[str, Any]) -> float:
        found = measure(replaced(experiment, values), corpus, arguments.seeds, arguments.every)
        tried.append({"values": values, **found})
        print(f"{found['average']:.4f}  {len(tried):>2} at epoch {found['epochs']:>3}  {values}", flush=True)
        return found["average"]

    best, best_average = START, consider(START)
    for field, choices in SPACE.items():
        for candidate in [{**best, field: choice} for choice in choices]:
            if (average := consider(candidate)) > best_average:
                best, best_average = candidate, average
    chosen = next(candidate for candidate in tried if candidate["values"] is best)
    name = f"select_{arguments.preset}"
    path = write_result(name, {"yardsticks": yardsticks, "chosen": chosen, "candidates": tried})
    print(f"chosen: {best} for {chosen['epochs']} epochs; written to {path}")


if __name__ == "__main__":
    main()
