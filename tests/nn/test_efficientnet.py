import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from flax import nnx
from jax import lax

from gcnxmodal.errors import InputError
from gcnxmodal.nn.picture_encoders import Depthwise, EfficientNetLite0


@pytest.fixture(scope="module")
def encode():
    graph, weights = nnx.split(EfficientNetLite0.load_pretrained(EfficientNetLite0.weights_path()))
    encode = jax.jit(lambda weights, pictures: nnx.merge(graph, weights)(pictures))
    return lambda pictures: np.asarray(encode(weights, pictures))


def torch_features(pictures_BHWC: np.ndarray) -> np.ndarray:
    reference = EfficientNet.from_name("efficientnet-lite0", image_size=pictures_BHWC.shape[1]).eval()
    reference.load_state_dict(torch.load(EfficientNetLite0.weights_path(), weights_only=True))
    with torch.inference_mode():
        maps_BCHW = reference.extract_features(torch.from_numpy(pictures_BHWC).permute(0, 3, 1, 2))
    return maps_BCHW.mean((2, 3)).numpy()


# 224: as it was trained. 192: the default of the emoji corpus. 75: every stride meets an odd side.
@pytest.mark.parametrize("resolution", [224, 192, 75])
def test_features_equal_pytorch(encode, resolution):
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, resolution, resolution, 3)).astype(np.float32)
    expected, found = torch_features(pictures), encode(pictures)
    assert found.shape == (2, 1280)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [1, 7, 8])
def test_shifted_adds_equal_the_grouped_convolution(kernel, stride, side):
    random = np.random.default_rng(kernel * 100 + stride * 10 + side)
    x_BHWC = random.standard_normal((2, side, side + 3, 6)).astype(np.float32)
    weight_C1KK = random.standard_normal((6, 1, kernel, kernel)).astype(np.float32)
    bias_C = random.standard_normal(6).astype(np.float32)
    expected = lax.conv_general_dilated(
        jnp.asarray(x_BHWC),
        jnp.asarray(weight_C1KK),
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        feature_group_count=6,
        precision=lax.Precision.HIGHEST,
    )
    found = jax.jit(Depthwise(weight_C1KK, bias_C, stride).__call__)(x_BHWC)
    np.testing.assert_allclose(found, expected + bias_C, rtol=1e-5, atol=1e-5)


def test_pixels_are_normalised_as_the_lite_networks_were_trained():
    pixels = jnp.asarray([0, 127, 255], jnp.uint8).reshape(1, 1, 3)
    normalised = EfficientNetLite0.normalise(pixels).ravel()
    np.testing.assert_array_equal(normalised, np.array([-127 / 128, 0, 1], np.float32))


def test_weights_of_another_network_are_named(tmp_path):
    path = tmp_path / "linear.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match=r"linear\.pth: has no tensor '_conv_stem\.weight'"):
        EfficientNetLite0.load_pretrained(path)


def test_tensor_of_another_shape_is_named(tmp_path):
    path = tmp_path / "narrow.pth"
    weights = torch.load(EfficientNetLite0.weights_path(), weights_only=True)
    name = "_blocks.3._depthwise_conv.weight"
    weights[name] = weights[name][:, :, :3, :3]
    torch.save(weights, path)
    with pytest.raises(
        InputError, match=rf"narrow\.pth: {name} has shape \[144, 1, 3, 3\], expected \[144, 1, 5, 5\]"
    ):
        EfficientNetLite0.load_pretrained(path)
