"""A paper's figure as text, as CSV, as plots and as a page."""

import csv
import dataclasses
import io
from pathlib import Path
from typing import Literal

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gcnxmodal.papers.output import as_csv, as_text, numbers, write_page
from gcnxmodal.papers.plots import figure_plots
from gcnxmodal.papers.table import (
    METHODS_BY_LABEL,
    Cell,
    Column,
    Curve,
    Figure,
    Line,
    Moments,
    Panel,
    Row,
    Source,
)
from gcnxmodal.report.page import inline_svg

METHODS = ("SSPE", "GMLDA", "ml-CCA", "MMNN", "DSPE", "CCA")


def line(label: str, x: tuple[float, ...], level: float, std: float | None = 0.01) -> Line:
    mean = tuple(level / (1 + 0.001 * place) for place in x)
    row = Row(label, METHODS_BY_LABEL.get(label, "model"), own=label == "SSPE", reads="text_query")
    return Line(row, x, mean, (std,) * len(x), ((0, 1, 2),) * len(x), ("0123456789ab",))


def panel(
    name: str,
    title: str,
    x_label: str,
    reads: Literal["map", "scope", "history"],
    lines: tuple[Line, ...],
    **more,
) -> Panel:
    """A panel whose cells have the points of the lines."""
    cells: dict[tuple[str, str], Cell] = {}
    for of in lines:
        source, commits = Source("emoji"), of.commits
        if reads != "map":
            curves = {reads: {"text_query": Curve(of.x, of.mean, of.std)}}
            cells[of.row.label, ""] = Cell(source=source, curves=curves, seeds=of.seeds[0], commits=commits)
            continue
        for x, mean, std, seeds in zip(of.x, of.mean, of.std, of.seeds, strict=True):
            ours = {"standard": {"text_query": Moments(mean, std)}}
            cells[of.row.label, f"{x:g}"] = Cell(source=source, ours=ours, seeds=seeds, commits=commits)
    places = sorted({x for of in lines for x in of.x})
    return Panel(
        name=name,
        data="emoji",
        title=title,
        x_label=x_label,
        reads=reads,
        rows=tuple(of.row for of in lines),
        columns=tuple(Column(f"{x:g}", x=x) for x in places) if reads == "map" else (Column(""),),
        cells=cells,
        **more,
    )


def make_figure() -> Figure:
    """A panel of each kind."""
    far = tuple(float(n) for n in range(1, 341))
    scope = [
        panel(
            f"scope-emoji-{d}",
            f"Precision by scope, {d}",
            "Items retrieved",
            "scope",
            tuple(line(name, far, 0.4 + 0.08 * i + up) for i, name in enumerate(METHODS)),
        )
        for d, up in (("image queries", 0.0), ("text queries", 0.15))
    ]
    alphas = tuple(line(f"alpha1 = {a:g}", (0.0, 0.5, 1.0), 0.5 + a / 10) for a in (0, 0.5, 1))
    alphas = (
        *alphas[:2],
        Line(Row("alpha1 = 1", reads="text_query"), (0.0, 1.0), (0.6, 0.5), (None, None), ((), ()), ()),
    )
    few = tuple(line(name, (8.0, 16.0, 32.0, 64.0, 128.0), 0.5, None) for name in METHODS[:2])
    panels = (
        *scope,
        panel("alphas-emoji", "MAP", "alpha2", "map", alphas, heat=True),
        panel("dimension-emoji", "MAP", "Dimensions", "map", few),
        panel("losses-emoji", "Loss", "Iterations", "history", (line("labels", far[:30], 0.9),), share=False),
        panel("map-emoji", "MAP", "Iterations", "history", (line("average", far[:30], 0.4),)),
    )
    absent = Cell(source=Source("pascal"), absent="not run: give --pascal ROOT")
    empty = dataclasses.replace(panels[0], name="empty", cells={(METHODS[0], ""): absent})
    return Figure(
        name="sspe-4-emoji",
        title="Precision & scope",
        parts=(),
        panels=(*panels, empty),
        caption="The paper says “so”.",
        notes=("A note.",),
        training="trained by sspe-emoji",
        made=(("commit", "0123456789ab"), ("device", "1 x test")),
        runs=("runs/emoji/seeds0-2/report.html",),
        command="python -m gcnxmodal.figures sspe-4 --data emoji",
    )


@pytest.fixture(scope="module")
def figure() -> Figure:
    return make_figure()


def test_csv_has_every_point_that_is_drawn(figure: Figure):
    rows = list(csv.DictReader(io.StringIO(as_csv(figure))))
    assert len(rows) == sum(len(line.x) for panel in figure.panels for line in panel.lines())
    found = [row for row in rows if row["panel"] == "dimension-emoji" and row["line"] == "GMLDA"]
    assert [float(row["x"]) for row in found] == [8, 16, 32, 64, 128]
    assert [float(row["mean"]) for row in found] == list(figure.panels[3].lines()[1].mean)
    assert {(row["std"], row["seeds"], row["commit"]) for row in found} == {("", "0 1 2", "0123456789ab")}


def test_a_long_curve_is_shown_at_a_few_places_with_both_ends(figure: Figure):
    shown = numbers(figure.panels[0])
    assert shown.columns == ("1", "69", "137", "204", "272", "340")
    assert shown.rows[0] == ("SSPE", (".400 ± .010", *shown.rows[0][1][1:]))
    assert numbers(figure.panels[2]).rows[2] == ("alpha1 = 1", (".600", "–", ".500"))  # noqa: RUF001


def test_what_is_printed_has_the_papers_words_the_reasons_and_where_it_was_made(figure: Figure):
    text = as_text(figure)
    for words in ("The paper says “so”.", "give --pascal ROOT", "commit 0123456789ab; device 1 x test"):
        assert words in text


def test_lines_have_a_band_and_markers_where_they_are_few(figure: Figure):
    plots = {plot.name: plot.figure.axes[0] for plot in figure_plots(figure)}
    assert len(plots["scope-emoji-image queries"].collections) == 6
    assert {str(drawn.get_marker()) for drawn in plots["scope-emoji-image queries"].get_lines()} == {"None"}
    dimensions = plots["dimension-emoji"]
    assert len({str(drawn.get_marker()) for drawn in dimensions.get_lines()}) == 2
    assert [tick.get_text() for tick in dimensions.get_xticklabels()] == ["8", "16", "32", "64", "128"]


def test_directions_share_a_scale_that_losses_do_not(figure: Figure):
    top = {plot.name: plot.figure.axes[0].get_ylim()[1] for plot in figure_plots(figure)}
    assert top["scope-emoji-image queries"] == top["scope-emoji-text queries"] == 1.0
    assert top["map-emoji"] == 0.5
    assert top["losses-emoji"] not in (0.9, 1.0)  # what is no share has no tenths, however small it is


def test_a_surface_has_a_number_or_a_dash_in_every_cell_and_the_spread_below_without_frames(
    figure: Figure,
):
    axes = next(plot for plot in figure_plots(figure) if plot.name == "alphas-emoji").figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert len([text for text in texts if text.startswith((".", "–"))]) == 9  # noqa: RUF001
    assert texts.count("±.010") == 6
    assert "alpha2 =" in texts
    assert len(axes.patches) == 9


def test_six_names_on_top_stay_inside_and_off_the_axes(figure: Figure):
    drawn = figure_plots(figure)[0].figure
    FigureCanvasAgg(drawn).draw()
    box = drawn.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.bbox.x1
    assert box.y0 >= drawn.axes[0].get_window_extent().y1


def test_the_page_has_every_panel_every_reason_and_the_same_bytes_again(figure: Figure, tmp_path: Path):
    page = write_page(tmp_path, figure)
    text = page.read_text()
    assert text.count("<svg") == len(figure.drawn)
    assert text.count('<table class="scores">') == len(figure.drawn) - 1  # cells have theirs in them
    assert len(list((tmp_path / "plots").iterdir())) == len(figure.drawn)
    for words in ("Precision &amp; scope", "give --pascal ROOT", "A note.", figure.command, "0123456789ab"):
        assert words in text
    assert "Mean and standard deviation over seeds." in text
    write_page(tmp_path, figure)
    assert page.read_text() == text


def test_a_plot_says_in_words_where_its_lines_begin_and_end(figure: Figure):
    plot = figure_plots(figure)[3]
    assert plot.alt.startswith("MAP, emoji: SSPE .496 at 8 to .443 at 128; GMLDA")
    assert 'aria-label="MAP, emoji' in inline_svg(plot.figure, plot.name, plot.alt)
