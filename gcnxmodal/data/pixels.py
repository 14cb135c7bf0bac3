"""Pictures as pixels of one size: what a network trained from pixels reads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from gcnxmodal.data.features import decode
from gcnxmodal.errors import InputError

RESOLUTION = 64  # pixels, if not told otherwise


def picture_pixels(pictures: Sequence[Path], resolution: int) -> UInt8[np.ndarray, "n R R 3"]:
    """Each picture as `decode` gives it, in the order given.

    Raises:
        InputError: if there is no picture, or one cannot be read.
    """
    if not pictures:
        raise InputError("pictures: there is none to read; give at least one file")
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(decode, pictures, [resolution] * len(pictures))
        return np.stack(list(tqdm(decoded, "reading pictures", len(pictures), unit="picture", disable=None)))
