"""Feature arrays from `.npz` and `.mat` files, without executing anything that is in them."""

from __future__ import annotations

import typing
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import scipy.io
from jaxtyping import Float

from gcnxmodal.data.files import require_file
from gcnxmodal.errors import InputError

_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def load_npz(path: Path, names: Sequence[str], fix: str) -> dict[str, np.ndarray]:
    """The named arrays of an `.npz` file.

    Raises:
        InputError: if the file is missing (`fix` says what to do), broken, lacks an array, or holds a pickled
            object instead of one: those can run code when they are loaded, so they never are.
    """
    # Opened here, because numpy.load does not close a path that turns out to be broken.
    with require_file(path, fix).open("rb") as stream, _open_npz(stream, path, names[0]) as file:
        missing = [name for name in names if name not in file.files]
        if missing:
            raise InputError(
                f"{path}: has no array '{missing[0]}', only {', '.join(file.files) or 'nothing'}; "
                f"save it with numpy.savez and the names {', '.join(names)}"
            )
        return {name: _npz_member(file, path, name) for name in names}


def array_names(path: Path, fix: str) -> list[str]:
    """The names of the arrays of an `.npz` file; raises as `load_npz` does."""
    with require_file(path, fix).open("rb") as stream, _open_npz(stream, path, "images") as file:
        return file.files


def features_by_name(path: Path, names: Sequence[str], fix: str) -> Float[np.ndarray, "n d"]:
    """The rows of `images` for these picture files, found by the array `file_names` of the file.

    Only the last part of a path counts. `python -m gcnxmodal.features` writes such files for a bare folder,
    in the order of the names as texts.

    Raises:
        InputError: if an array is missing or malformed, a name is there twice, or one asked for is not.
    """
    arrays = load_npz(path, ["images", "file_names"], fix)
    found = arrays["file_names"]
    if found.dtype.kind != "U" or found.ndim != 1:
        raise InputError(
            f"{path}: array 'file_names' is {found.dtype} {list(found.shape)}; expected texts [n]; {fix}"
        )
    features = feature_matrix(arrays["images"], path, "images", len(found))
    row_of: dict[str, int] = {}
    for row, name in enumerate(found.tolist()):
        if row_of.setdefault(PurePath(name).name, row) != row:
            raise InputError(f"{path}: array 'file_names', row {row}: '{name}' was there before; {fix}")
    missing = [name for name in names if name not in row_of]
    if missing:
        raise InputError(
            f"{path}: array 'file_names' lacks {missing[0]} ({len(missing)} of {len(names)} are missing); "
            f"{fix}"
        )
    return features[[row_of[name] for name in names]]


def _open_npz(stream: typing.BinaryIO, path: Path, name: str) -> np.lib.npyio.NpzFile:
    try:
        file = np.load(stream, allow_pickle=False)
    except _BROKEN as error:
        raise InputError(f"{path}: cannot be read as .npz ({error}); save it with numpy.savez") from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise InputError(f"{path}: holds one bare array; save it as numpy.savez(file, {name}=array)")
    return file


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


def load_mat(path: Path, names: Sequence[str], fix: str) -> dict[str, np.ndarray]:
    """The named numeric arrays of a MATLAB file (version 4 to 7.2). Nothing in it is executed.

    Raises:
        InputError: if the file is missing (`fix` says what to do), broken, of version 7.3 (HDF5), or a
            variable is missing.
    """
    require_file(path, fix)
    try:
        found = scipy.io.loadmat(path, variable_names=list(names), appendmat=False)
    except NotImplementedError as error:
        raise InputError(f"{path}: is a MATLAB 7.3 file; save it with save(..., '-v7')") from error
    except (*_BROKEN, TypeError, LookupError, scipy.io.matlab.MatReadError) as error:
        raise InputError(f"{path}: cannot be read as a MATLAB file ({error}); fetch it again") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{path}: has no variable '{missing[0]}'; expected {', '.join(names)}")
    return {name: found[name] for name in names}


def feature_matrix(array: np.ndarray, path: Path, field: str, rows: int) -> Float[np.ndarray, "n d"]:
    """`array` as float32 [rows, d], one finite row an item. Integer and boolean features are converted.

    Raises:
        InputError: if it is not a numeric matrix with `rows` rows and at least one column, or a value is NaN
            or infinite (in float32).
    """
    if array.dtype.kind not in "fiub" or array.ndim != 2 or array.shape[1] == 0:
        raise InputError(
            f"{path}: array '{field}' is {array.dtype} {list(array.shape)}; expected numbers [n, d], "
            "a row an item"
        )
    if len(array) != rows:
        raise InputError(
            f"{path}: array '{field}' has {len(array)} rows, expected {rows}; give one row an item, in the "
            "order of the list"
        )
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(array, np.float32)
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{path}: array '{field}', row {row}, column {column} is {array[row, column]} "
            f"({len(np.unique(bad[:, 0]))} rows are not finite in float32); extract these features again or "
            "drop the rows"
        )
    return features
