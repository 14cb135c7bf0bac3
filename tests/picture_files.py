"""Small pictures for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path
