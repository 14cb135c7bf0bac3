"""SCANet: co-attention against its equations in NumPy, and the ways to score every pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.specs import make_gin
from gcnxmodal.chebyshev import pack
from gcnxmodal.nn.encoders import GraphText
from gcnxmodal.nn.layers import Features
from gcnxmodal.systems.gin import loss
from gcnxmodal.systems.scanet import SCANet
from gcnxmodal.training.sharding import named_leaves

D = 8
VARIANTS = {
    "paper": {"attention_scale": "none", "attention_relu": True},
    "authors": {"attention_scale": "half-d", "attention_relu": False},
}


def make(ring_laplacian, layers, seed=0, **options):
    rngs = nnx.Rngs(seed)
    text = GraphText(pack(ring_laplacian), (1, 1), 3, rngs=rngs)
    return SCANet(text, Features(5), layers=layers, dimension=D, rngs=rngs, **options)


def features(model, texts=7, images=6):
    random = np.random.default_rng(1)
    counts = random.poisson(1.0, (texts, model.text.graph.get_value().neighbours.shape[0]))
    pictures = random.standard_normal((images, 5))
    f_T = model.encode_texts(jnp.asarray(counts, jnp.float32))
    return f_T, model.encode_images(jnp.asarray(pictures, jnp.float32))


def by_hand(model, f_T, f_I, scale, relu):
    """The score of one pair by Eq. 4-9, in float64."""

    def weights(layer):
        return (np.asarray(a.get_value(), np.float64) for a in (layer.kernel, layer.bias))

    def attend(layer, f):
        W, b = weights(layer)
        h = f @ W + b
        h = np.maximum(h, 0) if relu else h
        return scale * np.exp(h) / np.exp(h).sum()

    f_T, f_I = np.asarray(f_T, np.float64), np.asarray(f_I, np.float64)
    for layer in model.attention:
        p_T, p_I = attend(layer.text_attention, f_T), attend(layer.image_attention, f_I)
        f_T, f_I = p_I * f_T, p_T * f_I
    w, b = weights(model.score_head)
    return (f_T * f_I) @ w[:, 0] + b[0]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_every_way_to_score_equals_a_double_loop_over_the_equations(ring_laplacian, layers, variant):
    model = make(ring_laplacian, layers, **VARIANTS[variant])
    f_T, f_I = features(model)
    scale = D / 2 if variant == "authors" else 1.0
    expected = np.array([[by_hand(model, t, i, scale, variant == "paper") for i in f_I] for t in f_T])
    bias = model.score_head.bias.get_value()
    assert expected.std() > 0
    tolerance = {"rtol": 1e-4, "atol": 1e-5 * np.abs(expected).max()}
    np.testing.assert_allclose(model.score_grid(f_T, f_I), expected, **tolerance)
    np.testing.assert_allclose(model.score_pairs(f_T[:6], f_I), np.diag(expected), **tolerance)
    if layers < 2:
        assert model.separable
        np.testing.assert_allclose(
            model.fold_texts(f_T) @ model.fold_images(f_I).T + bias, expected, **tolerance
        )
    if layers > 0:
        np.testing.assert_allclose(model.score_all_pairs(f_T, f_I) + bias, expected, **tolerance)


def test_without_layers_it_is_gin_exactly(ring_laplacian):
    ours = make(ring_laplacian, 0)
    theirs = make_gin(pack(ring_laplacian), 5, dimension=D, rngs=nnx.Rngs(0))
    params = [nnx.state(model, nnx.Param) for model in (ours, theirs)]
    assert jax.tree.all(jax.tree.map(jnp.array_equal, *params))
    f_T, f_I = features(ours)
    for one, other in zip((f_T, f_I), features(theirs), strict=True):
        np.testing.assert_array_equal(one, other)
    key, match = jax.random.key(3), jnp.eye(7, 6) > 0
    counts = jnp.ones((7, ours.text.graph.get_value().neighbours.shape[0]))
    value, _ = loss(ours, counts, jnp.ones((6, 5)), match, key)
    expected, _ = loss(theirs, counts, jnp.ones((6, 5)), match, key)
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("used", [0, 1, 2])
def test_layers_in_use_are_the_model_of_so_many_layers(ring_laplacian, used):
    deep, shallow = make(ring_laplacian, 3), make(ring_laplacian, used)
    pictures = jax.random.normal(jax.random.key(1), (6, 5))
    counts = jnp.ones((6, deep.text.graph.get_value().neighbours.shape[0]))
    match = jnp.arange(6) % 2 == 0
    key = jax.random.key(0)

    def loss_of(model, used):
        graphdef, params, constants = nnx.split(model, nnx.Param, ...)

        def objective(params, used):
            model = nnx.merge(graphdef, params, constants)
            return loss(model, counts, pictures, match, key, used=used)[0]

        value, gradient = jax.jit(jax.value_and_grad(objective))(params, used)
        return value, named_leaves(gradient)

    value, gradient = loss_of(deep, jnp.int32(used))
    expected, own = loss_of(shallow, None)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for name, leaf in gradient.items():
        if name in own:
            np.testing.assert_allclose(leaf, own[name], rtol=1e-4, atol=1e-8)
        else:  # a layer that is not used does not learn, nor decay
            assert name.startswith("attention")
            assert (leaf == 0).all()


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_the_activation_is_on_the_score_alone(ring_laplacian, activation):
    plain = make(ring_laplacian, 2, **VARIANTS["authors"])
    model = make(ring_laplacian, 2, score_activation=activation, **VARIANTS["authors"])
    f_T, f_I = features(model)
    function = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[activation]
    np.testing.assert_allclose(model.score_grid(f_T, f_I), function(plain.score_grid(f_T, f_I)), rtol=1e-6)
    np.testing.assert_allclose(
        model.score_pairs(f_T[:6], f_I), function(plain.score_pairs(f_T[:6], f_I)), rtol=1e-6
    )


def test_an_unscaled_layer_shrinks_features_and_the_authors_scale_keeps_them(ring_laplacian):
    sizes = {}
    for variant, options in VARIANTS.items():
        model = make(ring_laplacian, 2, **options)
        f_T, f_I = features(model)
        sizes[variant] = float(jnp.abs(model.score_grid(f_T, f_I) - model.score_head.bias.get_value()).mean())
    # Four factors of D/2 lie between them.
    assert 10 < sizes["authors"] / sizes["paper"] / (D / 2) ** 4 * 100 < 1000


def test_bfloat16_products_change_scores_by_their_rounding_only(ring_laplacian):
    options = VARIANTS["authors"]
    exact, rounded = (make(ring_laplacian, 2, precision=p, **options) for p in ("float32", "bfloat16"))
    expected, found = (model.score_grid(*features(model)) for model in (exact, rounded))
    largest = jnp.abs(expected).max()
    assert 0 < jnp.abs(found - expected).max() < 0.05 * largest
