import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gcnxmodal.training import sampling

LABELS = np.eye(4, dtype=bool)[np.repeat(np.arange(4), [5, 20, 2, 13])]


def classes(rows) -> np.ndarray:
    return LABELS.argmax(axis=1)[np.asarray(rows)]


def balanced(key, positives=400, negatives=600):
    members = sampling.class_members(LABELS)
    return sampling.balanced_pairs(key, members, len(LABELS), positives, negatives)


def uniform(key, labels=LABELS, positives=400, negatives=600):
    return jax.jit(sampling.uniform_pairs, static_argnums=(2, 3))(
        key, jnp.asarray(labels), positives, negatives
    )


def test_members_of_each_class_are_listed():
    members = sampling.class_members(LABELS)
    for c in range(4):
        own = np.asarray(members.items)[int(members.start[c]) : int(members.start[c] + members.size[c])]
        np.testing.assert_array_equal(own, np.flatnonzero(LABELS[:, c]))


def test_balanced_positives_are_the_true_pairs_and_as_many_of_each_class():
    texts, images = balanced(jax.random.key(0))
    np.testing.assert_array_equal(texts[:40], np.arange(40))
    np.testing.assert_array_equal(images[:40], np.arange(40))
    assert (classes(texts[:400]) == classes(images[:400])).all()
    assert (np.bincount(classes(texts[40:400])) == 90).all()


def test_balanced_negatives_are_as_many_of_each_ordered_pair_of_classes():
    texts, images = balanced(jax.random.key(0))
    table = np.zeros((4, 4), int)
    np.add.at(table, (classes(texts[400:]), classes(images[400:])), 1)
    np.testing.assert_array_equal(table, 50 * (1 - np.eye(4)))


def test_balanced_draws_every_member_of_a_class_equally_often():
    texts, _ = balanced(jax.random.key(1), positives=40 + 4 * 13_000)
    drawn = np.bincount(np.asarray(texts[40 : 40 + 4 * 13_000])[classes(texts[40 : 40 + 4 * 13_000]) == 3])
    counts = drawn[27:]  # the 13 items of class 3
    assert counts.sum() == 13_000
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 32.9  # 12 degrees of freedom, p = .001


def test_uniform_pairs_match_where_they_should_and_reach_every_image():
    texts, images = uniform(jax.random.key(0), LABELS, 3000, 3000)
    same = classes(texts) == classes(images)
    assert same[:3000].all()
    assert not same[3000:].any()
    assert set(np.asarray(images)) == set(range(40))
    assert set(np.asarray(texts)) == set(range(40))


def test_uniform_negatives_share_no_label_in_multi_label_data():
    random = np.random.default_rng(0)
    labels = random.random((30, 5)) < 0.3
    labels[np.arange(30), np.arange(30) % 5] = True
    texts, images = uniform(jax.random.key(0), labels, 500, 500)
    shared = (labels[np.asarray(texts)] & labels[np.asarray(images)]).any(axis=1)
    assert shared[:500].all()
    assert not shared[500:].any()


@pytest.mark.parametrize("draw", [balanced, uniform])
def test_pairs_are_a_function_of_the_key(draw):
    first, again, other = draw(jax.random.key(3)), draw(jax.random.key(3)), draw(jax.random.key(4))
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(other)).any()


def test_an_epoch_of_pairs_holds_each_pair_once():
    texts, images = balanced(jax.random.key(0))
    plan = sampling.plan_pairs(jax.random.key(1), texts, images, batch=100)
    assert plan.texts.shape == plan.images.shape == (10, 100)
    planned = sorted(zip(np.ravel(plan.texts).tolist(), np.ravel(plan.images).tolist(), strict=True))
    assert planned == sorted(zip(texts.tolist(), images.tolist(), strict=True))


def test_an_epoch_of_grids_meets_each_text_once_and_no_image_twice_in_a_block():
    plan = sampling.plan_grid(jax.random.key(0), items=40, texts=8, images=16)
    assert sorted(np.ravel(plan.texts).tolist()) == list(range(40))
    assert plan.images.shape == (5, 16)
    assert all(len(set(row.tolist())) == 16 for row in np.asarray(plan.images))


def test_a_grid_of_pairs_has_the_images_of_its_own_texts():
    plan = sampling.plan_grid(jax.random.key(0), items=40, texts=8, images=16, paired=True)
    assert sorted(np.ravel(plan.texts).tolist()) == list(range(40))
    for texts, images in zip(np.asarray(plan.texts), np.asarray(plan.images), strict=True):
        assert len(set(images.tolist())) == 16
        assert set(texts.tolist()) <= set(images.tolist())
