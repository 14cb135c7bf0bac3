"""MAP and search over binary codes: `python -m benchmarks.evaluate --codes`.

2,000 queries, a database of 20,000 and of 200,000 codes of 64 bits; one class an item, or several of 24
labels. Each method gets what it works on (packed words, or codes of -1 and 1 in float32):

    ours                              `retrieval.hamming.average_precisions`
    ours, XLA                         the same without numba
    ours, expected over ties          `retrieval.hamming.expected_average_precisions`
    NumPy, the papers' loop           `calc_map` of DCMH's and SSAH's evaluation, a query at a time:
                                      0.5 * (bits - code @ codes), argsort, mean of 1..hits / ranks
    the papers' loop, ties by index   its argsort made stable: the ranking is ours, hence the value too

NumPy's default argsort leaves the order of ties open, so that the papers' loop as it is has another value;
the stable one must agree with ours to 1e-12 a query (XLA, in float32, to 1e-5), or it stops. "search" finds
the 500 nearest of each query, beside faiss's IndexBinaryFlat if `faiss-cpu` is installed: equal distances.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import interleave
from gcnxmodal.retrieval import hamming

BITS = 64
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
    random = np.random.default_rng(0)
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
    return lambda: hamming.expected_average_precisions(*data, cutoff)


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


def faiss_search(codes: Codes, k: int | None) -> Callable[[], np.ndarray]:
    """`IndexBinaryFlat`, by counting in place of its default heap, which is slower."""
    import faiss  # pyright: ignore[reportMissingImports]

    queries_QW, items_MW, *_ = codes.packed()
    index = faiss.IndexBinaryFlat(BITS)
    index.use_heap = False
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
    "faiss IndexBinaryFlat": faiss_search,
}


def measure(case: Case, rounds: int) -> list[dict[str, Any]]:
    """One row a method that is installed, ours first. Loops get a part of the queries; "ms" is scaled."""
    codes = make_codes(case)
    parts = {"NumPy, the papers' loop": case.part, STABLE: case.part, "NumPy, the papers' argsort": case.part}
    parts["ours, XLA"] = case.part
    runs, queries = {}, {}
    for name, method in (SEARCHES if case.search else METHODS).items():
        queries[name] = min(case.queries, parts.get(name, case.queries))
        try:
            runs[name] = method(codes.part(queries[name]), case.cutoff)
        except ImportError as missing:
            print(f"skipped {name}: {missing}")
    found = {name: run() for name, run in runs.items()}
    error = {name: _difference(values, found[OURS]) for name, values in found.items()}
    exact = 1e-12 if hamming._on_host(codes.packed()[1], None) else 1e-5
    bounds = dict.fromkeys(SEARCHES, 0.0) if case.search else {STABLE: exact, "ours, XLA": 1e-5}
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
