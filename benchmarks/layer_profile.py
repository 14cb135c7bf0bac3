"""Where the time of one graph convolution goes, ours and the best peer's.

    python -m benchmarks.layer_profile [--root FOLDER_OF_WIKIPEDIA] [--rounds 15] [--cases pascal]

Each part alone, on the inputs of `specs.LAYER_CASES`, milliseconds, medians of interleaved rounds:

    product      one product L~ x of the signal [N, F_in B]: ours, and PyTorch's CSR
    weights      the K products with theta: ours, and PyTorch's one GEMM
    turn         documents first to vertices first and back, which `jax.vmap` of the one-document filter adds
                 in each direction
    copy         the signal read and written once: what a product cannot be faster than
    step         the whole layer forward and backward, K - 1 products each way

Writes results/layer_profile.json, unless only some cases run.
"""

import argparse
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.graphs import benchmark_words
from benchmarks.harness import interleave, table, write_result
from benchmarks.layer import make_problem
from benchmarks.peers import Problem, torch_csr, vertex_major
from benchmarks.specs import DATASETS, LAYER_CASES, ORDERS
from gcnxmodal.graph.filter import multiply, pairwise_sum


def parts(problem: Problem) -> dict[str, Any]:
    """What is timed, by (part, whose)."""
    import torch

    N, F, B = problem.x_NFB.shape
    x_NFB, theta = jnp.asarray(problem.x_NFB), jnp.asarray(problem.theta)
    x_BNF = jnp.array(np.transpose(problem.x_NFB, (2, 0, 1)))
    product, turn = jax.jit(multiply), jax.jit(lambda x: jnp.transpose(x, (1, 2, 0)))
    back, copy = jax.jit(lambda x: jnp.transpose(x, (2, 0, 1))), jax.jit(lambda x: -x)

    @jax.jit
    def weigh(x_NFB, theta):
        return [
            pairwise_sum(x_NFB[:, f, None, :] * theta_FO[f, :, None] for f in range(F)) for theta_FO in theta
        ]

    with warnings.catch_warnings(action="ignore"):  # "Sparse CSR tensor support is in beta state"
        crow, column = (torch.tensor(a) for a in (problem.scaled.indptr, problem.scaled.indices))
        value = torch.tensor(problem.scaled.data, dtype=torch.float32)
        csr = torch.sparse_csr_tensor(crow, column, value, check_invariants=True)
    x_NC = torch.tensor(np.ascontiguousarray(np.transpose(problem.x_NFB, (0, 2, 1))).reshape(N, B * F))
    theta_FC = torch.tensor(np.transpose(problem.theta, (1, 0, 2)).reshape(F, -1))
    ours, peer = vertex_major(problem), torch_csr(problem)
    return {
        "product": lambda: product(problem.layout, x_NFB),
        "product, CSR": lambda: csr @ x_NC,
        "weights": lambda: weigh(x_NFB, theta),
        "weights, CSR": lambda: x_NC.reshape(N * B, F) @ theta_FC,
        "turn": lambda: back(turn(x_BNF)),
        "copy": lambda: copy(x_NFB),
        "step": ours.step,
        "step, CSR": peer.step,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder of the Wikipedia data set, for real words")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cases", default="", help="only cases whose name contains this")
    arguments = parser.parse_args()
    cases = [case for case in LAYER_CASES if arguments.cases in case.name]
    words = {
        name: benchmark_words(DATASETS[name].words, arguments.root)
        for name in sorted({case.dataset for case in cases})
    }
    rows = []
    for case in cases:
        timings = interleave(parts(make_problem(case, words[case.dataset])), arguments.rounds)
        milliseconds = {part: timing.median for part, timing in timings.items()}
        kept = {part: dataclasses.asdict(timing) for part, timing in timings.items()}
        rows.append({"case": case.name, **milliseconds, "timings": kept})
    print(table(rows))
    if not arguments.cases:
        print(f"\nwritten to {write_result('layer_profile', {'orders': ORDERS, 'rows': rows})}")


if __name__ == "__main__":
    main()
