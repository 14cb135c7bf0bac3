"""`figure.html`: a paper's figure with our numbers, as one file; its panels as PNG beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from gcnxmodal.papers.figure_plots import figure_plots
from gcnxmodal.papers.figure_text import FilledFigure, numbers
from gcnxmodal.report.page import figure as markup
from gcnxmodal.report.page import write_page
from gcnxmodal.report.plots import save_png


def write_figure_page(folder: Path, figure: FilledFigure) -> Path:
    """Write `folder/figure.html` and `folder/plots/*.png`; the same figure gives the same bytes.

    Returns:
        The path of the page.
    """
    plots = figure_plots(figure)
    shutil.rmtree(folder / "plots", ignore_errors=True)
    (folder / "plots").mkdir(parents=True)
    for plot in plots:
        save_png(plot, folder / "plots")
    return write_page(
        folder / "figure.html",
        "paper_figure.html",
        "gcnxmodal.papers",
        figure=figure,
        plots=[markup(plot) for plot in plots],
        # The cells of a heat map have their numbers in them.
        blocks=[numbers(panel) for panel in figure.panels if not panel.heat],
        spread=any(std is not None for panel in figure.panels for line in panel.lines for std in line.std),
    )
