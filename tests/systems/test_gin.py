import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.specs import make_gin
from gcnxmodal.graph.layout import pack
from gcnxmodal.systems.gin import GIN, loss


@pytest.fixture
def model(ring_laplacian) -> GIN:
    return make_gin(
        pack(ring_laplacian),
        image_size=5,
        filters=(2, 3),
        order=3,
        dimension=8,
        dropout=0.2,
        rngs=nnx.Rngs(0),
    )


def batch(size: int = 4, seed: int = 0):
    random = np.random.default_rng(seed)
    counts = jnp.asarray(random.poisson(1.0, (size, 12)), jnp.float32)
    return counts, jnp.asarray(random.standard_normal((size, 5)), jnp.float32)


def test_text_path_equals_the_equations_in_float64(model, ring_laplacian):
    counts, _ = batch()
    scaled = ring_laplacian.toarray()
    powers = [np.eye(12), scaled, 2 * scaled @ scaled - np.eye(12)]
    x = np.asarray(counts, np.float64)[:, :, None]
    for convolution in model.text.convolutions:
        theta = np.asarray(convolution.theta.get_value(), np.float64)
        x = sum(np.einsum("nm,bmf,fg->bng", t, x, theta[k]) for k, t in enumerate(powers))
        x = np.maximum(x + np.asarray(convolution.bias.get_value()), 0)
    kernel = np.asarray(model.text_head.kernel.get_value(), np.float64)
    expected = x.reshape(len(x), -1) @ kernel + np.asarray(model.text_head.bias.get_value())
    np.testing.assert_allclose(model.encode_texts(counts), expected, rtol=2e-5, atol=1e-5)


def test_grid_scores_hold_the_pair_scores_on_their_diagonal(model):
    counts, images = batch()
    texts, pictures = model.encode_texts(counts), model.encode_images(images)
    grid = model.score_grid(texts, pictures)
    np.testing.assert_allclose(jnp.diag(grid), model.score_pairs(texts, pictures), rtol=1e-5)


def test_ranking_by_folded_inner_product_is_ranking_by_score(model):
    counts, images = batch(6)
    texts, pictures = model.encode_texts(counts), model.encode_images(images)
    folded = model.fold_texts(texts) @ pictures.T
    assert (jnp.argsort(folded, axis=1) == jnp.argsort(model.score_grid(texts, pictures), axis=1)).all()


def test_dropout_keeps_the_expected_score_and_changes_with_the_key(model):
    counts, images = batch()
    texts, pictures = model.encode_texts(counts), model.encode_images(images)
    keys = jax.random.split(jax.random.key(0), 4000)
    for scorer in (model.score_pairs, model.score_grid):
        drawn = jax.vmap(lambda key, scorer=scorer: scorer(texts, pictures, key))(keys)
        exact = scorer(texts, pictures)
        error = drawn.std(axis=0) / np.sqrt(len(keys))
        assert drawn.std() > 0
        assert (jnp.abs(drawn.mean(axis=0) - exact) < 5 * error).all()


def test_penalty_covers_the_dense_layers_and_not_the_filters(model):
    gradient = nnx.grad(lambda m: m.penalty())(model)
    for path, leaf in nnx.to_flat_state(gradient):
        layer = path[0]
        weights = leaf.get_value()
        if layer == "text":
            assert (weights == 0).all()
        else:
            own = getattr(model, layer)
            np.testing.assert_allclose(weights, getattr(own, path[1]).get_value(), rtol=1e-6)


def test_loss_trains_every_parameter(model):
    counts, images = batch(16)
    match = jnp.arange(16) % 2 == 0
    gradient = nnx.jit(nnx.grad(lambda m: loss(m, counts, images, match, jax.random.key(0), l2=0.0)[0]))(
        model
    )
    for path, leaf in nnx.to_flat_state(gradient):
        if path != ("score_head", "bias"):  # a constant added to every score moves neither means' difference
            assert (leaf.get_value() != 0).any(), path


def test_a_text_without_words_has_finite_features(model):
    counts, _ = batch()
    assert jnp.isfinite(model.encode_texts(counts * 0)).all()


def test_normalised_features_are_unit_vectors_without_negative_entries(ring_laplacian):
    model = make_gin(pack(ring_laplacian), image_size=5, dimension=8, normalise=True, rngs=nnx.Rngs(0))
    counts, images = batch(6)
    for features in (model.encode_texts(counts), model.encode_images(images)):
        assert (features >= 0).all()
        np.testing.assert_allclose(jnp.linalg.norm(features, axis=1), 1, rtol=1e-6)
    match = jnp.arange(6) % 2 == 0
    gradient = nnx.jit(nnx.grad(lambda m: loss(m, counts * 0, images * 0, match, jax.random.key(0))[0]))(
        model
    )
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
