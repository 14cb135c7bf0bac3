"""Picture files as data URIs, small enough for a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

_SIDE = 224  # pixels: twice the largest size the page shows


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
