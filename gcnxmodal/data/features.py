"""Pictures to EfficientNet-Lite0 features: decoded, encoded in batches on the device, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from tqdm import tqdm

from gcnxmodal.data.cache import replacing
from gcnxmodal.errors import InputError
from gcnxmodal.models import efficientnet

_log = logging.getLogger(__name__)


def picture_features(
    pictures: Sequence[Path], resolution: int, *, cache_dir: Path, progress: bool = True, batch: int = 32
) -> Float[np.ndarray, "n 1280"]:
    """The EfficientNet-Lite0 feature of each picture file, float32, in the order given.

    The result is cached under the contents of the files, the resolution, the weights and the code, so equal
    pictures are encoded once wherever they lie. The cache is written when whole: a killed run leaves none.

    Args:
        resolution: side of the square the network sees, in pixels; at least 32, its total stride.
        progress: show bars, where there is a terminal.
        batch: pictures per call of the network; the last batch is padded, so it is compiled once.

    Raises:
        InputError: if there is no picture, the resolution is too small, or a picture cannot be read. Every
            picture is decoded once before the network starts, so that none is found broken after it ran.
    """
    if not pictures:
        raise InputError("pictures: there is none to encode; give at least one file")
    if resolution < 32:
        raise InputError(f"resolution is {resolution} pixels; EfficientNet-Lite0 needs at least 32")
    silent = None if progress else True  # None: a bar only where there is a terminal
    with ThreadPoolExecutor() as pool:
        path = (
            cache_dir / "features" / f"efficientnet-lite0-{resolution}-{_key(pictures, resolution, pool)}.npy"
        )
        features = _load(path, len(pictures))
        if features is None:
            for _ in tqdm(
                pool.map(_open, pictures), "checking pictures", len(pictures), unit="picture", disable=silent
            ):
                pass
            features = _encode(pictures, resolution, min(batch, len(pictures)), pool, silent)
            _save(path, features)
    return features


def decode(picture: Path, resolution: int) -> UInt8[np.ndarray, "R R 3"]:
    """The centre square of a picture, upright, its transparent pixels over white, as RGB of one size.

    The same as scaling the shorter side to `resolution` and cropping the centre, in one bicubic resampling
    (antialiased, as Pillow does). Of an animation, the first frame.

    Raises:
        InputError: if the file is missing, damaged or no picture.
    """
    # Paper: its authors crop the central 224/256 of a photograph; here the whole shorter side is kept,
    # because drawings such as emoji reach to their edges.
    return np.asarray(ImageOps.fit(_open(picture), (resolution, resolution), Image.Resampling.BICUBIC))


def _open(picture: Path) -> Image.Image:
    """Decode to 8-bit RGB at full size."""
    try:
        with Image.open(picture) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey at 255, not scale it
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise far more than OSError on damaged files
        raise InputError(
            f"{picture}: not a readable picture ({error}); replace the file or drop its row"
        ) from error


def _key(pictures: Sequence[Path], resolution: int, pool: Executor) -> str:
    """A hash of all that the features depend on: pictures, weights, resolution and the code between."""
    code = (Path(__file__), Path(efficientnet.__file__))
    files = [*pictures, efficientnet.weights_path(), *code]
    digests = list(pool.map(_digest, files))
    return hashlib.sha256(json.dumps([resolution, digests]).encode()).hexdigest()[:16]


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); restore the file or drop its row"
        ) from error


def _encode(
    pictures: Sequence[Path], resolution: int, batch: int, pool: Executor, silent: bool | None
) -> Float[np.ndarray, "n 1280"]:
    graph, weights = nnx.split(efficientnet.load_pretrained())

    @jax.jit
    def encode(weights: nnx.State, pixels_BRR3: jax.Array) -> jax.Array:
        return nnx.merge(graph, weights)(efficientnet.normalise(pixels_BRR3))

    encoded: list[jax.Array] = []
    with tqdm(desc="picture features", total=len(pictures), unit="picture", disable=silent) as bar:
        for start in range(0, len(pictures), batch):
            files = pictures[start : start + batch]
            pixels_BRR3 = np.zeros((batch, resolution, resolution, 3), np.uint8)
            for row, picture in enumerate(pool.map(decode, files, [resolution] * len(files))):
                pixels_BRR3[row] = picture
            encoded.append(encode(weights, pixels_BRR3))
            # Wait for the batch before, so that the device works while the next pictures are decoded.
            jax.block_until_ready(encoded[-2:-1])
            bar.update(len(files))
        return np.concatenate([np.asarray(features) for features in encoded])[: len(pictures)]


def _load(path: Path, rows: int) -> Float[np.ndarray, "n 1280"] | None:
    """The cached features; None, and a warning if the file is damaged, where there are none."""
    if not path.exists():
        return None
    try:
        features = np.load(path, allow_pickle=False)
        if features.shape == (rows, efficientnet.FEATURES) and features.dtype == np.float32:
            return features
        problem = f"{features.dtype} {list(features.shape)}"
    except (OSError, ValueError, EOFError) as error:
        problem = str(error)
    _log.warning("%s: these cached features are damaged (%s); making them again", path, problem)
    return None


def _save(path: Path, features: Float[np.ndarray, "n 1280"]) -> None:
    """Keep the features; a cache that cannot be written costs the next run time, not this one."""
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    except OSError as error:
        _log.warning(
            "%s: the features could not be cached (%s); $GCNXMODAL_CACHE may name another folder", path, error
        )
