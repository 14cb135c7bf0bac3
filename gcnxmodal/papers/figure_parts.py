"""What a paper's figure is, and what it is trained from: the user's options, and the parts that they make of
presets.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gcnxmodal.papers import table_parts
from gcnxmodal.papers.figure_text import Reads
from gcnxmodal.papers.table_parts import Part, Source, missing, sspe


@dataclasses.dataclass(frozen=True)
class Options:
    """What a figure is made from, and how its models are trained."""

    data: Literal["paper", "emoji", "corel5k"] = "paper"
    """The data sets that the paper has in the figure; or the embedded emoji corpus (several labels an item,
    nothing to download), or Corel5k in the folder layout."""
    root: Path | None = None
    """Corel5k: its folder (docs/your-own-data.md)."""
    pascal: Path | None = None
    """Pascal VOC 2007: folder of the official distribution, tags and features (docs/data-sets.md)."""
    mirflickr: Path | None = None
    """MIRFLICKR-25K: folder of the two archives."""
    nus_wide: Path | None = None
    """NUS-WIDE: folder of the official distribution (sspe-4)."""
    image_feature: str | None = None
    """In place of the presets' image feature, on all data sets but emoji (docs/data-sets.md)."""
    epochs: int | None = None
    """Epochs of every model; by default its preset's."""


@dataclasses.dataclass(frozen=True)
class Point:
    """Where numbers of a line are: the members of a part that have a setting, or a baseline on its data.

    `x` is the point's place; None where runs keep a whole curve.
    """

    source: Source
    x: float | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """Points that are joined; `value` is the direction of queries, or the name of a loss."""

    label: str
    points: tuple[Point, ...]
    value: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        name: of its file.
        data: the data set as the page names it.
        reads: what of a run: its MAP under `standard`, its precision-scope curve, or its history by step.
        heat: drawn as cells, a row a line, in place of lines.
        share: MAP or precision, from 0 to 1; a loss is none.
    """

    name: str
    data: str
    title: str
    x_label: str
    reads: Reads
    lines: tuple[Line, ...]
    heat: bool = False
    share: bool = True


@dataclasses.dataclass(frozen=True)
class PaperFigure:
    """A figure of a paper, and how it is made again.

    Attributes:
        name: of its folder.
        caption: what the paper's text says about its figure.
        notes: how ours differs.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    parts: tuple[Part, ...]
    caption: str
    training: str
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> list[Source]:
        """Of all points."""
        return [point.source for panel in self.panels for line in panel.lines for point in line.points]


NAMES = {
    "pascal": "Pascal VOC 2007",
    "mirflickr": "MIRFLICKR-25K",
    "nus-wide": "NUS-WIDE",
    "emoji": "emoji",
    "corel5k": "Corel5k",
}
"""Of the data sets, as the page has them."""


def part_of(name: str, data: str, options: Options, over: Mapping[str, Sequence[Any]] | None = None) -> Part:
    """SSPE on a data set by its preset, with the user's root, feature and epochs."""
    preset, experiment = sspe(data, of_table(options))
    reason = missing(data, of_table(options))
    return Part(name, preset, experiment, over or {}, f"{reason}, or --data emoji" if reason else "")


def of_table(options: Options) -> table_parts.Options:
    """As a table on the same data has them."""
    return table_parts.Options(**vars(options))
