"""Picture files to pixels: upright, over white, 8-bit RGB, the part and size that an encoder wants.

SVG pictures are drawn first.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import resvg_py
from jaxtyping import UInt8
from PIL import Image, ImageOps
from tqdm import tqdm

from gcnxmodal.data.cache import replacing
from gcnxmodal.errors import InputError

SVG = (".svg", ".svgz")
SVG_SIDE = 512  # pixels of the longer side that an SVG picture is drawn with
NAMED = 10  # broken pictures that a message names; a file has the rest
_Read = TypeVar("_Read")


class BrokenPictures(InputError):
    """Pictures that cannot be read.

    Attributes:
        faults: what is wrong with each, as an `InputError` says it.
    """

    def __init__(self, faults: Mapping[Path, str], total: int, folder: Path):
        self.faults = faults
        if len(faults) == 1:
            super().__init__(*faults.values())
            return
        lines = [fault.rpartition("; ")[0] for fault in faults.values()]
        where = "".join(f"\n  {line}" for line in lines[:NAMED])
        if len(lines) > NAMED:
            text = "".join(f"{line}\n" for line in lines)
            file = folder / f"broken-pictures-{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"
            where += f"\n  and {len(lines) - NAMED:,} more"
            try:
                with replacing(file) as temporary:
                    temporary.write_text(text, encoding="utf-8", errors="replace")
                where += f": all of them are in {file}"
            except OSError:  # the first ones are named all the same
                pass
        super().__init__(
            f"{len(faults):,} of {total:,} pictures cannot be read:{where}\n"
            "replace the files or drop their rows"
        )


def of_each(
    read: Callable[[Path], _Read], pictures: Sequence[Path], pool: Executor, doing: str, folder: Path
) -> list[_Read]:
    """What `read` makes of each picture, with a bar.

    Args:
        doing: stands before the bar; none if it is empty.
        folder: for the list of the broken ones, if they are many.

    Raises:
        BrokenPictures: after all have been tried, if `read` raised an InputError for some.
    """

    def tried(picture: Path) -> Any:
        try:
            return read(picture)
        except InputError as error:
            return error

    bar = tqdm(
        pool.map(tried, pictures), doing, len(pictures), unit="picture", disable=None if doing else True
    )
    results = list(bar)
    faults = {
        picture: str(result)
        for picture, result in zip(pictures, results, strict=True)
        if isinstance(result, InputError)
    }
    if faults:
        raise BrokenPictures(faults, len(set(pictures)), folder)
    return results


def open_picture(picture: Path) -> Image.Image:
    """The whole picture at full size, upright, its transparent pixels over white; of an animation, the first
    frame.

    Raises:
        InputError: if the file is missing, damaged, larger than Pillow reads, or no picture.
    """
    try:
        svg = picture.suffix.lower() in SVG
        with Image.open(io.BytesIO(_draw(picture, SVG_SIDE)) if svg else picture) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey at 255, not scale it
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(
            f"{picture}: has more than {most:,} pixels, the most that are read; make it smaller, or drop its "
            "row"
        ) from error
    except Exception as error:  # Pillow's decoders raise far more than OSError on damaged files
        raise InputError(
            f"{picture}: not a readable picture ({error}); replace the file or drop its row"
        ) from error


def centre_square(picture: Path, resolution: int) -> UInt8[np.ndarray, "R R 3"]:
    """The shorter side scaled to `resolution` and the centre cropped, in one bicubic resampling
    (antialiased, as Pillow does); for EfficientNet-Lite0.
    """
    # Paper: its authors crop the central 224/256 of a photograph; here the whole shorter side is kept,
    # because drawings such as emoji reach to their edges.
    size = (resolution, resolution)
    return np.asarray(ImageOps.fit(open_picture(picture), size, Image.Resampling.BICUBIC))


def imagenet_crop(picture: Path, resolution: int) -> UInt8[np.ndarray, "R R 3"]:
    """The shorter side scaled to 8/7 of `resolution` (256 for 224), bilinear with antialiasing, and the
    centre cropped: as torchvision evaluates its ImageNet weights.
    """
    image = open_picture(picture)
    shorter = round(resolution * 256 / 224)
    # torchvision's arithmetic: the longer side is cut to an integer, the offset rounded.
    width, height = (int(shorter * side / min(image.size)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - resolution) / 2), round((height - resolution) / 2)
    return np.asarray(image.crop((left, top, left + resolution, top + resolution)))


def _draw(picture: Path, side: int) -> bytes:
    """An SVG file as PNG, over white, as large as fits into the square. No system font is used, so that the
    pixels depend on the file alone.

    Raises:
        ValueError: if it cannot be drawn.
    """
    return resvg_py.svg_to_bytes(
        svg_path=str(picture), width=side, height=side, background="white", skip_system_fonts=True
    )


def rasterise(
    pictures: Sequence[Path], resolution: int, folder: Path, *, progress: bool = True
) -> list[Path]:
    """Each SVG file as `folder/<name>.png`, `resolution` x `resolution` pixels over white.

    Pictures already there are kept; no file is ever half written.

    Raises:
        InputError: if a picture cannot be drawn, the folder cannot be written, or the resolution is below 1.
    """
    if resolution < 1:
        raise InputError(f"resolution is {resolution} pixels; pictures need at least 1")
    drawn = [folder / f"{picture.stem}.png" for picture in pictures]
    todo = [(source, png) for source, png in zip(pictures, drawn, strict=True) if not png.exists()]
    for source, png in tqdm(todo, "drawing pictures", unit="picture", disable=None if progress else True):
        try:
            pixels = _draw(source, resolution)
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
