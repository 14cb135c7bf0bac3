"""Arrays from `.npz` and `.mat` files, without executing anything that is in them.

MATLAB files of every version: to 7.2 here, but for structures, which SciPy reads; 7.3, which is HDF5, by h5py
(extra `matlab`).
"""

import contextlib
import io
import json
import math
import os
import struct
import typing
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse as sp
from jaxtyping import Float, Int, UInt8

from gcnxmodal.data.files import check_promise, readable, refused, require_file
from gcnxmodal.errors import InputError

BLOCK = 2**24  # bytes that `feature_rows` reads at a time

PICTURES_AT_ONCE = 512  # that `read_mat_pictures` reads

_SPARSE = "MATLAB_sparse"  # the attribute of a sparse matrix in HDF5, its number of rows
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_npz(path: Path, names: Sequence[str], fix: str) -> dict[str, np.ndarray]:
    """The named arrays of an `.npz` file.

    Raises:
        InputError: if the file is missing (`fix` says what to do), broken, lacks an array, or holds a pickled
            object instead of one: those can run code when they are loaded, so they never are.
    """
    with _open_npz(path, fix, names[0]) as archive:
        there = _names_in(archive)
        missing = [name for name in names if name not in there]
        if missing:
            raise InputError(
                f"{path}: has no array '{missing[0]}', only {', '.join(there) or 'nothing'}; "
                f"save it with numpy.savez and the names {', '.join(names)}"
            )
        return {name: _npz_member(archive, path, name) for name in names}


def array_names(path: Path, fix: str) -> list[str]:
    """The names of the arrays of an `.npz` file; raises as `load_npz` does."""
    with _open_npz(path, fix, "images") as archive:
        return _names_in(archive)


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
    path: Path, names: Sequence[str] | None, rows: Int[np.ndarray, " m"], count: int, fix: str
) -> Float[np.ndarray, "m d"]:
    """The features of m pictures: by `names`, if the file has `file_names`; or `rows` of `count` in the file.

    Raises as `features_by_name` and `feature_rows` do; and InputError if the file has names but the data set
    (`names` is None) has none to find them by.
    """
    if "file_names" not in array_names(path, fix):
        return feature_rows(path, rows, count, fix)
    if names is None:
        raise InputError(
            f"{path}: has an array 'file_names', but nothing in the data set names the pictures; name them "
            "there, or save the features in the order of the items, without that array"
        )
    return features_by_name(path, names, fix)


def features_by_name(path: Path, names: Sequence[str], fix: str) -> Float[np.ndarray, "m d"]:
    """The rows of `images` for these picture files, found by the array `file_names` of the file.

    Paths count as a whole where the file has all of them; else only their last parts, after / or \\.
    `python -m gcnxmodal.features` writes such files for a bare folder, in the order of the names as texts.

    Raises:
        InputError: if an array is missing or malformed, a name is there twice, or one asked for is not; or
            two that are asked for have the same last part, and only that could tell them apart.
    """
    listed = _keys(path, "file_names", "U", "texts", fix)
    keys, asked = ([PurePath(name.replace("\\", "/")).as_posix() for name in of] for of in (listed, names))
    if not set(asked) <= set(keys):
        whole: dict[str, str] = {}
        for name in asked:
            if (other := whole.setdefault(PurePath(name).name, name)) != name:
                raise InputError(
                    f"{path}: array 'file_names' has not the paths '{other}' and '{name}', and their last "
                    "parts are the same; save the paths as the data set has them"
                )
        keys, asked = ([PurePath(name).name for name in of] for of in (keys, asked))
    row_of: dict[str, int] = {}
    for row, name in enumerate(keys):
        if row_of.setdefault(name, row) != row:
            twice = f"row {row}: '{listed[row]}'"
            raise InputError(f"{path}: array 'file_names', {twice} was there before; {fix}")
    return _rows_by_key(path, "file_names", row_of, asked, fix)


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
    with refused(path, f"array '{name}' cannot be read", fix):  # bytes that are no characters
        return keys.tolist()


def _rows_by_key(
    path: Path, array: str, row_of: dict[Any, int], asked: Sequence[Any], fix: str
) -> Float[np.ndarray, "m d"]:
    missing = [key for key in asked if key not in row_of]
    if missing:
        raise InputError(
            f"{path}: array '{array}' lacks {missing[0]} ({len(missing)} of {len(asked)} are missing); {fix}"
        )
    wanted = set(asked)
    if others := [key for key in row_of if key not in wanted]:
        print(f"{path}: {len(others):,} of {len(row_of):,} rows are of no item, as {others[0]}; left out")
    return feature_rows(path, np.array([row_of[key] for key in asked], int), len(row_of), fix)


def feature_rows(path: Path, rows: Int[np.ndarray, " m"], count: int, fix: str) -> Float[np.ndarray, "m d"]:
    """Some of the `count` rows of the array `images` of an `.npz`, float32.

    Read in blocks, so that memory is that of these rows and a block, not of the file (unless the array is in
    the order of columns).

    Raises:
        InputError: as `load_npz` and `feature_matrix` do, but values of other rows are not looked at.
    """
    with _open_npz(path, fix, "images") as archive:
        try:
            with archive.open("images.npy") as member:
                shape, by_column, dtype = _read_header(archive, member, path, "images")
                if len(shape) == 2 and not by_column:
                    _check_matrix(shape, dtype, path, "images", count)
                    return _read_rows(member, rows, shape, dtype, path)
        except InputError:
            raise
        except Exception:
            pass
    return all_features(path, count, fix)[rows]


def _read_header(
    archive: zipfile.ZipFile, member: typing.IO[bytes], path: Path, name: str
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in the order of columns, and type of an array that then follows in the archive.

    Raises:
        InputError: if it would be a pickle, or is not as long as its shape promises.
    """
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(member)
    if dtype.hasobject:
        raise InputError(
            f"{path}: array '{name}' holds pickled Python objects, which can run code and are never loaded; "
            "save a plain numeric array"
        )
    promised = math.prod(shape) * dtype.itemsize
    held = archive.getinfo(f"{name}.npy").file_size - member.tell()
    if promised != held or dtype.itemsize == 0:
        raise InputError(
            f"{path}: array '{name}' cannot be read ({dtype} {list(shape)} has {promised:,} bytes, but there "
            f"are {held:,}); save the file again"
        )
    check_promise(path, promised, f"array '{name}'")
    return shape, by_column, dtype


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
def _open_npz(path: Path, fix: str, name: str) -> Iterator[zipfile.ZipFile]:
    with require_file(path, fix).open("rb") as stream:
        if stream.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise InputError(f"{path}: holds one bare array; save it as numpy.savez(file, {name}=array)")
        with refused(path, "cannot be read as .npz", "save it with numpy.savez"):
            archive = zipfile.ZipFile(stream)
        with archive:
            yield archive


def _names_in(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _npz_member(archive: zipfile.ZipFile, path: Path, name: str) -> np.ndarray:
    with refused(path, f"array '{name}' cannot be read", "save the file again"):
        with archive.open(f"{name}.npy") as member:
            _read_header(archive, member, path, name)
        with archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)


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
        variables = _old_variables(path, [*names, *optional])
    missing = [name for name in names if name not in variables]
    if missing:
        raise InputError(f"{path}: has no variable '{missing[0]}'; expected {', '.join(names)}")
    return {name: variables[name] for name in (*names, *optional) if name in variables}


def load_structures(path: Path, names: Sequence[str], fix: str) -> dict[str, Any]:
    """Of a MATLAB file (version 5 to 7.2) the named variables that it has, structures too, as SciPy has them.

    Raises:
        InputError: if the file is missing (`fix` says what to do), broken, or of version 7.3 (HDF5).
    """
    with _refused(require_file(path, fix)):
        found = scipy.io.loadmat(str(path), variable_names=list(names), appendmat=False)
    return {name: found[name] for name in names if name in found}


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5: its signature is at the beginning or, in MATLAB's 7.3, after 512 bytes."""
    with readable(path), path.open("rb") as stream:
        start = stream.read(512 + len(_HDF5))
    return _HDF5 in (start[: len(_HDF5)], start[512:])


def mat_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of each variable of a file, in the order of axes that `read_mat` gives.

    Raises:
        InputError: if the file is broken, or h5py is needed and missing.
    """
    if not is_hdf5(path):
        with _refused(path):
            return _old_variables(path, None)
    with _open_hdf5(path) as file, _refused(path):
        turned, shapes = _of_matlab(file), {}
        for name, variable in file.items():
            if _SPARSE in variable.attrs:
                shapes[name] = int(variable.attrs[_SPARSE]), len(variable["jc"]) - 1
            elif hasattr(variable, "shape"):
                shapes[name] = variable.shape[::-1] if turned else variable.shape
        return shapes


def read_mat(path: Path, name: str) -> Any:
    """A variable: a numeric array or sparse matrix, or (to version 7.2) a cell array of texts.

    The axes of HDF5 that MATLAB wrote, in reverse there, are in MATLAB's order; those of others as they are.

    Raises:
        InputError: if it cannot be read, or is of another type.
    """
    if is_hdf5(path):
        with _open_hdf5(path) as file, _refused(path):
            variable = file[name]
            if _SPARSE in variable.attrs:
                for part in variable:
                    _check_size(path, variable[part], f"{name}.{part}")
                return _sparse(variable)
            if not hasattr(variable, "dtype") or variable.dtype.kind not in "fiub":
                raise InputError(
                    f"{path}: variable '{name}' is no array of numbers; save it with save(..., '-v7')"
                )
            _check_size(path, variable, name)
            return variable[()].T if _of_matlab(file) else variable[()]
    return load_mat(path, [name], "fetch it again")[name]


def _of_matlab(file: Any) -> bool:
    """Whether MATLAB wrote an HDF5 file, or something that writes as it does: its own header is before it."""
    return file.userblock_size >= 512


def _sparse(group: Any) -> sp.csc_array:
    """A sparse matrix of MATLAB's 7.3: its columns compressed, without `data` if it has no entry."""
    rows, starts = int(group.attrs[_SPARSE]), group["jc"][()].astype(np.int64)
    indices, data = ((group[name][()] if name in group else np.zeros(0)) for name in ("ir", "data"))
    matrix = sp.csc_array((data, indices.astype(np.int64), starts), shape=(rows, len(starts) - 1))
    matrix.check_format(full_check=True)
    return matrix


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
        _check_size(path, file[name], name)
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
        with refused(path, "cannot be read as a MATLAB file", "fetch it again"):
            yield
    except InputError as error:
        if isinstance(error.__cause__, NotImplementedError):
            raise InputError(f"{path}: is a MATLAB 7.3 file; save it with save(..., '-v7')") from error
        raise


def _check_size(path: Path, variable: Any, name: str) -> None:
    check_promise(path, math.prod(variable.shape) * variable.dtype.itemsize, f"variable '{name}'")


# --- MATLAB files to version 7.2. Those of version 5 and later are read here: damaged ones crash scipy, which
# also takes the memory that a file promises before it looks whether there is as much. ---

_MATRIX, _COMPRESSED = 14, 15  # types of elements; those of numbers and texts:
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"} | {
    16: "u1", 17: "u2", 18: "u4"
}  # fmt: skip
_CELL, _TEXT, _SPARSE_CLASS, _NUMBERS = 1, 4, 5, range(6, 16)  # classes of matrices
_DEEPEST = 8  # cells in cells


def _old_variables(path: Path, names: Sequence[str] | None) -> dict[str, Any]:
    """The variables of these names; if they are None, the shapes of all.

    Raises:
        InputError: if one of them is no array of numbers or texts, or promises more than there is.
        Exception: any, if the file is damaged.
    """
    size = path.stat().st_size
    found: dict[str, Any] = {}
    with path.open("rb") as stream:
        head = stream.read(128)
        if len(head) < 128 or 0 in head[:4]:
            _check_mat4(path, size)
            if names is not None:
                return scipy.io.loadmat(str(path), variable_names=names, appendmat=False)
            return {name: shape for name, shape, _ in scipy.io.whosmat(str(path), appendmat=False)}
        order = ">" if head[126:] == b"MI" else "<"
        if struct.unpack(f"{order}H", head[124:126])[0] == 0x200:
            raise NotImplementedError
        while size - stream.tell() >= 8:
            kind, length = struct.unpack(f"{order}II", stream.read(8))
            end = stream.tell() + length
            if end > size:
                raise EOFError("it ends inside a variable")
            content: Any = stream
            if kind == _COMPRESSED:
                content = _Inflated(stream, length)
                kind, length = struct.unpack(f"{order}II", content.read(8))
            if kind == _MATRIX:
                matrix = _Matrix(content, order, length, path)
                if names is None:
                    found[matrix.name] = matrix.shape
                elif matrix.name in names:
                    found[matrix.name] = matrix.value()
            stream.seek(end)
    return found


def _check_mat4(path: Path, size: int) -> None:
    """Refuse a file of version 4 whose variables are sparse or promise more than there is."""
    with path.open("rb") as stream:
        while size - stream.tell() >= 20:
            head = stream.read(20)
            order = "<" if 0 <= struct.unpack("<i", head[:4])[0] < 5000 else ">"
            kind, rows, columns, is_complex, name_length = struct.unpack(f"{order}5i", head)
            values = rows * columns * (2 if is_complex else 1)
            length = name_length + values * (8, 4, 4, 2, 2, 1)[kind // 10 % 10]
            if min(rows, columns, name_length) < 0 or kind % 10 == 2 or length > size - stream.tell():
                raise EOFError("a variable is sparse or promises more than there is")
            stream.seek(length, os.SEEK_CUR)


class _Inflated:
    """What the next `length` bytes of a file are when they are inflated."""

    def __init__(self, stream: typing.IO[bytes], length: int):
        self._stream, self._left, self._inflate = stream, length, zlib.decompressobj()

    def read(self, length: int) -> bytearray:
        content = bytearray()
        while len(content) < length and not self._inflate.eof:
            deflated = self._inflate.unconsumed_tail
            if not deflated:
                deflated = self._stream.read(min(2**16, self._left))
                self._left -= len(deflated)
            content += self._inflate.decompress(deflated, length - len(content))
            if not deflated:
                break
        return content


class _Matrix:
    """A variable or a cell of `left` bytes: its name and shape, and on request what is in it."""

    def __init__(self, content: Any, order: str, left: int, path: Path, depth: int = 0):
        self._content, self._order, self._left = content, order, left
        self._path, self._depth = path, depth
        self._class = int(self._part(8)[0]) & 0xFF
        self.shape = tuple(self._part(256).tolist())
        self.name = self._part(256).tobytes().decode("latin-1")
        self._where = f"variable '{self.name}'" if depth == 0 else f"a cell in cells {depth} deep"

    def _part(self, most: int | None = None) -> np.ndarray:
        """The numbers of the next element."""
        word, length = struct.unpack(f"{self._order}II", self._take(8))
        if word >> 16:  # up to four bytes, in place of their length
            word, length, inside = word & 0xFFFF, word >> 16, struct.pack(f"{self._order}I", length)
        else:
            if length > (self._left if most is None else most):
                raise EOFError("it ends inside a variable")
            inside = self._take(length)
            self._take(min(-length % 8, self._left))
        dtype = np.dtype(f"{self._order}{_TYPES[word]}")
        return np.frombuffer(inside, dtype, length // dtype.itemsize)

    def _take(self, length: int) -> bytes | bytearray:
        content = self._content.read(length)
        self._left -= length
        if len(content) < length or self._left < 0:
            raise EOFError("it ends inside a variable")
        return content

    def value(self) -> Any:
        """Numbers as they are stored, a sparse matrix, an array of one text a row, or one of such cells."""
        count = math.prod(self.shape)
        kinds = (_CELL, _TEXT, _SPARSE_CLASS, *_NUMBERS)
        if self._class not in kinds or self._depth > _DEEPEST or min(self.shape, default=-1) < 0:
            raise InputError(f"{self._path}: {self._where} is no array of numbers or texts; save it as one")
        check_promise(self._path, self._left, self._where)
        if self._class == _SPARSE_CLASS:
            check_promise(self._path, 8 * sum(self.shape), self._where)
            indices, starts, values = (self._part() for _ in range(3))
            stored = int(starts[-1])
            columns = sp.csc_matrix((values[:stored], indices[:stored], starts), shape=self.shape)
            columns.check_format(full_check=True)
            return columns
        if count > self._left:
            raise InputError(
                f"{self._path}: {self._where} is {list(self.shape)}, but {self._left:,} bytes; fetch it again"
            )
        if self._class == _CELL:
            cells = np.empty(count, object)
            for number in range(count):
                kind, length = struct.unpack(f"{self._order}II", self._take(8))
                if kind != _MATRIX or length > self._left:
                    raise EOFError("it ends inside a cell")
                inside = io.BytesIO(self._take(length))
                cell = length and _Matrix(inside, self._order, length, self._path, self._depth + 1)
                cells[number] = cell.value() if cell else ""
            return cells.reshape(self.shape, order="F")
        numbers = self._part() if count else np.zeros(0, np.uint8)
        if self._class == _TEXT and not count:
            return np.array([], str)
        if self._class == _TEXT:
            rows = numbers.reshape(self.shape, order="F").reshape(self.shape[0], -1)
            return np.array(["".join(map(chr, row.tolist())) for row in rows], str)
        return numbers.astype(numbers.dtype.newbyteorder("="), copy=False).reshape(self.shape, order="F")
