"""Does this device compute the right numbers? What to run before any timing.

    python -m benchmarks.correctness [--matmul float32]

    layer      y, dx and dtheta of our filter, both ways to call it, against float64
    step       the losses of three steps of GIN at Eng-Wiki's shape against float64 on the CPU (PyTorch)
    evaluate   MAP, over all ranks and over 100, against NumPy on the host

Exit status 1 if an error passes its bound. With --matmul tf32 the bounds are those of factors rounded to ten
bits. Writes results/correctness.json.
"""

import argparse
import dataclasses
import sys
from typing import Any

import numpy as np

from benchmarks import evaluate, layer, step_peers
from benchmarks.graphs import Words, synthetic_words
from benchmarks.harness import MATMULS, set_matmul, table, write_result
from benchmarks.peers import PEERS
from benchmarks.specs import DATASETS, STEP_CASES, LayerCase, StepCase

LAYERS = (LayerCase("pascal", 8, 8, 200), LayerCase("pascal", 1, 8, 200, first=True))
FILTER_BOUNDS = {"error y": 1e-6, "error dx": 1e-6, "error dtheta": 1e-5}
# The first loss has seen no update; Adam's first update is the sign of the gradient, which rounding turns
# where the gradient is nothing but rounding.
STEP_BOUNDS = {"float32": (1e-5, 1e-3, 1e-3), "tf32": (1e-2, 5e-2, 5e-2)}


def check_layers(words: Words) -> list[dict[str, Any]]:
    """Our filter against float64. No large product is in it, so --matmul does not matter."""
    rows = []
    for case in LAYERS:
        problem = layer.make_problem(case, words)
        expected = layer.exact(problem)
        for name in ("ours", "ours, vmap of one document"):
            errors = layer.relative_errors(PEERS[name](problem).results(), expected)
            rows += [
                _row(f"layer {case.name}, {name}, {quantity}", error, FILTER_BOUNDS[quantity])
                for quantity, error in errors.items()
                if error is not None
            ]
    return rows


def check_step(case: StepCase, words: Words, matmul: str) -> list[dict[str, Any]]:
    """The losses of our first steps against those of the same weights in float64."""
    problem = step_peers.make_problem(dataclasses.replace(case, precision=matmul), words)
    train, exact = step_peers.ours(problem), step_peers.torch_csr(problem, "float64", "cpu")
    rows = []
    for number, bound in enumerate(STEP_BOUNDS[matmul], start=1):
        found, expected = float(train(1)), float(exact(1))
        rows.append(_row(f"step {case.name}, loss {number}", abs(found / expected - 1), bound))
    return rows


def check_evaluation(items: int = 20_000) -> list[dict[str, Any]]:
    """MAP of 200 queries."""
    rows = []
    for cutoff in (None, 100):
        case = evaluate.Case(200, items, cutoff, 200)
        ranking = evaluate.make_ranking(case)
        found, expected = (
            np.mean(method(ranking, cutoff)(), dtype=np.float64)
            for method in (evaluate.ours, evaluate.products_then_loop)
        )
        rows.append(_row(f"MAP {case.name}", float(abs(found - expected)), evaluate.TOLERANCE))
    return rows


def _row(check: str, error: float, bound: float) -> dict[str, Any]:
    return {"check": check, "error": error, "bound": bound, "good": "yes" if error <= bound else "NO"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    rows = check_layers(synthetic_words(DATASETS["pascal"].words))
    rows += check_step(STEP_CASES[0], synthetic_words(DATASETS["eng-wiki"].words), arguments.matmul)
    rows += check_evaluation()
    print(table(rows))
    path = write_result("correctness", {"matmul": arguments.matmul, "rows": rows})
    bad = sum(row["good"] == "NO" for row in rows)
    print(f"\n{len(rows) - bad} of {len(rows)} are good; written to {path}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
