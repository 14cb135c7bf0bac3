import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from two_views import two_views

from gcnxmodal.baselines import BASELINES, CCA
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.evaluate import standard_map


def plain(components=None) -> CCA:
    return CCA(components, energy=1.0, ridge=0.0, power=0.0, unit_length=False)


def test_correlations_are_the_cosines_of_the_angles_between_the_two_column_spaces():
    images, texts, labels = two_views()
    views = (images.astype(float), texts.toarray().astype(float))
    angles = scipy.linalg.subspace_angles(*(view - view.mean(axis=0) for view in views))
    found = plain().fit(images, texts, labels).correlations_
    np.testing.assert_allclose(found, np.sort(np.cos(angles))[::-1], atol=1e-6)


def test_each_axis_correlates_as_much_as_it_says():
    images, texts, labels = two_views()
    method = plain().fit(images, texts, labels)
    P = method.project(images, "images")
    Q = method.project(texts, "texts")
    correlation = (P.T @ Q) / len(P)
    np.testing.assert_allclose(correlation, np.diag(method.correlations_), atol=1e-6)
    np.testing.assert_allclose(P.T @ P / len(P), np.eye(P.shape[1]), atol=1e-6)
    np.testing.assert_allclose(Q.T @ Q / len(Q), np.eye(Q.shape[1]), atol=1e-6)


def test_invertible_change_of_features_changes_no_correlation():
    images, texts, labels = two_views()
    mixed = images @ np.random.default_rng(1).standard_normal((8, 8)) + 3
    before, after = (plain().fit(x, texts, labels).correlations_ for x in (images, mixed))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_sparse_texts_embed_as_the_same_dense_ones():
    images, texts, labels = two_views()
    method = {"sparse": CCA(unit_length=False), "dense": CCA(unit_length=False)}
    method["sparse"].fit(images, texts, labels)
    method["dense"].fit(images, texts.toarray(), labels)
    scores = {
        name: m.encode_texts(texts if name == "sparse" else texts.toarray()) @ m.encode_images(images).T
        for name, m in method.items()
    }
    np.testing.assert_allclose(scores["sparse"], scores["dense"], atol=1e-4)


def test_ridge_and_energy_reduce_what_is_fitted():
    images, texts, labels = two_views()
    assert CCA(ridge=1.0).fit(images, texts, labels).correlations_[0] < 0.5
    assert len(CCA(energy=0.5).fit(images, texts, labels).correlations_) < 5


def test_power_scales_each_axis_by_its_correlation():
    images, texts, labels = two_views()
    plain, scaled = (CCA(power=power).fit(images, texts, labels) for power in (0.0, 3.0))
    np.testing.assert_allclose(scaled._map["texts"], plain._map["texts"] * plain.correlations_**3)
    np.testing.assert_allclose(scaled._map["images"], plain._map["images"] * plain.correlations_**3)


def test_images_find_texts_of_new_items():
    images, texts, labels = two_views(items=240)
    method = CCA().fit(images[:160], texts[:160], labels[:160])
    found = standard_map(method.encode_texts(texts[160:]), method.encode_images(images[160:]), labels[160:])
    chance = 1 / 3
    assert found["text_query"] > 2 * chance
    assert found["image_query"] > 2 * chance


@pytest.mark.parametrize("name", BASELINES)
def test_embeddings_are_unit_vectors_or_posteriors_and_repeat_bit_for_bit(name):
    images, texts, labels = two_views()
    first, again = (BASELINES[name]().fit(images, texts, labels) for _ in range(2))
    for encode, features in (("encode_images", images), ("encode_texts", texts)):
        embeddings = getattr(first, encode)(features)
        assert embeddings.dtype == np.float32
        size = embeddings.sum(axis=1) if name == "sm" else np.linalg.norm(embeddings, axis=1)
        np.testing.assert_allclose(size, 1, rtol=1e-5)
        np.testing.assert_array_equal(getattr(again, encode)(features), embeddings)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("several_labels", [False, True])
def test_hard_shapes_are_taken(name, several_labels):
    # More features than items, constant columns, wordless texts, a class with one item; whole-number images.
    images, texts, labels = two_views(items=31, image_d=80, words=200)
    images = np.hstack([np.round(50 + 10 * images), np.ones((31, 2))]).astype(np.uint8)
    texts = sp.csr_array(sp.hstack([texts, sp.csr_array((31, 3), dtype=np.float32)]))
    texts = sp.csr_array(sp.vstack([sp.csr_array((1, 203), dtype=np.float32), texts[1:]]))
    labels = np.hstack([labels, np.arange(31)[:, None] == 30])
    if several_labels:
        labels[:, 0] |= np.arange(31) < 10
    else:
        labels[30, :3] = False
    method = BASELINES[name]().fit(images, texts, labels)
    for embeddings in (method.encode_images(images), method.encode_texts(texts)):
        assert embeddings.shape[0] == 31
        assert np.isfinite(embeddings).all()


def test_features_that_are_all_the_same_are_refused():
    images, texts, labels = two_views()
    with pytest.raises(InputError, match="images: all training items have the same features"):
        CCA().fit(np.ones_like(images), texts, labels)


def test_official_features_give_the_published_map(shared_data):
    found = official_features(shared_data / "wikipedia")
    # Plain CCA as the tables have it: features as they are, axes of 95 % energy, cosine.
    method = CCA(7, energy=0.95, ridge=1e-3, power=0.0, unit_length=False)
    method.fit(found["I_tr"], found["T_tr"], found["labels_tr"])
    texts, images = method.encode_texts(found["T_te"]), method.encode_images(found["I_te"])
    score = standard_map(texts, images, found["labels_te"])
    assert score["text_query"] == pytest.approx(0.188, abs=0.005)
    assert score["image_query"] == pytest.approx(0.240, abs=0.005)
