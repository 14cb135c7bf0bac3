"""What a page has inside itself: figures as SVG, in its colours and font, and picture files as data URIs."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from gcnxmodal.report.palette import COLOURS
from gcnxmodal.report.panels import plain_text

_SIDE = 224  # pixels: twice the largest size the page shows
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"


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
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
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
