import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from gcnxmodal.errors import InputError
from gcnxmodal.nn.weights import Weights, read_weights


def test_the_layout_is_told_by_content_not_by_name(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"w": array}, tmp_path / "table.pth")
    torch.save({"w": torch.from_numpy(array)}, tmp_path / "pickle.safetensors")
    for name in ("table.pth", "pickle.safetensors"):
        np.testing.assert_array_equal(read_weights(tmp_path / name)["w"], array, strict=True)


def test_every_truncation_of_safetensors_is_an_input_error(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"w": np.ones(3, np.float32)}, path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"w\.safetensors: .*fetch the file again"):
            read_weights(path)


def test_safetensors_of_a_type_numpy_lacks_is_an_input_error(tmp_path):
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        read_weights(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pth: the weights cannot be read \(No such file"):
        read_weights(tmp_path / "nowhere.pth")


def test_integers_are_no_weights():
    weights = Weights({"w": np.ones(2, np.int64)}, "file", "net")
    with pytest.raises(
        InputError, match="file: w is int64, expected floating-point numbers; give the weights"
    ):
        weights.take("w", (2,))


def test_folding_equals_convolution_then_batch_normalisation():
    random = np.random.default_rng(0)
    norm = torch.nn.BatchNorm2d(3, eps=1e-3).eval()
    convolution = torch.nn.Conv2d(2, 3, 3, bias=False)
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values.copy_(torch.from_numpy(random.uniform(0.1, 3, 3)))
    network = torch.nn.Sequential(convolution, norm)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    weights = Weights(tensors, "file", "net")
    weight, bias = weights.take_normalised("0", "1", (3, 2, 3, 3), 1e-3)
    weights.require_all_taken()
    x = torch.from_numpy(random.standard_normal((1, 2, 5, 5)).astype(np.float32))
    with torch.inference_mode():
        folded = torch.nn.functional.conv2d(x, torch.from_numpy(weight), torch.from_numpy(bias))
        torch.testing.assert_close(folded, network(x))
