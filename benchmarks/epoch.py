"""One faithful epoch of GIN on Wikipedia against the floor of this machine.

    python -m benchmarks.epoch ROOT [--steps 20] [--rounds 5]

The floor is what the step cannot avoid on this device; both of its terms are measured in the same run,
interleaved with the step:

    floor = FLOPs of the dense layers / GEMM rate + bytes of Adam and the graph layers / bandwidth

FLOPs: 2 B m n for each product of the text head (forward, gradients of weights and of input) and of the image
head (forward, gradient of weights). Bytes: Adam reads parameter, gradient, two moments and writes parameter
and two moments, 7 floats a parameter; each graph product reads and writes its [N, F B] signal, K - 1 products
a layer forward and as many backward. Writes benchmarks/results/epoch.json.
"""

import argparse
import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.harness import interleave, write_result
from gcnxmodal.experiments import PRESETS
from gcnxmodal.experiments.corpora import load_corpus
from gcnxmodal.experiments.system import DROPOUT, System, build
from gcnxmodal.training.state import make_block


def flops_per_step(system: System) -> int:
    """Floating-point operations of the dense layers in one step."""
    model, batch = system.experiment.model, system.experiment.train.batch
    text_inputs = len(system.inputs.corpus.vocabulary) * model.filters[-1]
    image_inputs = system.inputs.images.shape[1]
    return 2 * batch * model.dimension * (3 * text_inputs + 2 * image_inputs)


def bytes_per_step(system: System) -> int:
    """Bytes that Adam and the graph layers move in one step."""
    model, batch = system.experiment.model, system.experiment.train.batch
    parameters = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(system.initial_state).params))
    widths = (1, *model.filters)
    columns = sum(min(a, b) for a, b in itertools.pairwise(widths)) * batch
    signal = len(system.inputs.corpus.vocabulary) * columns
    return 4 * (7 * parameters + 2 * 2 * (model.order - 1) * signal)


def gemm(system: System) -> tuple[Callable[[], jax.Array], int]:
    """A float32 product of the text head's shape, and its FLOPs."""
    model, batch = system.experiment.model, system.experiment.train.batch
    inputs = len(system.inputs.corpus.vocabulary) * model.filters[-1]
    a = jax.random.normal(jax.random.key(0), (batch, inputs))
    b = jax.random.normal(jax.random.key(1), (inputs, model.dimension))
    product = jax.jit(jnp.matmul)
    return lambda: product(a, b), 2 * batch * inputs * model.dimension


def stream(size: int = 30_000_000) -> tuple[Callable[[], jax.Array], int]:
    """y = 2 x over an array that no cache holds, and the bytes it moves."""
    double = jax.jit(lambda x: 2 * x)
    x = jax.random.normal(jax.random.key(0), (size,))
    return lambda: double(x), 8 * size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder of the Wikipedia data set, with cnn_features.npz")
    parser.add_argument("--steps", type=int, default=20, help="steps in each timing")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    _, experiment = PRESETS["gin-wikipedia"]
    data_config = dataclasses.replace(experiment.data, root=arguments.root)
    system = build(experiment, load_corpus(data_config, experiment.text))
    data, key = dataclasses.replace(system.data, plan=system.plan(0)), system.key(DROPOUT)
    block = make_block(system.step())
    state = system.initial_state()

    def train() -> jax.Array:
        nonlocal state
        state = block(state, data, key, jnp.int32(arguments.steps))
        return state.step

    product, product_flops = gemm(system)
    copy, copy_bytes = stream()
    times = interleave({"train": train, "gemm": product, "stream": copy}, rounds=arguments.rounds)
    step = times["train"].median / 1e3 / arguments.steps
    rate = product_flops / (times["gemm"].median / 1e3)
    bandwidth = copy_bytes / (times["stream"].median / 1e3)
    floor = flops_per_step(system) / rate + bytes_per_step(system) / bandwidth
    result = {
        "step_seconds": step,
        "milliseconds": {name: dataclasses.asdict(timing) for name, timing in times.items()},
        "gemm_flops_per_second": rate,
        "bytes_per_second": bandwidth,
        "flops_per_step": flops_per_step(system),
        "bytes_per_step": bytes_per_step(system),
        "floor_seconds": floor,
        "step_over_floor": step / floor,
        "steps_per_epoch": system.steps_per_epoch,
        "pairs_per_epoch": math.prod((system.steps_per_epoch, system.pairs_per_step)),
    }
    path = write_result("epoch", result)
    print(f"step {step * 1e3:.0f} ms, floor {floor * 1e3:.0f} ms: {result['step_over_floor']:.2f}x")
    seconds = step * system.steps_per_epoch
    print(f"an epoch of {result['pairs_per_epoch']:,} pairs: {seconds:.0f} s; written to {path}")


if __name__ == "__main__":
    main()
