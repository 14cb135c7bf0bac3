"""SSPE's table as a value: Wu et al. 2018, Table 1."""

from collections.abc import Mapping, Sequence
from typing import Any

from gcnxmodal.baselines import METHODS
from gcnxmodal.papers.published import SSPE_1, SSPE_DATA, two_directions
from gcnxmodal.papers.table_parts import (
    NOT_BUILT,
    OTHERS,
    Options,
    PaperTable,
    Part,
    Source,
    check_folders,
    check_unused,
    sspe,
    trained,
)

_COLUMNS: dict[str, str] = dict(zip(SSPE_DATA, ("Pascal", "MIRFLICKR", "NUS-WIDE"), strict=True))
# Rows that the paper has not: what every run measures, and the stronger score of SM.
_BESIDE: dict[str, dict[str, Any]] = {
    "SM": {"system": "sm"},
    "SM, inner product": {"system": "sm", "fixed": {"score": "inner product"}},
    "chance": {"system": "chance"},
}

# (4.4) Features centred and of unit length, principal axes of 95 % of the energy for CCA, GMLDA and ml-CCA,
# 32 dimensions, layers of 64 and 32 for the networks; the rest is chosen on a part of the training items.
DIMENSION = 32
HIDDEN = 64
_ENERGY = {"cca": 0.95, "pls": 1.0, "gmlda": 0.95, "ml-cca": 0.95}
_NETWORKS = ("mmnn", "dspe")


def fixed_values(system: str, dimension: int = DIMENSION) -> dict[str, Any]:
    """What the paper decides of a method of `METHODS`, for a space of `dimension` axes."""
    if system in _NETWORKS:
        return {"widths": (HIDDEN, dimension)}
    if system in _ENERGY:
        return {"components": dimension, "unit_length": True, "energy": _ENERGY[system], "axes": None}
    return {}


def sspe_1(options: Options) -> PaperTable:
    """SSPE beside CCA, PLS, GMLDA, MMNN, ml-CCA, DSPE, SM and chance."""
    check_unused("sspe-1", options, "all its models are SSPE's")
    paper = options.data == "paper"
    data = _COLUMNS if paper else {options.data: OTHERS[options.data][0]}
    check_folders("sspe-1", options, data)
    parts = tuple(trained(*sspe(name, options), name, options) for name in data)
    quoted = [row for row in SSPE_1 if row != "SSPE" and row.lower() not in METHODS]
    rows = [row for row in SSPE_1 if paper or row not in quoted]
    ours = {("SSPE", column): Source(name) for name, column in data.items()}
    for name, column in data.items():
        ours |= {
            (row, column): Source(name, system=row.lower(), fixed=fixed_values(row.lower()))
            for row in rows
            if row.lower() in METHODS
        }
        ours |= {(row, column): Source(name, **source) for row, source in _BESIDE.items()}
    return PaperTable(
        name="sspe-1" if paper else f"sspe-1-{options.data}",
        title=f"SSPE (Wu et al. 2018), Table 1: MAP{_where(options)}",
        kinds=("method", "data set"),
        rows=(*rows, *_BESIDE),
        columns=tuple(data.values()),
        paper=_published(data) if paper else {},
        ours=ours,
        parts=parts,
        caption=_caption(options, parts),
        training=f"trained by the presets {', '.join(part.preset for part in parts)}",
        quoted=dict.fromkeys(quoted, NOT_BUILT) if paper else {},
        digits=3,
        notes=_notes([] if paper else quoted),
        shown=("standard",),
    )


def _published(data: Mapping[str, str]) -> dict[tuple[str, str], Any]:
    return {
        (row, column): found
        for row in SSPE_1
        for column, found in zip(data.values(), two_directions(SSPE_1, row), strict=True)
    }


def _where(options: Options) -> str:
    if options.data == "paper":
        return " on three data sets"
    several = " with several labels an item" if options.data == "emoji" else ""
    return f", on {OTHERS[options.data][1]}{several}"


def _caption(options: Options, parts: Sequence[Part]) -> str:
    if options.data != "paper":
        return "On this corpus the paper has no numbers."
    features = " or ".join(dict.fromkeys(part.experiment.data.image_feature for part in parts))
    return (
        "The paper's protocol is standard: test items rank all test items. It reads fc7 of CaffeNet, where "
        f"ours reads the image feature {features}, and does not say which photos it keeps: published and "
        "measured numbers are not of the same experiment. It prints no average; its standard deviations, of "
        "which it does not say over what, are .007 at the most."
    )


def _notes(unquoted: Sequence[str]) -> tuple[str, ...]:
    """What is to be known of the rows; `unquoted`: those that are left out."""
    found = [
        "As in the paper, every method but SM has 32 dimensions (ml-CCA as many as there are labels, if they "
        "are fewer), and CCA, GMLDA and ml-CCA the principal axes of 95 % of the energy. SM and chance are "
        "not in the paper: SM is two classifiers without a common space, by the cosine of posteriors or by "
        "their inner product, chance a random ranking.",
    ]
    if unquoted:
        found.append(f"{', '.join(unquoted)}: not built yet, and there is no published number to quote.")
    return tuple(found)
