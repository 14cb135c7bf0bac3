"""What SSPE costs as its corpus grows from 12,500 items to 200,000.

    python -m benchmarks.sspe_scale [--rounds 11] [--items 12500,25000]

Made-up items: several of 20 labels each, as skewed as those of NUS-WIDE; 128 image features that follow
labels and 16 hidden factors; 8 of 1,000 words a text. Each number of items has a process of its own, which
measures

    groups      `label_groups`, from the label vectors
    exact       nearest 8 neighbours by `nearest_by_distance`: whole up to 25,000 items, above that three
                blocks of 2,048 rows, scaled to all of them: every block is the same program
    faiss       the same by `nearest_by_index` (the extra `faiss`), whole; recall against the exact rows
    step        of batches of 5 with all defaults of the paper, a compiled loop of 400 steps; the processes
                are asked in turn, round by round, and the medians taken
    plan        the order of an epoch's items
    memory      what the process grows by at most in each of these, and what the graphs hold (Linux only)

The graph of texts is that of images with other numbers: its cost is in its size alone. Of a step and a plan
follows the epoch: n / 5 steps and a plan, to which a straight line is fitted (by the least squares of
relative residuals); the same for the bytes of the graphs. Distinct label vectors grow in number with the
items, and a step looks at each: so it is measured with the labels of the first 12,500 items over and over,
too. Beside the times of the clock stand those of the processor, of all threads, which other work on the
machine changes less. Writes results/sspe_scale.json, unless only some items are asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.harness import grown, table, write_result
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.nearest import BLOCK, nearest_by_distance, nearest_by_index
from gcnxmodal.systems.feature_graph import feature_graph
from gcnxmodal.systems.semantic_graph import label_groups
from gcnxmodal.systems.sspe_model import SSPE, centred_units
from gcnxmodal.systems.sspe_step import METRICS, Graphs, Terms, make_sgd, make_step
from gcnxmodal.training.sampling import Plan, plan_items
from gcnxmodal.training.state import Data, init_state, make_block, make_rate

ITEMS = (12_500, 25_000, 50_000, 100_000, 200_000)
LABELS, FEATURES, FACTORS, WORDS, WORDS_A_TEXT = 20, 128, 16, 1_000, 8
BATCH, K, STEPS = 5, 8, 400
WHOLE = 25_000  # items up to which exact neighbours are found of all
BLOCKS = 2  # above that, beside the first
SEED = 0


@dataclasses.dataclass(frozen=True)
class Corpus:
    """n made-up items."""

    labels_nC: np.ndarray
    images_nd: np.ndarray
    texts_nT: np.ndarray


def make_corpus(n: int) -> Corpus:
    """The first n of one endless corpus would do; here another for each n, of one distribution."""
    random = np.random.default_rng((SEED, n))
    # Gumbel noise on the logarithms: labels are drawn one after another, without replacement.
    liking_nC = -np.log(1 + np.arange(LABELS)) + random.gumbel(size=(n, LABELS))
    count_n1 = np.minimum(1 + random.poisson(1.0, (n, 1)), LABELS)
    labels_nC = np.argsort(np.argsort(-liking_nC, axis=1), axis=1) < count_n1
    shared = np.random.default_rng(SEED)
    of_labels, of_factors = (shared.standard_normal((rows, FEATURES)) for rows in (LABELS, FACTORS))
    images_nd = labels_nC @ of_labels + random.standard_normal((n, FACTORS)) @ of_factors
    images_nd += 0.3 * random.standard_normal((n, FEATURES))
    texts_nT = np.zeros((n, WORDS), np.float32)
    word = (WORDS * random.random((n, WORDS_A_TEXT)) ** 2).astype(int)
    np.add.at(texts_nT, (np.arange(n)[:, None], word), 1)
    return Corpus(labels_nC, images_nd.astype(np.float32), texts_nT)


def timed(run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What it returns, and seconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(run())
    return result, {"s": time.perf_counter() - clock, "processor s": time.process_time() - processor}


def measured(run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """`timed`, and MB that the process grew by."""
    (result, seconds), megabytes = grown(lambda: timed(run))
    return result, {**seconds, "MB": megabytes}


class Child:
    """In a process of its own: the graphs of n items, then blocks of steps as they are asked for."""

    def __init__(self, n: int):
        self.n, corpus = n, make_corpus(n)
        few = make_corpus(2 * BLOCK)
        label_groups(few.labels_nC)
        jnp.zeros(3).block_until_ready()  # libraries are loaded before it counts
        groups, report = measured(lambda: label_groups(corpus.labels_nC))
        self.report: dict[str, Any] = {"items": n, "label vectors": len(groups.size_U), "groups": report}
        mean_d = corpus.images_nd.mean(axis=0)
        units_nd = np.asarray(jax.jit(centred_units)(corpus.images_nd, mean_d))
        exact, self.report["exact"] = self._exact(units_nd)
        near_nk = self._faiss(units_nd, exact)
        if near_nk is None:
            near_nk = exact if len(exact) == n else _around(n)
        graph, self.report["graph"] = measured(lambda: feature_graph(near_nk))
        other = np.random.default_rng(SEED).permutation(n)
        texts = feature_graph(other[near_nk[np.argsort(other)]])
        graphs = Graphs(groups, graph, texts)
        self.report["graphs MB"] = sum(leaf.nbytes for leaf in jax.tree.leaves(graphs)) / 1e6
        self.report["features MB"] = (corpus.images_nd.nbytes + corpus.texts_nT.nbytes) / 1e6
        self._prepare(corpus, mean_d, graphs)

    def _exact(self, units_nd: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """Neighbours of all items, or of the first few blocks; seconds are those of all."""
        rows = self.n if self.n <= WHOLE else (1 + BLOCKS) * BLOCK

        def find(queries: int) -> np.ndarray:
            return nearest_by_distance(units_nd, K, queries=queries, progress=False)

        find(1)  # compiled before it counts
        found, report = measured(lambda: find(rows))
        if rows < self.n:
            _, once = timed(lambda: find(BLOCK))  # with what is done once for all blocks
            more = (self.n - BLOCK) / (rows - BLOCK)
            for name, seconds in once.items():
                report[name] = seconds + more * max(report[name] - seconds, 0)
        return found, {**report, "of rows": rows}

    def _faiss(self, units_nd: np.ndarray, exact_qk: np.ndarray) -> np.ndarray | None:
        try:
            nearest_by_index(units_nd[: 2 * BLOCK], K, progress=False)  # faiss is loaded before it counts
        except InputError as missing:
            print(f"skipped faiss: {missing}", file=sys.stderr)
            self.report["faiss"] = None
            return None
        found_nk, report = measured(lambda: nearest_by_index(units_nd, K, progress=False))
        shared = [len(set(a) & set(b)) for a, b in zip(exact_qk.tolist(), found_nk.tolist(), strict=False)]
        self.report["faiss"] = {**report, "recall": float(np.mean(shared)) / K}
        return found_nk

    def _prepare(self, corpus: Corpus, mean_d: np.ndarray, graphs: Graphs) -> None:
        n = self.n
        means = jnp.asarray(mean_d), jnp.asarray(corpus.texts_nT.mean(axis=0))
        graphdef, params, constants = nnx.split(SSPE(*means, LABELS, rngs=nnx.Rngs(SEED)), nnx.Param, ...)
        rate = make_rate(0.01, decay=0.95, decay_steps=2_000)
        optimizer = make_sgd(rate, momentum=0.9, weight_decay=1e-3, form="l2")
        self.state = init_state(params, optimizer, METRICS)
        keys = jax.random.split(jax.random.key(SEED))
        self._plan = lambda: [plan_items(key, n, BATCH).texts for key in keys]
        plan = jax.block_until_ready(self._plan())
        _, self.report["plan"] = measured(self._plan)
        arrays = (jnp.asarray(x) for x in (corpus.texts_nT, corpus.images_nd, corpus.labels_nC))
        data = jax.block_until_ready(Data(*arrays, constants=constants, plan=Plan(*plan), graphs=graphs))
        repeated = label_groups(corpus.labels_nC[np.arange(n) % min(ITEMS)])
        self.report["label vectors, repeated"] = len(repeated.size_U)
        again = dataclasses.replace(data, graphs=graphs._replace(semantic=repeated))
        self.data = {"step": data, "step, labels repeated": again}
        block, self.key = make_block(make_step(graphdef, optimizer, Terms())), jax.random.key(SEED)
        self.block = {
            name: block.lower(self.state, given, self.key, jnp.int32(0)).compile()
            for name, given in self.data.items()
        }
        for name, compiled in self.block.items():
            self.report[f"{name}: temporary MB"] = compiled.memory_analysis().temp_size_in_bytes / 1e6

    def steps(self, name: str) -> dict[str, float]:
        """Milliseconds a step, of a block of them, and MB."""

        def run() -> Any:
            self.state = self.block[name](self.state, self.data[name], self.key, jnp.int32(STEPS))
            return self.state.first_nan

        broken, report = measured(run)
        if int(broken) >= 0:
            raise SystemExit(f"{self.n} items: the loss is not finite from step {int(broken)} on")
        milliseconds = {"ms": report["s"], "processor ms": report["processor s"]}
        return {name: 1e3 * s / STEPS for name, s in milliseconds.items()} | {"MB": report["MB"]}

    def serve(self) -> None:
        """A line of JSON for the graphs, and one for each line that comes."""
        print(json.dumps(self.report), flush=True)
        for _ in sys.stdin:
            print(json.dumps({name: self.steps(name) for name in self.data}), flush=True)


def _around(n: int) -> np.ndarray:
    """Neighbours of nobody's features, without faiss: the cost of a step is in their number."""
    return (np.arange(n)[:, None] + 1 + np.arange(K)) % n


def ask(child: subprocess.Popen[str], *, start: bool = False) -> dict[str, Any]:
    """The next line of a child, asked for a block of steps unless it starts."""
    assert child.stdin is not None
    assert child.stdout is not None
    if not start:
        child.stdin.write("\n")
        child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"a process ended with status {child.wait()}")
    return json.loads(line)


def fit(items: list[int], seconds: list[float]) -> dict[str, float]:
    """A straight line, seconds = constant + slope x items, by the least squares of relative residuals.

    >>> line = fit([1, 2, 4], [3.0, 5.0, 9.0])
    >>> round(line["slope"], 6), round(line["constant"], 6), round(line["R2"], 6)
    (2.0, 1.0, 1.0)
    """
    x, y = np.asarray(items, float), np.asarray(seconds)
    slope, constant = np.polyfit(x, y, 1, w=1 / y)
    residual = y - (constant + slope * x)
    spread = np.square(y - y.mean()).sum()
    return {
        "slope": float(slope),
        "constant": float(constant),
        "R2": float(1 - np.square(residual).sum() / spread),
        "largest relative residual": float(np.abs(residual / y).max()),
    }


def measure(items: list[int], rounds: int) -> list[dict[str, Any]]:
    """What each number of items costs; processes start one after another, and are then asked in turn."""
    with contextlib.ExitStack() as stack:
        children, reports = {}, {}
        for n in items:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.sspe_scale", "--child", str(n)]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(child.terminate)
            children[n], reports[n] = child, ask(child, start=True)
            print(f"{n} items: graphs made", flush=True)
        found: dict[int, list[dict[str, Any]]] = {n: [] for n in items}
        for turn in range(-1, rounds):  # the first is to warm up
            first = turn % len(items)
            for n in items[first:] + items[:first]:
                step = ask(children[n])
                if turn >= 0:
                    found[n].append(step)
    for n, report in reports.items():
        report |= {name: summary([step[name] for step in found[n]]) for name in found[n][0]}
        for name, unit in (("epoch", "ms"), ("epoch, processor", "processor ms")):
            plan = report["plan"]["s" if name == "epoch" else "processor s"]
            report[name] = n // BATCH * report["step"][unit] / 1e3 + plan
    return list(reports.values())


def summary(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the rounds; of the clock's, quartiles too."""
    values = {unit: [block[unit] for block in blocks] for unit in blocks[0]}
    return {
        "ms": float(np.median(values["ms"])),
        "quartiles": np.percentile(values["ms"], [25, 75]).tolist(),
        "processor ms": float(np.median(values["processor ms"])),
        "MB": max((mb for mb in values["MB"] if mb is not None), default=None),
        "rounds": len(blocks),
    }


def shown(reports: list[dict[str, Any]]) -> str:
    """Two tables: times, and memory."""
    times, memory = [], []
    for one in reports:
        faiss = one["faiss"] or {}
        times.append(
            {
                "items": one["items"],
                "label vectors": one["label vectors"],
                "groups, s": one["groups"]["s"],
                "exact, processor s": one["exact"]["processor s"],
                "faiss, processor s": faiss.get("processor s"),
                "recall": faiss.get("recall"),
                "step, ms": one["step"]["ms"],
                "step, processor ms": one["step"]["processor ms"],
                "labels repeated": one["step, labels repeated"]["processor ms"],
                "plan, ms": 1e3 * one["plan"]["s"],
                "epoch, s": one["epoch"],
                "epoch, processor s": one["epoch, processor"],
            }
        )
        memory.append(
            {
                "items": one["items"],
                "graphs": one["graphs MB"],
                "making groups": one["groups"]["MB"],
                "finding, exact": one["exact"]["MB"],
                "finding, faiss": faiss.get("MB"),
                "making a graph": one["graph"]["MB"],
                "a step": one["step: temporary MB"],
                "training": one["step"]["MB"],
                "features": one["features MB"],
            }
        )
    return f"{table(times)}\n\nMB\n\n{table(memory)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--items", default=",".join(map(str, ITEMS)), help="which numbers of items")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        Child(arguments.child).serve()
        return
    items = [int(n) for n in arguments.items.split(",")]
    reports = measure(items, arguments.rounds)
    fits = {name: fit(items, [one[name] for one in reports]) for name in ("epoch", "epoch, processor")}
    fits["graphs MB"] = fit(items, [one["graphs MB"] for one in reports])
    print(f"\n{shown(reports)}\n")
    for name, line in fits.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in line.items()))
    if tuple(items) != ITEMS:
        return
    shapes = {"labels": LABELS, "features": FEATURES, "words": WORDS, "batch": BATCH, "k": K, "steps": STEPS}
    path = write_result("sspe_scale", {"seed": SEED, **shapes, "fits": fits, "rows": reports})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
