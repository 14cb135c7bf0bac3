"""CNN-5 against PyTorch with the same weights, and what varies pictures in training."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from gcnxmodal.nn.encoders import CNN5, flip_and_shift


def test_cnn5_equals_pytorch():
    model = CNN5(64, rngs=nnx.Rngs(0))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    x = torch.tensor(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    for convolution in model.convolutions:
        weight, bias = (
            torch.tensor(np.asarray(a.get_value())) for a in (convolution.kernel, convolution.bias)
        )
        x = torch.relu(torch.nn.functional.conv2d(x, weight.permute(3, 2, 0, 1), bias, padding=1))
        x = torch.nn.functional.max_pool2d(x, 2)
    expected = x.permute(0, 2, 3, 1).reshape(3, -1).numpy()
    found = model(jnp.asarray(pixels))
    assert found.shape == (3, model.width)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_each_picture_is_one_of_its_flips_and_shifts_and_they_differ():
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    varied = np.asarray(flip_and_shift(jax.random.key(0), jnp.asarray(np.tile(picture, (40, 1, 1, 1)))))
    possible = set()
    for flipped in (picture, picture[:, ::-1]):
        padded = np.pad(flipped, ((2, 2), (2, 2), (0, 0)), mode="edge")
        possible |= {padded[i : i + 16, j : j + 16].tobytes() for i in range(5) for j in range(5)}
    found = {one.tobytes() for one in varied}
    assert varied.dtype == np.uint8
    assert found <= possible
    assert len(found) > 10


def test_the_key_decides():
    pictures = jnp.asarray(np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
    one, same, other = (flip_and_shift(jax.random.key(seed), pictures) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
