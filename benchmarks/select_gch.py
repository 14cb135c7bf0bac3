"""Try other values in a preset of GCH on validation items; the test items stay unseen.

    python -m benchmarks.select_gch gch-emoji-paper [--root DIR] [--bits 32] [--epochs 30] [--seeds 1]

Each value of SPACE in turn is put into the preset, which trains on four fifths of the training items. The
codes of the other fifth rank those trained on (`hashing@500`), every few epochs, mean over seeds. Writes
benchmarks/results/select_PRESET.json.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import write_result
from benchmarks.select_gin import VALIDATION, replaced, validation_curve
from gcnxmodal.data.load import load_corpus
from gcnxmodal.measure import evaluate_signs
from gcnxmodal.retriever import Retriever
from gcnxmodal.systems import PRESETS
from gcnxmodal.systems.base import System
from gcnxmodal.systems.gch import GCH_PRESETS

SPACE: dict[str, tuple[Any, ...]] = {
    "train.image_rate": (1e-4, 3e-3),  # the first is the code's
    "train.decay": (0.5, 0.9),  # the first is the code's
    "train.teacher_rate": (1e-3,),
    "data.image_scale": ("unit",),
    "model.beacon_activation": ("sigmoid",),
    "model.fusion": ("largest", "softmax"),
    "model.beacon": ("dense",),
}


def hashing_map(system: System, params: Any) -> Mapping[str, float]:
    """MAP of the held-out items that rank those trained on."""
    texts, images = Retriever(system, params).embed()
    return evaluate_signs(texts, images, system.inputs.corpus)["protocols"]["hashing@500"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", choices=GCH_PRESETS)
    parser.add_argument("--root", type=Path, default=None, help="folder of the data set, if it needs one")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    _, preset = PRESETS[arguments.preset]
    values = {"data.root": arguments.root, "data.validation": VALIDATION, "model.bits": arguments.bits}
    preset = replaced(dataclasses.replace(preset, epochs=arguments.epochs), values)
    tried = []
    for changed in [{}, *({field: value} for field, choices in SPACE.items() for value in choices)]:
        experiment = replaced(preset, changed)
        corpus = load_corpus(experiment.data, experiment.text)
        curves = [
            validation_curve(dataclasses.replace(experiment, seed=seed), corpus, arguments.every, hashing_map)
            for seed in range(arguments.seeds)
        ]
        mean = np.mean(curves, axis=0)
        points = {arguments.every * (number + 1): point for number, point in enumerate(mean.tolist())}
        tried.append({"values": changed, "by_epoch": points})
        shown = "  ".join(f"{epoch}: {text:.3f} / {image:.3f}" for epoch, (text, image, _) in points.items())
        print(f"{shown}  {changed or 'the preset'}", flush=True)
    name = f"select_{arguments.preset}"
    path = write_result(name, {"bits": arguments.bits, "seeds": arguments.seeds, "candidates": tried})
    print(f"written to {path}")


if __name__ == "__main__":
    main()
