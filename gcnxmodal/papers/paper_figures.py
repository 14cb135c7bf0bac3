"""The figures of SSPE's paper as values: what each is trained from, and what of its runs is drawn (Wu et al.
2018, Figures 4 to 8).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from gcnxmodal.papers.figure_parts import (
    NAMES,
    Line,
    Options,
    Panel,
    PaperFigure,
    Point,
    of_table,
    part_of,
)
from gcnxmodal.papers.neighbour_tables import DIMENSION, fixed_values
from gcnxmodal.papers.table_parts import Part, Source, check_folders

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # (4.6)
DIMENSIONS = (8, 16, 32, 64, 128)
NEIGHBOURS = (4, 8, 12, 16, 20)
SAME_SHARE = 4  # one neighbour of so many on the semantic graph is of the same modality (4.8)

_DIRECTIONS = {"image_query": "image queries", "text_query": "text queries"}
_BASELINES = {"gmlda": "GMLDA", "ml-cca": "ml-CCA", "mmnn": "MMNN", "dspe": "DSPE", "cca": "CCA"}
_PICTURES = "The paper's curves are pictures without numbers: nothing is quoted but its text."
_NO_SEED = "CCA, GMLDA and ml-CCA do not depend on a seed; MMNN and DSPE are trained with each."
_AXES = "ml-CCA has at most as many axes as there are labels, CCA as there are principal axes."


def sspe_4(options: Options) -> PaperFigure:
    """Precision among the first items, SSPE beside the baselines."""
    data = _data("sspe-4", options, ("pascal", "mirflickr", "nus-wide"))

    def lines(name: str, direction: str) -> tuple[Line, ...]:
        of = {"SSPE": Point(Source(name))}
        of |= {label: Point(_baseline(name, method, DIMENSION)) for method, label in _BASELINES.items()}
        return tuple(Line(label, (point,), direction) for label, point in of.items())

    return _figure(
        "sspe-4",
        options,
        title="Precision by scope (Figure 4)",
        panels=tuple(
            Panel(
                f"scope-{name}-{direction}",
                NAMES[name],
                f"Precision by scope, {words}",
                "Items retrieved",
                "scope",
                lines(name, direction),
            )
            for name in data
            for direction, words in _DIRECTIONS.items()
        ),
        parts=tuple(part_of(name, name, options) for name in data),
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


def sspe_5(options: Options) -> PaperFigure:
    """MAP by the weights of label reconstruction and of the feature graphs."""
    data = _data("sspe-5", options, ("pascal", "mirflickr"))
    over = {"train.alpha1": ALPHAS, "train.alpha2": ALPHAS}

    def lines(name: str, direction: str) -> tuple[Line, ...]:
        return tuple(
            Line(
                f"alpha1 = {alpha1:g}",
                tuple(
                    Point(Source(name, {"train.alpha1": alpha1, "train.alpha2": alpha2}), alpha2)
                    for alpha2 in ALPHAS
                ),
                direction,
            )
            for alpha1 in ALPHAS
        )

    return _figure(
        "sspe-5",
        options,
        title="MAP by alpha1 and alpha2 (Figure 5)",
        panels=tuple(
            Panel(
                f"alphas-{name}-{direction}",
                NAMES[name],
                f"MAP, {words}",
                "alpha2",
                "map",
                lines(name, direction),
                heat=True,
            )
            for name in data
            for direction, words in {"average": "average of both directions", **_DIRECTIONS}.items()
        ),
        parts=tuple(part_of(name, name, options, over) for name in data),
        caption="alpha1 weighs the reconstruction of labels, alpha2 the graphs of features. The paper says "
        "that at alpha2 = 0 its model “is instable. Sometimes the model collapses as it gets NaN value”; "
        "that otherwise “the average performance does not vary much”, that label reconstruction “can improve "
        "the performance”, and that the maximum is at middle values (4.6).",
        notes=(
            "Here the log-sigmoid is computed in its stable form, which cannot give a NaN: alpha2 = 0 is a "
            "setting like the others.",
            "Chosen and measured on the same test items, as in the paper: no way to choose a setting.",
        ),
    )


def sspe_6(options: Options) -> PaperFigure:
    """MAP by the dimension of the space, beside CCA, ml-CCA and MMNN."""
    data = _data("sspe-6", options, ("mirflickr",))
    baselines = {method: _BASELINES[method] for method in ("cca", "ml-cca", "mmnn")}

    def lines(name: str, direction: str) -> tuple[Line, ...]:
        own = (Point(Source(name, {"model.dimension": D}), D) for D in DIMENSIONS)
        beside = {
            label: tuple(Point(_baseline(name, method, D), D) for D in DIMENSIONS)
            for method, label in baselines.items()
        }
        return tuple(
            Line(label, points, direction) for label, points in {"SSPE": tuple(own), **beside}.items()
        )

    return _figure(
        "sspe-6",
        options,
        title="MAP by dimension of the space (Figure 6)",
        panels=tuple(
            Panel(f"dimension-{name}-{d}", NAMES[name], f"MAP, {words}", "Dimensions", "map", lines(name, d))
            for name in data
            for d, words in _DIRECTIONS.items()
        ),
        parts=tuple(part_of(name, name, options, {"model.dimension": DIMENSIONS}) for name in data),
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


def sspe_7(options: Options) -> PaperFigure:
    """MAP by the number of neighbours that are drawn for an item on each graph."""
    data = _data("sspe-7", options, ("mirflickr",))

    def part(name: str, k: int) -> Part:
        found = part_of(f"{name}-{k}", name, options)
        same = k // SAME_SHARE
        train = dataclasses.replace(found.experiment.train, other=k - same, same=same, near=k)
        return dataclasses.replace(found, experiment=dataclasses.replace(found.experiment, train=train))

    def line(name: str, direction: str, label: str) -> Line:
        return Line(label, tuple(Point(Source(f"{name}-{k}"), k) for k in NEIGHBOURS), direction)

    return _figure(
        "sspe-7",
        options,
        title="MAP by neighbours drawn for an item (Figure 7)",
        panels=tuple(
            Panel(
                f"neighbours-{name}",
                NAMES[name],
                "MAP",
                "Neighbours an item and graph",
                "map",
                tuple(line(name, direction, words) for direction, words in _DIRECTIONS.items()),
            )
            for name in data
        ),
        parts=tuple(part(name, k) for name in data for k in NEIGHBOURS),
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


def sspe_8(options: Options) -> PaperFigure:
    """Each loss, and MAP, as training goes on."""
    data = _data("sspe-8", options, ("mirflickr",))
    losses = {
        "semantic": "semantic graph",
        "labels": "labels",
        "image_graph": "image graph",
        "text_graph": "text graph",
    }
    maps = {f"standard.{direction}": words for direction, words in _DIRECTIONS.items()}

    def panel(name: str, kind: str, title: str, of: Mapping[str, str]) -> Panel:
        lines = tuple(Line(label, (Point(Source(name)),), value) for value, label in of.items())
        share = kind == "map"
        return Panel(f"{kind}-{name}", NAMES[name], title, "Iterations", "history", lines, share=share)

    def part(name: str) -> Part:
        found = part_of(name, name, options)
        return dataclasses.replace(found, experiment=dataclasses.replace(found.experiment, evaluate_every=1))

    return _figure(
        "sspe-8",
        options,
        title="Losses and MAP by iteration (Figure 8)",
        panels=tuple(
            one
            for name in data
            for one in (
                panel(name, "losses", "Loss of an item, by term", losses),
                panel(name, "map", "MAP", maps),
            )
        ),
        parts=tuple(part(name) for name in data),
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


FIGURES: dict[str, Callable[[Options], PaperFigure]] = {
    "sspe-4": sspe_4,
    "sspe-5": sspe_5,
    "sspe-6": sspe_6,
    "sspe-7": sspe_7,
    "sspe-8": sspe_8,
}
"""By name: the figure that the user's options make."""


def _baseline(data: str, method: str, dimension: int) -> Source:
    return Source(data, system=method, fixed=fixed_values(method, dimension), label=f"{method}-{dimension}")


def _data(figure: str, options: Options, paper: Sequence[str]) -> tuple[str, ...]:
    """The figure's data sets.

    Raises:
        InputError: for options that contradict each other or the figure.
    """
    data = tuple(paper) if options.data == "paper" else (options.data,)
    check_folders(figure, of_table(options), data)
    return data


def _figure(
    name: str,
    options: Options,
    *,
    title: str,
    panels: tuple[Panel, ...],
    parts: tuple[Part, ...],
    caption: str,
    notes: tuple[str, ...],
) -> PaperFigure:
    trained = {part.preset: part.experiment.epochs for part in parts}
    words = ", ".join(
        f"{preset} of {epochs} epoch{'s' * (epochs != 1)}" for preset, epochs in trained.items()
    )
    if options.data != "paper":
        caption += f" On {NAMES[options.data]} it has no figure."
    return PaperFigure(
        name if options.data == "paper" else f"{name}-{options.data}",
        f"SSPE (Wu et al. 2018): {title}",
        panels,
        parts,
        caption,
        f"SSPE trained by the preset{'s' * (len(trained) > 1)} {words}",
        (*notes, _PICTURES),
    )
