"""MAP and search over binary codes, and the memory that they take.

    python -m benchmarks.codes [--rounds 5] [--only search]

2,000 queries, a database of 20,000 and of 200,000 codes of 64 bits; one class an item, or several of 24
labels. Each method gets what it works on (packed words, or codes of -1 and 1 in float32):

    ours                              `retrieval.hamming.average_precisions`
    ours, XLA                         the same without numba
    ours, expected over ties          `retrieval.metrics.expected_average_precision`
    NumPy, the papers' loop           `calc_map` of DCMH's and SSAH's evaluation, a query at a time:
                                      0.5 * (bits - code @ codes), argsort, mean of 1..hits / ranks
    the papers' loop, ties by index   its argsort made stable: the ranking is ours, hence the value too

NumPy's default argsort leaves the order of ties open, so that the papers' loop as it is has another value;
the stable one and XLA must agree with ours to 1e-12 a query, or it stops.

"search" finds the 500 nearest of each query, beside faiss's IndexBinaryFlat (the extra `faiss`), by its heap,
which it does unasked, and by counting (`use_heap = False`). Every query's distances must be the same, or it
stops. Both libraries have a thread for each core.

"Memory" is how much a process that holds codes and labels grows at most over 2,000 queries x 200,000 codes,
each measure in a process of its own (Linux only). The matrix of their distances takes 400 MB with a byte
each; what is ours must stay within `ranking.MAX_BYTES`, or it stops. MAP is written to results/codes.json,
search and memory to results/codes_search.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import grown, interleave, table, write_result
from gcnxmodal.retrieval import hamming
from gcnxmodal.retrieval.evaluate import evaluate_codes
from gcnxmodal.retrieval.metrics import expected_average_precision
from gcnxmodal.retrieval.ranking import MAX_BYTES

BITS = 64
SEED = 0
OURS = "ours"
STABLE = "the papers' loop, ties by index"


@dataclasses.dataclass(frozen=True)
class Case:
    """MAP over the first `cutoff` ranks, or over all; or a search of so many, which has no labels."""

    queries: int
    items: int
    cutoff: int | None
    part: int  # queries that the loops get
    labels: int = 10
    several: bool = False  # labels an item
    search: bool = False

    @property
    def name(self) -> str:
        what = "search, " if self.search else "several labels, " if self.several else ""
        return f"{self.queries} x {self.items} codes, {what}R = {self.cutoff or 'all'}"


CASES = (
    Case(2_000, 20_000, None, 200),
    Case(2_000, 20_000, 500, 200),
    Case(2_000, 20_000, None, 200, labels=24, several=True),
    Case(2_000, 200_000, None, 40),
    Case(2_000, 200_000, 500, 40),
    Case(2_000, 20_000, 500, 200, search=True),
    Case(2_000, 200_000, 500, 40, search=True),
)


@dataclasses.dataclass(frozen=True)
class Codes:
    """Codes of -1 and 1, float32, and labels of queries and items."""

    queries_QK: np.ndarray
    items_MK: np.ndarray
    query_labels_QC: np.ndarray
    item_labels_MC: np.ndarray

    def part(self, queries: int) -> Codes:
        """The first queries only."""
        return dataclasses.replace(
            self, queries_QK=self.queries_QK[:queries], query_labels_QC=self.query_labels_QC[:queries]
        )

    def packed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        codes = hamming.pack_codes(self.queries_QK), hamming.pack_codes(self.items_MK)
        return *codes, self.query_labels_QC, self.item_labels_MC


def make_codes(case: Case) -> Codes:
    """Signs of points around the sum of their labels' centres."""
    random = np.random.default_rng(SEED)
    centres_CK = random.standard_normal((case.labels, BITS))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels_nC = np.eye(case.labels, dtype=bool)[random.integers(0, case.labels, count)]
        if case.several:
            labels_nC |= random.random(labels_nC.shape) < 0.1
        points_nK = labels_nC @ centres_CK + 2 * random.standard_normal((count, BITS))
        return np.where(points_nK > 0, 1, -1).astype(np.float32), labels_nC

    (queries, query_labels), (items, item_labels) = draw(case.queries), draw(case.items)
    return Codes(queries, items, query_labels, item_labels)


def ours(codes: Codes, cutoff: int | None) -> Callable[[], np.ndarray]:
    data = codes.packed()
    return lambda: hamming.average_precisions(*data, cutoff)


def ours_xla(codes: Codes, cutoff: int | None) -> Callable[[], np.ndarray]:
    data = codes.packed()
    return lambda: hamming.average_precisions(*data, cutoff, on_host=False)


def ours_expected(codes: Codes, cutoff: int | None) -> Callable[[], np.ndarray]:
    data = codes.packed()
    return lambda: expected_average_precision(*hamming.distance_histograms(*data), cutoff)


def papers_loop(codes: Codes, cutoff: int | None, kind: Any = None) -> Callable[[], np.ndarray]:
    """The loop of the hashing papers' evaluation scripts; float32 is its fastest form."""
    items_KM = codes.items_MK.T
    labels_CM = codes.item_labels_MC.T.astype(np.float32)
    query_labels_QC = codes.query_labels_QC.astype(np.float32)

    def run() -> np.ndarray:
        ap_Q = np.zeros(len(query_labels_QC))
        for q, (code_K, label_C) in enumerate(zip(codes.queries_QK, query_labels_QC, strict=True)):
            relevant_M = (label_C @ labels_CM > 0).astype(np.float32)
            distance_M = 0.5 * (BITS - code_K @ items_KM)
            hits_R = relevant_M[np.argsort(distance_M, kind=kind)][:cutoff]
            found = int(np.sum(hits_R))
            if found:
                ranks = np.asarray(np.where(hits_R == 1)) + 1.0
                ap_Q[q] = np.mean(np.linspace(1, found, found) / ranks)
        return ap_Q

    return run


def stable_loop(codes: Codes, cutoff: int | None) -> Callable[[], np.ndarray]:
    return papers_loop(codes, cutoff, "stable")


def ours_search(codes: Codes, k: int | None) -> Callable[[], np.ndarray]:
    queries_QW, items_MW, *_ = codes.packed()
    return lambda: hamming.nearest(queries_QW, items_MW, k or len(items_MW))[1]


def numpy_search(codes: Codes, k: int | None) -> Callable[[], np.ndarray]:
    """The papers' distances and argsort."""
    items_KM = codes.items_MK.T

    def run() -> np.ndarray:
        found = []
        for code_K in codes.queries_QK:
            distance_M = 0.5 * (BITS - code_K @ items_KM)
            found.append(distance_M[np.argsort(distance_M)[:k]])
        return np.array(found)

    return run


def xla_search(codes: Codes, k: int | None) -> Callable[[], np.ndarray]:
    queries_QW, items_MW, *_ = codes.packed()
    return lambda: hamming.nearest(queries_QW, items_MW, k or len(items_MW), on_host=False)[1]


def faiss_counting(codes: Codes, k: int | None) -> Callable[[], np.ndarray]:
    return faiss_search(codes, k, use_heap=False)


def faiss_search(codes: Codes, k: int | None, use_heap: bool = True) -> Callable[[], np.ndarray]:
    """The distances of `IndexBinaryFlat`."""
    try:
        import faiss  # pyright: ignore[reportMissingImports]
    except ImportError as missing:
        raise ImportError(f"{missing}; the extra `faiss` has it") from missing
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    queries_QW, items_MW, *_ = codes.packed()
    index = faiss.IndexBinaryFlat(BITS)
    index.use_heap = use_heap  # pyright: ignore[reportAttributeAccessIssue] (made by SWIG)
    index.add(items_MW.view(np.uint8))
    return lambda: index.search(queries_QW.view(np.uint8), k or len(items_MW))[0]


Method = Callable[[Codes, int | None], Callable[[], np.ndarray]]
METHODS: dict[str, Method] = {
    OURS: ours,
    "ours, XLA": ours_xla,
    "ours, expected over ties": ours_expected,
    "NumPy, the papers' loop": papers_loop,
    STABLE: stable_loop,
}
SEARCHES: dict[str, Method] = {
    OURS: ours_search,
    "NumPy, the papers' argsort": numpy_search,
    "ours, XLA": xla_search,
    "faiss IndexBinaryFlat, counting": faiss_counting,
    "faiss IndexBinaryFlat, heap": faiss_search,
}
MEASURES: dict[str, Callable[[Codes], Callable[[], Any]]] = {
    "MAP, R = all": lambda codes: ours(codes, None),
    "MAP, R = all, XLA": lambda codes: ours_xla(codes, None),
    "search, R = 500": lambda codes: ours_search(codes, 500),
    "search, R = 500, XLA": lambda codes: xla_search(codes, 500),
    "everything of `evaluate_codes`": lambda codes: everything(codes),
    "faiss, search, R = 500, counting": lambda codes: faiss_counting(codes, 500),
}
LARGEST = Case(2_000, 200_000, None, 40)


def everything(codes: Codes) -> Callable[[], Any]:
    """Every protocol and curve, both ways: 10,000 of the items are the training split."""
    queries_QW, items_MW, query_labels_QC, item_labels_MC = codes.packed()
    Q, n = len(queries_QW), len(queries_QW) + len(items_MW)
    splits = {"test": np.arange(Q), "train": np.arange(Q, n)[:10_000], "retrieval": np.arange(Q, n)}
    codes_nW = np.concatenate([queries_QW, items_MW])
    labels_nC = np.concatenate([query_labels_QC, item_labels_MC])
    return lambda: evaluate_codes(codes_nW, np.roll(codes_nW, 1, axis=0), labels_nC, splits, BITS)


def measure(case: Case, rounds: int) -> list[dict[str, Any]]:
    """One row a method that is installed, ours first. The slow get a part of the queries; "ms" is scaled."""
    codes = make_codes(case)
    parts = {"NumPy, the papers' loop": case.part, STABLE: case.part, "NumPy, the papers' argsort": case.part}
    parts |= dict.fromkeys(("ours, XLA", "faiss IndexBinaryFlat, heap"), case.part)
    runs, queries = {}, {}
    for name, method in (SEARCHES if case.search else METHODS).items():
        queries[name] = min(case.queries, parts.get(name, case.queries))
        try:
            runs[name] = method(codes.part(queries[name]), case.cutoff)
        except ImportError as missing:
            print(f"skipped {name}: {missing}")
    found = {name: run() for name, run in runs.items()}
    error = {name: _difference(values, found[OURS]) for name, values in found.items()}
    bounds = dict.fromkeys(SEARCHES, 0.0) if case.search else {STABLE: 1e-12, "ours, XLA": 1e-12}
    for name in bounds.keys() & found.keys():
        if not error[name] <= bounds[name]:
            raise SystemExit(f"{case.name}: {name} differs from ours by {error[name]}")
    timings = interleave(runs, rounds, warm_up=1)
    ms = {name: timings[name].median * case.queries / queries[name] for name in runs}
    return [
        {
            "": name,
            "queries": queries[name],
            "ms": ms[name],
            "x ours": ms[name] / ms[OURS],
            "mean distance" if case.search else "MAP": f"{np.mean(found[name], dtype=np.float64):.6f}",
            "differs by": error[name],
            "timing": dataclasses.asdict(timings[name]),
        }
        for name in runs
    ]


def _difference(values: np.ndarray, of_ours: np.ndarray) -> float:
    """The largest of one query; of the queries that both have."""
    return float(np.max(abs(values - of_ours[: len(values)])))


def growth(name: str) -> float | None:
    """MB that a process of its own takes at most for a measure; None if what it needs is not installed."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.codes", "--measure", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def grow(name: str) -> float | None:
    """In that process: the most memory while it runs, over what codes and labels took before."""
    codes = make_codes(LARGEST)
    few = dataclasses.replace(
        codes.part(8), items_MK=codes.items_MK[:512], item_labels_MC=codes.item_labels_MC[:512]
    )
    try:
        run = MEASURES[name](codes)
    except ImportError as missing:
        print(f"skipped {name}: {missing}", file=sys.stderr)
        return None
    MEASURES[name](few)()  # libraries are loaded before it counts
    return grown(run)[1]


def measure_memory() -> list[dict[str, Any]]:
    matrix = LARGEST.queries * LARGEST.items / 1e6
    rows = []
    for name in MEASURES:
        megabytes = growth(name)
        if megabytes is not None:
            rows.append({"": name, "MB": megabytes, "of the matrix": megabytes / matrix})
            if "faiss" not in name and megabytes * 1e6 > MAX_BYTES:
                raise SystemExit(f"{name} takes {megabytes:.0f} MB and may have {MAX_BYTES / 1e6:.0f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("map", "search"), help="map, or search and memory")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(grow(arguments.measure)))
        return
    shared = {"bits": BITS, "seed": SEED, "threads": os.cpu_count()}
    for part, name in (("map", "codes"), ("search", "codes_search")):
        if arguments.only in (None, part):
            results = []
            for case in CASES:
                if case.search == (part == "search"):
                    rows = measure(case, arguments.rounds)
                    print(f"\n{case.name}\n\n{table(rows)}", flush=True)
                    results.append({"case": dataclasses.asdict(case), "rows": rows})
            found: dict[str, Any] = {**shared, "cases": results}
            if part == "search" and sys.platform == "linux":
                found["memory"] = measure_memory()
                print(f"\nMemory, {LARGEST.queries} x {LARGEST.items}\n\n{table(found['memory'])}")
            print(f"\nwritten to {write_result(name, found)}", flush=True)


if __name__ == "__main__":
    main()
