"""How the cost of one graph convolution grows with the graph, the batch and the filters.

    python -m benchmarks.scale [--rounds 7] [--axes words,batch]

Forward and backward of `chebyshev_filter_batch` on synthetic words, K = 3, from one point (N = 4,000, k = 8,
B = 64, F = 8 -> 8), along one axis at a time:

    words       N, at the same number of neighbours
    entries     non-zeros of L~, by k, at the same N
    batch       B
    filters     F

For each point: milliseconds, medians of interleaved rounds, and nanoseconds a unit of work: a non-zero times
a filter times a document. For each axis: the slope of the straight line through the logarithms; 1 is cost in
proportion, and dense matrices would have 2 for `words`. On the way up, an axis passes the caches' sizes, and
`filters` the point where its F x F weights take over. Writes results/scale.json, unless only some axes run.
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.graphs import synthetic_words
from benchmarks.harness import MATMULS, interleave, set_matmul, table, write_result
from benchmarks.specs import ORDERS
from gcnxmodal.chebyshev import chebyshev_filter_batch, pack


@dataclasses.dataclass(frozen=True)
class Point:
    """A graph of `words` words with `neighbours` neighbours, a batch, as many filters in as out."""

    words: int = 4_000
    neighbours: int = 8
    batch: int = 64
    filters: int = 8


AXES: dict[str, tuple[Point, ...]] = {
    "words": tuple(Point(words=n) for n in (1_000, 2_000, 4_000, 8_000, 16_000)),
    "entries": tuple(Point(neighbours=k) for k in (4, 8, 16, 32, 64)),
    "batch": tuple(Point(batch=b) for b in (16, 32, 64, 128, 256)),
    "filters": tuple(Point(filters=f) for f in (2, 4, 8, 16, 32)),
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """What is timed, and the size of its L~."""

    step: Callable[[], Any]
    entries: int


def make_layer(point: Point) -> Layer:
    """A layer whose step gives y and its gradients in x and theta."""
    scaled = synthetic_words(point.words, point.neighbours, texts=1).scaled
    layout, F = pack(scaled), point.filters
    keys = jax.random.split(jax.random.key(0), 3)
    x, g = (jax.random.normal(key, (point.words, F, point.batch)) for key in keys[:2])
    theta = jax.random.normal(keys[2], (ORDERS, F, F))

    @jax.jit
    def step(x, theta, layout, g):
        y, pullback = jax.vjp(lambda x, theta: chebyshev_filter_batch(x, theta, layout), x, theta)
        return y, *pullback(g)

    return Layer(lambda: step(x, theta, layout, g), scaled.nnz)


def slope(sizes: list[float], costs: list[float]) -> float:
    """Of the least-squares line through (log size, log cost).

    >>> round(slope([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def measure(axis: str, rounds: int) -> dict[str, Any]:
    """Cost along one axis."""
    points = AXES[axis]
    layers = [make_layer(point) for point in points]
    timings = interleave({str(i): layer.step for i, layer in enumerate(layers)}, rounds)
    rows = []
    for i, (point, layer) in enumerate(zip(points, layers, strict=True)):
        ms = timings[str(i)].median
        work = layer.entries * point.filters * point.batch
        size = {"entries": layer.entries}.get(axis) or getattr(point, axis)
        row = {axis: size, "ms": ms, "ns a unit": 1e6 * ms / work}
        rows.append(
            {**row, "point": dataclasses.asdict(point), "timing": dataclasses.asdict(timings[str(i)])}
        )
    fit = slope([row[axis] for row in rows], [row["ms"] for row in rows])
    return {"axis": axis, "slope": fit, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--axes", default=",".join(AXES), help="some of " + ", ".join(AXES))
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    chosen = [axis for axis in AXES if axis in arguments.axes.split(",")]
    results = []
    for axis in chosen:
        found = measure(axis, arguments.rounds)
        print(f"\n{table(found['rows'])}\n\n{axis}: slope {found['slope']:.2f}", flush=True)
        results.append(found)
    if len(chosen) < len(AXES):
        return
    shared = {"from": dataclasses.asdict(Point()), "orders": ORDERS, "matmul": arguments.matmul}
    path = write_result("scale", {**shared, "axes": results})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
