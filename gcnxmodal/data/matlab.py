"""Variables of MATLAB files of every version: to 7.2 by scipy, 7.3, which is HDF5, by h5py (extra `matlab`).

Nothing in them is executed: variables that are no numbers, or cells of texts, are refused.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import UInt8

from gcnxmodal.errors import InputError

_BLOCK = 512  # pictures read at a time
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BROKEN = (
    *(OSError, ValueError, TypeError, LookupError, EOFError, NotImplementedError, struct.error, zlib.error),
    scipy.io.matlab.MatReadError,
)


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5: its signature is at the beginning or, in MATLAB's 7.3, after 512 bytes."""
    with path.open("rb") as stream:
        start = stream.read(512 + len(_SIGNATURE))
    return _SIGNATURE in (start[: len(_SIGNATURE)], start[512:])


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of each variable of a file, in the order of axes that `read` gives.

    Raises:
        InputError: if the file is broken, or h5py is needed and missing.
    """
    if not is_hdf5(path):
        with _refused(path):
            return {name: shape for name, shape, _ in scipy.io.whosmat(str(path), appendmat=False)}
    with open_hdf5(path) as file:
        return {name: file[name].shape for name in file if hasattr(file[name], "shape")}


def read(path: Path, name: str) -> Any:
    """A variable: a numeric array or sparse matrix, or (to version 7.2) a cell array of texts.

    The axes of HDF5 are in the order of the file, the reverse of MATLAB's for files that it wrote.

    Raises:
        InputError: if it cannot be read, or is of another type.
    """
    if is_hdf5(path):
        with open_hdf5(path) as file, _refused(path):
            found = file[name]
            if not hasattr(found, "dtype") or found.dtype.kind not in "fiub":
                raise InputError(
                    f"{path}: variable '{name}' is no array of numbers; save it with save(..., '-v7')"
                )
            return found[()]
    with _refused(path):
        return scipy.io.loadmat(str(path), variable_names=[name], appendmat=False)[name]


def read_pictures(path: Path, name: str, n: int) -> UInt8[np.ndarray, "n R R 3"]:
    """A variable of n square pictures of three colours, MATLAB's height x width x 3 x n or its like.

    It may be of any numeric type that holds whole numbers from 0 to 255. Of HDF5 a block of pictures is read
    at a time.

    Raises:
        InputError: if it cannot be read or has another shape or other values.
    """
    if not is_hdf5(path):
        return _upright(read(path, name), n, f"{path}: variable '{name}'", _LAYOUTS[1:])
    with open_hdf5(path) as file, _refused(path):
        return _upright(file[name], n, f"{path}: variable '{name}'", _LAYOUTS)


# Axes as they are in the file, s being both sides of a picture; where [n, height, width, 3] is among them.
_LAYOUTS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("n3ss", (0, 3, 2, 1)),  # HDF5 that MATLAB wrote: the reverse of height x width x 3 x n
    ("nss3", (0, 1, 2, 3)),  # written by Python
    ("ss3n", (3, 0, 1, 2)),  # MATLAB's order: to version 7.2
)


def _upright(
    source: Any, n: int, where: str, layouts: tuple[tuple[str, tuple[int, ...]], ...]
) -> UInt8[np.ndarray, "n R R 3"]:
    shape = tuple(getattr(source, "shape", ()))
    for layout, axes in layouts:
        sizes = {"n": n, "3": 3, "s": shape[axes[1]] if len(shape) == 4 else 0}
        if shape == tuple(sizes[axis] for axis in layout):
            break
    else:
        raise InputError(
            f"{where} has the axes {list(shape)} in the file; expected {n} square pictures of three colours, "
            "in MATLAB height x width x 3 x items"
        )
    side = sizes["s"]
    pixels = np.empty((n, side, side, 3), np.uint8)
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = np.asarray(source[rows] if axes[0] == 0 else source[..., rows])
        if (
            block.dtype.kind not in "fiub"
            or not ((block >= 0) & (block <= 255) & (block == block // 1)).all()
        ):
            raise InputError(
                f"{where}, pictures from {start}, is {block.dtype} and not whole numbers from 0 to 255; the "
                "pictures themselves are needed, without a mean subtracted"
            )
        pixels[rows] = block.transpose(axes)
    return pixels


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The file as h5py opens it for reading.

    Raises:
        InputError: if it is broken, or h5py is missing.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path}: is a MATLAB 7.3 file, and reading it needs the package h5py; "
            "pip install 'gcnxmodal[matlab]', or save it with save(..., '-v7')"
        ) from error
    with _refused(path), h5py.File(path, "r") as file:
        yield file


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{path}: cannot be read as a MATLAB file ({error}); fetch it again") from error
