"""Arrays from `.npz` and `.mat` files, without executing anything that is in them.

MATLAB files of every version: to 7.2 by scipy; 7.3, which is HDF5, by h5py (extra `matlab`).
"""

import contextlib
import json
import struct
import typing
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Float, Int, UInt8

from gcnxmodal.data.files import require_file
from gcnxmodal.errors import InputError

BLOCK = 2**24  # bytes that `feature_rows` reads at a time

PICTURES_AT_ONCE = 512  # that `read_mat_pictures` reads

_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_BROKEN_MAT = (*_BROKEN, TypeError, LookupError, struct.error, scipy.io.matlab.MatReadError)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_npz(path: Path, names: Sequence[str], fix: str) -> dict[str, np.ndarray]:
    """The named arrays of an `.npz` file.

    Raises:
        InputError: if the file is missing (`fix` says what to do), broken, lacks an array, or holds a pickled
            object instead of one: those can run code when they are loaded, so they never are.
    """
    with _open_npz(path, fix, names[0]) as file:
        missing = [name for name in names if name not in file.files]
        if missing:
            raise InputError(
                f"{path}: has no array '{missing[0]}', only {', '.join(file.files) or 'nothing'}; "
                f"save it with numpy.savez and the names {', '.join(names)}"
            )
        return {name: _npz_member(file, path, name) for name in names}


def array_names(path: Path, fix: str) -> list[str]:
    """The names of the arrays of an `.npz` file; raises as `load_npz` does."""
    with _open_npz(path, fix, "images") as file:
        return file.files


def made_with(path: Path) -> dict[str, Any] | None:
    """What `python -m gcnxmodal.features` says of the features it has saved; None of a file of others."""
    if path.suffix != ".npz" or "about" not in array_names(path, ""):
        return None
    try:
        about = json.loads(str(load_npz(path, ["about"], "")["about"]))
    except (ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) and isinstance(about.get("backbone"), str) else None


def all_features(path: Path, count: int, fix: str) -> Float[np.ndarray, "count d"]:
    """The array `images` of an `.npz`, a row for each of `count` items; see `load_npz`, `feature_matrix`."""
    return feature_matrix(load_npz(path, ["images"], fix)["images"], path, "images", count)


def features_of(
    path: Path, names: Sequence[str], rows: Int[np.ndarray, " m"], count: int, fix: str
) -> Float[np.ndarray, "m d"]:
    """The features of m pictures: by `names`, if the file has `file_names`; or `rows` of `count` in the file.

    Raises as `features_by_name` and `feature_rows` do.
    """
    if "file_names" in array_names(path, fix):
        return features_by_name(path, names, fix)
    return feature_rows(path, rows, count, fix)


def features_by_name(path: Path, names: Sequence[str], fix: str) -> Float[np.ndarray, "m d"]:
    """The rows of `images` for these picture files, found by the array `file_names` of the file.

    Only the last part of a path counts, after / or \\. `python -m gcnxmodal.features` writes such files for a
    bare folder, in the order of the names as texts.

    Raises:
        InputError: if an array is missing or malformed, a name is there twice, or one asked for is not.
    """
    listed = _keys(path, "file_names", "U", "texts", fix)
    row_of: dict[str, int] = {}
    for row, name in enumerate(listed):
        if row_of.setdefault(PurePath(name.replace("\\", "/")).name, row) != row:
            raise InputError(f"{path}: array 'file_names', row {row}: '{name}' was there before; {fix}")
    return _rows_by_key(path, "file_names", row_of, names, fix)


def features_by_id(path: Path, ids: Sequence[int], fix: str) -> Float[np.ndarray, "m d"]:
    """The rows of `images` for these numbers, found by the array `ids`; as `features_by_name` otherwise."""
    listed = _keys(path, "ids", "iu", "whole numbers", fix)
    row_of = {number: row for row, number in enumerate(listed)}
    if len(row_of) < len(listed):
        raise InputError(f"{path}: array 'ids' has {len(listed) - len(row_of)} ids twice; {fix}")
    return _rows_by_key(path, "ids", row_of, ids, fix)


def _keys(path: Path, name: str, kinds: str, expected: str, fix: str) -> list[Any]:
    keys = load_npz(path, [name], fix)[name]
    if keys.dtype.kind not in kinds or keys.ndim != 1:
        raise InputError(
            f"{path}: array '{name}' is {keys.dtype} {list(keys.shape)}; expected {expected} [n]; {fix}"
        )
    return keys.tolist()


def _rows_by_key(
    path: Path, array: str, row_of: dict[Any, int], asked: Sequence[Any], fix: str
) -> Float[np.ndarray, "m d"]:
    missing = [key for key in asked if key not in row_of]
    if missing:
        raise InputError(
            f"{path}: array '{array}' lacks {missing[0]} ({len(missing)} of {len(asked)} are missing); {fix}"
        )
    return feature_rows(path, np.array([row_of[key] for key in asked], int), len(row_of), fix)


def feature_rows(path: Path, rows: Int[np.ndarray, " m"], count: int, fix: str) -> Float[np.ndarray, "m d"]:
    """Some of the `count` rows of the array `images` of an `.npz`, float32.

    Read in blocks, so that memory is that of these rows and a block, not of the file (unless the array is in
    the order of columns).

    Raises:
        InputError: as `load_npz` and `feature_matrix` do, but values of other rows are not looked at.
    """
    with _open_npz(path, fix, "images") as file:
        archive = typing.cast(zipfile.ZipFile, file.zip)
        try:
            with archive.open("images.npy") as member:
                shape, by_column, dtype = _read_header(member)
                if len(shape) == 2 and not by_column and not dtype.hasobject:
                    _check_matrix(shape, dtype, path, "images", count)
                    return _read_rows(member, rows, shape, dtype, path)
        except InputError:
            raise
        except (*_BROKEN, KeyError):
            pass  # What is wrong, `load_npz` says.
    return all_features(path, count, fix)[rows]


def _read_header(member: typing.IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in the order of columns, and type of the array that follows in a `.npy`."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)


def _read_rows(
    member: typing.IO[bytes], rows: Int[np.ndarray, " m"], shape: tuple[int, ...], dtype: np.dtype, path: Path
) -> Float[np.ndarray, "m d"]:
    count, width = shape
    step = max(1, BLOCK // (width * dtype.itemsize))
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    features = np.empty((len(rows), width), np.float32)
    # To the end, whatever the last row is: only there is the checksum compared.
    for start in range(0, count, step):
        n = min(step, count - start)
        block = np.frombuffer(member.read(n * width * dtype.itemsize), dtype).reshape(n, width)
        low, high = np.searchsorted(ascending, [start, start + n])
        wanted = ascending[low:high]
        features[order[low:high]] = _finite(block[wanted - start], path, "images", wanted)
    return features


@contextlib.contextmanager
def _open_npz(path: Path, fix: str, name: str) -> Iterator[np.lib.npyio.NpzFile]:
    # Opened here, because numpy.load does not close a path that turns out to be broken.
    with require_file(path, fix).open("rb") as stream:
        try:
            file = np.load(stream, allow_pickle=False)
        except _BROKEN as error:
            raise InputError(f"{path}: cannot be read as .npz ({error}); save it with numpy.savez") from error
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: holds one bare array; save it as numpy.savez(file, {name}=array)")
        with file:
            yield file


def _npz_member(file: np.lib.npyio.NpzFile, path: Path, name: str) -> np.ndarray:
    try:
        return file[name]
    except _BROKEN as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise InputError(
                f"{path}: array '{name}' holds pickled Python objects, which can run code and are never "
                "loaded; save a plain numeric array"
            ) from error
        raise InputError(f"{path}: array '{name}' cannot be read ({error}); save the file again") from error


def feature_matrix(array: np.ndarray, path: Path, field: str, rows: int) -> Float[np.ndarray, "n d"]:
    """`array` as float32 [rows, d], one finite row an item. Integer and boolean features are converted.

    Raises:
        InputError: if it is not a numeric matrix with `rows` rows and at least one column, or a value is NaN
            or infinite (in float32).
    """
    _check_matrix(array.shape, array.dtype, path, field, rows)
    return _finite(array, path, field, np.arange(rows))


def _check_matrix(shape: tuple[int, ...], dtype: np.dtype, path: Path, field: str, rows: int) -> None:
    if dtype.kind not in "fiub" or len(shape) != 2 or shape[1] == 0:
        raise InputError(
            f"{path}: array '{field}' is {dtype} {list(shape)}; expected numbers [n, d], a row an item"
        )
    if shape[0] != rows:
        raise InputError(
            f"{path}: array '{field}' has {shape[0]} rows, expected {rows}; give one row an item, in the "
            "order of the list"
        )


def _finite(
    array: np.ndarray, path: Path, field: str, rows: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n d"]:
    """float32, if all of it is finite; `rows` says which rows of the file these are."""
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(array, np.float32)
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{path}: array '{field}', row {rows[row]}, column {column} is {array[row, column]} "
            f"({len(np.unique(bad[:, 0]))} rows are not finite in float32); extract these features again or "
            "drop the rows"
        )
    return features


def load_mat(
    path: Path, names: Sequence[str], fix: str, *, optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """The named variables of a MATLAB file (version 4 to 7.2), and of the optional ones those it has.

    Raises:
        InputError: if the file is missing (`fix` says what to do), broken, of version 7.3 (HDF5), or a
            variable is missing.
    """
    with _refused(require_file(path, fix)):
        variables = scipy.io.loadmat(str(path), variable_names=[*names, *optional], appendmat=False)
    missing = [name for name in names if name not in variables]
    if missing:
        raise InputError(f"{path}: has no variable '{missing[0]}'; expected {', '.join(names)}")
    return {name: variables[name] for name in (*names, *optional) if name in variables}


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5: its signature is at the beginning or, in MATLAB's 7.3, after 512 bytes."""
    with path.open("rb") as stream:
        start = stream.read(512 + len(_HDF5))
    return _HDF5 in (start[: len(_HDF5)], start[512:])


def mat_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of each variable of a file, in the order of axes that `read_mat` gives.

    Raises:
        InputError: if the file is broken, or h5py is needed and missing.
    """
    if not is_hdf5(path):
        with _refused(path):
            return {name: shape for name, shape, _ in scipy.io.whosmat(str(path), appendmat=False)}
    with _open_hdf5(path) as file:
        return {name: file[name].shape for name in file if hasattr(file[name], "shape")}


def read_mat(path: Path, name: str) -> Any:
    """A variable: a numeric array or sparse matrix, or (to version 7.2) a cell array of texts.

    The axes of HDF5 are in the order of the file, the reverse of MATLAB's for files that it wrote.

    Raises:
        InputError: if it cannot be read, or is of another type.
    """
    if is_hdf5(path):
        with _open_hdf5(path) as file, _refused(path):
            variable = file[name]
            if not hasattr(variable, "dtype") or variable.dtype.kind not in "fiub":
                raise InputError(
                    f"{path}: variable '{name}' is no array of numbers; save it with save(..., '-v7')"
                )
            return variable[()]
    return load_mat(path, [name], "fetch it again")[name]


def read_mat_pictures(path: Path, name: str, n: int) -> UInt8[np.ndarray, "n R R 3"]:
    """A variable of n square pictures of three colours, MATLAB's height x width x 3 x n or its like.

    It may be of any numeric type that holds whole numbers from 0 to 255. Of HDF5 a block of pictures is read
    at a time.

    Raises:
        InputError: if it cannot be read or has another shape or other values.
    """
    if not is_hdf5(path):
        return _upright(read_mat(path, name), n, f"{path}: variable '{name}'", _LAYOUTS[1:])
    with _open_hdf5(path) as file, _refused(path):
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
    for start in range(0, n, PICTURES_AT_ONCE):
        rows = slice(start, start + PICTURES_AT_ONCE)
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
def _open_hdf5(path: Path) -> Iterator[Any]:
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
    except NotImplementedError as error:
        raise InputError(f"{path}: is a MATLAB 7.3 file; save it with save(..., '-v7')") from error
    except _BROKEN_MAT as error:
        raise InputError(f"{path}: cannot be read as a MATLAB file ({error}); fetch it again") from error
