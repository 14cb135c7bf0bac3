"""One graph convolution: ours against what people would pick instead.

    python -m benchmarks.layer [--root FOLDER_OF_WIKIPEDIA] [--rounds 15] [--cases pascal]

For each case of `specs.LAYER_CASES` and each peer: milliseconds of the forward pass and of a step (forward
and backward), medians of interleaved rounds; how many times ours that is; and the relative errors of y, dx
and dtheta against float64. Writes benchmarks/results/layer.json, unless only some cases run.
`GLIBC_TUNABLES=glibc.malloc.hugetlb=1` before the command gives all of them large pages. DGL is measured
where it is installed (see `torch_filters.dgl_layer`).
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.graphs import Words, benchmark_words
from benchmarks.harness import MATMULS, interleave, repeated, set_matmul, table, write_result
from benchmarks.peers import PEERS, Problem
from benchmarks.specs import DATASETS, LAYER_CASES, ORDERS, LayerCase
from gcnxmodal.chebyshev import pack

OURS = "ours"


def make_problem(case: LayerCase, words: Words) -> Problem:
    """Normal inputs, weights and cotangents on a graph."""
    random = np.random.default_rng(0)
    N = words.size
    x, theta, g = (
        random.standard_normal(shape).astype(np.float32)
        for shape in (
            (N, case.features_in, case.batch),
            (ORDERS, case.features_in, case.features_out),
            (N, case.features_out, case.batch),
        )
    )
    scaled = words.scaled
    return Problem(words.laplacian, words.lambda_max, scaled, pack(scaled), x, theta, g, case.first)


def exact(problem: Problem) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """y, dx and dtheta in float64, by the recurrence on SciPy's matrix; L~ is symmetric."""
    x, theta, g = (a.astype(np.float64) for a in (problem.x_NFB, problem.theta, problem.g_NOB))

    def basis(signal):
        T = [signal.reshape(len(signal), -1)]
        T.append(problem.scaled @ T[0])
        while len(T) < len(theta):
            T.append(2 * (problem.scaled @ T[-1]) - T[-2])
        return [T_NC.reshape(signal.shape) for T_NC in T]

    def weigh(basis, weights):
        return np.einsum("knfb,kfo->nob", np.stack(basis), weights, optimize=True)

    T_x = basis(x)
    dtheta = np.stack([np.einsum("nfb,nob->fo", T, g, optimize=True) for T in T_x])
    dx = None if problem.first else weigh(basis(g), theta.swapaxes(1, 2))
    return weigh(T_x, theta), dx, dtheta


def measure(problem: Problem, rounds: int, calls: int = 1) -> list[dict[str, Any]]:
    """One row a peer that is installed, ours first; milliseconds of one of `calls` calls a round."""
    peers = {}
    for name, build in PEERS.items():
        try:
            peers[name] = build(problem)
        except ImportError as missing:
            print(f"skipped {name}: {missing}")
    expected = exact(problem)
    errors = {name: relative_errors(peer.results(), expected) for name, peer in peers.items()}
    forward = interleave({name: repeated(peer.forward, calls) for name, peer in peers.items()}, rounds)
    step = interleave({name: repeated(peer.step, calls) for name, peer in peers.items()}, rounds)
    return [
        {
            "": name,
            "forward ms": forward[name].median / calls,
            "forward x ours": forward[name].median / forward[OURS].median,
            "step ms": step[name].median / calls,
            "step x ours": step[name].median / step[OURS].median,
            **errors[name],
            "timings": {"forward": dataclasses.asdict(forward[name]), "step": dataclasses.asdict(step[name])},
        }
        for name in peers
    ]


def relative_errors(found: tuple, expected: tuple) -> dict[str, float | None]:
    def relative(a: Any, b: Any) -> float | None:
        return None if b is None else float(np.linalg.norm(a - b) / np.linalg.norm(b))

    return {
        f"error {name}": relative(a, b)
        for name, a, b in zip(("y", "dx", "dtheta"), found, expected, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, help="folder of the Wikipedia data set, for a graph of real words"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=1, help="in each round; 20 or more on an accelerator")
    parser.add_argument("--cases", default="", help="only cases whose name contains this")
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    cases = [case for case in LAYER_CASES if arguments.cases in case.name]
    datasets = {case.dataset for case in cases}
    words = {name: benchmark_words(DATASETS[name].words, arguments.root) for name in sorted(datasets)}
    results = []
    for case in cases:
        rows = measure(make_problem(case, words[case.dataset]), arguments.rounds, arguments.calls)
        print(f"\n{case.name}, K = {ORDERS}\n")
        print(table(rows), flush=True)
        results.append({"case": dataclasses.asdict(case), "rows": rows})
    if arguments.cases:
        return
    shared = {
        "words": words["eng-wiki"].source,
        "orders": ORDERS,
        "matmul": arguments.matmul,
        "calls": arguments.calls,
    }
    path = write_result("layer", {**shared, "cases": results})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
