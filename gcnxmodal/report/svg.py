"""A Matplotlib figure as an inline SVG that takes its colours and its font from the page."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from gcnxmodal.report.palette import COLOURS
from gcnxmodal.report.panels import plain_text

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"


def inline(figure: Figure, name: str, alt: str) -> str:
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
