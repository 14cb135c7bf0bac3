"""What moves a score: gradient times input, against finite differences and sums."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gcnxmodal.chebyshev import pack
from gcnxmodal.nn.encoders import GraphText, LSTMText
from gcnxmodal.nn.layers import Features
from gcnxmodal.systems.scanet import SCANet


@pytest.fixture
def model(ring_laplacian) -> SCANet:
    rngs = nnx.Rngs(1)
    text = GraphText(pack(ring_laplacian), (2, 2), 3, rngs=rngs)
    options = {"attention_scale": "half-d", "attention_relu": False}
    return SCANet(text, Features(5), layers=2, dimension=8, rngs=rngs, **options)


def test_words_are_counts_times_the_derivative_of_the_score(model):
    random = np.random.default_rng(0)
    N = model.text.width // 2
    counts = random.poisson(1.0, (3, N)).astype(np.float32)
    images = random.standard_normal((3, 5)).astype(np.float32)
    found = model.explain(jnp.asarray(counts), jnp.asarray(images))

    def score(counts):
        return np.asarray(
            model.score_aligned(model.encode_texts(jnp.asarray(counts)), model.encode_images(images))
        )

    np.testing.assert_allclose(found.scores, score(counts), rtol=1e-5)
    step = 1e-2
    for word in range(N):
        change = np.zeros_like(counts)
        change[:, word] = step
        slope = (score(counts + change) - score(counts - change)) / (2 * step)
        np.testing.assert_allclose(
            found.words[:, word], counts[:, word] * slope, rtol=0.05, atol=2e-3 * np.abs(found.words).max()
        )


def test_attention_is_each_layers_distribution(model):
    counts, images = jnp.ones((2, model.text.width // 2)), jnp.ones((2, 5))
    found = model.explain(counts, images)
    for weights in (found.text_attention, found.image_attention):
        assert weights.shape == (2, 2, 8)
        np.testing.assert_allclose(weights.sum(axis=-1), 8 / 2, rtol=1e-5)  # a softmax times D/2
    first = model.attention[0].attend_texts(model.encode_texts(counts))
    np.testing.assert_allclose(found.text_attention[0], first, rtol=1e-5)


def test_of_a_sequence_each_place_has_its_share_and_padding_none():
    vectors = jnp.asarray(np.random.default_rng(0).standard_normal((6, 4)), jnp.float32)
    rngs = nnx.Rngs(0)
    model = SCANet(LSTMText(vectors, 5, rngs=rngs), Features(3), layers=0, dimension=8, rngs=rngs)
    words = jnp.array([[1, 2, 3, -1], [4, -1, -1, -1]])
    found = model.explain(words, jnp.ones((2, 3)))
    assert found.text_attention.shape == (0, 2, 8)
    np.testing.assert_array_equal(np.asarray(found.words) != 0, np.asarray(words) >= 0)
