import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hashing_data import several_labels, views_of

from gcnxmodal.baselines import seph
from gcnxmodal.baselines.hashing import unit_labels
from gcnxmodal.baselines.seph import KernelRegressions, SePH, cost_and_gradient
from gcnxmodal.errors import InputError

VALUES = {"iterations": 40, "anchors": 30}


def slow_cost(codes, labels, alpha):
    """The divergence pair by pair, in float64."""
    n = len(codes)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    p = np.array([labels[i] @ labels[j] for i, j in pairs])
    t = np.array([1 / (1 + np.sum((codes[i] - codes[j]) ** 2) / 4) for i, j in pairs])
    p, q = p / p.sum(), t / t.sum()
    divergence = np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))
    return divergence + alpha * np.sum((np.abs(codes) - 1) ** 2)


def small(items: int = 11):
    random = np.random.default_rng(0)
    labels = random.random((items, 4)) < 0.4
    labels[0] = False
    return random.standard_normal((items, 3)), unit_labels(labels)


@pytest.mark.parametrize("block", [4, 11, 512])
def test_cost_and_gradient_equal_the_pairwise_definition_whatever_the_blocks(block, monkeypatch):
    monkeypatch.setattr(seph, "BLOCK", block)
    codes, labels = small()
    cost, gradient = cost_and_gradient(jnp.asarray(codes, jnp.float32), jnp.asarray(labels, jnp.float32), 0.3)
    assert float(cost) == pytest.approx(slow_cost(codes, labels, 0.3), rel=1e-5)

    def along(x):
        return slow_cost(x.reshape(codes.shape), labels, 0.3)

    expected = np.asarray(scipy.optimize.approx_fprime(codes.ravel(), along, 1e-6))
    np.testing.assert_allclose(np.ravel(gradient), expected, atol=1e-4)


def test_the_codes_of_least_cost_are_kept():
    images, texts, labels = several_labels()
    method = SePH(8, **VALUES).fit(images, texts, labels)
    unit = jnp.asarray(unit_labels(labels), jnp.float32)
    cost, _ = cost_and_gradient(jnp.asarray(method.codes_), unit, 0.01 / (8 * len(labels)))
    assert float(cost) <= method.objective_.min() * (1 + 1e-5)
    assert float(cost) < 0.5 * method.objective_[0]


def test_real_codes_of_items_with_the_same_labels_lie_closer():
    images, texts, labels = several_labels()
    codes = np.sign(SePH(8, **VALUES).fit(images, texts, labels).codes_)
    distance = (codes[:, None] != codes).sum(axis=-1)
    same = (labels[:, None] == labels).all(axis=-1)
    apart = ~(labels[:, None] & labels).any(axis=-1)
    assert distance[same].mean() < 0.3 * distance[apart].mean()


def test_a_regression_minimises_the_logistic_loss_with_the_kernels_penalty():
    random = np.random.default_rng(0)
    x = random.standard_normal((25, 2))
    x -= x.mean(axis=0)
    bits = random.random((25, 2)) < 0.5
    found = KernelRegressions.fit(x, bits, anchors=25, regularisation=0.5, seed=0)
    sigma = np.mean([np.sum((a - b) ** 2) for a in x for b in x])
    kernel = np.exp(-np.array([[np.sum((a - b) ** 2) for b in x] for a in x]) / (2 * sigma))
    for k in range(2):
        h, w = np.where(bits[:, k], 1, -1), found.weights_AK[:, k]

        def objective(f, h=h):
            return np.sum(np.log1p(np.exp(-h * f))) + 0.5 * f @ np.linalg.pinv(kernel, 1e-6, True) @ f

        f = kernel @ w
        np.testing.assert_allclose(found.decide(x)[:, k], f, atol=1e-6)
        least = objective(f)
        for _ in range(20):
            assert objective(f + kernel @ random.standard_normal(25) * 0.05) > least


def test_anchors_are_the_items_where_these_are_few_and_else_means_of_clusters():
    images, texts, labels = several_labels()
    few = SePH(4, iterations=5, anchors=500).fit(images, texts, labels)
    P, _ = views_of(few, images, texts)
    np.testing.assert_array_equal(few._regressions["images"].anchors_Ap, P)
    many = SePH(4, iterations=5, anchors=7).fit(images, texts, labels)
    assert many._regressions["images"].anchors_Ap.shape == (7, P.shape[1])
    assert many._regressions["texts"].weights_AK.shape == (7, 4)


def test_labels_that_no_two_items_share_are_refused():
    images, texts, _ = several_labels()
    with pytest.raises(InputError, match="labels: no two training items share one"):
        SePH(4, **VALUES).fit(images, texts, np.eye(len(images), dtype=bool))


def test_another_seed_gives_other_codes():
    data = several_labels()
    first, other = (SePH(4, random_state=seed, **VALUES).fit(*data).codes_ for seed in (0, 1))
    assert not np.array_equal(first, other)


def test_pairs_are_never_held_all_at_once():
    n, K = 4000, 8
    codes, labels = (jax.ShapeDtypeStruct((n, columns), jnp.float32) for columns in (K, 5))
    memory = jax.jit(cost_and_gradient).lower(codes, labels, 0.1).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 4 * n * n  # one matrix of all pairs
