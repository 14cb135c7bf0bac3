import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from two_views import two_views

from gcnxmodal.baselines import two_branches
from gcnxmodal.baselines.two_branches import DSPE, MMNN, apply_branch, dspe_loss, init_branch, mmnn_loss
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.evaluate import standard_map

METHODS = {"mmnn": MMNN, "dspe": DSPE}
SHORT = {"steps": 60, "batch": 24}


def batch(items: int = 7, dimension: int = 3, seed: int = 0):
    """Outputs of both branches and the pairs that are alike, with item 6 a second draw of item 5."""
    random = np.random.default_rng(seed)
    x, y = (np.tanh(random.standard_normal((items, dimension))) for _ in range(2))
    labels = random.random((items, 4)) < 0.4
    labels[6], x[6], y[6] = labels[5], x[5], y[5]
    rows = np.array([0, 1, 2, 3, 4, 5, 5])
    other = rows[:, None] != rows
    alike = (labels[:, None] & labels).any(axis=-1) | ~other
    return x, y, alike, other


def slow_contrastive(a, b, alike, counts, margin):
    together, apart = [], []
    for i in range(len(a)):
        for j in range(len(b)):
            d = np.linalg.norm(a[i] - b[j])
            if counts[i, j]:
                together += [d**2] if alike[i, j] else []
                apart += [] if alike[i, j] else [max(margin - d, 0) ** 2]
    return np.mean(together) / 2 + np.mean(apart) / 2


def test_mmnn_loss_equals_loops_over_pairs():
    x, y, alike, other = batch()
    expected = slow_contrastive(x, y, alike, np.ones_like(other), 1.5)
    expected += 0.3 * sum(slow_contrastive(z, z, alike, other, 1.5) for z in (x, y))
    found = mmnn_loss(*map(jnp.asarray, (x, y, alike, other)), margin=1.5, alpha=0.3)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def slow_triplets(a, b, positive, negative, margin):
    hinges = []
    for i in range(len(a)):
        d = [np.linalg.norm(a[i] - z) for z in b]
        unlike = [d[k] for k in range(len(b)) if negative[i, k]]
        hinges += [max(margin + d[j] - n, 0) for j in range(len(b)) if positive[i, j] for n in unlike]
    return np.mean(hinges)


def test_dspe_loss_equals_loops_over_triplets():
    x, y, alike, other = batch()
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    expected = (
        slow_triplets(u, v, alike, ~alike, 0.4)
        + 2.0 * slow_triplets(v, u, alike, ~alike, 0.4)
        + 0.1 * slow_triplets(u, u, alike & other, ~alike, 0.4)
        + 0.2 * slow_triplets(v, v, alike & other, ~alike, 0.4)
    )
    found = dspe_loss(
        *map(jnp.asarray, (x, y, alike, other)),
        margin=0.4,
        text_anchors=2.0,
        image_structure=0.1,
        text_structure=0.2,
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_gradient_is_finite_where_items_coincide_are_zero_or_all_alike(name):
    loss, values = METHODS[name]()._loss()
    same = jnp.full((5, 3), 0.5).at[4].set(0.0)
    for alike in (jnp.ones((5, 5), bool), jnp.eye(5, dtype=bool)):
        gradient = jax.grad(lambda x, alike=alike: loss(x, x, alike, ~jnp.eye(5, dtype=bool), **values))(same)
        assert jnp.isfinite(gradient).all()


def test_worked_examples_hold():
    failed, tried = doctest.testmod(two_branches)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("name", METHODS)
def test_images_find_texts_of_new_items(name):
    images, texts, labels = two_views(items=240)
    method = METHODS[name](steps=200, batch=24).fit(images[:160], texts[:160], labels[:160])
    found = standard_map(method.encode_texts(texts[160:]), method.encode_images(images[160:]), labels[160:])
    assert found["text_query"] > 0.8  # chance is 1/3
    assert found["image_query"] > 0.8
    assert method.losses_[-20:].mean() < 0.6 * method.losses_[:20].mean()


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_gives_the_same_bits_and_another_seed_others(name):
    images, texts, labels = two_views()
    methods = [METHODS[name](random_state=seed, **SHORT) for seed in (3, 3, 4)]
    first, again, other = (method.fit(images, texts, labels) for method in methods)
    np.testing.assert_array_equal(first.encode_texts(texts), again.encode_texts(texts))
    np.testing.assert_array_equal(first.losses_, again.losses_)
    assert not np.array_equal(first.encode_texts(texts), other.encode_texts(texts))


def test_host_and_device_apply_a_branch_alike_to_sparse_rows_too():
    layers = init_branch(jax.random.key(0), (15, 64, 32))
    rows = two_views()[1]
    expected = apply_branch(layers, jnp.asarray(rows.toarray()))
    on_host = apply_branch(jax.tree.map(np.asarray, layers), rows, xp=np)
    np.testing.assert_allclose(on_host, expected, atol=1e-5)


def test_mmnn_ranks_by_euclidean_distance():
    images, texts, labels = two_views()
    method = MMNN(**SHORT).fit(images, texts, labels)
    f, g = method._outputs(images, "images"), method._outputs(texts, "texts")
    squared = ((g[:, None] - f[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(
        method.encode_texts(texts) @ method.encode_images(images).T, -squared, atol=1e-4
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("several_labels", [False, True])
def test_hard_shapes_are_trained_on(name, several_labels):
    # More features than items, constant columns, wordless texts, a class with one item; whole-number images.
    images, texts, labels = two_views(items=31, image_d=80, words=200)
    images = np.hstack([np.round(50 + 10 * images), np.ones((31, 2))]).astype(np.uint8)
    texts = sp.csr_array(sp.vstack([sp.csr_array((1, 200), dtype=np.float32), texts[1:]]))
    labels = np.hstack([labels, np.arange(31)[:, None] == 30])
    labels[30, :3] = False
    labels[:, 0] |= several_labels & (np.arange(31) < 10)
    method = METHODS[name](**SHORT).fit(images, texts, labels)
    for embeddings in (method.encode_images(images), method.encode_texts(texts)):
        assert embeddings.shape[0] == 31
        assert embeddings.dtype == np.float32
        assert np.isfinite(embeddings).all()


@pytest.mark.parametrize("name", METHODS)
def test_diverging_training_says_what_to_lower(name):
    images, texts, labels = two_views()
    with pytest.raises(InputError, match=r"learning_rate 1e\+30: after 60 steps weights are not finite"):
        METHODS[name](learning_rate=1e30, weight_decay=1.0, **SHORT).fit(images, texts, labels)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("mmnn", 0.2), ("dspe", 0.2)])
def test_official_features_are_ranked_better_than_by_cca(name, least, shared_data):
    found = official_features(shared_data / "wikipedia")
    method = METHODS[name]().fit(found["I_tr"], found["T_tr"], found["labels_tr"])
    texts, images = method.encode_texts(found["T_te"]), method.encode_images(found["I_te"])
    score = standard_map(texts, images, found["labels_te"])
    assert score["text_query"] > least  # CCA .188 / .240
    assert score["image_query"] > least + 0.05
