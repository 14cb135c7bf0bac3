"""`table.html`: a paper's table with our numbers and its plots, as one file; the plots as PNG beside it."""

from __future__ import annotations

from pathlib import Path

from gcnxmodal.papers.table_plots import PLOTS
from gcnxmodal.papers.table_text import DIRECTIONS, FilledTable, cells, lines, not_run
from gcnxmodal.report.page import figure, write_page
from gcnxmodal.report.plots import save_png

_WORDS = {
    "layers": (
        "MAP by layers of co-attention",
        "Ours, mean over seeds, with a standard deviation to either side.",
        "Dashed: the paper.",
    ),
    "heat": (
        "MAP by margin and balance",
        "Deeper: higher.",
        "Framed: settings the paper has, with its number.",
    ),
    "codes": (
        "Figure 2: hash lookup and precision@N",
        "Mean over seeds and queries, of the retrieval split, ties by index. Hash lookup has a point a "
        "Hamming radius, from 0 on, and leaves out queries without a hit within it, as the code that draws "
        "such figures does; a run's curves.json has the mean over all queries as well.",
        "The paper's curves are pictures without numbers: they are not drawn.",
    ),
    "": ("", "", ""),
}


def write_table_page(folder: Path, table: FilledTable) -> Path:
    """Write `folder/table.html` and `folder/plots/*.png`; the same table gives the same bytes.

    Returns:
        The path of the page.
    """
    plots = PLOTS[table.plot](table) if table.plot else []
    if plots:
        (folder / "plots").mkdir(parents=True, exist_ok=True)
    for plot in plots:
        save_png(plot, folder / "plots")
    title, lead, beside = _WORDS[table.plot]
    published = any(cell.paper for _, _, cell in cells(table))
    return write_page(
        folder / "table.html",
        "paper_table.html",
        "gcnxmodal.papers",
        table=table,
        blocks=[(heading, lines(table, direction)) for direction, heading in DIRECTIONS.items()],
        protocols=table.shown,
        plots=[figure(plot) for plot in plots],
        plot_title=title,
        plot_lead=f"{lead} {beside}" if published else lead,
        missing=not_run(table),
    )
