"""A paper's table as text and as a page, and its plots."""

import re
from pathlib import Path

import pytest
import report_browser
from made_up_table import make_table, quoted, rows, with_cell

from gcnxmodal.papers.output import as_markdown, as_text, lines, not_run, write_page
from gcnxmodal.papers.plots import code_plots, heat_plots, layer_plots
from gcnxmodal.papers.table import DIRECTIONS
from gcnxmodal.report.page import inline_svg

VGG = "GCN + VGG-19 (here cnn)"


def test_ours_stand_below_the_papers_protocol_by_protocol():
    table = make_table("scanet-3")
    block = [line for line in lines(table, "text_query") if line.row == VGG]
    assert [line.source for line in block] == ["paper", "ours, authors", "ours, standard"]
    assert block[0].texts == (".75", ".76", ".81", ".72")
    ours = table.cells[VGG, "A = 2"].ours["standard"]["text_query"]
    assert ours.std is not None
    assert block[2].texts[2] == f"{ours.mean:.3f} ± {ours.std:.3f}".replace("0.", ".")


def test_a_quoted_row_is_marked_and_has_its_reason():
    table = make_table("gin-1")
    (line,) = [line for line in lines(table, "average") if line.row == "LGCFL"]
    assert "quoted" in line.source
    assert line.texts == (".3467", ".4440", "", "", "")
    assert any("LGCFL" in sentence and "not built yet" in sentence for sentence in not_run(table))


def test_cells_that_are_missing_are_named_with_what_they_lack():
    table = make_table("scanet-3", without=("GCN + CNN-5",))
    assert not_run(table) == ["GCN + CNN-5: not run: give --root ROOT."]
    for text in (as_text(table), as_markdown(table)):
        assert "not run: give --root ROOT" in text


def test_markdown_table_has_as_many_columns_in_every_line():
    for name in ("scanet-2", "scanet-3", "scanet-4", "gin-1", "gch-1", "gch-2"):
        table = make_table(name)
        found = [line for line in as_markdown(table).splitlines() if line.startswith("|")]
        assert {line.count("|") for line in found} == {len(table.columns) + 3}


def test_every_encoder_has_a_line_of_ours_and_a_dashed_one_of_the_papers():
    for plot in layer_plots(make_table("scanet-3")):
        drawn = plot.figure.axes[0].get_lines()
        assert [line.get_linestyle() for line in drawn].count("--") == 5
        assert len(drawn) == 10
        assert len(plot.figure.axes[0].collections) == 5  # the spreads


def test_layers_have_a_panel_a_protocol_and_direction_on_one_scale():
    plots = layer_plots(make_table("scanet-3", without=("GCN + ResNet-50",)))
    assert [plot.name for plot in plots] == [
        f"layers-{protocol}-{direction}" for protocol in ("authors", "standard") for direction in DIRECTIONS
    ]
    assert len({plot.figure.axes[0].get_ylim() for plot in plots}) == 1
    assert layer_plots(make_table("scanet-3", without=tuple(rows(make_table("scanet-3"))))) == []


def test_where_the_paper_has_no_numbers_no_line_is_dashed():
    for plot in layer_plots(make_table("scanet-3", data="emoji")):
        assert {line.get_linestyle() for line in plot.figure.axes[0].get_lines()} == {"-"}
        assert "paper" not in plot.alt


def test_heat_map_has_every_value_and_frames_the_papers_five():
    table = make_table("scanet-4")
    plots = heat_plots(table)
    assert len(plots) == 6
    for plot in plots:
        texts = [text.get_text() for text in plot.figure.axes[0].texts]
        assert sum(text.startswith("paper .") for text in texts) == 5
        assert sum(bool(re.fullmatch(r"\.\d{3}", text)) for text in texts) == 9
        frames = [patch for patch in plot.figure.axes[0].patches if patch.get_linewidth() > 0]
        assert len(frames) == 5
    assert "paper .808" in [text.get_text() for text in plots[0].figure.axes[0].texts]


def test_a_paper_without_averages_has_no_line_of_them_and_ours_are_there():
    table = make_table("gch-1")
    block = lines(table, "average")
    assert {line.kind for line in block} == {"ours"}
    assert {line.row for line in block} == set(rows(table)) - set(quoted(table))
    assert any(line.kind == "quoted" for line in lines(table, "image_query"))


def test_ties_are_of_codes_so_that_sm_has_no_line_of_them():
    table = make_table("gch-1")
    for (row, column), cell in table.cells.items():
        if row == "SM":
            ours = {name: found for name, found in cell.ours.items() if "expected" not in name}
            table = with_cell(table, row, column, ours=ours)
    block = lines(table, "text_query")
    shown = {row: [line.source for line in block if line.row == row] for row in ("CCA + sign", "SM")}
    assert shown["CCA + sign"] == ["ours, hashing@500", "ours, hashing@500 expected", "ours, hashing"]
    assert shown["SM"] == ["ours, hashing@500", "ours, hashing"]


def test_curves_of_codes_are_four_panels_a_data_set_a_line_a_row_and_two_directions_on_one_scale():
    table = make_table("gch-1")
    plots = code_plots(table)
    names = ("MIRFLICKR, 64 bits", "NUS-WIDE, 64 bits", "COCO, 64 bits")
    assert len(plots) == 12
    for number, name in enumerate(names):
        panels = plots[4 * number : 4 * number + 4]
        assert all(name in plot.alt for plot in panels)
        for pair in (panels[:2], panels[2:]):
            assert len({plot.figure.axes[0].get_ylim() for plot in pair}) == 1
    for plot in plots:
        drawn = plot.figure.axes[0].get_lines()
        assert [line.get_label() for line in drawn] == ["GCH", "GCH (official)", "CCA + sign"]
        assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 3
    ours = table.cells["GCH (official)", "COCO 64"].curves["lookup"]["image_query"]
    (plot,) = [plot for plot in plots if plot.name == "lookup-2-image_query"]
    assert tuple(plot.figure.axes[0].get_lines()[1].get_xdata()) == ours.x
    assert tuple(plot.figure.axes[0].get_lines()[1].get_ydata()) == ours.mean


def test_a_row_keeps_its_style_where_another_has_no_curve():
    table = make_table("gch-1")
    plots = [code_plots(of)[8] for of in (table, with_cell(table, "GCH", "COCO 64", curves={}))]
    official = [
        {line.get_label(): line.get_color() for line in plot.figure.axes[0].get_lines()} for plot in plots
    ]
    assert "GCH" not in official[1]
    assert official[0]["GCH (official)"] == official[1]["GCH (official)"]


def test_a_legend_of_many_rows_stays_within_its_panel_and_the_papers_system_is_drawn_first():
    table = make_table("gch-1", data="emoji")
    with_curves = [row for row in table.rows if row.label != "chance"]
    for row in with_curves:
        table = with_cell(table, row.label, "emoji 64", curves=table.cells["GCH", "emoji 64"].curves)
    (plot, *_) = code_plots(table)
    plot.figure.draw_without_rendering()
    (legend,), (axes,) = plot.figure.legends, plot.figure.axes
    assert [text.get_text() for text in legend.get_texts()] == [
        row.label for row in sorted(with_curves, key=lambda row: not row.own)
    ]
    assert len(
        {(line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in axes.get_lines()}
    ) == len(with_curves)
    assert legend.get_window_extent().x1 <= plot.figure.bbox.x1
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1


def test_no_text_of_a_plot_leaves_it():
    plots = [
        *layer_plots(make_table("scanet-3", without=("GCN + ResNet-50",))),
        *layer_plots(make_table("scanet-3", data="emoji")),
        *layer_plots(make_table("scanet-3", image_feature="features-of-vgg-19-at-fc7.npz")),
        *heat_plots(make_table("scanet-4")),
        *code_plots(make_table("gch-1")),
    ]
    for plot in plots:
        plot.figure.draw_without_rendering()
        for text in (*plot.figure.texts, *plot.figure.axes[0].texts):
            box = text.get_window_extent()
            assert box.x0 >= 0, (plot.name, text)
            assert box.x1 <= plot.figure.bbox.x1, (plot.name, text)


def test_plots_take_their_colours_from_the_page():
    tables = {name: make_table(name) for name in ("scanet-3", "scanet-4", "gch-1")}
    plots = layer_plots(tables["scanet-3"]) + heat_plots(tables["scanet-4"]) + code_plots(tables["gch-1"])
    for plot in plots:
        assert not re.search(r"#[0-9a-f]{6}\b", inline_svg(plot.figure, plot.name, plot.alt))


def test_page_is_the_same_bytes_for_the_same_table_and_has_its_plots_beside_it(tmp_path: Path):
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pages.append(write_page(tmp_path / name, make_table("scanet-4")))
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert len(list((tmp_path / "one" / "plots").glob("heat-*.png"))) == 6
    text = pages[0].read_text()
    assert text.count("<svg") == 6
    assert "on the test items" in text
    assert 'href="runs/gcn/seeds0-4/report.html"' in text


def test_page_opens_without_errors_and_without_scrolling_sideways(tmp_path: Path):
    reason = report_browser.missing()
    if reason:
        pytest.skip(reason)
    with report_browser.open_browser(tmp_path / "profile") as browser:
        for name in ("scanet-3", "scanet-4", "gin-1", "gch-1"):
            page = write_page(tmp_path, make_table(name))
            for width in (1280, 390):
                browser.open(page, width)
                assert browser.console() == []
                assert browser.run("return document.documentElement.scrollWidth") <= width
