"""Choose the tuned presets of GIN on a validation split of the training items; the test items stay unseen.

    python -m benchmarks.select_gin gin-emoji [--root DIR] [--candidates 24] [--seed 0]

Random search: each candidate draws its values from SPACE, trains with grid pairs on four fifths of the
training items and is measured under `standard` on the other fifth, every few epochs, so that the number of
epochs is chosen too. Prints the candidates, the best last, and writes benchmarks/results/select_PRESET.json.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.harness import write_result
from gcnxmodal.baselines import BASELINES
from gcnxmodal.corpus import Corpus
from gcnxmodal.experiments import PRESETS
from gcnxmodal.experiments.config import Experiment
from gcnxmodal.experiments.corpora import load_corpus
from gcnxmodal.experiments.measure import evaluate_baseline
from gcnxmodal.experiments.system import DROPOUT, build
from gcnxmodal.retrieval.evaluate import standard_map
from gcnxmodal.training.state import make_block

VALIDATION = 0.2
SPACE: dict[str, tuple[Any, ...]] = {
    "data.image_scale": ("unit", "standard"),
    "text.weighting": ("log1p", "l2", "tfidf"),
    "model.filters": ((1, 1), (4, 4)),
    "model.dimension": (64, 256),
    "model.dropout": (0.2, 0.5, 0.8),
    "train.learning_rate": (3e-4, 1e-3),
    "train.l2": (0.0, 3e-4, 1e-3, 3e-3),
    "train.margin": (0.6, 1.0),
}


def replaced(experiment: Experiment, values: dict[str, Any]) -> Experiment:
    """The experiment with dotted fields replaced."""
    for field, value in values.items():
        part, name = field.split(".")
        changed = dataclasses.replace(getattr(experiment, part), **{name: value})
        experiment = dataclasses.replace(experiment, **{part: changed})
    return experiment


def validation_curve(experiment: Experiment, corpus: Corpus, epochs: int, every: int) -> list[dict[str, Any]]:
    """`standard` MAP on the held-out items after every so many epochs."""
    system = build(experiment, corpus)
    corpus, test = system.inputs.corpus, system.inputs.corpus.splits["test"]
    block, key = make_block(system.step()), system.key(DROPOUT)
    state, points = system.initial_state(), []
    for epoch in range(epochs):
        data = dataclasses.replace(system.data, plan=system.plan(epoch))
        state = block(state, data, key, jnp.int32(system.steps_per_epoch))
        if (epoch + 1) % every == 0:
            found = standard_map(*system.embed(state.params, test), corpus.labels[test])
            points.append({"epochs": epoch + 1, **found})
    return points


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--root", type=Path, default=None, help="folder of the data set, if it needs one")
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    _, experiment = PRESETS[arguments.preset]
    data = {"data.root": arguments.root, "data.validation": VALIDATION, "train.pairing": "grid"}
    experiment = replaced(experiment, data)
    corpus = load_corpus(experiment.data, experiment.text)

    yardsticks = {
        name: evaluate_baseline(method(), corpus)["protocols"]["standard"]
        for name, method in BASELINES.items()
    }
    for name, found in yardsticks.items():
        print(f"{found['average']:.4f}  {name}", flush=True)
    random = np.random.default_rng(arguments.seed)
    tried = []
    for number in range(arguments.candidates):
        values = {field: choices[random.integers(len(choices))] for field, choices in SPACE.items()}
        points = validation_curve(replaced(experiment, values), corpus, arguments.epochs, arguments.every)
        best = max(points, key=lambda point: point["average"])
        tried.append({"values": values, "best": best, "curve": points})
        print(f"{best['average']:.4f}  {number:>3} at epoch {best['epochs']:>3}  {values}", flush=True)
    tried.sort(key=lambda candidate: candidate["best"]["average"])
    path = write_result(f"select_{arguments.preset}", {"yardsticks": yardsticks, "candidates": tried})
    print(f"best: {tried[-1]['values']} for {tried[-1]['best']['epochs']} epochs; written to {path}")


if __name__ == "__main__":
    main()
