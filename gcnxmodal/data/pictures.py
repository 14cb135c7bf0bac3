"""Picture files to pixels: upright, over white, 8-bit RGB, the part and size that an encoder wants.

SVG pictures are drawn first.
"""

import functools
import hashlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar
from xml.parsers import expat

import numpy as np
import resvg_py
from jaxtyping import UInt8
from PIL import Image, ImageOps
from tqdm import tqdm

from gcnxmodal.data.cache import cached_file, replacing
from gcnxmodal.data.files import refused
from gcnxmodal.errors import InputError

MOST_PIXELS = 80_000_000  # three copies of four bytes, over white, are 1 GB
DEEPEST = 200  # elements of an SVG in each other
LONGEST = 100  # times the shorter side
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
        InputError: if the file is missing, damaged, no picture, or one of more than `MOST_PIXELS`, or its
            longer side is more than `LONGEST` times the shorter one.
    """
    try:
        svg = picture.suffix.lower() in SVG
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            opened = Image.open(io.BytesIO(_draw(picture, SVG_SIDE)) if svg else picture)
        with opened as image:
            container, (width, height) = image.format, image.size
            if width * height > MOST_PIXELS:
                raise InputError(
                    f"{picture}: is {width:,} x {height:,}, more than {MOST_PIXELS // 10**6} million pixels; "
                    "make it smaller"
                )
            if max(width, height) > LONGEST * min(width, height):
                raise InputError(
                    f"{picture}: is {width:,} x {height:,}, more than {LONGEST} times longer than wide; "
                    "crop it"
                )
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith(("I", "F")):
                image = _eight_bits(image, container)
            if image.has_transparency_data:
                image = image if image.mode == "RGBA" else image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except InputError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's limit is higher
        raise InputError(
            f"{picture}: has more than {MOST_PIXELS // 10**6} million pixels; make it smaller"
        ) from error
    except Exception as error:  # Pillow's decoders raise far more than OSError on damaged files
        raise InputError(
            f"{picture}: not a readable picture ({error}); replace the file or drop its row"
        ) from error


def _eight_bits(image: Image.Image, container: str | None) -> Image.Image:
    """Grey of other numbers than bytes, which Pillow would clip at 255 and not scale.

    Whole numbers are of 16 bits where the format says so, or a value is above 255; fractions are from 0 to 1,
    or as bytes.

    Raises:
        ValueError: for values that are neither.
    """
    values = np.asarray(image)
    low, high = values.min(), values.max()
    fractions = image.mode.startswith("F")
    if not (low >= 0 and high <= (255 if fractions else 65_535)):
        raise ValueError(f"its values go from {low} to {high}: save it with 8 or 16 bits")
    if fractions:
        return Image.fromarray(np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8))
    of_16_bits = image.mode.startswith("I;16") or container == "PPM" or high > 255
    return Image.fromarray((values >> 8 if of_16_bits else values).astype(np.uint8))


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
        InputError: if drawing it would end the process.
    """
    _check_depth(picture)
    return resvg_py.svg_to_bytes(
        svg_path=str(picture), width=side, height=side, background="white", skip_system_fonts=True
    )


def rasterise(
    pictures: Sequence[Path], resolution: int, folder: Path, *, progress: bool = True
) -> list[Path]:
    """Each SVG file as `folder/<name>.png`, `resolution` x `resolution` pixels over white.

    Pictures already there are kept; no file is ever half written.

    Args:
        folder: in the cache, see `cached_file`.

    Raises:
        InputError: if a picture cannot be drawn, or the resolution is below 1.
    """
    if resolution < 1:
        raise InputError(f"resolution is {resolution} pixels; pictures need at least 1")

    def draw(source: Path) -> bytes:
        try:
            return _draw(source, resolution)
        except ValueError as error:
            raise InputError(f"{source}: cannot be drawn ({error}); install its package again") from error

    return [
        cached_file(folder / f"{source.stem}.png", functools.partial(draw, source), open_picture, "a picture")
        for source in tqdm(pictures, "drawing pictures", unit="picture", disable=None if progress else True)
    ]


def _check_depth(source: Path) -> None:
    """Refuse an SVG with elements in elements so deep that drawing it would end the process."""
    parser, depth = expat.ParserCreate(), 0

    def enter(name: str, attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise InputError(f"{source}: has more than {DEEPEST} elements in each other; draw it more simply")

    def leave(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    with refused(source, "cannot be drawn", "save it again"):
        parser.Parse(source.read_bytes(), True)
