import numpy as np
import pytest
import scipy.linalg
from hashing_data import several_labels, views_of

from gcnxmodal.baselines.hashing import SCMOrth, SCMSeq, similar_covariance, unit_labels
from gcnxmodal.errors import InputError


def similarity(labels):
    """S [n, n], which the methods never form."""
    unit = unit_labels(labels)
    return 2 * unit @ unit.T - 1


def test_similarities_are_summed_without_forming_them():
    P, Q, labels = np.random.default_rng(0).random((9, 3)), np.random.default_rng(1).random((9, 4)), None
    labels = np.random.default_rng(2).random((9, 5)) < 0.4
    labels[0] = False
    np.testing.assert_allclose(similar_covariance(P, Q, labels), P.T @ similarity(labels) @ Q / 81)


def test_orthogonal_maps_solve_the_generalised_eigenvalue_problem_and_reach_its_largest_sum():
    images, texts, labels = several_labels()
    method = SCMOrth(3, ridge=1e-3).fit(images, texts, labels)
    P, Q = views_of(method, images, texts)
    W, V, n = method.image_map_, method.text_map_, len(P)
    C_p, C_q = (x.T @ x / n + 1e-3 * np.eye(x.shape[1]) for x in (P, Q))
    cross = P.T @ similarity(labels) @ Q / n**2
    np.testing.assert_allclose(cross @ V, C_p @ W * method.values_, atol=1e-10)
    np.testing.assert_allclose(cross.T @ W, C_q @ V * method.values_, atol=1e-10)
    np.testing.assert_allclose(W.T @ C_p @ W, np.eye(3), atol=1e-8)
    squared = scipy.linalg.eigh(cross @ np.linalg.solve(C_q, cross.T), C_p, eigvals_only=True)
    np.testing.assert_allclose(method.values_**2, squared[::-1][:3], atol=1e-12)


def test_sequential_bits_each_maximise_what_the_signs_before_leave():
    images, texts, labels = several_labels()
    method = SCMSeq(6, ridge=1e-3).fit(images, texts, labels)
    P, Q = views_of(method, images, texts)
    n = len(P)
    C_p, C_q = (x.T @ x / n + 1e-3 * np.eye(x.shape[1]) for x in (P, Q))
    left = 6 * similarity(labels)
    for k in range(6):
        cross = P.T @ left @ Q / n**2
        squared = scipy.linalg.eigh(cross @ np.linalg.solve(C_q, cross.T), C_p, eigvals_only=True)
        w, v = method.image_map_[:, k], method.text_map_[:, k]
        assert w @ cross @ v == pytest.approx(np.sqrt(squared[-1]))
        assert w @ C_p @ w == pytest.approx(1)
        assert v @ C_q @ v == pytest.approx(1)
        left -= np.outer(np.sign(P @ w), np.sign(Q @ v))


def test_sequential_codes_reconstruct_the_similarities_better_than_orthogonal_ones():
    images, texts, labels = several_labels()
    error = {}
    for method in (SCMOrth(16), SCMSeq(16)):
        method.fit(images, texts, labels)
        codes = np.sign(method.encode_images(images)), np.sign(method.encode_texts(texts))
        error[type(method)] = np.sum((codes[0] @ codes[1].T - 16 * similarity(labels)) ** 2)
    assert error[SCMSeq] < 0.8 * error[SCMOrth]


def test_orthogonal_bits_beyond_the_rank_of_the_labels_are_the_same_for_all_items():
    images, texts, labels = several_labels()
    method = SCMOrth(8).fit(images, texts, labels)
    assert len(method.values_) == labels.shape[1] == 3
    for codes in (method.encode_images(images), method.encode_texts(texts)):
        assert codes.shape == (len(images), 8)
        np.testing.assert_array_equal(codes[:, 3:], 0)
    few = SCMOrth(3).fit(images, texts, labels)
    np.testing.assert_array_equal(few.encode_texts(texts), method.encode_texts(texts)[:, :3])


@pytest.mark.parametrize("method", [SCMOrth, SCMSeq])
def test_the_order_of_items_does_not_matter(method):
    images, texts, labels = several_labels()
    order = np.random.default_rng(1).permutation(len(images))
    shuffled = method(3).fit(images[order], texts[order], labels[order])
    fitted = method(3).fit(images, texts, labels)
    for a, b in (
        (shuffled.encode_images(images), fitted.encode_images(images)),
        (shuffled.encode_texts(texts), fitted.encode_texts(texts)),
    ):
        sign = np.sign(np.sum(a * b, axis=0))
        np.testing.assert_allclose(a * sign, b, atol=1e-4)


@pytest.mark.parametrize("method", [SCMOrth, SCMSeq])
def test_labels_that_are_all_the_same_leave_nothing_to_learn(method):
    images, texts, labels = several_labels()
    method = method(4).fit(images, texts, np.ones_like(labels))
    assert len(method.values_) == 0
    np.testing.assert_array_equal(method.encode_images(images), np.zeros((len(labels), 4)))
    np.testing.assert_array_equal(method.encode_texts(texts), np.zeros((len(labels), 4)))


def test_a_code_has_at_least_one_bit():
    with pytest.raises(InputError, match="bits is 0; it must be a whole number, 1 or more"):
        SCMSeq(0).fit(*several_labels())
