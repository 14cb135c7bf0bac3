import numpy as np
import pytest
from two_views import two_views

from gcnxmodal.baselines import CCA
from gcnxmodal.baselines.semantic_matching import (
    CorrelationMatching,
    SemanticCorrelationMatching,
    SemanticMatching,
)
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.retrieval.evaluate import standard_map


def test_cm_is_cca_with_every_axis_alike():
    images, texts, labels = two_views()
    cm, cca = (method.fit(images, texts, labels) for method in (CorrelationMatching(), CCA(power=0.0)))
    np.testing.assert_array_equal(cm.encode_images(images), cca.encode_images(images))
    np.testing.assert_array_equal(cm.encode_texts(texts), cca.encode_texts(texts))


@pytest.mark.parametrize("several_labels", [False, True])
def test_scm_is_sm_on_cca_components(several_labels):
    images, texts, labels = two_views()
    labels[:, 0] |= several_labels & (np.arange(120) % 4 == 0)
    scm = SemanticCorrelationMatching(3).fit(images, texts, labels)
    cca = CCA(3, power=0.0).fit(images, texts, labels)
    components = cca.encode_images(images), cca.encode_texts(texts)
    sm = SemanticMatching().fit(*components, labels)
    for found, expected in (
        (scm.encode_images(images), sm.encode_images(components[0])),
        (scm.encode_texts(texts), sm.encode_texts(components[1])),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_score_of_a_pair_is_the_probability_of_one_class():
    images, texts, labels = two_views()
    method = SemanticCorrelationMatching().fit(images, texts, labels)
    p, q = method.encode_images(images), method.encode_texts(texts)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    draws = np.random.default_rng(0).random((2, 100_000))
    classes = [np.searchsorted(np.cumsum(x[0]), u) for x, u in zip((p, q), draws, strict=True)]
    assert np.mean(classes[0] == classes[1]) == pytest.approx(p[0] @ q[0], abs=0.01)


def test_scm_repeats_bit_for_bit():
    images, texts, labels = two_views()
    first, again = (SemanticCorrelationMatching().fit(images, texts, labels) for _ in range(2))
    np.testing.assert_array_equal(first.encode_texts(texts), again.encode_texts(texts))
    np.testing.assert_array_equal(first.encode_images(images), again.encode_images(images))


def test_official_features_give_the_published_map(shared_data):
    found = official_features(shared_data / "wikipedia")
    # Plain CCA, features as they are, as the papers have it: known for these features, .238 / .309.
    method = SemanticCorrelationMatching(7, energy=1.0, ridge=1e-6, unit_length=False)
    method.fit(found["I_tr"], found["T_tr"], found["labels_tr"])
    texts, images = method.encode_texts(found["T_te"]), method.encode_images(found["I_te"])
    score = standard_map(texts, images, found["labels_te"])
    assert score["text_query"] == pytest.approx(0.238, abs=0.01)
    assert score["image_query"] == pytest.approx(0.309, abs=0.01)
