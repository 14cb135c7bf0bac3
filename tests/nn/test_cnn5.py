"""CNN-5 against PyTorch with the same weights."""

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from gcnxmodal.nn.cnn5 import CNN5


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
