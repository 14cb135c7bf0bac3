"""Tables and figures of the papers as values: rows x columns of cells, and what each cell is made from.

A cell has the paper's number and the source of ours; the engine fills in ours. A figure's panel is rows x
columns of cells too: its lines are rows, its points are cells.
"""

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gcnxmodal.baselines import BASELINES
from gcnxmodal.config import Experiment
from gcnxmodal.retrieval.protocols import PROTOCOLS

DIRECTIONS = {"text_query": "Text query", "image_query": "Image query", "average": "Average"}
Direction = Literal["image_query", "text_query"]

Triple = tuple[float, float, float]
"""MAP of text queries, of image queries, and the average that is printed beside them."""
Published = tuple[float, float, float | None]
"""A `Triple`, or two directions of a paper that prints no average."""

NOT_BUILT = "quoted only: this baseline is not built yet"
OF_RUNS = ("model", "chance", "cca-sign", *BASELINES)
"""What every run measures by itself."""
METHODS_BY_LABEL = {
    **{"CCA": "cca", "SM": "sm", "CM": "cm", "SCM": "scm", "PLS": "pls", "BLM": "blm", "CCA-3V": "cca-3v"},
    **{"ml-CCA": "ml-cca", "GMLDA": "gmlda", "GMMFA": "gmmfa", "MvDA": "mvda", "LCFS": "lcfs"},
    **{"JFSSL": "jfssl", "MMNN": "mmnn", "DSPE": "dspe"},
}
"""What GIN, SCANet and SSPE call the methods of `baselines.METHODS`."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What is trained as one sweep.

    Attributes:
        name: of its folder, and what `--only` calls it.
        over: fields and their values.
        missing: why it cannot be run; "" if it can.
        member_reports: whether its runs have reports of their own.
    """

    name: str
    preset: str
    experiment: Experiment
    over: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    missing: str = ""
    member_reports: bool = True


@dataclasses.dataclass(frozen=True)
class Source:
    """Where our number of a cell is: a part, the setting of its members, and whose number it is.

    Attributes:
        system: "model", "chance", a yardstick that every run measures on its data ("cca", "sm"; beside codes
            "cca-sign"); or a name of `METHODS` or `HASHING_METHODS`, which the table measures itself.
        fixed: values of such a method that its table decides. With any, the table measures yardsticks too;
            with `bits`, the method is of `HASHING_METHODS`.
        official: on the official features of Wikipedia in place of those that the part's models read.
        label: of its files, where a part has the method more than once.
    """

    part: str
    setting: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    system: str = "model"
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    official: bool = False
    label: str = ""

    @property
    def of_runs(self) -> bool:
        """Whether runs measure it: what they do not, the table does."""
        return self.system in OF_RUNS and not self.fixed and not self.official


class Moments(NamedTuple):
    """Mean over seeds, and standard deviation; None of one seed, or where nothing depends on it."""

    mean: float
    std: float | None = None


class Curve(NamedTuple):
    """Points that are joined: where they are, mean and standard deviation (as of `Moments`) over seeds."""

    x: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float | None, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row and column. All but `paper` and `source` is filled in from runs and baselines.

    Attributes:
        paper: the published MAP of text queries, of image queries, and their average if it is printed.
        source: where ours is; None for what is quoted only.
        ours: MAP by protocol and direction.
        curves: by kind ("lookup": precision by recall, a point a Hamming radius; "precision_at": by N;
            "scope": by items retrieved; "history": a loss or MAP by step), and by direction or loss.
        seeds: those that `ours` is the mean over; none for what does not depend on them.
        diverged: seeds without a number because their loss was none.
        refused: why the method cannot take the data.
        absent: why nothing is there.
    """

    paper: Published | None = None
    source: Source | None = None
    ours: Mapping[str, Mapping[str, Moments]] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Curve]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    diverged: tuple[int, ...] = ()
    commits: tuple[str, ...] = ()
    refused: str = ""
    absent: str = ""

    @property
    def reason(self) -> str:
        """Why there is no number of ours, or not of all seeds."""
        if self.diverged and self.source is not None and self.source.system == "model":
            count = len(self.diverged)
            return f"the loss was not a number with {count} of {len(self.seeds) + count} seeds"
        return self.refused or self.absent

    def partly(self, asked: int) -> bool:
        """Whether some of the seeds that were asked for have been trained, and not all."""
        return 0 < len({*self.seeds, *self.diverged}) < asked

    def published(self, direction: str) -> float | None:
        return None if self.paper is None else self.paper[list(DIRECTIONS).index(direction)]

    def moments(self, protocol: str, direction: str) -> Moments | None:
        return self.ours.get(protocol, {}).get(direction)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table, or a line of a panel.

    Attributes:
        method: as `Source.system`; "" for what is quoted only.
        quoted: why it is quoted only; "" if a number of ours belongs here.
        own: whether it is the paper's system, which plots of curves draw first.
        in_paper, in_plots: its name in the paper and of our line, where features differ; `label`, if "".
        reads: of a panel's line: the direction of queries, or the name of a loss.
    """

    label: str
    method: str = ""
    quoted: str = ""
    own: bool = False
    in_paper: str = ""
    in_plots: str = ""
    reads: str = ""


class Line(NamedTuple):
    """A panel's row as a `Curve`, with the seeds that each mean is over and the commits of the runs."""

    row: Row
    x: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float | None, ...]
    seeds: tuple[tuple[int, ...], ...]
    commits: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table, or a place of a panel's points.

    Attributes:
        drawn: what plots call it, if they show its curves.
        x: of points; None where a cell is a whole curve.
    """

    label: str
    drawn: str = ""
    x: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows x columns of cells, by their labels; without one where neither the paper nor we have a number."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[str, str], Cell]

    def cell(self, row: Row, column: Column) -> Cell:
        return self.cells.get((row.label, column.label), Cell())

    def __iter__(self) -> Iterator[tuple[Row, Column, Cell]]:
        """Row, column and cell, in order."""
        for row in self.rows:
            for column in self.columns:
                if (row.label, column.label) in self.cells:
                    yield row, column, self.cell(row, column)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exhibit(abc.ABC):
    """A table or figure of a paper, and how it is made again. The last four are filled in.

    Attributes:
        name: of its folder.
        caption: what the published numbers may be compared with; of a figure, what the paper says of it.
        training: how our models are trained.
        notes: slips of the paper, how ours differs, and the like.
        seeds: how many were asked for.
        made: (name, value) of device, commit and the like, of the runs that the numbers are from.
        runs: the sweeps' reports, relative to the folder.
        command: the line that makes it.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    caption: str
    training: str
    notes: tuple[str, ...] = ()
    seeds: int = 0
    made: tuple[tuple[str, str], ...] = ()
    runs: tuple[str, ...] = ()
    command: str = ""

    @property
    @abc.abstractmethod
    def grids(self) -> tuple[Grid, ...]:
        """What its cells are in."""

    @property
    def sources(self) -> list[Source]:
        """Of all of our numbers, in the order in which they are measured."""
        return [cell.source for grid in self.grids for cell in grid.cells.values() if cell.source is not None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Exhibit, Grid):
    """A table: MAP of each cell in both directions under several protocols.

    Attributes:
        kinds: what rows and columns are, such as "encoders" and "co-attention layers".
        digits: of the published numbers.
        plot: which plots go with it.
        shown: the protocols that stand beside the paper's numbers.
        protocols: those of the CSV file.
    """

    kinds: tuple[str, str]
    digits: int = 2
    plot: Literal["layers", "heat", "codes", ""] = ""
    shown: tuple[str, ...] = ("authors", "standard")
    protocols: tuple[str, ...] = tuple(PROTOCOLS)

    @property
    def grids(self) -> tuple[Grid, ...]:
        return (self,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel(Grid):
    """One pair of axes of a figure: its rows are lines, its columns the places of their points.

    Attributes:
        name: of its file.
        data: the data set as the page names it.
        reads: what of a cell is drawn: "map", its MAP under `standard`; or a kind of its curves.
        heat: drawn as cells, a row a line, in place of lines.
        share: MAP or precision, from 0 to 1; a loss is none.
    """

    name: str
    data: str
    title: str
    x_label: str
    reads: str
    heat: bool = False
    share: bool = True

    def lines(self) -> list[Line]:
        """Each row's points that have numbers, joined."""
        lines = []
        for row in self.rows:
            points: list[tuple[Any, ...]] = []
            cells = [(column, self.cell(row, column)) for column in self.columns]
            for column, cell in cells:
                if self.reads != "map":
                    curve = cell.curves.get(self.reads, {}).get(row.reads, Curve())
                    points += [(*point, cell.seeds) for point in zip(*curve, strict=True)]
                elif moments := cell.moments("standard", row.reads):
                    points.append((column.x, *moments, cell.seeds))
            commits = dict.fromkeys(commit for _, cell in cells for commit in cell.commits)
            x, mean, std, seeds = zip(*points, strict=True) if points else ((),) * 4
            lines.append(Line(row, x, mean, std, seeds, tuple(commits)))
        return lines


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure(Exhibit):
    """A figure.

    Attributes:
        counted: a field and a value: it is said how many runs of this setting ended with a number.
    """

    panels: tuple[Panel, ...]
    counted: tuple[str, float] | None = None

    @property
    def grids(self) -> tuple[Grid, ...]:
        return self.panels

    @property
    def drawn(self) -> list[Panel]:
        """The panels that have numbers."""
        return [panel for panel in self.panels if any(line.x for line in panel.lines())]


def short(value: float, digits: int = 3) -> str:
    """
    >>> short(0.8049), short(0.81, 2), short(1.0)
    ('.805', '.81', '1.000')
    """
    return f"{value:.{digits}f}".removeprefix("0")


def cells_of(
    sources: Mapping[tuple[str, str], Source], paper: Mapping[tuple[str, str], Published]
) -> dict[tuple[str, str], Cell]:
    """The cells of a table, by the labels of row and column."""
    return {key: Cell(paper.get(key), sources.get(key)) for key in {**sources, **paper}}


def two_directions(
    table: Mapping[str, Mapping[Direction, tuple[float, ...]]], method: str
) -> list[Published]:
    """The columns of a method's rows.

    >>> two_directions({"CMHH": {"image_query": (0.783,), "text_query": (0.758,)}}, "CMHH")
    [(0.758, 0.783, None)]
    """
    rows = table[method]
    return [(text, image, None) for text, image in zip(rows["text_query"], rows["image_query"], strict=True)]
