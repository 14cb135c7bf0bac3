"""Read the tensors of a PyTorch state dict (`.pth`) without PyTorch and without executing anything.

A `.pth` file is a pickle, and a pickle is a program: unpickling calls whatever the file names. This reader
never unpickles. It interprets only the opcodes that `torch.save(model.state_dict(), path)` writes; the few
global names among them are compared as strings and never looked up, and anything else is refused.

Both layouts of torch/serialization.py are read: the legacy one (`_legacy_save`: five pickles, then the raw
storages; the default before PyTorch 1.6) and the zip archive (`_save`).
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gcnxmodal.errors import InputError

_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
# PyTorch writes storages little-endian. A new type is one line.
_STORAGE_DTYPES = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def read_torch_weights(path: Path) -> dict[str, np.ndarray]:
    """Return {name: array} of a state dict saved by PyTorch, in the file's order.

    Raises:
        InputError: if the file is missing, truncated or damaged, holds anything but named dense tensors, or
            names any other global; the message gives the file and the refused name.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: the weights cannot be read ({error.strerror}); give an existing file"
        ) from error
    try:
        tensors, storage_bytes = _read_zip(data) if data.startswith(b"PK") else _read_legacy(data)
        return {name: _array(tensor, storage_bytes) for name, tensor in tensors.items()}
    except _RefusedError as error:
        raise InputError(
            f"{path}: {error}; save only `model.state_dict()`, and trust no file that needs more"
        ) from None
    except Exception as error:  # whatever a damaged file makes a parser raise, its reader learns the same
        raise InputError(
            f"{path}: not a whole PyTorch state dict ({type(error).__name__}: {error}); fetch the file again"
        ) from error


class _RefusedError(ValueError):
    """The file is well formed but asks for something a state dict has no need of."""


@dataclasses.dataclass(frozen=True)
class _Name:
    """A global the pickle mentions, "module name": an inert label, never resolved."""

    text: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    numel: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A strided view of a storage; offset and stride count elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


_StorageBytes = Callable[[_Storage], bytes | memoryview]


def _read_legacy(data: bytes) -> tuple[dict[str, _Tensor], _StorageBytes]:
    """magic, protocol, system information, the object, storage keys; then (int64 count, elements) a key."""
    stream = io.BytesIO(data)
    magic, protocol, _ = (_interpret(stream) for _ in range(3))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise _RefusedError("is a pickle but not a PyTorch file")
    tensors = _state_dict(_interpret(stream))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    blocks = {}
    for key in _require(_interpret(stream), list):
        storage = storages[_require(key, str)]
        header = stream.read(8)
        count = int.from_bytes(header, "little", signed=True)
        if len(header) < 8 or count != storage.numel:
            raise EOFError(f"storage {key} declares {storage.numel} elements, its header {count}")
        start = stream.tell()
        stream.seek(count * storage.dtype.itemsize, io.SEEK_CUR)
        blocks[key] = memoryview(data)[start : stream.tell()]
    return tensors, lambda storage: blocks[storage.key]


def _read_zip(data: bytes) -> tuple[dict[str, _Tensor], _StorageBytes]:
    """`<root>/data.pkl` is the object, `<root>/data/<key>` the elements of a storage."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    (root,) = (name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl"))

    def record(name: str) -> bytes:
        information = archive.getinfo(root + name)
        # PyTorch stores records as they are; refusing compression bounds memory by the file's size.
        if information.compress_type != zipfile.ZIP_STORED:
            raise _RefusedError(f"record {information.filename!r} is compressed, which PyTorch never writes")
        return archive.read(information)

    if root + "byteorder" in archive.namelist() and record("byteorder") != b"little":
        raise _RefusedError("was written by a big-endian machine")
    tensors = _state_dict(_interpret(io.BytesIO(record("data.pkl"))))
    return tensors, lambda storage: record(f"data/{storage.key}")


def _state_dict(value: Any) -> dict[str, _Tensor]:
    if not isinstance(value, dict):
        raise _RefusedError(f"holds {type(value).__name__}, not a state dict")
    for name, tensor in value.items():
        if not isinstance(tensor, _Tensor):
            raise _RefusedError(f"entry {name!r} holds {type(tensor).__name__}, not a tensor")
    return value


def _array(tensor: _Tensor, storage_bytes: _StorageBytes) -> np.ndarray:
    """Copy the view out of its storage, after checking that it lies inside."""
    storage, size, stride = tensor.storage, tensor.size, tensor.stride
    flat = np.frombuffer(storage_bytes(storage), storage.dtype)
    if len(flat) != storage.numel:
        raise EOFError(f"storage {storage.key} has {len(flat)} of {storage.numel} elements")
    counts = (tensor.offset, *size, *stride)
    if len(size) != len(stride) or not all(type(count) is int and count >= 0 for count in counts):
        raise _RefusedError("a tensor has a size, stride or offset that is no natural number")
    if 0 in size:
        return np.empty(size, storage.dtype)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # A stride of 0 may repeat elements without end: a state dict has no use for it.
    if last >= storage.numel or math.prod(size) > storage.numel:
        raise _RefusedError(
            f"a tensor of size {size} reaches outside its storage of {storage.numel} elements"
        )
    strides = tuple(step * storage.dtype.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], size, strides).copy()


def _interpret(stream: io.BytesIO) -> Any:
    """Run one pickle on a machine that knows no functions; leave the stream after its STOP."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def pop_to_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(stream):
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode.name[-1]))]
                stack.append(tuple(reversed(items)))
            case "APPEND":
                items = [stack.pop()]
                _require(stack[-1], list).extend(items)
            case "APPENDS":
                items = pop_to_mark()
                _require(stack[-1], list).extend(items)
            case "SETITEM":
                item, key = stack.pop(), stack.pop()
                _require(stack[-1], dict)[_require(key, str)] = item
            case "SETITEMS":
                items = pop_to_mark()
                keys = (_require(key, str) for key in items[::2])
                _require(stack[-1], dict).update(zip(keys, items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_known(str(argument)))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "BUILD":  # the `_metadata` attribute of a state dict: versions of modules, of no use here
                stack.pop()
                _require(stack[-1], dict)
            case name:
                raise _RefusedError(f"refused the pickle opcode {name}")
    raise EOFError("a pickle without an end")  # genops has raised already; this tells the type checker


def _require(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _RefusedError(f"uses {type(value).__name__} where {kind.__name__} belongs")
    return value


def _known(name: str) -> _Name:
    if name not in (_ORDERED_DICT, _REBUILD_TENSOR, *_STORAGE_DTYPES):
        raise _RefusedError(f"refused the global {name.replace(' ', '.')!r}")
    return _Name(name)


def _storage(persistent_id: Any) -> _Storage:
    """("storage", type, key, device, elements); the legacy layout appends None, or a view of old PyTorch."""
    match persistent_id:
        case ("storage", _Name(kind), str(key), str(), int(numel)) if kind in _STORAGE_DTYPES:
            return _Storage(key, _STORAGE_DTYPES[kind], numel)
        case ("storage", _Name(kind), str(key), str(), int(numel), None) if kind in _STORAGE_DTYPES:
            return _Storage(key, _STORAGE_DTYPES[kind], numel)
    raise _RefusedError("refused a persistent id that is no dense storage")


def _call(function: Any, arguments: Any) -> Any:
    """The two calls of a state dict; a tensor's last two arguments (gradient flag, hooks) are dropped."""
    match function, arguments:
        case _Name(text), () if text == _ORDERED_DICT:
            return {}
        case _Name(text), (
            _Storage() as storage,
            int(offset),
            tuple(size),
            tuple(stride),
            bool(),
            dict(),
        ) if text == _REBUILD_TENSOR:
            return _Tensor(storage, offset, size, stride)
    called = function.text if isinstance(function, _Name) else type(function).__name__
    raise _RefusedError(f"refused a call of {called!r} with unexpected arguments")
