import numpy as np
import pytest
from hashing_data import several_labels, views_of

from gcnxmodal.baselines.hashing import CMFH, cmfh_objective


def slow_rounds(views, W, r, mu, gamma, rounds):
    """The three steps item by item and row by row, from the maps W."""
    K, n = len(W[0]), views[0].shape[1]
    Y = np.array([(W[0] @ views[0][:, i] + W[1] @ views[1][:, i]) / 2 for i in range(n)]).T
    for _ in range(rounds):
        U = []
        for X, weight in zip(views, (r, 1 - r), strict=True):
            left = weight * sum(np.outer(y, y) for y in Y.T) + gamma * np.eye(K)
            U.append(np.array([np.linalg.solve(left, weight * Y @ feature) for feature in X]))
        left = r * U[0].T @ U[0] + (1 - r) * U[1].T @ U[1] + (2 * mu + gamma) * np.eye(K)
        for i in range(n):
            x, t = views[0][:, i], views[1][:, i]
            right = r * U[0].T @ x + (1 - r) * U[1].T @ t + mu * (W[0] @ x + W[1] @ t)
            Y[:, i] = np.linalg.solve(left, right)
        W = []
        for X in views:
            left = mu * sum(np.outer(x, x) for x in X.T) + gamma * np.eye(len(X))
            W.append(np.array([np.linalg.solve(left, mu * X @ y) for y in Y]))
    return Y, U, W


def test_maps_equal_a_slow_solution_of_the_three_steps():
    images, texts, labels = several_labels()
    values = {"image_weight": 0.3, "mu": 2.0, "gamma": 0.5}
    method = CMFH(3, iterations=4, **values, random_state=5).fit(images, texts, labels)
    views = tuple(view.T for view in views_of(method, images, texts))
    random = np.random.default_rng(5)
    start = [random.standard_normal((3, len(X))) for X in views]
    Y, U, W = slow_rounds(views, start, 0.3, 2.0, 0.5, 4)
    np.testing.assert_allclose(method.image_map_, W[0].T, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(method.text_map_, W[1].T, rtol=1e-8, atol=1e-12)
    assert method.objective_[-1] == pytest.approx(cmfh_objective(views, Y, U, W, (0.3, 0.7), 2.0, 0.5))


@pytest.mark.parametrize("bits", [1, 6])
def test_the_objective_never_rises(bits):
    method = CMFH(bits).fit(*several_labels())
    assert len(method.objective_) > 3
    assert (np.diff(method.objective_) <= 1e-9 * method.objective_[1:]).all()


def test_the_order_of_items_does_not_matter():
    images, texts, labels = several_labels()
    order = np.random.default_rng(1).permutation(len(images))
    shuffled = CMFH(4).fit(images[order], texts[order], labels[order])
    fitted = CMFH(4).fit(images, texts, labels)
    np.testing.assert_allclose(shuffled.encode_texts(texts), fitted.encode_texts(texts), atol=1e-3)
