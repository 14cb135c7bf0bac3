"""Why published text-query MAP is high: the protocol, shown as a curve.

    python -m benchmarks.protocol_effect ROOT [--seeds 3] [--steps 600]

GIN is trained on Wikipedia with the pictures' features expanded to 4,096 seeded random ReLU features, so that
training pictures can be told apart as they can be with VGG-19. Both protocols are measured on the way:
`authors` ranks test queries against the training set, `standard` against the test set.
Writes benchmarks/results/protocol_effect.{json,png}.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from benchmarks.harness import write_result
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.inputs import feature_scaler
from gcnxmodal.retriever import Retriever
from gcnxmodal.systems import PRESETS, build
from gcnxmodal.systems.base import DROPOUT
from gcnxmodal.training.state import make_block

FEATURES = 4096
PAPER = {"text_query": 0.7672, "image_query": 0.4526}  # GIN Table 1, Eng-Wiki


def expand(corpus: Corpus, features: int = FEATURES, seed: int = 0) -> Corpus:
    """The corpus with its image features v replaced by relu(W v + b), W and b normal and seeded."""
    random = np.random.default_rng(seed)
    images = feature_scaler(corpus.images, "unit", corpus.splits["train"])(corpus.images)
    weight = random.standard_normal((images.shape[1], features)) / np.sqrt(images.shape[1])
    expanded = np.maximum(images @ weight + random.standard_normal(features), 0)
    return dataclasses.replace(corpus, images=expanded.astype(np.float32))


def curve(corpus: Corpus, seed: int, steps: int, every: int) -> list[dict[str, Any]]:
    """MAP under both protocols every so many steps of one training run."""
    _, experiment = PRESETS["gin-wikipedia"]
    experiment = dataclasses.replace(
        experiment,
        seed=seed,
        text=dataclasses.replace(experiment.text, weighting="log1p"),
        model=dataclasses.replace(experiment.model, dimension=256),
        train=dataclasses.replace(experiment.train, pairing="grid", l2=0.0),
    )
    system = build(experiment, corpus)
    block, key = make_block(system.step()), system.key(DROPOUT)
    state, points = system.initial_state(), []
    while int(state.step) < steps:
        epoch, row = divmod(int(state.step), system.steps_per_epoch)
        data = dataclasses.replace(system.data, plan=system.plan(epoch))
        count = min(every - int(state.step) % every, system.steps_per_epoch - row)
        state = block(state, data, key, jnp.int32(count))
        if int(state.step) % every == 0:
            database = Retriever.of_system(system, state.params).encode_items(system.inputs)
            found = database.evaluate(system.inputs.corpus.labels, corpus.splits)
            points.append({"step": int(state.step), **found["protocols"]})
            print(f"seed {seed} step {points[-1]['step']:>4} " + _line(points[-1]), flush=True)
    return points


def draw(curves: list[list[dict[str, Any]]], path: Path) -> None:
    """Mean and range over seeds of MAP against steps, one panel a direction."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    steps = [point["step"] for point in curves[0]]
    for panel, direction in zip(panels, ("text_query", "image_query"), strict=True):
        for protocol, colour, shift in (("authors", "#d95f02", 5), ("standard", "#1b6ca8", -5)):
            values = np.array([[point[protocol][direction] for point in run] for run in curves])
            panel.plot(steps, values.mean(axis=0), color=colour, linewidth=2)
            panel.fill_between(
                steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0
            )
            panel.annotate(
                protocol, (steps[-1], values.mean(axis=0)[-1]), xytext=(4, shift), textcoords="offset points",
                color=colour, va="center",
            )  # fmt: skip
        panel.axhline(PAPER[direction], color="0.4", linestyle=":", linewidth=1.2)
        panel.annotate(
            "GIN Table 1",
            (steps[0], PAPER[direction]),
            xytext=(2, 3),
            textcoords="offset points",
            color="0.4",
        )
        panel.set(title=direction.replace("_", " "), xlabel="training steps (grid pairs)", ylim=(0, 0.9))
        panel.margins(x=0.14)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("MAP")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder of the Wikipedia data set, with cnn_features.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--every", type=int, default=50, help="steps between two measurements")
    arguments = parser.parse_args()
    _, experiment = PRESETS["gin-wikipedia"]
    data = dataclasses.replace(experiment.data, root=arguments.root)
    corpus = expand(load_corpus(data, experiment.text))
    curves = [curve(corpus, seed, arguments.steps, arguments.every) for seed in range(arguments.seeds)]
    path = write_result("protocol_effect", {"image_features": FEATURES, "paper": PAPER, "curves": curves})
    draw(curves, path.with_suffix(".png"))
    final = [run[-1] for run in curves]
    for protocol in ("standard", "test@100", "authors"):
        for direction in ("text_query", "image_query"):
            values = np.array([point[protocol][direction] for point in final])
            print(f"{protocol:>9} {direction:<11} {values.mean():.3f} +- {values.std():.3f} over seeds")
    print(f"on {jax.devices()[0].device_kind}; written to {path}")


def _line(point: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {point[name]['text_query']:.3f}/{point[name]['image_query']:.3f}"
        for name in ("standard", "authors")
    )


if __name__ == "__main__":
    main()
