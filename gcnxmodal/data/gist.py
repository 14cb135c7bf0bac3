"""Gist: 512 numbers for the layout of a scene, without learning; the picture feature of GIN on Pascal VOC.

Oliva & Torralba 2001, "Modeling the Shape of the Scene: A Holistic Representation of the Spatial Envelope",
IJCV 42(3). Follows the authors' LMgist.m with imageSize 256, orientationsPerScale [8 8 8 8], numberBlocks 4,
fc_prefilt 4: grey, the centre square, local contrast normalised, 4 x 8 oriented band passes, and the mean
amplitude of each in 4 x 4 blocks.
"""

import functools
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy.fft
from jaxtyping import Float, Float32
from PIL import Image

from gcnxmodal.data.picture_features import cached_features, code_of
from gcnxmodal.data.pictures import open_picture

SIDE = 256
SCALES, ORIENTATIONS, BLOCKS = 4, 8, 4
FEATURES = SCALES * ORIENTATIONS * BLOCKS**2
_BORDER = 32  # mirrored pixels around the picture, so that its edges are no contours
_PREFILTER_BORDER = 5
_PREFILTER_CYCLES = 4  # a picture; slower changes are taken for illumination


def gist_features(
    pictures: Sequence[Path], *, cache_dir: Path, batch: int = 32
) -> Float[np.ndarray, "n 512"]:
    """The Gist of each picture file, float32, in the order given; cached in parts, see `cached_features`.

    Args:
        batch: pictures that are transformed at once (0.8 MB each and filter).

    Raises:
        InputError: if there is no picture, or one cannot be read.
    """
    with ThreadPoolExecutor() as pool:

        def encode(files: Sequence[Path]) -> Iterator[np.ndarray]:
            for start in range(0, len(files), batch):
                yield gist(np.stack(list(pool.map(grey_square, files[start : start + batch]))))

        return cached_features(
            pictures,
            FEATURES,
            name="gist",
            key=code_of(__file__),
            cache_dir=cache_dir,
            pool=pool,
            make_encode=lambda: encode,
        )


def grey_square(picture: Path) -> Float32[np.ndarray, "256 256"]:
    """The mean of the colours, the shorter side scaled to 256 (bilinear, antialiased), the centre cropped.

    Raises:
        InputError: if the file is missing, damaged or no picture.
    """
    colours = np.asarray(open_picture(picture), np.float32)
    image = Image.fromarray(colours.mean(axis=2))
    scale = SIDE / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def gist(grey_BSS: Float32[np.ndarray, "B S S"]) -> Float32[np.ndarray, "B 512"]:
    """The Gist of grey pictures, each first scaled to 0..255.

    Entry (filter, column, row) of the flattened result is the mean over a block of
    |IFFT(G_filter * FFT(prefiltered picture))|. Filters from fine to coarse scales, 8 orientations each;
    columns before rows, as MATLAB flattens.
    """
    low = grey_BSS.min(axis=(1, 2), keepdims=True)
    high = grey_BSS.max(axis=(1, 2), keepdims=True)
    # Paper: 255 (x - min) / (max - min), NaN for a picture of one colour; here 0 for it.
    scaled_BSS = 255 * (grey_BSS - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    padded_BNN = _mirrored(_prefiltered(scaled_BSS), _BORDER)
    spectrum_BNN = _fft(padded_BNN)
    side = padded_BNN.shape[1]
    inner = slice(_BORDER, side - _BORDER)
    features = []
    for filter_NN in _filters(side):
        amplitude_BSS = np.abs(_inverse_fft(spectrum_BNN * filter_NN))[:, inner, inner]
        batch, block = len(grey_BSS), amplitude_BSS.shape[1] // BLOCKS
        blocks_BRC = amplitude_BSS.reshape(batch, BLOCKS, block, BLOCKS, block).mean(axis=(2, 4))
        features.append(blocks_BRC.transpose(0, 2, 1).reshape(batch, BLOCKS**2))
    return np.concatenate(features, axis=1)


def _prefiltered(image_BSS: np.ndarray) -> np.ndarray:
    """Log, less its local mean, by its local deviation: y = x - g * x with x = log(1 + image); then
    y / (0.2 + sqrt(g * y^2)), where g is a Gaussian that halves 4 cycles a picture."""
    padded_BNN = _mirrored(np.log1p(image_BSS), _PREFILTER_BORDER)
    frequency_N = scipy.fft.fftfreq(padded_BNN.shape[1]) * padded_BNN.shape[1]  # cycles a picture
    squared_NN = frequency_N[:, None] ** 2 + frequency_N**2
    gaussian_NN = np.exp(-squared_NN * math.log(2) / _PREFILTER_CYCLES**2).astype(np.float32)

    def local_mean(x_BNN: np.ndarray) -> np.ndarray:
        return np.real(_inverse_fft(_fft(x_BNN) * gaussian_NN))

    flat_BNN = padded_BNN - local_mean(padded_BNN)
    deviation_BNN = np.sqrt(np.abs(local_mean(flat_BNN**2)))
    inner = slice(_PREFILTER_BORDER, -_PREFILTER_BORDER)
    return (flat_BNN / (0.2 + deviation_BNN))[:, inner, inner]


@functools.cache
def _filters(side: int) -> Float32[np.ndarray, "32 N N"]:
    """Transfer functions, each one lobe: exp(-3.5 (f / f_scale - 1)^2 - 2 pi t^2), where f is the frequency
    in cycles a pixel, f_scale = 0.3 / 1.85^scale, and t the angle from the filter's direction, in radians.
    """
    frequency_N = scipy.fft.fftfreq(side)
    f_NN = np.hypot(frequency_N[:, None], frequency_N)
    angle_NN = np.arctan2(frequency_N[:, None], frequency_N[None, :])
    filters = []
    for scale in range(SCALES):
        for orientation in range(ORIENTATIONS):
            t_NN = angle_NN + math.pi * orientation / ORIENTATIONS
            t_NN = t_NN - 2 * math.pi * (t_NN > math.pi)
            radial_NN = f_NN / (0.3 / 1.85**scale) - 1
            filters.append(np.exp(-3.5 * radial_NN**2 - 2 * math.pi * t_NN**2))
    return np.stack(filters).astype(np.float32)


def _mirrored(image_BSS: np.ndarray, border: int) -> np.ndarray:
    return np.pad(image_BSS, ((0, 0), (border, border), (border, border)), mode="symmetric")


def _fft(x_BNN: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.fft2(x_BNN, workers=os.cpu_count()))


def _inverse_fft(x_BNN: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.ifft2(x_BNN, workers=os.cpu_count(), overwrite_x=True))
