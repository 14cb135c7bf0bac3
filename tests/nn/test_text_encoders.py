"""The text encoders that read words in order, against PyTorch with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from gcnxmodal.nn.encoders import WIDTHS, CNNText, LSTMText

N, E = 11, 6
VECTORS = np.random.default_rng(0).standard_normal((N, E)).astype(np.float32)
# Texts of 9, 4, 2, 1 and no words.
WORDS = np.full((5, 9), -1, np.int32)
for row, length in enumerate((9, 4, 2, 1, 0)):
    WORDS[row, :length] = np.random.default_rng(row).integers(0, N, length)


def of(variable):
    return torch.tensor(np.asarray(variable.get_value()))


def test_lstm_equals_pytorch_on_each_text_without_its_padding():
    path = LSTMText(jnp.asarray(VECTORS), 7, rngs=nnx.Rngs(0))
    path.input.bias.set_value(jax.random.normal(jax.random.key(1), (28,)))
    lstm = torch.nn.LSTM(E, 7)
    # PyTorch's gates are i, f, g, o too; its forget gate has no + 1.
    forget = torch.zeros(28)
    forget[7:14] = 1
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(of(path.input.kernel).T)
        lstm.weight_hh_l0.copy_(of(path.recurrent.kernel).T)
        lstm.bias_ih_l0.copy_(of(path.input.bias) + forget)
        lstm.bias_hh_l0.zero_()
    found = np.asarray(path(jnp.asarray(WORDS)))
    for row, words in enumerate(WORDS):
        read = VECTORS[words[words >= 0]]
        expected = lstm(torch.tensor(read))[0][-1].detach().numpy() if len(read) else np.zeros(7)
        np.testing.assert_allclose(found[row], expected, atol=1e-6)


def test_cnn_equals_pytorch_on_each_text_without_its_padding():
    path = CNNText(jnp.asarray(VECTORS), rngs=nnx.Rngs(0))
    for convolution in path.convolutions:
        convolution.bias.set_value(jax.random.normal(jax.random.key(2), convolution.bias.get_value().shape))
    found = np.asarray(path(jnp.asarray(WORDS)))
    for row, words in enumerate(WORDS):
        expected = []
        for convolution, width in zip(path.convolutions, WIDTHS, strict=True):
            read = np.zeros((max(width, (words >= 0).sum()), E), np.float32)
            read[: (words >= 0).sum()] = VECTORS[words[words >= 0]]
            weight = of(convolution.kernel).permute(2, 1, 0)
            maps = torch.nn.functional.conv1d(torch.tensor(read.T)[None], weight, of(convolution.bias))
            expected.append(torch.relu(maps)[0].amax(dim=1).numpy())
        np.testing.assert_allclose(found[row], np.concatenate(expected), atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "cnn"])
def test_word_vectors_stay_and_all_else_learns(kind):
    vectors, rngs = jnp.asarray(VECTORS), nnx.Rngs(0)
    path = LSTMText(vectors, 7, rngs=rngs) if kind == "lstm" else CNNText(vectors, rngs=rngs)
    gradient = nnx.grad(lambda m: jnp.sum(m(jnp.asarray(WORDS)) ** 2))(path)
    leaves = nnx.to_flat_state(gradient)
    assert "vectors" not in [name[0] for name, _ in leaves]
    assert all((leaf.get_value() != 0).any() for _, leaf in leaves)
