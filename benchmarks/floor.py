"""What no training step can be faster than on this machine.

    python -m benchmarks.floor [--rounds 15]

A step must multiply the dense layers' matrices and move Adam's and the graph layers' arrays through memory:

    floor = FLOPs of the dense layers / GEMM rate + bytes of Adam and the graph layers / bandwidth

and where products are so fast that only memory counts (an accelerator), every byte of all three:

    byte floor = bytes of the dense layers, Adam and the graph layers / bandwidth

FLOPs: 2 B m n for each product of the text head (forward, gradients of weights and of input) and of the image
head (forward, gradient of weights). Bytes: each product of a head reads or writes its weights and its inputs
once; Adam reads parameter, gradient and two moments and writes parameter and two moments, 7 floats a
parameter; each graph product reads and writes its [N, F B] signal, K - 1 products a layer forward and as many
backward. The GEMM rate is that of the text head's forward product, the bandwidth that of x = -x in place over
an array no cache holds; `--matmul tf32` lets accelerators round the factors. Writes results/floor.json.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax

from benchmarks.harness import MATMULS, Timing, interleave, set_matmul, table, write_result
from benchmarks.specs import DATASETS, ORDERS, STEP_CASES, StepCase

FLOAT = 4  # bytes


def dense_flops(case: StepCase) -> int:
    """Floating-point operations of the dense layers in one step."""
    shape = DATASETS[case.dataset]
    return 2 * case.batch * shape.dimension * (3 * case.text_inputs + 2 * shape.image_size)


def dense_bytes(case: StepCase) -> int:
    """Bytes of the heads' weights, or their gradients, and inputs, in the products of one step."""
    shape = DATASETS[case.dataset]
    weights = (3 * case.text_inputs + 2 * shape.image_size) * shape.dimension
    signals = (3 * case.text_inputs + 2 * shape.image_size) * case.batch
    return FLOAT * (weights + signals)


def adam_bytes(case: StepCase) -> int:
    """Bytes that Adam moves in one step."""
    return FLOAT * 7 * case.parameters


def graph_bytes(case: StepCase) -> int:
    """Bytes that the products with L~ move in one step."""
    widths = (1, case.filters, case.filters)
    columns = sum(min(a, b) for a, b in itertools.pairwise(widths)) * case.batch
    return FLOAT * 2 * 2 * (ORDERS - 1) * DATASETS[case.dataset].words * columns


def gemm(case: StepCase) -> tuple[Callable[[], jax.Array], int]:
    """Products of the text head's forward shape, and their FLOPs."""
    B, V, D = case.batch, case.text_inputs, DATASETS[case.dataset].dimension
    # On an accelerator one product is over before the host has looked at the clock.
    products = 1 if jax.default_backend() == "cpu" else 20
    a_RBV = jax.random.normal(jax.random.key(0), (products, B, V))
    b_VD = jax.random.normal(jax.random.key(1), (V, D))
    multiply = jax.jit(lambda a_RBV, b_VD: jax.lax.map(lambda a_BV: a_BV @ b_VD, a_RBV))
    return lambda: multiply(a_RBV, b_VD), products * 2 * B * V * D


def stream() -> tuple[Callable[[], jax.Array], int]:
    """x = -x over an array that no cache holds, and the bytes it moves."""
    size = 30_000_000 if jax.default_backend() == "cpu" else 500_000_000
    x = jax.random.normal(jax.random.key(0), (size,))
    # In place, as Adam works: a new array each time would measure how fast the system hands out pages.
    negate = jax.jit(lambda x: -x, donate_argnums=0)

    def run() -> jax.Array:
        nonlocal x
        x = negate(x)
        return x

    return run, 2 * FLOAT * size


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a machine was measured to do: FLOP/s of the GEMM, bytes/s of the stream."""

    flops: float
    bandwidth: float

    def floor(self, case: StepCase) -> float:
        """Seconds of a step's products at the GEMM rate and of its other bytes at the bandwidth."""
        return dense_flops(case) / self.flops + (adam_bytes(case) + graph_bytes(case)) / self.bandwidth

    def byte_floor(self, case: StepCase) -> float:
        """Seconds of all bytes of a step at the bandwidth."""
        return (dense_bytes(case) + adam_bytes(case) + graph_bytes(case)) / self.bandwidth


class Probes:
    """The two measurements of a machine, to be timed beside something else.

    `alternatives` go into `interleave`, and `machine` reads what it returned.
    """

    def __init__(self, case: StepCase):
        product, self._flops = gemm(case)
        copy, self._bytes = stream()
        self.alternatives: dict[str, Callable[[], Any]] = {"GEMM": product, "stream": copy}

    def machine(self, timings: dict[str, Timing]) -> Machine:
        seconds = {name: timings[name].median / 1e3 for name in self.alternatives}
        return Machine(self._flops / seconds["GEMM"], self._bytes / seconds["stream"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--matmul", choices=MATMULS, default="float32")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    rows = []
    for case in STEP_CASES:
        probes = Probes(case)
        timings = interleave(probes.alternatives, arguments.rounds)
        machine = probes.machine(timings)
        rows.append(
            {
                "step": case.name,
                "GFLOP": dense_flops(case) / 1e9,
                "GB": (dense_bytes(case) + adam_bytes(case) + graph_bytes(case)) / 1e9,
                "GFLOP/s": machine.flops / 1e9,
                "GB/s": machine.bandwidth / 1e9,
                "floor ms": 1e3 * machine.floor(case),
                "byte floor ms": 1e3 * machine.byte_floor(case),
                "timings": {name: dataclasses.asdict(timing) for name, timing in timings.items()},
            }
        )
    print(table(rows))
    path = write_result("floor", {"matmul": arguments.matmul, "rows": rows})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
