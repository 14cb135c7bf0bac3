"""MAP over a large database: our evaluation against the loop that papers use, and against torchmetrics.

    python -m benchmarks.evaluate [--rounds 5] [--cases 20000]

2,000 queries, a database of 20,000 and of 200,000 items, embeddings of 128 dimensions, ten classes, real
scores; MAP over all ranks and over the first 100. Each method gets embeddings and labels and returns the
average precision of each query:

    ours                         `protocol_average_precisions`
    NumPy, the papers' loop      for each query: scores, relevant items, argsort, precision at the hits
    NumPy, products, then loop   the same after one product for the scores of all queries: its best form
    torchmetrics                 RetrievalMAP, of the scores

The loops take one query like the next, so they get a part of the queries (column "queries"), and "ms" is
scaled to all of them. MAP must agree on the queries they share, or it stops; the AP of a single query may
differ where the products of two libraries round two scores into another order.
Writes results/evaluate.json, unless only some cases run.
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.harness import interleave, table, write_result
from benchmarks.torch_filters import torch_device
from gcnxmodal.retrieval.evaluate import protocol_average_precisions
from gcnxmodal.retrieval.protocols import Protocol

OURS = "ours"
TOLERANCE = 5e-5  # of MAP: one query whose first two items score alike moves it by as much


@dataclasses.dataclass(frozen=True)
class Case:
    """So many queries ranked over so many items; MAP over the first `cutoff` ranks, or over all."""

    queries: int
    items: int
    cutoff: int | None
    part: int  # queries that the loops get

    @property
    def name(self) -> str:
        return f"{self.queries} x {self.items}, R = {self.cutoff or 'all'}"


CASES = (
    Case(2_000, 20_000, None, 500),
    Case(2_000, 20_000, 100, 500),
    Case(2_000, 200_000, None, 100),
    Case(2_000, 200_000, 100, 100),
)
DIMENSIONS, CLASSES = 128, 10


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Embeddings and labels of queries and items."""

    queries_QD: np.ndarray
    items_MD: np.ndarray
    query_labels_QC: np.ndarray
    item_labels_MC: np.ndarray

    def part(self, queries: int) -> "Ranking":
        """The first queries only."""
        return dataclasses.replace(
            self, queries_QD=self.queries_QD[:queries], query_labels_QC=self.query_labels_QC[:queries]
        )


def make_ranking(case: Case) -> Ranking:
    """Items around their class. All scores are positive: torchmetrics counts others as irrelevant."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CLASSES, DIMENSIONS))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        classes = random.integers(0, CLASSES, count)
        x_nD = abs(centres[classes] + 2 * random.standard_normal((count, DIMENSIONS)))
        return x_nD.astype(np.float32), np.eye(CLASSES, dtype=bool)[classes]

    (queries, query_labels), (items, item_labels) = draw(case.queries), draw(case.items)
    return Ranking(queries, items, query_labels, item_labels)


def ours(ranking: Ranking, cutoff: int | None) -> Callable[[], np.ndarray]:
    """What `gcnxmodal.evaluate` runs; the embeddings are on the device, as they are there."""
    queries_QD, items_MD = jnp.asarray(ranking.queries_QD), jnp.asarray(ranking.items_MD)
    labels = ranking.query_labels_QC, ranking.item_labels_MC
    protocol = Protocol(database="test", cutoff=cutoff, norm="hits")
    return lambda: protocol_average_precisions(queries_QD, items_MD, *labels, protocol)


def papers_loop(ranking: Ranking, cutoff: int | None) -> Callable[[], np.ndarray]:
    """The loop of the papers' evaluation scripts, query by query from its scores on."""
    items_DM, labels_CM = ranking.items_MD.T, ranking.item_labels_MC.T.astype(np.float32)

    def run() -> np.ndarray:
        ap_Q = []
        for query_D, label_C in zip(ranking.queries_QD, ranking.query_labels_QC, strict=True):
            relevant_M = label_C.astype(np.float32) @ labels_CM > 0
            ap_Q.append(_average_precision(query_D @ items_DM, relevant_M, cutoff))
        return np.array(ap_Q)

    return run


def products_then_loop(ranking: Ranking, cutoff: int | None) -> Callable[[], np.ndarray]:
    """The best form of that loop: all scores and all relevance by one product each before it."""
    items_DM, labels_CM = ranking.items_MD.T, ranking.item_labels_MC.T.astype(np.float32)

    def run() -> np.ndarray:
        scores_QM = ranking.queries_QD @ items_DM
        relevant_QM = ranking.query_labels_QC.astype(np.float32) @ labels_CM > 0
        rows = zip(scores_QM, relevant_QM, strict=True)
        return np.array([_average_precision(scores_M, relevant_M, cutoff) for scores_M, relevant_M in rows])

    return run


def _average_precision(scores_M: np.ndarray, relevant_M: np.ndarray, cutoff: int | None) -> float:
    (hits,) = np.nonzero(relevant_M[np.argsort(-scores_M)[:cutoff]])
    return float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1))) if len(hits) else 0.0


def torchmetrics_map(ranking: Ranking, cutoff: int | None) -> Callable[[], np.ndarray]:
    """`RetrievalMAP`, told to give the AP of each query and not their mean."""
    import torch
    from torchmetrics.retrieval import RetrievalMAP  # pyright: ignore[reportMissingImports]

    device = torch_device()
    queries_QD, items_MD = (torch.tensor(x, device=device) for x in (ranking.queries_QD, ranking.items_MD))
    labels = (ranking.query_labels_QC, ranking.item_labels_MC)
    query_labels_QC, item_labels_MC = (torch.tensor(x, dtype=torch.float32, device=device) for x in labels)
    shape = len(queries_QD), len(items_MD)
    index_QM = torch.arange(shape[0], device=device)[:, None].expand(shape)

    def run() -> Any:
        metric = RetrievalMAP(top_k=cutoff, aggregation=lambda ap_Q, dim: ap_Q).to(device)
        scores_QM = queries_QD @ items_MD.T
        metric.update(scores_QM, query_labels_QC @ item_labels_MC.T > 0, indexes=index_QM)
        return metric.compute()

    return run


METHODS: dict[str, Callable[[Ranking, int | None], Callable[[], Any]]] = {
    OURS: ours,
    "NumPy, the papers' loop": papers_loop,
    "NumPy, products, then loop": products_then_loop,
    "torchmetrics": torchmetrics_map,
}
TORCHMETRICS_PART = 20  # queries that torchmetrics gets: it takes some thirty times as long


def measure(case: Case, rounds: int) -> list[dict[str, Any]]:
    """One row a method that is installed, ours first."""
    ranking = make_ranking(case)
    runs, queries = {}, {}
    for name, method in METHODS.items():
        parts = {OURS: case.queries, "torchmetrics": min(case.part, TORCHMETRICS_PART)}
        queries[name] = parts.get(name, case.part)
        try:
            runs[name] = method(ranking.part(queries[name]), case.cutoff)
        except ImportError as missing:
            print(f"skipped {name}: {missing}")
    found = {name: np.asarray(_on_host(run())) for name, run in runs.items()}
    difference = {name: ap_Q - found[OURS][: len(ap_Q)] for name, ap_Q in found.items()}
    for name, difference_Q in difference.items():
        if not abs(np.mean(difference_Q, dtype=np.float64)) < TOLERANCE:
            raise SystemExit(f"{case.name}: MAP of {name} differs by {np.mean(difference_Q)}")
    timings = interleave(runs, rounds, warm_up=1)
    ms = {name: timings[name].median * case.queries / queries[name] for name in runs}
    return [
        {
            "": name,
            "queries": queries[name],
            "ms": ms[name],
            "x ours": ms[name] / ms[OURS],
            "MAP": f"{np.mean(found[name], dtype=np.float64):.6f}",
            "AP differs by": float(np.max(abs(difference[name]))),
            "timing": dataclasses.asdict(timings[name]),
        }
        for name in runs
    ]


def _on_host(ap_Q: Any) -> Any:
    return ap_Q.cpu() if hasattr(ap_Q, "cpu") else ap_Q


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default="", help="only cases whose name contains this, such as 20000,")
    arguments = parser.parse_args()
    results = []
    for case in CASES:
        if arguments.cases in case.name:
            rows = measure(case, arguments.rounds)
            print(f"\n{case.name}\n\n{table(rows)}", flush=True)
            results.append({"case": dataclasses.asdict(case), "rows": rows})
    if not arguments.cases:
        path = write_result("evaluate", {"dimensions": DIMENSIONS, "classes": CLASSES, "cases": results})
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
