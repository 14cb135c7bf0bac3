"""`report.html`: one file with everything in it, and the same plots as PNG files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from gcnxmodal.report import comparison, values
from gcnxmodal.report.comparison import main_protocol, verdict
from gcnxmodal.report.gallery import Gallery
from gcnxmodal.report.inline import data_uri, inline_svg
from gcnxmodal.report.palette import css_variables
from gcnxmodal.report.plots import Plot, class_plots, curve_plots, save_png, training_plots
from gcnxmodal.report.reasons import Reasons


def write_report(
    run_dir: Path,
    *,
    title: str,
    system: str,
    results: Mapping[str, Any],
    details: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    gallery: Gallery,
    reasons: Sequence[Reasons],
    paper_row: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    command: str,
    date: str,
) -> Path:
    """Write `run_dir/report.html` and `run_dir/plots/*.png`; the same arguments give the same bytes.

    The page needs no network and runs no script: styles, plots and pictures are inside it, and its content
    security policy refuses everything else. All texts are escaped. What is missing, NaN or infinite is shown
    as a dash.

    Args:
        title: the headline, for example "GIN on emoji".
        system: the model's short name in tables and plots, for example "GIN".
        results: the content of `results.json`; baselines and chance may be missing.
        details: {"model": what `evaluate_embeddings` gave, "cca": the same for a baseline, ...}.
        history: the lines of `metrics.jsonl`; may be empty.
        reasons: why some pairs score as they do; may be empty.
        paper_row: the published result, or None: "text_query", "image_query", "average"; optionally "source"
            (where it stands) and "note" (what it may be compared with, else `comparison.MIXED_PROTOCOLS`).
        config: the content of `config.json`.
        command: the command line that made the run.
        date: when it was measured, as it is to be shown.

    Returns:
        The path of the page.
    """
    system = values.printable(system)
    class_names = [values.printable(name) for name in class_names]
    plots = {
        "curves": curve_plots(details, system),
        "training": training_plots(history, results, system),
        "classes": class_plots(details, class_names, system),
    }
    folder = run_dir / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    for plot in (plot for group in plots.values() for plot in group):
        save_png(plot, folder)
    without_relevant = values.flatten(details.get("model", {}).get("queries_without_relevant", {}))
    return write_page(
        run_dir / "report.html",
        "page.html",
        title=title,
        system=system,
        results=results,
        date=date,
        command=command,
        paper=paper_row,
        gallery=gallery,
        reasons=reasons,
        verdict=verdict(system, results),
        main=main_protocol(results),
        protocols={name: comparison.protocol_rows(results, system, name) for name in results["protocols"]},
        exact_pair={
            direction: comparison.exact_pair_rows(results, details, system, direction)
            for direction in results["exact_pair"]
        },
        queries_without_relevant=[(name, count) for name, count in without_relevant if count != "0"],
        plots={name: [figure(plot) for plot in group] for name, group in plots.items()},
        provenance=list(values.flatten(results.get("provenance", {}))),
        graph=list(values.flatten(results.get("graph", {}))),
        versions=list(values.flatten(results.get("versions", {}))),
        config=list(values.flatten(config)),
    )


def write_page(path: Path, template: str, package: str = "gcnxmodal.report", **content: Any) -> Path:
    """Write a template of a package filled with `content`; returns the path."""
    text = _environment(package).get_template(template).render(**content)
    # A lone surrogate out of a careless JSON file has no UTF-8; as a reference browsers show U+FFFD for it.
    path.write_bytes(text.encode("utf-8", "xmlcharrefreplace"))
    return path


def figure(plot: Plot) -> Markup:
    """The plot as markup for a template."""
    # Made by Matplotlib and re-serialised by ElementTree, which escapes every name in it.
    return Markup(inline_svg(plot.figure, plot.name, plot.alt))


def _environment(package: str) -> jinja2.Environment:
    # A page of another package builds on the parts that stand here.
    packages = dict.fromkeys((package, "gcnxmodal.report"))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, ".") for name in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "style": Markup(css_variables() + _file("style.css")),
        "protocol_meaning": comparison.PROTOCOL_MEANINGS,
        "baseline_meaning": comparison.BASELINE_MEANINGS,
        "mixed_protocols": comparison.MIXED_PROTOCOLS,
    }
    environment.globals["formats"] = {
        "map": values.as_map,
        "percent": values.as_percent,
        "rank": values.as_rank,
    }
    environment.filters |= {"duration": values.as_duration, "excerpt": values.excerpt, "data_uri": data_uri}
    return environment


def _file(name: str) -> str:
    return resources.files("gcnxmodal.report").joinpath(name).read_text("utf-8")
