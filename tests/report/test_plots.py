import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from made_up_run import make_arguments, make_evaluation

from gcnxmodal.report.page import inline_svg
from gcnxmodal.report.panels import Line, _apart, line_panel
from gcnxmodal.report.plots import class_plots, curve_plots, save_png, training_plots
from gcnxmodal.report.values import COLOURS, Series

NAN = float("nan")
DETAILS = {"model": make_evaluation(0.5, 3, 0), "sm": make_evaluation(0.4, 3, 1)}


def of_codes(level):
    """What `evaluate_codes` adds: a radius without a hit, then three with more and more."""
    lookup = {
        "radius": [0, 1, 2, 3],
        "precision": [None, level, level / 2, level / 4],
        "recall": [None, 0.02, 0.5, 1.0],
        "precision_of_all": [0.0, level / 3, level / 3, level / 5],
        "recall_of_all": [0.0, 0.01, 0.4, 0.9],
        "queries_with_hits": [0, 20, 40, 50],
    }
    precision = {"n": [1, 2, 500], "precision": [level, level / 2, level / 8], "expected": [level] * 3}
    both = ("text_query", "image_query")
    return {"lookup": dict.fromkeys(both, lookup), "precision_at": dict.fromkeys(both, precision)}


CODES = {name: {**entry, **of_codes(0.9)} for name, entry in DETAILS.items()}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("role", sorted(set(COLOURS) - {"page", "card", "line"}))
def test_every_text_colour_has_the_contrast_that_wcag_asks_for(role, mode):
    for ground in ("page", "card"):
        low, high = sorted(luminance(COLOURS[name][mode]) for name in (role, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_colours_can_be_told_apart_in_the_svg():
    # `inline` replaces the light values by name, so two roles must not share one.
    assert len({light for light, _ in COLOURS.values()}) == len(COLOURS)


def test_the_inline_svg_takes_its_colours_and_font_from_the_page():
    for plot in (*curve_plots(CODES, "GIN"), *class_plots(DETAILS, ["a", "b", "c"], "GIN")):
        svg = inline_svg(plot.figure, plot.name, plot.alt)
        assert "var(--model)" in svg
        assert "var(--sm)" in svg
        assert not re.search(r"#[0-9a-f]{6}\b", svg)
        assert "font-family" not in svg
        assert "<style" not in svg
        assert "<metadata" not in svg


def test_no_id_is_on_the_page_twice():
    plots = [*curve_plots(CODES, "GIN"), *class_plots(DETAILS, ["a", "b", "c"], "GIN")]
    ids = [re.findall(r'\bid="([^"]*)"', inline_svg(plot.figure, plot.name, plot.alt)) for plot in plots]
    everything = list(itertools.chain(*ids))
    assert everything
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "--><b>", "$\\frac$", "音乐", 'a"b&c'])
def test_a_class_name_is_shown_as_it_is_and_escaped(name, tmp_path):
    (plot, _) = class_plots(DETAILS, [name, "b", "c"], "GIN")
    svg = inline_svg(plot.figure, plot.name, plot.alt)
    assert "<script" not in svg
    assert "<b>" not in svg
    assert "<!--" not in svg
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = escaped if len(name) <= 24 else "&lt;script&gt;alert(1)&lt;/sc"
    assert shown in svg
    save_png(plot, tmp_path)


def test_points_that_were_not_measured_are_left_out():
    history = [{"epoch": 1, "loss": 0.3}, {"epoch": 2, "loss": NAN}, {"epoch": 3, "loss": 0.1}, {"epoch": 4}]
    (plot,) = training_plots(history, {}, "GIN")
    assert np.asarray(plot.figure.axes[0].lines[0].get_xdata()).tolist() == [1, 3]
    assert training_plots([{"epoch": 1, "loss": NAN}], {}, "GIN") == []


@pytest.mark.parametrize("epochs", [1, 2, 200])
def test_epochs_stand_on_a_linear_axis(epochs):
    history = [
        {"epoch": epoch, "loss": 1 / epoch, "standard": {"average": 0.3}} for epoch in range(1, epochs + 1)
    ]
    loss, maps = training_plots(history, {"yardsticks": {"sm": {"standard": {"average": 0.4}}}}, "GIN")
    assert loss.figure.axes[0].get_xscale() == maps.figure.axes[0].get_xscale() == "linear"
    assert loss.figure.axes[0].get_yscale() == ("log" if epochs == 200 else "linear")
    assert "SM average 0.4" in maps.alt


def test_the_best_class_is_first_and_one_without_queries_last():
    details = {
        "sm": DETAILS["sm"],
        "model": {"per_class": {"text_query": [NAN, 0.2, 0.6], "image_query": [None, 0.3, 0.1]}},
    }
    text, image = class_plots(details, ["none", "low", "high"], "GIN")
    for plot in (text, image):
        labels = [label.get_text() for label in plot.figure.axes[0].get_yticklabels()]
        assert labels == ["high", "low", "none"]
        assert len(plot.figure.axes[0].patches) == 2  # the model's bars, although it is not the first key
    assert image.alt == "MAP by class, image queries. GIN: high 0.10, low 0.30, none \N{EN DASH}."


def test_both_directions_share_one_scale():
    text, image, *_ = curve_plots(DETAILS, "GIN")
    assert text.figure.axes[0].get_ylim() == image.figure.axes[0].get_ylim()


def test_binary_codes_have_plots_of_lookup_and_precision_at_n():
    names = [plot.name for plot in curve_plots(CODES, "GCH")]
    assert names[:4] == [plot.name for plot in curve_plots(DETAILS, "GCH")]
    assert names[4:] == ["lookup-text", "lookup-image", "precision-at-text", "precision-at-image"]


def test_lookup_is_drawn_from_the_first_radius_with_a_hit():
    lookup, at = curve_plots(CODES, "GCH")[4::2]
    axes = lookup.figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    assert list(lines) == ["GCH", "GCH, no hit counts 0", "SM"]
    assert np.asarray(lines["GCH"].get_xdata()).tolist() == [0.02, 0.5, 1]
    assert np.asarray(lines["GCH, no hit counts 0"].get_ydata()).tolist() == pytest.approx(
        [0, 0.3, 0.3, 0.18]
    )
    assert axes.get_xscale() == "linear"
    assert axes.get_ylim() == (0, 0.9)
    assert "GCH from 0.9 at 0.02 to 0.225 at 1" in lookup.alt
    assert at.figure.axes[0].get_xscale() == "log"
    assert at.alt == (
        "Precision@N, text queries: GCH from 0.9 at 1 to 0.113 at 500; SM from 0.9 at 1 to 0.113 at 500."
    )


def test_names_at_line_ends_keep_their_order_and_do_not_overlap():
    heights = [0.5, 0.5, 0.1, 0.52, 0.9, 0.11]
    moved = _apart(heights, 0.08)
    order = sorted(range(6), key=lambda i: (heights[i], i))
    gaps = [moved[b] - moved[a] for a, b in itertools.pairwise(order)]
    assert min(gaps) >= 0.08 - 1e-9
    assert moved[4] == pytest.approx(0.9)


@pytest.mark.parametrize(("names", "rows"), [(["GCH", "SM"], 1), (["i" * 12] * 4, 1), (["W" * 20] * 4, 4)])
def test_a_legend_has_the_fewest_rows_that_are_not_wider_than_the_panel(names, rows):
    lines = [Line(name, Series(name, "model"), (1, 2), (0.1, 0.2)) for name in names]
    figure = line_panel("Title", "N", lines)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= figure.axes[0].bbox.y1  # above the axes, whatever its rows
    assert len({round(text.get_window_extent().y0) for text in legend.get_texts()}) == rows


def test_the_same_plot_gives_the_same_bytes(emoji_corpus, tmp_path):
    arguments = make_arguments(emoji_corpus)

    def files(folder):
        folder.mkdir()
        plots = training_plots(arguments["history"], arguments["results"], "GIN")
        return [save_png(plot, folder).read_bytes() for plot in plots]

    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_importing_the_report_does_not_load_pyplot():
    # pyplot keeps every figure and picks a screen; the report must leave a caller's plots alone.
    code = "import sys, gcnxmodal.report.page; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
