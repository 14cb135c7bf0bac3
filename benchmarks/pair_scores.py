"""How long scoring every pair takes, where the score depends on the pair.

    python -m benchmarks.pair_scores [--dimension 1024] [--layers 2,3] [--rounds 3]

SCANet's score of every text with every image of Wikipedia's test set, 693 x 693, and of the test texts with
the training images, 693 x 2,173, from random features and weights: seconds, medians of rounds, operations a
second, and the most memory that the process has held. Writes results/pair_scores.json.
"""

import argparse
import dataclasses
import resource
import sys
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.harness import MATMULS, interleave, set_matmul, table, write_result
from gcnxmodal.nn.layers import Features
from gcnxmodal.retrieval.database import score_matrix
from gcnxmodal.retriever import PairScore
from gcnxmodal.systems.scanet import SCANet

TEXTS, IMAGES = 693, (693, 2_173)


def measure(layers: int, images: int, dimension: int, rounds: int) -> dict[str, Any]:
    """One shape."""
    random = np.random.default_rng(0)
    f_T, f_I = (random.standard_normal((n, dimension)).astype(np.float32) for n in (TEXTS, images))
    model = SCANet(
        Features(1),
        Features(1),
        layers=layers,
        dimension=dimension,
        attention_scale="half-d",
        rngs=nnx.Rngs(0),
    )
    graphdef, params, constants = nnx.split(model, nnx.Param, ...)
    score = PairScore(graphdef)
    timing = interleave({"": lambda: score_matrix(score, (params, constants), f_T, f_I)}, rounds, warm_up=1)[
        ""
    ]
    operations = TEXTS * images * (layers - 1) * 4 * dimension**2
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return {
        "layers": layers,
        "texts": TEXTS,
        "images": images,
        "seconds": timing.median / 1e3,
        "GFLOP/s": operations / timing.median / 1e6,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6,
        "timing": dataclasses.asdict(timing),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dimension", type=int, default=1024)
    parser.add_argument("--layers", default="2,3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    rows = [
        measure(int(layers), images, arguments.dimension, arguments.rounds)
        for layers in arguments.layers.split(",")
        for images in IMAGES
    ]
    print(table(rows))
    shared = {"dimension": arguments.dimension, "devices": jax.local_device_count()}
    print(f"\nwritten to {write_result('pair_scores', {**shared, 'rows': rows})}")


if __name__ == "__main__":
    main()
