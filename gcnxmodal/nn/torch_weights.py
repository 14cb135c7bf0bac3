"""Read the tensors of a PyTorch state dict (`.pth`) without PyTorch and without executing anything.

A `.pth` file is a pickle, and a pickle is a program: unpickling calls whatever the file names. This reader
never unpickles. It interprets only the opcodes that `torch.save(model.state_dict(), path)` writes; the few
global names among them are compared as strings and never looked up, and anything else is refused.
"""

import functools
import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gcnxmodal.data.files import ALWAYS

SHARED = 4  # how often a storage may be there in memory, on average, as views of it are copies
MOST_OPCODES = 1_000_000  # of a pickle; a tensor takes about 25
_ORDERED_DICT, _REBUILD_TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
# PyTorch writes storages little-endian.
_TYPES = dict(Double="<f8", Float="<f4", Half="<f2", Long="<i8", Int="<i4", Byte="u1", Bool="?")
_DTYPES = {f"torch {name}Storage": np.dtype(code) for name, code in _TYPES.items()}
_LEGACY_HEADER = 0x1950A86A20F9469CFC6C, 1001  # magic number and protocol
_NUMBERS_AND_TEXT = ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_POPPED = dict(TUPLE1=1, TUPLE2=2, TUPLE3=3, APPEND=1, SETITEM=2, BINPERSID=1, REDUCE=2, BUILD=1)


class RefusedError(ValueError):
    """The file is well formed but asks for something a state dict has no need of."""


class _Name(str):
    """A global the pickle mentions, "module name": an inert label, never resolved."""


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    numel: int


class _Tensor(NamedTuple):  # a strided view of a storage; offset and stride count elements
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


_StateDict = tuple[dict[str, _Tensor], Callable[[_Storage], bytes | memoryview]]  # and what finds its bytes


def read_torch_weights(data: bytes) -> dict[str, np.ndarray]:
    """{name: array} of a state dict saved by PyTorch, in the file's order; see `weights.read_weights`.

    Raises:
        RefusedError: if it holds anything but named dense tensors, or names any other global.
        Exception: any, if it is damaged.
    """
    tensors, bytes_of = _read_zip(data) if data.startswith(b"PK") else _read_legacy(data)
    promised = sum(math.prod(tensor.size) * tensor.storage.dtype.itemsize for tensor in tensors.values())
    if promised > max(ALWAYS, SHARED * len(data)):
        raise RefusedError(f"its tensors would take {promised:,} bytes of memory, but it has {len(data):,}")
    return {name: _array(tensor, bytes_of(tensor.storage)) for name, tensor in tensors.items()}


def _read_legacy(data: bytes) -> _StateDict:
    """`_legacy_save` of torch/serialization.py, the default before PyTorch 1.6: magic, protocol, system
    information, the object and the storage keys, each a pickle; then (int64 count, elements) a key.
    """
    stream = io.BytesIO(data)
    if tuple(_interpret(stream) for _ in range(3))[:2] != _LEGACY_HEADER:
        raise RefusedError("is a pickle but not a PyTorch file")
    tensors = _state_dict(_interpret(stream))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    blocks = {}
    for key in _require(_interpret(stream), list):
        size = storages[key].numel * storages[key].dtype.itemsize
        if stream.read(8) != storages[key].numel.to_bytes(8, "little", signed=True):
            raise EOFError(f"storage {key} has not the {storages[key].numel} elements it declares")
        blocks[key] = memoryview(data)[stream.tell() : stream.seek(size, io.SEEK_CUR)]
    return tensors, lambda storage: blocks[storage.key]


def _read_zip(data: bytes) -> _StateDict:
    """`_save` of the same: `<root>/data.pkl` is the object, `<root>/data/<key>` the elements of a storage."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    (root,) = (name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl"))

    @functools.cache
    def record(name: str) -> bytes:
        # PyTorch stores records as they are; refusing compression bounds memory by the file's size.
        if archive.getinfo(root + name).compress_type != zipfile.ZIP_STORED:
            raise RefusedError(f"record {root + name!r} is compressed, which PyTorch never writes")
        return archive.read(root + name)

    if root + "byteorder" in archive.namelist() and record("byteorder") != b"little":
        raise RefusedError("was written by a big-endian machine")
    tensors = _state_dict(_interpret(io.BytesIO(record("data.pkl"))))
    return tensors, lambda storage: record(f"data/{storage.key}")  # once, however many tensors share it


def _state_dict(value: Any) -> dict[str, _Tensor]:
    if type(value) is not dict:
        raise RefusedError(f"holds {type(value).__name__}, not a state dict")
    for name, tensor in value.items():
        if not isinstance(tensor, _Tensor):
            raise RefusedError(f"entry {name!r} holds {type(tensor).__name__}, not a tensor")
    return value


def _array(tensor: _Tensor, storage_bytes: bytes | memoryview) -> np.ndarray:
    """Copy the view out of its storage, after checking that it lies inside."""
    (key, dtype, numel), offset, size, stride = tensor
    flat = np.frombuffer(storage_bytes, dtype)
    if len(flat) != numel:
        raise EOFError(f"storage {key} has {len(flat)} of {numel} elements")
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise RefusedError("a tensor has a size, stride or offset that is no natural number")
    if 0 in size:
        return np.empty(size, dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # A stride of 0 may repeat elements without end: a state dict has no use for it.
    if last >= numel or math.prod(size) > numel:
        raise RefusedError(f"a tensor of size {size} reaches outside its storage of {numel} elements")
    strides = tuple(step * dtype.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(flat[offset:], size, strides).copy()


def _interpret(stream: io.BytesIO) -> Any:
    """Run one pickle on a machine that knows no functions; leave the stream after its STOP."""
    stack, outer, memo = [], [], {}  # `outer`: the stacks below the marks
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name, items = opcode.name, []
        if number == MOST_OPCODES:
            raise RefusedError(f"has a pickle of more than {MOST_OPCODES:,} opcodes")
        if name in ("TUPLE", "APPENDS", "SETITEMS"):
            items, stack = stack, outer.pop()
        elif name in _POPPED:
            items = [stack.pop() for _ in range(_POPPED[name])][::-1]
        if name == "STOP":
            return stack.pop()
        elif name == "MARK":
            outer.append(stack)
            stack = []
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _NUMBERS_AND_TEXT:
            stack.append(argument)
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(items))
        elif name in ("APPEND", "APPENDS"):
            _require(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            keys = [_require(key, str) for key in items[::2]]
            _require(stack[-1], dict).update(zip(keys, items[1::2], strict=True))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            if argument not in (_ORDERED_DICT, _REBUILD_TENSOR, *_DTYPES):
                raise RefusedError(f"refused the global {str(argument).replace(' ', '.')!r}")
            stack.append(_Name(argument))
        elif name == "BINPERSID":
            stack.append(_storage(*items))
        elif name == "REDUCE":
            stack.append(_call(*items))
        elif name == "BUILD":  # the `_metadata` of a state dict: versions of modules, of no use here
            _require(stack[-1], dict)
        elif name != "PROTO":
            raise RefusedError(f"refused the pickle opcode {name}")


def _require(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise RefusedError(f"uses {type(value).__name__} where {kind.__name__} belongs")
    return value


def _storage(persistent_id: Any) -> _Storage:
    """("storage", type, key, device, elements); the legacy layout appends None, or a view of old PyTorch."""
    match persistent_id:
        case ("storage", _Name() as kind, str(key), str(), int(numel), *rest) if kind in _DTYPES:
            if rest in ([], [None]):
                return _Storage(key, _DTYPES[kind], numel)
    raise RefusedError("refused a persistent id that is no dense storage")


def _call(function: Any, arguments: Any) -> Any:
    """The two calls of a state dict; a tensor's last two arguments (gradient flag, hooks) are dropped."""
    match function, arguments:
        case _Name(), () if function == _ORDERED_DICT:
            return {}
        case _Name(), (_Storage() as storage, int(offset), tuple(size), tuple(stride), bool(), dict()) if (
            function == _REBUILD_TENSOR
        ):
            return _Tensor(storage, offset, size, stride)  # pyright: ignore[reportArgumentType]
    raise RefusedError(f"refused a call of {function!r} with unexpected arguments")
