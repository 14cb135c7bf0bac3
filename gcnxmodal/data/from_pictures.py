"""What stands for an item's picture and is made from its file: a feature, or the pixels themselves."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from gcnxmodal.data.features import picture_features
from gcnxmodal.data.pictures import centre_square
from gcnxmodal.errors import InputError

FROM_PICTURES = {"efficientnet-lite0": 224, "pixels": 64}
"""Values of `--data.image-feature` that are made from pictures, and the resolution if none is asked for."""


def resolution_for(image_feature: str, asked: int | None) -> int | None:
    """The resolution asked for or the default; None for what is not made from pictures.

    Raises:
        InputError: if one is asked for where there are no pictures to see.
    """
    if image_feature in FROM_PICTURES:
        return asked or FROM_PICTURES[image_feature]
    if asked is not None:
        raise InputError(
            f"--data.resolution is {asked}, but --data.image-feature {image_feature} is not made from "
            f"pictures here; leave it out, or choose {' or '.join(FROM_PICTURES)}"
        )
    return None


def images_from(
    pictures: Sequence[Path], image_feature: str, resolution: int, *, cache_dir: Path
) -> np.ndarray:
    """The picture files as a Corpus takes them, in the order given.

    Returns:
        float32 [n, d] features, or uint8 [n, R, R, 3] pixels.

    Raises:
        InputError: if there is no picture, one cannot be read, or the resolution does not suit.
    """
    if image_feature == "pixels":
        return picture_pixels(pictures, resolution)
    return picture_features(pictures, resolution, cache_dir=cache_dir)


def picture_pixels(pictures: Sequence[Path], resolution: int) -> UInt8[np.ndarray, "n R R 3"]:
    """Each picture as `centre_square` gives it.

    Raises:
        InputError: if there is no picture, or one cannot be read.
    """
    if not pictures:
        raise InputError("pictures: there is none to read; give at least one file")
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(centre_square, pictures, [resolution] * len(pictures))
        return np.stack(list(tqdm(decoded, "reading pictures", len(pictures), unit="picture", disable=None)))
