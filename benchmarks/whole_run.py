"""How long is a whole training run: 80 epochs of 80,000 pairs at the shape of Eng-Wiki?

    python -m benchmarks.whole_run [--epochs 80] [--filters 1]

GIN, 200 pairs a step, 400 steps an epoch, each epoch one call of the compiled loop with a new order of the
pairs, as `gcnxmodal.train` runs it, but without measuring MAP or saving on the way. Seconds of training apart
from the seconds of compiling; with fewer epochs, also what 80 would take. (SCANet's paper: 1.3 hours on four
V100 for this many pairs of this data set, by another model.) Writes results/whole_run.json.
"""

import argparse
import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.graphs import synthetic_words
from benchmarks.harness import MATMULS, set_matmul, wait, write_result
from benchmarks.specs import DATASETS, STEP_CASES, StepCase
from benchmarks.step_peers import METRICS, make_data, make_problem, optimizer, our_block
from gcnxmodal.training.sampling import plan_pairs
from gcnxmodal.training.state import init_state, start_epoch

EPOCHS, PAIRS = 80, 80_000


def run(case: StepCase, epochs: int, pairs: int = PAIRS) -> dict[str, Any]:
    """Seconds of compiling and of each epoch, and the mean loss of each."""
    problem = make_problem(case, synthetic_words(DATASETS[case.dataset].words))
    data, key = make_data(problem), jax.random.key(0)
    state = init_state(jax.tree.map(jnp.copy, problem.params), optimizer(), METRICS)
    texts, images = jax.random.randint(key, (2, pairs), 0, len(data.labels_nC))
    steps = jnp.int32(pairs // case.batch)

    def epoch_data(epoch: int):
        order = jax.random.fold_in(key, epoch)
        return dataclasses.replace(data, plan=plan_pairs(order, texts, images, batch=case.batch))

    started = time.perf_counter()
    block = our_block(problem.graphdef).lower(state, epoch_data(0), key, steps).compile()
    compiling = time.perf_counter() - started
    seconds, losses = [], []
    for epoch in range(epochs):
        started = time.perf_counter()
        state = wait(block(start_epoch(state), epoch_data(epoch), key, steps))
        seconds.append(time.perf_counter() - started)
        losses.append(float(state.totals["loss"]) / int(steps))
        print(f"epoch {epoch + 1}/{epochs}  loss {losses[-1]:.4f}  {seconds[-1]:.2f} s", flush=True)
    return {"compile_seconds": compiling, "epoch_seconds": seconds, "losses": losses}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--filters", type=int, default=1, help="of each graph convolution")
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    case = dataclasses.replace(STEP_CASES[0], filters=arguments.filters, precision=arguments.matmul)
    found = run(case, arguments.epochs)
    total, median = sum(found["epoch_seconds"]), statistics.median(found["epoch_seconds"])
    whole = EPOCHS * median if arguments.epochs < EPOCHS else total
    said = "measured" if arguments.epochs >= EPOCHS else f"at the median of {arguments.epochs}"
    print(f"{case.name}: {EPOCHS} epochs of {PAIRS:,} pairs {whole:.1f} s ({said})", end=", ")
    print(f"compiling {found['compile_seconds']:.1f} s")
    shared = {"case": dataclasses.asdict(case), "matmul": arguments.matmul, "80_epochs_seconds": whole}
    path = write_result("whole_run", {**shared, "epochs": arguments.epochs, **found})
    print(f"written to {path}")


if __name__ == "__main__":
    main()
