"""Tables for tests: with made-up numbers of ours or other rows, and what of a table is where."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from gcnxmodal.papers import TABLES
from gcnxmodal.papers.options import Options
from gcnxmodal.papers.table import DIRECTIONS, Cell, Curve, Moments, Published, Row, Source, Table, cells_of


def published(table: Table) -> dict[tuple[str, str], Published]:
    """The paper's numbers, by labels of row and column."""
    return {key: cell.paper for key, cell in table.cells.items() if cell.paper is not None}


def sources(table: Table) -> dict[tuple[str, str], Source]:
    """Where our numbers are, by labels of row and column."""
    return {key: cell.source for key, cell in table.cells.items() if cell.source is not None}


def rows(table: Table) -> list[str]:
    """The labels of the rows."""
    return [row.label for row in table.rows]


def quoted(table: Table) -> list[str]:
    """The labels of the rows that are quoted only."""
    return [row.label for row in table.rows if row.quoted]


def with_rows(table: Table, of_rows: Mapping[str, Source], column: str = "Corel5k") -> Table:
    """The table with these rows in place of its own, in a column."""
    cells = cells_of({(label, column): source for label, source in of_rows.items()}, {})
    return dataclasses.replace(
        table, rows=tuple(Row(label, of.system) for label, of in of_rows.items()), cells=cells
    )


def with_cell(table: Table, row: str, column: str, **changes) -> Table:
    """The table with one cell changed."""
    cell = dataclasses.replace(table.cells[row, column], **changes)
    return dataclasses.replace(table, cells={**table.cells, (row, column): cell})


def make_curves(level: float, random: np.random.Generator) -> dict[str, dict[str, Curve]]:
    """Precision that falls with recall and with N, as far as `level`."""
    points = {"lookup": np.linspace(0.01, 1, 50), "precision_at": np.arange(1.0, 1001)}
    return {
        kind: {
            direction: Curve(
                tuple(xs.tolist()),
                tuple((level * (1.2 - 0.3 * xs / xs[-1]) + random.uniform(0, 0.03)).tolist()),
                (0.01,) * len(xs),
            )
            for direction in ("text_query", "image_query")
        }
        for kind, xs in points.items()
    }


def make_table(name: str, without: tuple[str, ...] = (), seed: int = 0, **options) -> Table:
    """The table `name` filled in; the rows `without` have no number of ours."""
    random = np.random.default_rng(seed)
    table = TABLES[name](Options(**options))
    cells = {}
    for row in table.rows:
        level = random.uniform(0.3, 0.7)
        for column in table.columns:
            cell = table.cells.get((row.label, column.label))
            if cell is not None and cell.source is not None and row.label not in without:
                ours = {
                    protocol: {
                        direction: Moments(
                            float(level + random.normal(0, 0.04)), float(random.uniform(0, 0.03))
                        )
                        for direction in DIRECTIONS
                    }
                    for protocol in table.protocols
                }
                drawn = column.drawn and cell.source.system in ("model", "cca-sign")
                curves = make_curves(level, random) if drawn else {}
                cell = Cell(cell.paper, cell.source, ours, curves, (0, 1, 2), commits=("0123456789ab",))
            elif cell is not None:
                cell = dataclasses.replace(cell, absent=row.quoted or "not run: give --root ROOT")
            if cell is not None:
                cells[row.label, column.label] = cell
    return dataclasses.replace(
        table,
        cells=cells,
        made=(("commit", "0123456789ab"), ("device", "1 x test")),
        runs=("runs/gcn/seeds0-4/report.html",),
        command=f"python -m gcnxmodal.tables {name}",
    )
