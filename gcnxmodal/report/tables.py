"""The numbers of the page, arranged in rows; no HTML here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gcnxmodal.report.palette import Series, series
from gcnxmodal.report.values import measured

PROTOCOLS = {
    "standard": "Test queries rank the test items; the whole ranking counts.",
    "test@100": "Test queries rank the test items; the first 100 count.",
    "authors": "As in the authors' code: test queries rank the training items; the first 100 count.",
    "hashing@500": "As in hashing papers: test queries rank the retrieval split; the first 500 count.",
    "hashing@500 expected": "The same, expected if items at the same distance come in random order.",
    "hashing": "As in hashing papers' code: test queries rank the retrieval split; the whole ranking counts.",
}
YARDSTICKS = {
    "sm": "SM (semantic matching) is two logistic regressions, one for texts and one for images",
    "cca": "CCA (canonical correlation) is a linear projection of both",
    "cca-sign": "CCA + sign is the signs of a linear projection of both, as many as a code has bits",
}
# What may be said beside a row of GIN's Table 1 (Yu et al. 2018). On its Eng-Wiki data two logistic
# regressions score .43 / .45 under `standard` and .73 / .45 under `authors`; GIN's row is .77 / .45.
MIXED_PROTOCOLS = (
    "The paper does not name its protocol, and its table seems to mix two. On English Wikipedia its CCA row "
    "is what ranking the test items gives (standard); its own row has the shape that ranking the training "
    "items gives (authors). This is our inference from the numbers and from later code of the same group: "
    "the evaluation script behind the table is not public. Compare the published row with authors, not with "
    "standard."
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One system's measured values by column; `best` names the columns in which no other system is better."""

    series: Series
    values: Mapping[str, float | None]
    best: frozenset[str] = frozenset()


def protocol_rows(results: Mapping[str, Any], system: str, protocol: str) -> list[Row]:
    """The model, then the yardsticks, then chance, under one protocol; None where nothing was measured."""
    columns = ("text_query", "image_query", "average")
    scores = {"model": results["protocols"].get(protocol, {})}
    scores |= {key: entry.get(protocol, {}) for key, entry in results.get("yardsticks", {}).items()}
    rows = _with_best([_row(series(key, system), entry, columns) for key, entry in scores.items()])
    if chance := results.get("chance", {}).get(protocol):
        rows.append(_row(Series("chance", "muted"), chance, columns))
    return rows


def exact_pair_rows(
    results: Mapping[str, Any], details: Mapping[str, Any], system: str, direction: str
) -> list[Row]:
    """Recall and median rank of the query's own pair: the model, then the yardsticks that were measured."""
    columns = ("recall@1", "recall@5", "recall@10", "median_rank")
    scores = {"model": results["exact_pair"].get(direction, {})}
    for key in results.get("yardsticks", {}):
        if found := details.get(key, {}).get("exact_pair", {}).get(direction):
            scores[key] = found
    rows = [_row(series(key, system), entry, columns) for key, entry in scores.items()]
    return _with_best(rows, lower_is_better="median_rank")


def _row(style: Series, scores: Mapping[str, Any], columns: tuple[str, ...]) -> Row:
    return Row(style, {column: measured(scores.get(column)) for column in columns})


def _with_best(rows: list[Row], lower_is_better: str = "") -> list[Row]:
    """Mark the best of each column, to the digits shown; a lone system has no one to beat."""
    if len(rows) < 2:
        return rows
    best: list[set[str]] = [set() for _ in rows]
    for column in rows[0].values:
        sign = -1 if column == lower_is_better else 1
        shown = [None if (v := row.values[column]) is None else sign * round(v, 3) for row in rows]
        top = max((v for v in shown if v is not None), default=None)
        for names, value in zip(best, shown, strict=True):
            if value is not None and value == top:
                names.add(column)
    return [dataclasses.replace(row, best=frozenset(names)) for row, names in zip(rows, best, strict=True)]
