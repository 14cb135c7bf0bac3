"""`report.html` of a run or a sweep: one file with everything in it, and its plots as PNG files beside it."""

import base64
import io
import re
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from gcnxmodal import stopping
from gcnxmodal.data.cache import write_whole
from gcnxmodal.errors import writing
from gcnxmodal.report import comparison, kept, values
from gcnxmodal.report.comparison import main_protocol, verdict
from gcnxmodal.report.gallery import Gallery, Reasons
from gcnxmodal.report.panels import plain_text
from gcnxmodal.report.plots import Plot, class_plots, curve_plots, save_png, sweep_plot, training_plots
from gcnxmodal.report.values import COLOURS, css_variables
from gcnxmodal.retrieval.metrics import PAIR_MEASURE

_SIDE = 224  # pixels: twice the largest size the page shows
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"


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
    save_plots(run_dir, [plot for group in plots.values() for plot in group])
    without_relevant = values.flatten(details.get("model", {}).get("queries_without_relevant", {}))
    return write_page(
        run_dir / "report.html",
        "page.html",
        title=title,
        data_set=_data_set(config, results),
        system=system,
        results=results,
        date=date,
        command=command,
        paper=paper_row,
        gallery=gallery,
        reasons=reasons,
        verdict=verdict(system, results),
        main=main_protocol(results),
        board=comparison.protocol_rows(results, system, main_protocol(results)),
        chosen=stopping.in_words(results["chosen"]) if "chosen" in results else None,
        tuning=comparison.tuning_in_words(results["tuning"]) if "tuning" in results else None,
        kept=[kept.in_words(of) for of in results.get("kept", {}).values()],
        left_out=list(results.get("left_out", {}).values()),
        protocols={name: comparison.protocol_rows(results, system, name) for name in results["protocols"]},
        exact_pair={
            direction: comparison.exact_pair_rows(results, details, system, direction)
            for direction in results["exact_pair"]
        },
        caption_protocols={
            (protocol, direction): comparison.exact_pair_rows(results, details, system, direction, protocol)
            for protocol, both in results.get("caption_protocols", {}).items()
            for direction in both
        },
        typed_queries={
            measure: comparison.typed_query_rows(results, system, measure)
            for measure in (("precision@10" if results["protocols"] else PAIR_MEASURE), "hubs")
            if results.get("queries", {}).get("model")
        },
        queries_without_relevant=[(name, count) for name, count in without_relevant if count != "0"],
        plots={name: [figure(plot) for plot in group] for name, group in plots.items()},
        provenance=list(values.flatten(results.get("provenance", {}))),
        graph=list(values.flatten(results.get("graph", {}))),
        versions=list(values.flatten(results.get("versions", {}))),
        config=list(values.flatten(config)),
    )


def _data_set(config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Name and size of the data set; a user's own has the name of its folder."""
    data = config.get("data", {})
    name = data.get("name", "")
    if name == "folder" and data.get("root"):
        name = Path(data["root"]).name
    sizes = ", ".join(f"{count:,} {part}" for part, count in results.get("items", {}).items())
    return f"{name}: {sizes} items" if sizes else name


def write_sweep_report(
    folder: Path,
    title: str,
    report: Mapping[str, Any],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    command: str,
    date: str,
    linked: Collection[str] | None = None,
) -> Path:
    """Write `folder/report.html` of a sweep (mean and spread over seeds by setting) and `plots/map.png`.

    Args:
        title: the preset.
        report: the content of the sweep's `results.json`.
        histories: each member's lines of `metrics.jsonl`, by name.
        command, date: as for `write_report`.
        linked: members that have reports of their own; None for all.

    Returns:
        The path of the page.
    """
    rows = [{**row, "name": setting_name(row["setting"])} for row in report["summary"]]
    finished = [row for row in rows if row["protocols"]]
    main = "standard" if all("standard" in row["protocols"] for row in finished) else PAIR_MEASURE
    best = max(finished, key=lambda row: row["protocols"][main]["average"]["mean"], default=None)
    plot = None
    if best is not None:
        members = [name for name in best["members"] if name not in best["diverged"]]
        label = "best setting" if len(rows) > 1 else "mean"
        plot = sweep_plot(histories, members, label, report["yardsticks"])
    save_plots(folder, [] if plot is None else [plot])
    return write_page(
        folder / "report.html",
        "sweep.html",
        title=title,
        report=report,
        rows=rows,
        best=best,
        main=main,
        protocols=list(best["protocols"]) if best else [],
        baselines={name.upper(): scores for name, scores in report["yardsticks"].items()},
        plot=None if plot is None else figure(plot),
        linked=[name for row in rows for name in row["members"] if linked is None or name in linked],
        command=command,
        date=date,
        config=list(values.flatten(report["experiment"])),
        versions=list(values.flatten(report["versions"])),
    )


def setting_name(setting: Mapping[str, Any]) -> str:
    """
    >>> setting_name({"train.margin": 0.5, "model.filters": [1, 1]}), setting_name({})
    ('margin 0.5, filters [1, 1]', 'the preset')
    """
    words = (f"{field.split('.')[-1].replace('_', ' ')} {value}" for field, value in setting.items())
    return ", ".join(words) or "the preset"


def write_page(path: Path, template: str, package: str = "gcnxmodal.report", **content: Any) -> Path:
    """Write a template of a package filled with `content`; returns the path."""
    text = _environment(package).get_template(template).render(**content)
    # A lone surrogate out of a careless JSON file has no UTF-8; as a reference browsers show U+FFFD for it.
    write_whole(path, text.encode("utf-8", "xmlcharrefreplace"))
    return path


def save_plots(folder: Path, plots: Sequence[Plot]) -> None:
    """Write `folder/plots/*.png`. Raises InputError if they cannot be written."""
    with writing(folder / "plots"):
        for plot in plots:
            (folder / "plots").mkdir(parents=True, exist_ok=True)
            save_png(plot, folder / "plots")


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
        "protocol_meaning": comparison.PROTOCOL_MEANINGS | comparison.PAIR_MEANINGS,
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


def inline_svg(figure: Figure, name: str, alt: str) -> str:
    """The `<svg>` element of a figure, safe to place in HTML beside others.

    Matplotlib's file is made for standing alone. Here its metadata, comments and style sheet (which would
    apply to the whole page) go, ids get the plot's name as a prefix, each palette colour becomes
    `var(--role)` so that dark mode recolours the plot, and text stays text in the page's font.
    """
    with plain_text(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gcnxmodal"}):
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())  # leaves comments out
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    used = _references(root)
    for element in root.iter():
        _clean(element, name, used)
    for attribute in ("width", "height", "version"):
        del root.attrib[attribute]
    root.attrib |= {"role": "img", "aria-label": alt, "class": "plot"}
    return ElementTree.tostring(root, encoding="unicode")


def _references(root: ElementTree.Element) -> set[str]:
    hrefs = {element.get(_HREF, "").removeprefix("#") for element in root.iter()}
    clips = {
        match for element in root.iter() for match in re.findall(r"#(\w+)\)", element.get("clip-path", ""))
    }
    return hrefs | clips


def _clean(element: ElementTree.Element, name: str, used: set[str]) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    if (identifier := element.attrib.pop("id", None)) in used:
        element.set("id", f"{name}-{identifier}")
    if reference := element.attrib.pop(_HREF, None):
        element.set("href", f"#{name}-{reference.removeprefix('#')}")
    if clip := element.get("clip-path"):
        element.set("clip-path", clip.replace("#", f"#{name}-"))
    if style := element.get("style"):
        style = re.sub(r"font-family:[^;]*;? ?", "", style)
        for role, (light, _) in COLOURS.items():
            style = style.replace(light, f"var(--{role})")
        element.set("style", style)


def data_uri(path: Path) -> str | None:
    """A picture for the `src` of an `<img>`: an SVG as it is, anything else as a thumbnail.

    An `<img>` never runs the scripts of an SVG and never loads what it links to. A picture that cannot be
    read gives None: the report comes at the end of a long run, which a lost file must not fail.
    """
    try:
        if path.suffix.lower() == ".svg":
            return _encode("svg+xml", path.read_bytes())
        with Image.open(path) as opened:
            opened.draft("RGB", (_SIDE, _SIDE))  # a JPEG is decoded at the smallest size that will do
            picture = ImageOps.exif_transpose(opened)
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except Exception:  # Pillow's decoders raise far more than OSError on damaged files
        return None
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if picture.mode == "RGBA":
        picture.save(file, "PNG", optimize=True)
        return _encode("png", file.getvalue())
    picture.save(file, "JPEG", quality=80, optimize=True)
    return _encode("jpeg", file.getvalue())


def _encode(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
