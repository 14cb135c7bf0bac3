"""SVG pictures as PNG files of one size, made once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import resvg_py
from tqdm import tqdm

from gcnxmodal.data.cache import replacing
from gcnxmodal.errors import InputError


def rasterise(
    pictures: Sequence[Path], resolution: int, folder: Path, *, progress: bool = True
) -> list[Path]:
    """Each SVG file as `folder/<name>.png`, `resolution` x `resolution` pixels over white.

    Pictures already there are kept; no file is ever half written. No system font is used, so that the pixels
    depend on the file alone.

    Raises:
        InputError: if a picture cannot be drawn, the folder cannot be written, or the resolution is below 1.
    """
    if resolution < 1:
        raise InputError(f"resolution is {resolution} pixels; pictures need at least 1")
    drawn = [folder / f"{picture.stem}.png" for picture in pictures]
    todo = [(source, png) for source, png in zip(pictures, drawn, strict=True) if not png.exists()]
    for source, png in tqdm(todo, "drawing pictures", unit="picture", disable=None if progress else True):
        try:
            pixels = resvg_py.svg_to_bytes(
                svg_path=str(source),
                width=resolution,
                height=resolution,
                background="white",
                skip_system_fonts=True,
            )
        except ValueError as error:
            raise InputError(f"{source}: cannot be drawn ({error}); install its package again") from error
        try:
            with replacing(png) as temporary:
                temporary.write_bytes(pixels)
        except OSError as error:
            raise InputError(
                f"{png}: cannot be written ({error.strerror}); make room, or let $GCNXMODAL_CACHE name "
                "another folder"
            ) from error
    return drawn
