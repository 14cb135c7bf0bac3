"""The system beside its baselines: rows of numbers, and the first sentence of the page. No HTML here."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from gcnxmodal.report.values import DIRECTIONS, Series, measured, other, series
from gcnxmodal.retrieval.metrics import PAIR_MEASURE, PAIR_MEASURES, by_measure, headline_scores

PROTOCOL_MEANINGS = {
    "standard": "Test queries rank the test items; the whole ranking counts.",
    "test@100": "Test queries rank the test items; the first 100 count.",
    "authors": "As in the authors' code: test queries rank the training items; the first 100 count.",
    "hashing@500": "As in hashing papers: test queries rank the retrieval split; the first 500 count.",
    "hashing@500 expected": "The same, expected if items at the same distance come in random order.",
    "hashing": "As in hashing papers' code: test queries rank the retrieval split; the whole ranking counts.",
}
# Of exact pairs, where there are no classes.
PAIR_MEANINGS = {
    **{f"recall@{k}": f"How often one that belongs to the query is among the first {k}." for k in (5, 10)},
    "recall@1": "How often one that belongs to the query comes first.",
    "median_rank": "At which rank the first one that belongs to the query stands, the median over queries.",
    "mean_reciprocal_rank": "The mean of 1 / that rank.",
    "ndcg@10": "Normalised discounted cumulative gain of the first 10.",
}
BASELINE_MEANINGS = {
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

# Differences below half of the last digit shown are no difference.
_LEVEL = 0.0005


@dataclasses.dataclass(frozen=True)
class Row:
    """One system's measured values by column; `best` names the columns in which no other system is better."""

    series: Series
    values: Mapping[str, float | None]
    best: frozenset[str] = frozenset()


def protocol_rows(results: Mapping[str, Any], system: str, protocol: str) -> list[Row]:
    """The model, then the baselines, what is kept, and chance, under one protocol (without labels, by one
    measure of exact pairs); None where nothing was measured."""
    columns = ("text_query", "image_query", "average")
    scores = {"model": headline_scores(results).get(protocol, {})}
    for key, of in results.get("preferences", {}).items():
        scores[key] = of["protocols"].get(protocol, {})
    scores |= {key: entry.get(protocol, {}) for key, entry in results.get("yardsticks", {}).items()}
    rows = [_row(series(key, system), entry, columns) for key, entry in scores.items()]
    rows += _kept_rows(results, "protocols", protocol, columns)
    rows = _with_best(rows)
    if chance := results.get("chance", {}).get(protocol):
        rows.append(_row(Series("chance", "muted"), chance, columns))
    return rows


def exact_pair_rows(
    results: Mapping[str, Any],
    details: Mapping[str, Any],
    system: str,
    direction: str,
    protocol: str | None = None,
) -> list[Row]:
    """How early the query's own pairs come: the model, then the baselines that were measured.

    Args:
        protocol: of `caption_protocols`; by default all test items.
    """

    def pairs_of(measured: Mapping[str, Any]) -> Mapping[str, Any]:
        both = measured.get("exact_pair") if protocol is None else measured["caption_protocols"][protocol]
        return (both or {}).get(direction, {})

    scores = {"model": pairs_of(results)}
    if protocol is None:
        scores |= {key: pairs_of(of) for key, of in results.get("preferences", {}).items()}
    for key in results.get("yardsticks", {}):
        if pairs := pairs_of(details.get(key, {})):
            scores[key] = pairs
    rows = [_row(series(key, system), entry, PAIR_MEASURES) for key, entry in scores.items()]
    if protocol is None:
        rows += _kept_rows(results, "exact_pair", direction, PAIR_MEASURES)
    return _with_best(rows, lower_is_better=("median_rank",))


def typed_query_rows(results: Mapping[str, Any], system: str, measure: str) -> list[Row]:
    """What queries of each length find: a measure of `results["queries"]` by length, the model first."""
    by_system = {key: lengths for key, lengths in results.get("queries", {}).items() if lengths}
    columns = tuple(dict.fromkeys(length for lengths in by_system.values() for length in lengths))
    rows = []
    for key, lengths in by_system.items():
        scores = {length: of.get(measure) for length, of in lengths.items()}
        rows.append(_row(series(key, system), scores, columns))
    return _with_best(rows, lower_is_better=columns if measure == "hubs" else ())


def _kept_rows(results: Mapping[str, Any], part: str, name: str, columns: tuple[str, ...]) -> list[Row]:
    """What is kept of other systems on the same items, where it was measured."""
    known = [of for of in results.get("kept", {}).values() if name in of[part]]
    # Seven digits of the commit, so that the column stays narrow; the sentence about it has all.
    return [_row(other(of["system"], f"kept at {of['commit'][:7]}"), of[part][name], columns) for of in known]


def tuning_in_words(choice: Mapping[str, Any]) -> str:
    """On how many held-out items `tuning.choose` chose options.

    >>> tuning_in_words({"items": 131, "found": {"tuned": {"MAP": 0.5}}})
    'Options were chosen on 131 held-out training items before training.'
    >>> tuning_in_words({"items": 12, "found": {}})
    'Options were not tuned: only 12 training items could be held out to choose them by.'
    """
    items = f"{choice['items']:,}"
    if not choice["found"]:
        return f"Options were not tuned: only {items} training items could be held out to choose them by."
    return f"Options were chosen on {items} held-out training items before training."


def _row(style: Series, scores: Mapping[str, Any], columns: tuple[str, ...]) -> Row:
    return Row(style, {column: measured(scores.get(column)) for column in columns})


def _with_best(rows: list[Row], lower_is_better: Collection[str] = ()) -> list[Row]:
    """Mark the best of each column, to the digits shown; a lone system has no one to beat."""
    if len(rows) < 2:
        return rows
    best: list[set[str]] = [set() for _ in rows]
    for column in rows[0].values:
        sign = -1 if column in lower_is_better else 1
        shown = [None if (v := row.values[column]) is None else sign * round(v, 3) for row in rows]
        top = max((v for v in shown if v is not None), default=None)
        for names, value in zip(best, shown, strict=True):
            if value is not None and value == top:
                names.add(column)
    return [dataclasses.replace(row, best=frozenset(names)) for row, names in zip(rows, best, strict=True)]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`headline` is one sentence; `details` add what it leaves out; `tone` picks the colour and the icon."""

    tone: Literal["ahead", "level", "behind", "unknown"]
    headline: str
    details: tuple[str, ...]


def verdict(system: str, results: Mapping[str, Any]) -> Verdict:
    """Compare the model's MAP under `main_protocol` (or what stands in its place) with every baseline's, the
    average first.

    A baseline that is ahead in the average makes the page say that the model loses, and by how much; one
    that is ahead in a single direction is named in the details. A model that can be asked for the class or
    for the pair is judged by both: MAP of the first, recall@10 of the second.
    """
    protocol, preferences = main_protocol(results), results.get("preferences")
    ours = headline_scores(preferences["class"] if preferences else results).get(protocol, {})
    theirs = {
        series(key, system).label: scores.get(protocol, {})
        for key, scores in results.get("yardsticks", {}).items()
    }
    leads = {
        name: value for name, scores in theirs.items() if (value := lead(ours, scores, "average")) is not None
    }
    if not leads:
        return Verdict("unknown", f"There is no baseline to judge {system} by.", ())
    # The strongest baseline first.
    leads = dict(sorted(leads.items(), key=lambda pair: pair[1]))
    lost = {name: -value for name, value in leads.items() if value <= -_LEVEL}
    won = {name: value for name, value in leads.items() if value >= _LEVEL}
    level = [name for name in leads if name not in lost and name not in won]
    details = []
    if lost:
        tone, headline = "behind", f"{system} loses to {_amounts(lost)}."
    elif level:
        tone, headline = "level", f"{system} is only level with {join(level)}."
    else:
        tone, headline = "ahead", f"{system} beats {_amounts(won)}."
    if won and tone != "ahead":
        details.append(f"It beats {_amounts(won)}.")
    if level and lost:
        details.append(f"It is level with {join(level)}.")
    for direction, words in DIRECTIONS.items():
        ahead = {name: lead(scores, ours, direction) for name, scores in theirs.items() if name not in lost}
        ahead = {name: value for name, value in ahead.items() if value is not None and value >= _LEVEL}
        if ahead:
            details.append(f"On {words} alone it loses to {_amounts(ahead)}.")
    if preferences and (theirs_found := results.get("yardstick_pairs")):
        found = by_measure(preferences["pair"]["exact_pair"])[PAIR_MEASURE]["average"]
        theirs_of = {name: by_measure(of)[PAIR_MEASURE]["average"] for name, of in theirs_found.items()}
        best = max(theirs_of, key=theirs_of.__getitem__)
        won_pairs = found - theirs_of[best] >= _LEVEL
        details.insert(
            0,
            f"Asked for the pair, it has it among the first ten for {found:.1%} of the queries, "
            f"{series(best, system).label} for {theirs_of[best]:.1%}. MAP is of queries for the class.",
        )
        if tone == "ahead":
            tone = "ahead" if won_pairs else "level"
            where = "both in MAP and in finding the pair" if won_pairs else "in MAP, not in finding the pair"
            headline = f"{system} beats {_amounts(won)}: {where}."
        elif won_pairs:
            headline = f"{headline[:-1]} in MAP, and finds the pair more often."
    return Verdict(tone, headline, tuple(details))


def main_protocol(results: Mapping[str, Any]) -> str:
    """The protocol a system is judged by: `standard`, of binary codes that of their papers, without labels
    recall@10 of exact pairs."""
    if not results["protocols"]:
        return PAIR_MEASURE
    return "hashing@500" if "hashing@500" in results["protocols"] else "standard"


def lead(ours: Mapping[str, Any], theirs: Mapping[str, Any], direction: str) -> float | None:
    """Our MAP minus theirs; None unless both were measured."""
    a, b = measured(ours.get(direction)), measured(theirs.get(direction))
    return None if a is None or b is None else a - b


def join(words: Iterable[str]) -> str:
    """ "A", "A and B", "A, B and C"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _amounts(leads: Mapping[str, float]) -> str:
    return join(f"{name} by {value:.3f}" for name, value in leads.items())
