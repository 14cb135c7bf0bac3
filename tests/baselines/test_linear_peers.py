"""Our linear methods against those of scikit-learn and cca-zoo (extra `test`) on the same random views."""

import numpy as np
import pytest
import scipy.linalg
from sklearn import cross_decomposition
from two_views import two_views

from gcnxmodal.baselines import CCA
from gcnxmodal.baselines.linear import CCA3V, PLS

PLAIN = {"energy": 1.0, "unit_length": False}
SHRINKAGE = 0.2


def views(seed: int = 0, items: int = 120):
    images, texts, labels = two_views(items=items, seed=seed)
    return images.astype(float), texts.toarray().astype(float), labels


def ridge_of(shrinkage: float, items: int) -> float:
    """(1 - s) C + s I over n - 1 is, but for its size, C + ridge I over n."""
    return shrinkage / (1 - shrinkage) * (items - 1) / items


def coordinates(method, X, Y, labels):
    method.fit(X, Y, labels)
    return method.project(X, "images"), method.project(Y, "texts")


def assert_same_axes(ours, theirs, tolerance):
    """Each column of both views is the peer's but for its size and a sign that the views share."""
    signs = []
    for found, expected in zip(ours, theirs, strict=True):
        assert found.shape == expected.shape
        cosines = [
            a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(found.T, expected.T, strict=True)
        ]
        np.testing.assert_allclose(np.abs(cosines), 1, atol=tolerance)
        signs.append(np.sign(cosines))
        assert np.max(scipy.linalg.subspace_angles(found, expected)) < 10 * np.sqrt(tolerance)
    np.testing.assert_array_equal(*signs)


def correlations(P, Q):
    return np.array([np.corrcoef(p, q)[0, 1] for p, q in zip(P.T, Q.T, strict=True)])


@pytest.mark.parametrize("seed", [0, 1])
def test_cca_finds_the_axes_and_correlations_of_scikit_learn(seed):
    X, Y, labels = views(seed)
    method = CCA(4, ridge=0.0, power=0.0, **PLAIN)
    ours = coordinates(method, X, Y, labels)
    theirs = cross_decomposition.CCA(4, scale=False, max_iter=20_000, tol=1e-12).fit_transform(X, Y)
    assert_same_axes(ours, theirs, 1e-6)
    np.testing.assert_allclose(method.correlations_[:4], correlations(*theirs), atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_pls_finds_the_axes_of_scikit_learn_and_the_first_of_its_deflating_form(seed):
    X, Y, labels = views(seed)
    ours = coordinates(PLS(5, **PLAIN), X, Y, labels)
    assert_same_axes(ours, cross_decomposition.PLSSVD(5, scale=False).fit_transform(X, Y), 1e-9)
    first = cross_decomposition.PLSCanonical(1, scale=False, max_iter=20_000, tol=1e-12).fit_transform(X, Y)
    assert_same_axes([z[:, :1] for z in ours], first, 1e-6)


@pytest.mark.parametrize("wide", [False, True])
def test_cca_finds_the_axes_and_correlations_of_cca_zoo(wide):
    zoo = pytest.importorskip("cca_zoo.linear", reason="needs cca-zoo (extra `test`)")
    X, Y, labels = views(items=12 if wide else 120)  # wide: fewer items than words
    shrinkage = SHRINKAGE if wide else 0.0
    method = CCA(4, ridge=ridge_of(shrinkage, len(X)), power=0.0, **PLAIN)
    ours = coordinates(method, X, Y, labels)
    peer = zoo.RidgeCCA(4, shrinkage=shrinkage).fit([X, Y])
    theirs = peer.transform([X, Y])
    assert_same_axes(ours, theirs, 1e-8)
    np.testing.assert_allclose(correlations(*ours), correlations(*theirs), atol=1e-8)
    if not wide:
        np.testing.assert_allclose(method.correlations_[:4], correlations(*theirs), atol=1e-8)


def test_pls_finds_the_axes_of_cca_zoo():
    zoo = pytest.importorskip("cca_zoo.linear", reason="needs cca-zoo (extra `test`)")
    X, Y, labels = views()
    theirs = zoo.PLS(5).fit([X, Y]).transform([X, Y])
    assert_same_axes(coordinates(PLS(5, **PLAIN), X, Y, labels), theirs, 1e-8)


@pytest.mark.parametrize("several", [False, True])
def test_cca_3v_is_the_multiset_cca_of_cca_zoo_with_the_labels_as_third_view(several):
    zoo = pytest.importorskip("cca_zoo.linear", reason="needs cca-zoo (extra `test`)")
    X, Y, labels = views()
    if several:
        labels = labels | (np.random.default_rng(9).random(labels.shape) < 0.2)
    method = CCA3V(3, ridge=ridge_of(SHRINKAGE, len(X)), power=0.0, **PLAIN)
    peer = zoo.MCCA(3, shrinkage=SHRINKAGE).fit([X, Y, labels.astype(float)])
    assert_same_axes(
        coordinates(method, X, Y, labels), peer.transform([X, Y, labels.astype(float)])[:2], 1e-8
    )


def test_two_view_generalised_cca_of_cca_zoo_spans_the_space_of_cca():
    zoo = pytest.importorskip("cca_zoo.linear", reason="needs cca-zoo (extra `test`)")
    X, Y, labels = views()
    theirs = zoo.GCCA(4).fit([X, Y]).transform([X, Y])
    assert_same_axes(coordinates(CCA(4, ridge=0.0, power=0.0, **PLAIN), X, Y, labels), theirs, 1e-6)
