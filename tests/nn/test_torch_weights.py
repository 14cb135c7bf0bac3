import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.nn.picture_encoders import EfficientNetLite0
from gcnxmodal.nn.weights import read_weights

both_formats = pytest.mark.parametrize("as_zip", [False, True], ids=["legacy", "zip"])


def save(value, path: Path, as_zip: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=as_zip)
    return path


def state_dict() -> dict[str, torch.Tensor]:
    """Every dtype the reader knows, and every way a tensor lies in its storage."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    return OrderedDict(
        matrix=base,
        transposed=base.T,
        view=base[1:3, 2:5],
        column=base[:, 3],
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        double=torch.tensor([1e-300, 1.0], dtype=torch.float64),
        half=torch.tensor([0.5, -2.0], dtype=torch.float16),
        long=torch.tensor([-(2**40), 3]),
        int=torch.tensor([[7]], dtype=torch.int32),
        byte=torch.tensor([0, 255], dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
    )


def assert_equal(arrays: dict[str, np.ndarray], tensors: dict[str, torch.Tensor]) -> None:
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy(), strict=True)


@both_formats
def test_arrays_equal_what_torch_loads(tmp_path, as_zip):
    path = save(state_dict(), tmp_path / "weights.pth", as_zip)
    assert_equal(read_weights(path), torch.load(path, weights_only=True))


@both_formats
def test_state_dict_of_a_module_equals_what_torch_loads(tmp_path, as_zip):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    path = save(module.state_dict(), tmp_path / "weights.pth", as_zip)
    assert_equal(read_weights(path), torch.load(path, weights_only=True))


def test_pretrained_weights_equal_what_torch_loads():
    path = EfficientNetLite0.weights_path()
    assert_equal(read_weights(path), torch.load(path, weights_only=True))


class Call:
    """Pickles as a call, which unpickling performs."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@both_formats
def test_malicious_pickle_is_refused_and_not_run(tmp_path, as_zip):
    trace = tmp_path / "trace"
    attack = Call(os.system, f"touch {trace}")
    path = save({"weight": torch.zeros(2), "attack": attack}, tmp_path / "weights.pth", as_zip)
    with pytest.raises(InputError, match=rf"weights\.pth: refused the global '{os.name}\.system'"):
        read_weights(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the attack must be a working one"


def test_bare_malicious_pickle_is_refused_and_not_run(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {trace}"), protocol=2))
    with pytest.raises(InputError, match="refused the global"):
        read_weights(path)
    assert not trace.exists()


@both_formats
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.nn.Linear(2, 2), r"refused the global 'torch\.nn\.modules\.linear\.Linear'"),
        ({"w": Call(eval, "1")}, r"refused the global '__builtin__\.eval'"),
        ({"w": Call(OrderedDict, [("a", 1)])}, r"refused a call of 'collections OrderedDict'"),
        ({"w": torch.zeros(2).to_sparse()}, r"refused the global 'torch\._utils\._rebuild_sparse_tensor'"),
        ({"model": {"w": torch.zeros(2)}}, "entry 'model' holds dict, not a tensor"),
        ({"epoch": 3}, "entry 'epoch' holds int, not a tensor"),
        ({(1, 2): torch.zeros(2)}, "uses tuple where str belongs"),
        ([torch.zeros(2)], "holds list, not a state dict"),
        ({"w": torch.zeros(1).expand(9)}, "reaches outside its storage of 1 elements"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, r"refused the global 'torch\.ComplexFloatStorage'"),
    ],
    ids=["module", "eval", "arguments", "sparse", "nested", "number", "key", "list", "repeated", "complex"],
)
def test_anything_but_named_dense_tensors_is_refused(tmp_path, as_zip, value, message):
    path = save(value, tmp_path / "weights.pth", as_zip)
    with pytest.raises(InputError, match=message):
        read_weights(path)


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_malicious_pickle_of_another_protocol_is_refused(tmp_path, protocol):
    trace, path = tmp_path / "trace", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {trace}"), protocol))
    with pytest.raises(InputError, match=r"refused the (global|pickle opcode)"):
        read_weights(path)
    assert not trace.exists()


def test_view_outside_its_storage_is_refused(tmp_path):
    path = save({"w": torch.zeros(3, 5)}, tmp_path / "weights.pth", as_zip=False)
    stride = b"K\x05K\x01\x86"  # BININT1 5, BININT1 1, TUPLE2
    data = path.read_bytes()
    assert data.count(stride) == 1
    path.write_bytes(data.replace(stride, b"K\x06K\x01\x86"))
    with pytest.raises(InputError, match="reaches outside its storage of 15 elements"):
        read_weights(path)


def rewritten(path: Path, compression: int, replace: dict[str, bytes]) -> Path:
    """The same archive, stored otherwise and with some records replaced."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, replace.get(name.split("/", 1)[1], data))
    return path


@pytest.mark.parametrize(
    ("compression", "replace", "message"),
    [
        (zipfile.ZIP_DEFLATED, {}, "is compressed"),
        (zipfile.ZIP_STORED, {"byteorder": b"big"}, "big-endian"),
        (zipfile.ZIP_STORED, {"data/0": b"\0" * 4}, "storage 0 has 1 of 3 elements"),
    ],
)
def test_archive_that_torch_would_not_write_is_refused(tmp_path, compression, replace, message):
    path = save({"w": torch.zeros(3)}, tmp_path / "weights.pth", as_zip=True)
    with pytest.raises(InputError, match=message):
        read_weights(rewritten(path, compression, replace))


@both_formats
def test_every_truncation_is_an_input_error(tmp_path, as_zip):
    path = save({"a": torch.arange(3.0), "b": torch.ones(2)}, tmp_path / "weights.pth", as_zip)
    data = path.read_bytes()
    for length in range(0, len(data), 1 if not as_zip else 5):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"weights\.pth: "):
            read_weights(path)


@both_formats
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_give_arrays_or_an_input_error(tmp_path, as_zip, data):
    path = save({"a": torch.arange(3.0), "b": torch.ones(2)}, tmp_path / "weights.pth", as_zip)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        arrays = read_weights(path)
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pth: the weights cannot be read \(No such file"):
        read_weights(tmp_path / "nowhere.pth")


def test_text_file_is_no_weights(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("<html>404</html>")
    with pytest.raises(InputError, match="not a whole PyTorch state dict"):
        read_weights(path)


@both_formats
def test_tensors_that_share_a_storage_without_end_are_refused(tmp_path, as_zip):
    base = torch.zeros(2**16)
    path = save({f"w{number}": base for number in range(2000)}, tmp_path / "weights.pth", as_zip)
    with pytest.raises(InputError, match=r"weights\.pth: its tensors would take 524,288,000 bytes of memory"):
        read_weights(path)


def test_a_pickle_nested_two_million_deep_is_refused_at_once(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02)" + b"\x85" * 2_000_000 + b".")
    with pytest.raises(InputError, match=r"weights\.pth: has a pickle of more than 1,000,000 opcodes"):
        read_weights(tmp_path / "weights.pth")
