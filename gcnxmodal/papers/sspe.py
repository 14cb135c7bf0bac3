"""SSPE's table and figures (Wu et al. 2018): Table 1 and Figures 4 to 8."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gcnxmodal.papers.options import Options, data_sets, part_of, table_on_data
from gcnxmodal.papers.table import (
    METHODS_BY_LABEL,
    Column,
    Direction,
    Figure,
    Panel,
    Part,
    Row,
    Source,
    Table,
    cells_of,
)

SSPE_DATA = ("pascal", "mirflickr", "nus-wide")
"""Data sets of SSPE's Table 1, as the presets call them."""

# SSPE Table 1, MAP: each data set of SSPE_DATA. Its standard deviations are .007 at the most.
SSPE_1: dict[str, dict[Direction, tuple[float, ...]]] = {
    "CCA": {"image_query": (0.659, 0.652, 0.409), "text_query": (0.645, 0.653, 0.377)},
    "PLS": {"image_query": (0.633, 0.662, 0.503), "text_query": (0.501, 0.661, 0.456)},
    "GMLDA": {"image_query": (0.673, 0.650, 0.507), "text_query": (0.664, 0.651, 0.459)},
    "MMNN": {"image_query": (0.697, 0.712, 0.577), "text_query": (0.647, 0.731, 0.473)},
    "ml-CCA": {"image_query": (0.698, 0.708, 0.516), "text_query": (0.697, 0.713, 0.435)},
    "LGCFL": {"image_query": (0.732, 0.723, 0.516), "text_query": (0.723, 0.725, 0.440)},
    "DSPE": {"image_query": (0.727, 0.728, 0.482), "text_query": (0.717, 0.739, 0.437)},
    "CMOS": {"image_query": (0.724, 0.727, 0.533), "text_query": (0.700, 0.728, 0.485)},
    "SSPE": {"image_query": (0.745, 0.749, 0.585), "text_query": (0.741, 0.766, 0.504)},
}

_COLUMNS: dict[str, str] = dict(zip(SSPE_DATA, ("Pascal", "MIRFLICKR", "NUS-WIDE"), strict=True))
# Rows that the paper has not: what every run measures, and the weaker score of SM.
_BESIDE: dict[Row, dict[str, Any]] = {
    Row("SM", "sm"): {},
    Row("SM, cosine", "sm"): {"score": "cosine"},
    Row("chance", "chance"): {},
}

# (4.4) Features centred and of unit length, principal axes of 95 % of the energy for CCA, GMLDA and ml-CCA,
# 32 dimensions, layers of 64 and 32 for the networks; the rest is chosen on a part of the training items.
DIMENSION = 32
HIDDEN = 64
_ENERGY = {"cca": 0.95, "pls": 1.0, "gmlda": 0.95, "ml-cca": 0.95}
_NETWORKS = ("mmnn", "dspe")

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # (4.6)
DIMENSIONS = (8, 16, 32, 64, 128)
NEIGHBOURS = (4, 8, 12, 16, 20)
SAME_SHARE = 4  # one neighbour of so many on the semantic graph is of the same modality (4.8)

_FIGURE_DATA = {
    "pascal": "Pascal VOC 2007",
    "mirflickr": "MIRFLICKR-25K",
    "nus-wide": "NUS-WIDE",
    "emoji": "emoji",
    "corel5k": "Corel5k",
}
"""Data sets as the page of a figure has them."""
_DIRECTIONS = {"image_query": "image queries", "text_query": "text queries"}
_PICTURES = "The paper's curves are pictures without numbers: nothing is quoted but its text."
_NO_SEED = "CCA, GMLDA and ml-CCA do not depend on a seed; MMNN and DSPE are trained with each."
_AXES = "ml-CCA has at most as many axes as there are labels, CCA as there are principal axes."


def fixed_values(method: str, dimension: int = DIMENSION) -> dict[str, Any]:
    """What the paper decides of a method of `METHODS`, for a space of `dimension` axes."""
    if method in _NETWORKS:
        return {"widths": (HIDDEN, dimension)}
    if method in _ENERGY:
        return {"components": dimension, "unit_length": True, "energy": _ENERGY[method], "axes": None}
    return {}


def sspe_1(options: Options) -> Table:
    """SSPE beside CCA, PLS, GMLDA, MMNN, ml-CCA, DSPE, SM and chance."""
    data = data_sets("sspe-1", options, _COLUMNS, unused="all its models are SSPE's")
    rows = {row: fixed_values(row.method) for row in map(_row, SSPE_1) if row.method} | _BESIDE
    parts = tuple(part_of(f"sspe-{name}", name, options) for name in data)
    features = " or ".join(dict.fromkeys(part.experiment.data.image_feature for part in parts))
    return table_on_data(
        "sspe-1",
        options,
        title="SSPE (Wu et al. 2018), Table 1: MAP",
        where=" on three data sets",
        kinds=("method", "data set"),
        rows=tuple(rows),
        columns=tuple(map(Column, data.values())),
        published=SSPE_1,
        sources={
            (row.label, column): Source(name, system=row.method, fixed=fixed)
            for name, column in data.items()
            for row, fixed in rows.items()
        },
        parts=parts,
        caption="The paper's protocol is standard: test items rank all test items. It reads fc7 of CaffeNet, "
        f"where ours reads the image feature {features}, and does not say which photos it keeps: published "
        "and measured numbers are not of the same experiment. It prints no average; its standard deviations, "
        "of which it does not say over what, are .007 at the most.",
        notes=(
            "As in the paper, every method but SM has 32 dimensions (ml-CCA as many as there are labels, if "
            "they are fewer), and CCA, GMLDA and ml-CCA the principal axes of 95 % of the energy. SM and "
            "chance are not in the paper: SM is two classifiers without a common space, by the cosine of "
            "posteriors or by their inner product, chance a random ranking.",
        ),
        shown=("standard",),
    )


def sspe_4(options: Options) -> Figure:
    """Precision among the first items, SSPE beside the baselines."""
    data = data_sets("sspe-4", options, _FIGURE_DATA, of_paper=("pascal", "mirflickr", "nus-wide"))
    rows = [_row(label) for label in ("SSPE", "GMLDA", "ml-CCA", "MMNN", "DSPE", "CCA")]
    panels = _directions(
        _DIRECTIONS,
        data,
        lambda name: {row: [_source(name, row)] for row in rows},
        name="scope",
        title="Precision by scope",
        x_label="Items retrieved",
        reads="scope",
    )
    return _figure(
        "sspe-4",
        options,
        title="Precision by scope (Figure 4)",
        panels=panels,
        parts=[_part(name, options) for name in data],
        caption="The paper has SSPE, GMLDA, ml-CCA, LGCFL, MMNN, DSPE and CMOS, with 32 dimensions where a "
        "method has a choice, and says that “SSPE still outperforms other methods on the whole” (4.5).",
        notes=(
            "Precision among the first items retrieved, a mean over the test items as queries; all test "
            "items of the other modality are ranked, and on the right the curves meet at the share of "
            "relevant ones.",
            "LGCFL and CMOS are not built; CCA, which the paper has in its Table 1, stands in their place.",
            _NO_SEED,
            _AXES,
        ),
    )


def sspe_5(options: Options) -> Figure:
    """MAP by the weights of label reconstruction and of the feature graphs."""
    data = data_sets("sspe-5", options, _FIGURE_DATA, of_paper=("pascal", "mirflickr"))
    panels = _directions(
        {"average": "average of both directions", **_DIRECTIONS},
        data,
        lambda name: {
            Row(f"alpha1 = {alpha1:g}", "model"): [
                Source(name, {"train.alpha1": alpha1, "train.alpha2": alpha2}) for alpha2 in ALPHAS
            ]
            for alpha1 in ALPHAS
        },
        ALPHAS,
        name="alphas",
        title="MAP",
        x_label="alpha2",
        reads="map",
        heat=True,
    )
    return _figure(
        "sspe-5",
        options,
        title="MAP by alpha1 and alpha2 (Figure 5)",
        panels=panels,
        parts=[_part(name, options, {"train.alpha1": ALPHAS, "train.alpha2": ALPHAS}) for name in data],
        caption="alpha1 weighs the reconstruction of labels, alpha2 the graphs of features. The paper says "
        "that at alpha2 = 0 its model “is instable. Sometimes the model collapses as it gets NaN value”; "
        "that otherwise “the average performance does not vary much”, that label reconstruction “can improve "
        "the performance”, and that the maximum is at middle values (4.6).",
        notes=(
            "Here the log-sigmoid is computed in its stable form, which cannot give a NaN: alpha2 = 0 is a "
            "setting like the others.",
            "Chosen and measured on the same test items, as in the paper: no way to choose a setting.",
        ),
        counted=("train.alpha2", 0),
    )


def sspe_6(options: Options) -> Figure:
    """MAP by the dimension of the space, beside CCA, ml-CCA and MMNN."""
    data = data_sets("sspe-6", options, _FIGURE_DATA, of_paper=("mirflickr",))
    rows = [_row(label) for label in ("SSPE", "CCA", "ml-CCA", "MMNN")]
    panels = _directions(
        _DIRECTIONS,
        data,
        lambda name: {row: [_source(name, row, D, swept=True) for D in DIMENSIONS] for row in rows},
        DIMENSIONS,
        name="dimension",
        title="MAP",
        x_label="Dimensions",
        reads="map",
    )
    return _figure(
        "sspe-6",
        options,
        title="MAP by dimension of the space (Figure 6)",
        panels=panels,
        parts=[_part(name, options, {"model.dimension": DIMENSIONS}) for name in data],
        caption="The paper says that CCA and ml-CCA get “slightly worse as the dimension increasing, while "
        "the performance of SSPE and MMNN is stable with varied ranks”, and that SSPE “outperforms other "
        "methods on all the ranks” (4.7).",
        notes=(
            "Its text does not say which ranks; these are ours, around its 32.",
            "CCA scales each axis by the square of its correlation here, so that weak axes hardly count; "
            "ml-CCA by a power of it that is chosen, 0, 1 or 2.",
            _AXES,
            _NO_SEED,
        ),
    )


def sspe_7(options: Options) -> Figure:
    """MAP by the number of neighbours that are drawn for an item on each graph."""
    data = data_sets("sspe-7", options, _FIGURE_DATA, of_paper=("mirflickr",))
    panels, parts = [], []
    for name in data:
        lines = {
            Row(words, "model", reads=direction): [Source(f"{name}-{k}") for k in NEIGHBOURS]
            for direction, words in _DIRECTIONS.items()
        }
        about = {"title": "MAP", "x_label": "Neighbours an item and graph", "reads": "map"}
        panels.append(_panel(f"neighbours-{name}", name, lines, NEIGHBOURS, **about))
        for k in NEIGHBOURS:
            part, same = _part(name, options), k // SAME_SHARE
            train = dataclasses.replace(part.experiment.train, other=k - same, same=same, near=k)
            experiment = dataclasses.replace(part.experiment, train=train)
            parts.append(dataclasses.replace(part, name=f"{name}-{k}", experiment=experiment))
    return _figure(
        "sspe-7",
        options,
        title="MAP by neighbours drawn for an item (Figure 7)",
        panels=panels,
        parts=parts,
        caption="On the semantic graph a quarter of the neighbours is of the item's own modality. The paper "
        "says that with more neighbours “the quality of the learned embeddings first increases and then "
        "decreases” (4.8).",
        notes=(
            "Its text does not say which numbers; these are ours, around its 8. We read “numbers of "
            "neighborhood vertices” as those on all three graphs; the graphs of features keep their 8 "
            "nearest, of which so many are drawn with replacement.",
            "The loss sums over neighbours, so more of them are also longer steps.",
        ),
    )


def sspe_8(options: Options) -> Figure:
    """Each loss, and MAP, as training goes on."""
    data = data_sets("sspe-8", options, _FIGURE_DATA, of_paper=("mirflickr",))
    losses = {
        "semantic": "semantic graph",
        "labels": "labels",
        "image_graph": "image graph",
        "text_graph": "text graph",
    }
    maps = {f"standard.{direction}": words for direction, words in _DIRECTIONS.items()}
    panels, parts = [], []
    for name in data:
        for kind, title, values in (("losses", "Loss of an item, by term", losses), ("map", "MAP", maps)):
            lines = {Row(label, "model", reads=value): [Source(name)] for value, label in values.items()}
            about = {"title": title, "x_label": "Iterations", "reads": "history", "share": kind == "map"}
            panels.append(_panel(f"{kind}-{name}", name, lines, **about))
        part = _part(name, options)
        experiment = dataclasses.replace(part.experiment, evaluate_every=1)
        parts.append(dataclasses.replace(part, experiment=experiment))
    return _figure(
        "sspe-8",
        options,
        title="Losses and MAP by iteration (Figure 8)",
        panels=panels,
        parts=parts,
        caption="The paper says that the losses on the semantic graph and of labels “decrease dramatically "
        "at first and decline slowly after 10,000 iterations”, that those on the graphs of features "
        "“increase a little and flatten out”, and that MAP “increases fast at first and then stays stable” "
        "(4.9).",
        notes=(
            "A point an epoch, which draws neighbours for every item once: losses are means over its "
            "iterations (the paper: over 2,000; an epoch of its 12,144 items is 2,428), MAP is of the model "
            "at its end.",
            "Losses are means over items, before they are weighed by alpha1 and alpha2.",
        ),
    )


def _row(label: str) -> Row:
    own = label == "SSPE"
    return Row(label, "model" if own else METHODS_BY_LABEL.get(label, ""), own=own)


def _source(part: str, row: Row, dimension: int = DIMENSION, *, swept: bool = False) -> Source:
    """A figure's model or baseline; a baseline may be there with several dimensions."""
    if row.method == "model":
        return Source(part, {"model.dimension": dimension} if swept else {})
    label = f"{row.method}-{dimension}"
    return Source(part, system=row.method, fixed=fixed_values(row.method, dimension), label=label)


def _part(data: str, options: Options, over: Mapping[str, Sequence[Any]] | None = None) -> Part:
    """What a figure trains: reports of 36 settings would take longer than their training."""
    part = part_of(f"sspe-{data}", data, options, over=over)
    missing = part.missing and f"{part.missing}, or --data emoji"
    return dataclasses.replace(part, missing=missing, member_reports=not over)


def _directions(
    directions: Mapping[str, str],
    data: Iterable[str],
    lines: Callable[[str], Mapping[Row, Sequence[Source]]],
    places: Sequence[float] = (),
    *,
    name: str,
    title: str,
    **about: Any,
) -> list[Panel]:
    """A panel a data set and direction, of the lines that a data set has."""
    panels = []
    for of in data:
        for direction, words in directions.items():
            rows = {dataclasses.replace(row, reads=direction): points for row, points in lines(of).items()}
            panels.append(
                _panel(f"{name}-{of}-{direction}", of, rows, places, title=f"{title}, {words}", **about)
            )
    return panels


def _panel(
    name: str, data: str, lines: Mapping[Row, Sequence[Source]], places: Sequence[float] = (), **about: Any
) -> Panel:
    """A panel of lines, each with a source a place, or one for the whole curve."""
    columns = tuple(Column(f"{x:g}", x=x) for x in places) or (Column(""),)
    sources = {
        (row.label, column.label): source
        for row, points in lines.items()
        for column, source in zip(columns, points, strict=True)
    }
    cells = cells_of(sources, {})
    return Panel(name=name, data=_FIGURE_DATA[data], rows=tuple(lines), columns=columns, cells=cells, **about)


def _figure(
    name: str, options: Options, *, panels: Sequence[Panel], parts: Sequence[Part], caption: str, **about: Any
) -> Figure:
    epochs = {part.preset: part.experiment.epochs for part in parts}
    words = ", ".join(f"{preset} of {count} epoch{'s' * (count != 1)}" for preset, count in epochs.items())
    if options.data != "paper":
        name = f"{name}-{options.data}"
        caption += f" On {_FIGURE_DATA[options.data]} it has no figure."
    about |= {"title": f"SSPE (Wu et al. 2018): {about['title']}", "notes": (*about["notes"], _PICTURES)}
    training = f"SSPE trained by the preset{'s' * (len(epochs) > 1)} {words}"
    return Figure(
        name=name, panels=tuple(panels), parts=tuple(parts), caption=caption, training=training, **about
    )


TABLES = {"sspe-1": sspe_1}
FIGURES = {
    "sspe-4": sspe_4,
    "sspe-5": sspe_5,
    "sspe-6": sspe_6,
    "sspe-7": sspe_7,
    "sspe-8": sspe_8,
}
