import doctest

import numpy as np
import pytest
from hashing_data import several_labels, views_of

from gcnxmodal.baselines import hashing
from gcnxmodal.baselines.hashing import STMH, Factors, above_half, largest_half, stmh_objective
from gcnxmodal.errors import InputError

VALUES = {"image_weight": 0.4, "lam": 0.7, "gamma": 0.05}


def fitted(bits=6, **values):
    images, texts, labels = several_labels()
    method = STMH(bits, **{**VALUES, **values}).fit(images, texts, labels)
    return method, *views_of(method, images, texts)


def test_the_objective_equals_its_sums_written_out():
    method, P, Q = fitted(iterations=3)
    F, G, M, B, R = method.factors_
    expected = 0.0
    for i in range(len(P)):
        expected += 0.4 * np.linalg.norm(P[i] - F @ G[i])
        expected += 0.6 * sum(B[i, k] * np.linalg.norm(Q[i] - M[:, k]) ** 2 for k in range(6))
        expected += 0.7 * np.linalg.norm(B[i] - R.T @ G[i]) ** 2
    expected += 0.05 * sum(np.linalg.norm(x) ** 2 for x in (F, G, M, R))
    assert method.objective_[-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("values", [{}, {"lam": 5.0, "gamma": 1e-4}, {"image_weight": 0.9}])
def test_the_objective_never_rises(values):
    method, *_ = fitted(**values, iterations=30)
    assert len(method.objective_) > 5
    assert (np.diff(method.objective_) <= 1e-9 * method.objective_[1:]).all()


def test_no_other_topics_maps_or_bits_do_better_for_the_rest_of_what_was_found():
    method, P, Q = fitted(iterations=400)
    least = stmh_objective(P, Q, method.factors_, **VALUES)
    random = np.random.default_rng(0)
    for name in ("F", "G", "M", "R"):
        found = getattr(method.factors_, name)
        for _ in range(10):
            other = found + 0.3 * np.abs(found).mean() * random.standard_normal(found.shape)
            assert stmh_objective(P, Q, method.factors_._replace(**{name: other}), **VALUES) > least
    for i in range(len(P)):
        ones, zeros = np.flatnonzero(method.factors_.B[i]), np.flatnonzero(method.factors_.B[i] == 0)
        other = method.factors_.B.copy()
        other[i, [random.choice(ones), random.choice(zeros)]] = 0, 1
        # The bits were chosen last, after the other factors: no exchange of two helps.
        assert (
            stmh_objective(P, Q, Factors(*method.factors_[:3], other, method.factors_.R), **VALUES) >= least
        )


def test_half_of_the_bits_of_every_new_item_are_ones():
    images, texts, labels = several_labels()
    for bits, half in ((2, 1), (5, 3), (8, 4)):
        method = STMH(bits).fit(images, texts, labels)
        for codes in (method.encode_images(images), method.encode_texts(texts)):
            np.testing.assert_array_equal((codes > 0).sum(axis=1), half)


def test_a_text_has_the_bits_of_its_nearest_topics():
    method, _, Q = fitted()
    codes = method._numbers(Q, "texts")
    for i in range(0, len(Q), 7):
        distance = np.linalg.norm(Q[i][:, None] - method.factors_.M, axis=0)
        assert set(np.argsort(distance)[:3]) == set(np.flatnonzero(codes[i] > 0))


def test_largest_half_and_above_half_agree():
    scores = np.round(np.random.default_rng(0).standard_normal((20, 7)))  # with ties
    np.testing.assert_array_equal(above_half(scores) > 0, largest_half(scores) > 0)


def test_worked_examples_hold():
    failed, tried = doctest.testmod(hashing, extraglobs={"np": np})
    assert tried > 0
    assert failed == 0


def test_one_bit_is_refused():
    with pytest.raises(InputError, match="STMH: bits is 1; it must be a whole number, 2 or more"):
        STMH(1).fit(*several_labels())


def test_the_order_of_items_does_not_matter():
    images, texts, labels = several_labels()
    order = np.random.default_rng(1).permutation(len(images))
    shuffled = STMH(4, iterations=5).fit(images[order], texts[order], labels[order])
    plain = STMH(4, iterations=5).fit(images, texts, labels)
    np.testing.assert_allclose(shuffled.encode_texts(texts), plain.encode_texts(texts), atol=1e-4)
