"""What a training step of SCANet costs with each text path.

    python -m benchmarks.encoders --root FOLDER_OF_WIKIPEDIA [--rounds 5]

The step of `scanet-wikipedia-authors` (256 pairs, D = 1024, two co-attention layers) with graph convolutions,
Kim's CNN and an LSTM; nothing else differs. Milliseconds, medians of interleaved rounds, and how many times
the graph path's that is, beside what the paper's hours of training say (SCANet Section 4.4: 1.3 h, 3.6 h and
8.7 h on 4 V100). Writes results/encoders.json.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from benchmarks.harness import MATMULS, interleave, set_matmul, table, write_result
from gcnxmodal.config import Experiment
from gcnxmodal.data.load import load_corpus
from gcnxmodal.systems import PRESETS, build
from gcnxmodal.systems.base import DROPOUT
from gcnxmodal.training.state import make_block

PRESET = "scanet-wikipedia-authors"
PAPER_HOURS = {"gcn": 1.3, "cnn": 3.6, "lstm": 8.7}


def experiment(root: Path, path: str) -> Experiment:
    """The preset with a text path."""
    given = PRESETS[PRESET][1]
    data = dataclasses.replace(given.data, root=root)
    return dataclasses.replace(given, data=data, model=dataclasses.replace(given.model, text=path))


def make_train(chosen: Experiment, steps: int) -> tuple[Callable[[], Any], dict[str, int]]:
    """What trains that many steps on from where it stands, and the sizes that decide its cost."""
    system = build(chosen, load_corpus(chosen.data, chosen.text))
    block = make_block(system.step())
    data, key = dataclasses.replace(system.data, plan=system.plan(0)), system.key(DROPOUT)
    state = system.initial_state()

    def train() -> Any:
        nonlocal state
        state = block(state, data, key, jnp.int32(steps))
        return state.totals["loss"]

    texts: Any = system.inputs.texts
    return train, {"parameters": system.parameters, "text entries": texts.shape[1]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the Wikipedia data set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="in each round; 20 or more on an accelerator")
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    trains, sizes = {}, {}
    for path in PAPER_HOURS:
        trains[path], sizes[path] = make_train(experiment(arguments.root, path), arguments.steps)
    timings = interleave(trains, arguments.rounds, warm_up=1)
    rows = [
        {
            "text path": path,
            **sizes[path],
            "step ms": timings[path].median / arguments.steps,
            "x gcn": timings[path].median / timings["gcn"].median,
            "paper h": hours,
            "paper x gcn": hours / PAPER_HOURS["gcn"],
            "timing": dataclasses.asdict(timings[path]),
        }
        for path, hours in PAPER_HOURS.items()
    ]
    print(table(rows))
    shared = {"preset": PRESET, "steps": arguments.steps, "matmul": arguments.matmul}
    print(f"\nwritten to {write_result('encoders', {**shared, 'rows': rows})}")


if __name__ == "__main__":
    main()
