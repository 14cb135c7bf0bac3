"""CNN-F against PyTorch with the same weights, and its published files."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import torch
from flax import nnx
from safetensors.numpy import save_file

from gcnxmodal.errors import InputError
from gcnxmodal.nn.cnnf import CNNF, MEAN, local_response_normalisation, max_pool

SMALL = {"filters": (6, 8, 7, 7, 5), "features": 11}
POOLED, NORMALISED = (1, 2, 5), (1, 2)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """Random weights of the small network, as the published file arranges them."""
    random = np.random.default_rng(0)
    found = {"mean": random.uniform(90, 130, (224, 224, 3)).astype(np.float32)}
    sides, channels = (11, 5, 3, 3, 3, 6, 1), (3, *SMALL["filters"], 11, 11)
    names = (*(f"conv{number}" for number in range(1, 6)), "fc6", "fc7")
    for name, side, before, after in zip(names, sides, channels, channels[1:], strict=False):
        scale = np.sqrt(2 / (side * side * before))
        found[f"{name}.weight"] = random.normal(0, scale, (side, side, before, after)).astype(np.float32)
        found[f"{name}.bias"] = random.uniform(-1, 1, after).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def compiled(model: CNNF, pixels: np.ndarray) -> np.ndarray:
    """fc7 by one program for all tests."""
    return np.asarray(_run(*nnx.split(model), pixels))


@functools.partial(jax.jit, static_argnums=0)
def _run(graphdef, state, pixels):
    return nnx.merge(graphdef, state)(pixels)


def in_torch(tensors, pixels: np.ndarray) -> np.ndarray:
    """MatConvNet's network layer by layer: pads [0 1 0 1] before each maximum, 5 channels normalised."""
    x = torch.tensor(pixels.astype(np.float32) - tensors["mean"]).permute(0, 3, 1, 2)
    for number in range(1, 6):
        weight = torch.tensor(tensors[f"conv{number}.weight"]).permute(3, 2, 0, 1)
        bias, padding = torch.tensor(tensors[f"conv{number}.bias"]), (0, 2, 1, 1, 1)[number - 1]
        x = torch.nn.functional.conv2d(x, weight, bias, stride=4 if number == 1 else 1, padding=padding)
        x = torch.relu(x)
        if number in NORMALISED:
            # PyTorch divides alpha by the 5 channels.
            x = torch.nn.functional.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
        if number in POOLED:
            x = torch.nn.functional.max_pool2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), 3, 2)
    for name in ("fc6", "fc7"):
        weight = torch.tensor(tensors[f"{name}.weight"]).permute(3, 2, 0, 1)
        x = torch.relu(torch.nn.functional.conv2d(x, weight, torch.tensor(tensors[f"{name}.bias"])))
    return x[:, :, 0, 0].numpy()


def save_matconvnet(path, tensors, *, old: bool) -> None:
    """As MatConvNet saved its networks: a row of cells, with the layers that hold no weights between them."""
    layers = []
    for name in (*(f"conv{number}" for number in range(1, 6)), "fc6", "fc7", "fc8"):
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        if weight is None:
            weight, bias = np.zeros((1, 1, 11, 4), np.float32), np.zeros(4, np.float32)
        layer = {"name": name, "type": "conv", "pad": [0.0, 0.0, 0.0, 0.0], "stride": [1.0, 1.0]}
        if old:
            layer |= {"filters": weight, "biases": bias[None]}
        else:
            cells = np.empty((1, 2), object)
            cells[0, 0], cells[0, 1] = weight, bias[:, None]
            layer["weights"] = cells
        layers += [layer, {"name": name.replace("conv", "relu"), "type": "relu"}]
    layers.append({"name": "prob", "type": "softmax", "weights": np.empty((0, 0), object)})
    cells = np.empty((1, len(layers)), object)
    cells[0] = layers
    normalization = {"imageSize": [224.0, 224.0, 3.0], "averageImage": tensors["mean"]}
    about = {"normalization": normalization} if old else {"meta": {"normalization": normalization}}
    scipy.io.savemat(path, {"layers": cells, **about}, do_compression=True)


def read_from(path) -> CNNF:
    model = CNNF(**SMALL, rngs=nnx.Rngs(0))
    model.load_weights(path)
    return model


@pytest.mark.parametrize("file", ["old.mat", "new.mat", "table.safetensors"])
def test_fc7_equals_pytorch_with_the_weights_of_each_file(tmp_path, tensors, pixels, file):
    path = tmp_path / file
    if file.endswith("safetensors"):
        save_file(tensors, path)
    else:
        save_matconvnet(path, tensors, old=file == "old.mat")
    model = read_from(path)
    found, expected = compiled(model, pixels), in_torch(tensors, pixels)
    assert found.shape == (2, model.width)
    assert (expected > 0).any(axis=1).all()
    np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())


def test_the_published_size_is_the_default():
    model = nnx.eval_shape(lambda: CNNF(rngs=nnx.Rngs(0)))
    shapes = [layer.kernel.get_value().shape for layer in (*model.convolutions, model.fc6, model.fc7)]
    assert shapes == [
        (11, 11, 3, 64),
        (5, 5, 64, 256),
        *[(3, 3, 256, 256)] * 3,
        (6 * 6 * 256, 4096),
        (4096, 4096),
    ]
    graphdef, state = nnx.split(model)
    pictures = jax.ShapeDtypeStruct((3, 224, 224, 3), jnp.uint8)
    assert jax.eval_shape(lambda s, x: nnx.merge(graphdef, s)(x), state, pictures).shape == (3, 4096)
    assert model.width == 4096


def test_normalisation_is_matconvnets_definition_at_the_borders_too():
    x = np.random.default_rng(0).normal(0, 60, (2, 3, 1, 7)).astype(np.float32)
    expected = np.empty_like(x)
    for channel in range(7):
        beside = x[..., max(0, channel - 2) : channel + 3].astype(np.float64)
        expected[..., channel] = x[..., channel] / (2 + 1e-4 * (beside**2).sum(axis=-1)) ** 0.75
    np.testing.assert_allclose(local_response_normalisation(jnp.asarray(x)), expected, rtol=1e-5)


@pytest.mark.parametrize(("side", "pooled"), [(54, 27), (27, 13), (13, 6)])
def test_the_maximum_reaches_beyond_the_last_row_of_an_even_map_only(side, pooled):
    x = -np.random.default_rng(0).uniform(1, 2, (1, side, side, 2)).astype(np.float32)
    found = np.asarray(max_pool(jnp.asarray(x)))
    assert found.shape == (1, pooled, pooled, 2)
    for row, column in ((0, 0), (pooled - 1, pooled - 1), (3, pooled - 1)):
        window = x[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        assert window.shape[0] == (2 if side == 54 and row == pooled - 1 else 3)
        np.testing.assert_array_equal(found[0, row, column], window.max(axis=(0, 1)))


def test_every_parameter_has_a_finite_gradient_also_at_the_extremes_of_pictures(tensors, tmp_path):
    save_file(tensors, tmp_path / "w.safetensors")
    model = read_from(tmp_path / "w.safetensors")
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    pixels = np.random.default_rng(2).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    pixels[0], pixels[1] = 0, 255

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p, rest)(jnp.asarray(pixels)) ** 2))(params)

    leaves = jax.tree.leaves(gradient(params))
    assert len(leaves) == 2 * 7
    for leaf in leaves:
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 0


def test_without_a_mean_in_the_file_it_is_the_published_colour(tensors, tmp_path):
    without = {name: array for name, array in tensors.items() if name != "mean"}
    save_file(without, tmp_path / "w.safetensors")
    model = read_from(tmp_path / "w.safetensors")
    np.testing.assert_allclose(model.mean.get_value()[17, 200], MEAN)
    save_file({**without, "mean": np.array([1, 2, 3], np.float32)}, tmp_path / "w.safetensors")
    model.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(model.mean.get_value()[17, 200], [1, 2, 3])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("conv2.weight", np.zeros((3, 3, 6, 8)), r"conv2\.weight has shape \[3, 3, 6, 8\], expected \[5, 5"),
        ("fc6.weight", np.zeros((7, 7, 5, 11)), r"fc6\.weight has shape \[7, 7, 5, 11\], expected \[6, 6"),
        ("fc7.bias", np.zeros(12), r"fc7\.bias has shape \[12\], expected \[11\]"),
        ("mean", np.zeros((256, 256, 3)), r"mean has shape \[256, 256, 3\], expected \[224, 224, 3\]"),
        ("conv6.weight", np.zeros(3), r"has the tensor 'conv6\.weight', which a CNN-F has not"),
        ("conv3.bias", None, r"has no tensor 'conv3\.bias'"),
    ],
)  # fmt: skip
def test_a_wrong_tensor_is_named_and_nothing_is_taken(tensors, tmp_path, name, array, message):
    changed = {key: value for key, value in tensors.items() if key != name}
    if array is not None:
        changed[name] = array.astype(np.float32)
    path = tmp_path / "other.safetensors"
    save_file(changed, path)
    model = CNNF(**SMALL, rngs=nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.state(model))
    with pytest.raises(InputError, match=r"other\.safetensors: " + message + ".*give the weights of a CNN-F"):
        model.load_weights(path)
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.asarray, nnx.state(model)))


def test_files_that_are_no_network_are_input_errors(tmp_path):
    path = tmp_path / "w.mat"
    model = CNNF(**SMALL, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=r"w\.mat: there is no such file; give the file of the weights"):
        model.load_weights(path)
    scipy.io.savemat(path, {"layers": np.arange(3.0), "meta": {"normalization": 5.0}})
    with pytest.raises(InputError, match=r"w\.mat: has no cell array `layers` with weights"):
        model.load_weights(path)
    data = path.read_bytes()
    for length in (0, 3, 60, 130, len(data) - 8):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"w\.mat: "):
            model.load_weights(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(100))
    with pytest.raises(InputError, match=r"save it with save\(\.\.\., '-v7'\)"):
        model.load_weights(path)
