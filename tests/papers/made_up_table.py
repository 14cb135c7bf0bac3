"""A filled-in table: made-up numbers of ours beside the papers'."""

import numpy as np

from gcnxmodal.papers.paper_tables import TABLES
from gcnxmodal.papers.table_parts import Options
from gcnxmodal.papers.table_text import DIRECTIONS, Cell, Curve, FilledTable, Moments


def make_curves(level: float, random: np.random.Generator) -> dict[str, dict[str, Curve]]:
    """Precision that falls with recall and with N, as far as `level`."""
    points = {"lookup": np.linspace(0.01, 1, 50), "precision_at": np.arange(1.0, 1001)}
    return {
        kind: {
            direction: (
                tuple(xs.tolist()),
                tuple((level * (1.2 - 0.3 * xs / xs[-1]) + random.uniform(0, 0.03)).tolist()),
            )
            for direction in ("text_query", "image_query")
        }
        for kind, xs in points.items()
    }


def make_table(name: str, without: tuple[str, ...] = (), seed: int = 0, **options) -> FilledTable:
    """The table `name`; the rows `without` have no number of ours."""
    random = np.random.default_rng(seed)
    table = TABLES[name](Options(**options))
    cells = {}
    for row in table.rows:
        level = random.uniform(0.3, 0.7)
        for column in table.columns:
            key = (row, column)
            if key in table.ours and row not in without:
                ours = {
                    protocol: {
                        direction: Moments(
                            float(level + random.normal(0, 0.04)), float(random.uniform(0, 0.03))
                        )
                        for direction in DIRECTIONS
                    }
                    for protocol in table.protocols
                }
                drawn = column in table.drawn and table.ours[key].system in ("model", "cca-sign")
                cells[key] = Cell(
                    table.paper.get(key),
                    ours,
                    seeds=(0, 1, 2),
                    commits=("0123456789ab",),
                    curves=make_curves(level, random) if drawn else {},
                )
            elif key in table.paper or key in table.ours:
                reason = table.quoted.get(row, "not run: give --root ROOT")
                cells[key] = Cell(table.paper.get(key), reason=reason)
    names = ("name", "title", "kinds", "rows", "columns", "quoted", "digits", "caption", "training", "notes")
    return FilledTable(
        **{name: getattr(table, name) for name in (*names, "plot", "shown", "protocols", "drawn", "own")},
        cells=cells,
        made=(("commit", "0123456789ab"), ("device", "1 x test")),
        runs=("runs/gcn/seeds0-4/report.html",),
        command=f"python -m gcnxmodal.tables {name}",
    )
