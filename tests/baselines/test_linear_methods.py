import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from sklearn.cross_decomposition import PLSSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from two_views import two_views

from gcnxmodal.baselines import BASELINES, CCA, METHODS
from gcnxmodal.baselines.linear import (
    BLM,
    CCA3V,
    GMLDA,
    GMMFA,
    MLCCA,
    PLS,
    MvDA,
    class_scatter,
    class_shares,
    neighbour_graphs,
    neighbour_scatter,
)
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.evaluate import standard_map

CLOSED = {name: METHODS[name] for name in METHODS if name not in (*BASELINES, "mmnn", "dspe")}
LINEAR = {name: method for name, method in CLOSED.items() if name != "scm"}
PLAIN = {"energy": 1.0, "unit_length": False}


def centred_views(seed: int = 0):
    """Images [n, d], dense texts [n, N], labels, float64 with mean zero."""
    images, texts, labels = two_views(seed=seed)
    views = (images.astype(float), texts.toarray().astype(float))
    return *(view - view.mean(axis=0) for view in views), labels


def several_labels(seed: int = 0):
    X, Y, labels = centred_views(seed)
    return X, Y, labels | (np.random.default_rng(9).random(labels.shape) < 0.2)


def maps(method, X, Y, labels):
    """The maps of a fitted method from the features themselves: what it does to the standard basis."""
    method.fit(X, Y, labels)
    W, V = (method._axes[side].axes_dp @ method._map[side] for side in ("images", "texts"))
    return W, V


def test_pls_finds_the_same_axes_as_scikit_learn():
    X, Y, labels = centred_views()
    W, V = maps(PLS(5, **PLAIN), X, Y, labels)
    peer = PLSSVD(5, scale=False).fit(X, Y)
    sign = np.sign(np.sum(W * peer.x_weights_, axis=0))
    np.testing.assert_allclose(W * sign, peer.x_weights_, atol=1e-8)
    np.testing.assert_allclose(V * sign, peer.y_weights_, atol=1e-8)


def test_no_pair_of_unit_axes_covaries_more_than_the_first_of_pls():
    X, Y, labels = centred_views()
    method = PLS(**PLAIN)
    W, V = maps(method, X, Y, labels)
    first = (X @ W[:, 0]) @ (Y @ V[:, 0]) / len(X)
    assert first == pytest.approx(method.covariances_[0])
    random = np.random.default_rng(0)
    for _ in range(200):
        w, v = (
            axis / np.linalg.norm(axis)
            for axis in (
                W[:, 0] + 0.3 * random.standard_normal(len(W)),
                V[:, 0] + 0.3 * random.standard_normal(len(V)),
            )
        )
        assert (X @ w) @ (Y @ v) / len(X) < first


def test_blm_explains_both_views_better_than_any_other_contents():
    X, Y, labels = centred_views()
    W, V = maps(BLM(3, **PLAIN), X, Y, labels)
    both, styles = np.hstack([X, Y]), np.vstack([W, V])
    np.testing.assert_allclose(styles.T @ styles, np.eye(3), atol=1e-10)
    left = np.sum((both - both @ styles @ styles.T) ** 2)
    singular = scipy.linalg.svdvals(both)
    assert left == pytest.approx(np.sum(singular[3:] ** 2))


def test_blm_with_heavy_pairs_is_pls():
    X, Y, labels = centred_views()
    W, V = maps(BLM(4, alpha=1e9, **PLAIN), X, Y, labels)
    expected = maps(PLS(4, **PLAIN), X, Y, labels)
    for found, peer in zip((W, V), expected, strict=True):
        found, sign = found * np.sqrt(2), np.sign(np.sum(found * peer, axis=0))
        np.testing.assert_allclose(found * sign, peer, atol=1e-6)


def test_cca_3v_solves_its_generalised_eigenvalue_problem():
    X, Y, labels = several_labels()
    method = CCA3V(6, ridge=0.1, power=0.0, **PLAIN)
    W, V = maps(method, X, Y, labels)
    L = labels - labels.mean(axis=0)
    U = np.zeros((3, 6))  # of the labels: from the third row of the equation, given the other two
    for k, value in enumerate(method.eigenvalues_):
        seen = L.T @ (X @ W[:, k] + Y @ V[:, k]) / len(X)
        U[:, k] = np.linalg.solve((value - 1) * (L.T @ L / len(X) + 0.1 * np.eye(3)), seen)
    common = X @ W + Y @ V + L @ U
    for view, axes in ((X, W), (Y, V)):
        right = (view.T @ view / len(X) + 0.1 * np.eye(view.shape[1])) @ axes * method.eigenvalues_
        np.testing.assert_allclose(view.T @ common / len(X) + 0.1 * axes, right, atol=1e-8)


def test_cca_3v_without_labels_that_differ_is_cca():
    X, Y, labels = centred_views()
    blind = np.ones_like(labels)
    method = CCA3V(5, ridge=0.01, power=0.0, **PLAIN)
    W, _ = maps(method, X, Y, blind)
    cca = CCA(5, ridge=0.01, power=0.0, **PLAIN)
    expected, _ = maps(cca, X, Y, blind)
    assert np.max(scipy.linalg.subspace_angles(W, expected)) < 1e-6


def test_ml_cca_of_items_that_are_like_themselves_only_is_cca():
    X, Y, labels = centred_views()
    ridge = {"ridge": 0.01, "power": 0.0}
    ours, plain = MLCCA(**ridge, **PLAIN), CCA(**ridge, **PLAIN)
    found, expected = maps(ours, X, Y, np.eye(len(X), dtype=bool)), maps(plain, X, Y, labels)
    np.testing.assert_allclose(ours.correlations_, plain.correlations_, atol=1e-8)
    sign = np.sign(np.sum(found[0] * expected[0], axis=0))
    for W, V in zip(found, expected, strict=True):
        np.testing.assert_allclose(W * sign, V, atol=1e-6)


def test_ml_cca_equals_cca_over_all_pairs_written_out():
    X, Y, labels = several_labels()
    method = MLCCA(ridge=0.05, power=0.0, **PLAIN)
    W, V = maps(method, X, Y, labels)
    unit = labels / np.linalg.norm(labels, axis=1, keepdims=True)
    similarity = unit @ unit.T
    i, j = map(np.ravel, np.indices(similarity.shape))
    weight = similarity.ravel() / similarity.sum()
    Cxx, Cxy, Cyy = ((a.T * weight) @ b for a, b in ((X[i], X[i]), (X[i], Y[j]), (Y[j], Y[j])))
    Cxx, Cyy = (C + 0.05 * np.eye(len(C)) for C in (Cxx, Cyy))
    np.testing.assert_allclose(Cxy @ V, Cxx @ W * method.correlations_, atol=1e-8)
    np.testing.assert_allclose(Cxy.T @ W, Cyy @ V * method.correlations_, atol=1e-8)
    np.testing.assert_allclose(W.T @ Cxx @ W, np.eye(W.shape[1]), atol=1e-8)


def test_class_scatters_of_one_label_an_item_are_fishers():
    X, _, labels = centred_views()
    between, within = class_scatter(X, class_shares(labels))
    groups = [X[has] for has in labels.T]
    expected = sum(np.cov(group.T, bias=True) * len(group) for group in groups) / len(X)
    np.testing.assert_allclose(within, expected, atol=1e-10)
    np.testing.assert_allclose(between + within, np.cov(X.T, bias=True), atol=1e-10)


def test_class_scatters_of_several_labels_are_those_of_an_item_repeated_in_each_class():
    X, _, labels = several_labels()
    labels[0] = False  # counts nowhere
    rows, classes = np.nonzero(labels)
    share = 1 / labels.sum(axis=1)[rows]
    total = share.sum()
    mean = share @ X[rows] / total
    between, within = np.zeros((8, 8)), np.zeros((8, 8))
    for c in range(3):
        of_class, weight = X[rows[classes == c]], share[classes == c]
        centre = weight @ of_class / weight.sum()
        between += weight.sum() * np.outer(centre - mean, centre - mean)
        within += sum(w * np.outer(x - centre, x - centre) for w, x in zip(weight, of_class, strict=True))
    found = class_scatter(X, class_shares(labels))
    np.testing.assert_allclose(found[0], between / len(X), atol=1e-10)
    np.testing.assert_allclose(found[1], within / len(X), atol=1e-10)


def test_mvda_is_linear_discriminant_analysis_of_both_modalities_side_by_side():
    X, Y, labels = centred_views()
    method = MvDA(ridge=0.0, **PLAIN)
    W, V = maps(method, X, Y, labels)
    assert W.shape[1] == 2  # one fewer than classes
    side_by_side = scipy.linalg.block_diag(X, Y)
    classes = np.tile(labels.argmax(axis=1), 2)
    peer = LinearDiscriminantAnalysis(solver="eigen").fit(side_by_side, classes).scalings_[:, :2]
    assert np.max(scipy.linalg.subspace_angles(np.vstack([W, V]), peer)) < 1e-6


def test_mvda_covariances_of_the_papers_double_sums_are_the_same():
    X, Y, labels = centred_views()
    method = MvDA(ridge=0.0, **PLAIN)
    W, V = maps(method, X, Y, labels)
    for k, value in enumerate(method.eigenvalues_):
        z = [X @ W[:, k], Y @ V[:, k]]
        overall = np.mean(np.concatenate(z))
        within = between = 0.0
        for has in labels.T:
            both = np.concatenate([view[has] for view in z])
            within += np.sum((both - both.mean()) ** 2)
            between += len(both) * (both.mean() - overall) ** 2
        assert between / within == pytest.approx(value)


@pytest.mark.parametrize("align", ["pairs", "classes"])
@pytest.mark.parametrize("method", [GMLDA, GMMFA])
def test_generalised_multiview_methods_solve_their_eigenvalue_problem(method, align):
    X, Y, labels = centred_views()
    labels[:30] = np.eye(3, dtype=bool)[0]  # classes of unlike size
    Y = Y + 0.01 * np.random.default_rng(1).standard_normal(Y.shape)  # no two texts equally near
    Y = Y - Y.mean(axis=0)
    fitted = method(4, alpha=3.0, align=align, ridge=0.1, **PLAIN)
    W, V = maps(fitted, X, Y, labels)
    if method is GMLDA:
        (A_x, B_x), (A_y, B_y) = (class_scatter(view, class_shares(labels)) for view in (X, Y))
    else:
        (A_x, B_x), (A_y, B_y) = (slow_margins(view, labels, 5, 20) for view in (X, Y))
    B_x, B_y = (B + 0.1 * np.eye(len(B)) for B in (B_x, B_y))
    gamma = np.trace(B_x) / np.trace(B_y)
    C = 3.0 * X.T @ Y / len(X)
    if align == "classes":
        C = 3.0 * sum(has.sum() * np.outer(X[has].mean(0), Y[has].mean(0)) for has in labels.T) / len(X)
    np.testing.assert_allclose(A_x @ W + C @ V, B_x @ W * fitted.eigenvalues_, atol=1e-6)
    np.testing.assert_allclose(C.T @ W + A_y @ V, gamma * B_y @ V * fitted.eigenvalues_, atol=1e-6)


def slow_margins(X, labels, like, unlike):
    """MFA's scatters by loops: between unlike neighbours, within like ones."""
    share = (labels[:, None] & labels).any(axis=-1)
    scatters = []
    for allowed, k in ((~share, unlike), (share & ~np.eye(len(X), dtype=bool), like)):
        edges = set()
        for i in range(len(X)):
            others = [j for j in np.argsort(((X - X[i]) ** 2).sum(axis=1), kind="stable") if allowed[i, j]]
            edges |= {(min(i, j), max(i, j)) for j in others[:k]}
        scatters.append(sum(np.outer(X[i] - X[j], X[i] - X[j]) for i, j in edges) / len(X) / k)
    return scatters


def test_neighbour_graph_does_not_depend_on_the_blocks(monkeypatch):
    X, _, labels = several_labels()
    whole = neighbour_graphs(X, labels, 3, 4)
    monkeypatch.setattr("gcnxmodal.baselines.linear.BLOCK", 7)
    for graph, expected in zip(neighbour_graphs(X, labels, 3, 4), whole, strict=True):
        assert (graph != expected).nnz == 0
        scatters = (neighbour_scatter(X, g) for g in (graph, expected))
        np.testing.assert_array_equal(*scatters)


@pytest.mark.parametrize("name", CLOSED)
def test_images_find_texts_of_new_items(name):
    images, texts, labels = two_views(items=240)
    method = CLOSED[name]().fit(images[:160], texts[:160], labels[:160])
    found = standard_map(method.encode_texts(texts[160:]), method.encode_images(images[160:]), labels[160:])
    assert found["text_query"] > 0.6  # chance is 1/3
    assert found["image_query"] > 0.6


@pytest.mark.parametrize("name", LINEAR)
def test_embeddings_are_unit_vectors_and_repeat_bit_for_bit(name):
    images, texts, labels = two_views()
    first, again = (LINEAR[name]().fit(images, texts, labels) for _ in range(2))
    for encode, features in (("encode_images", images), ("encode_texts", texts)):
        embeddings = getattr(first, encode)(features)
        assert embeddings.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(getattr(again, encode)(features), embeddings)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("labelled", ["one", "several", "none"])
def test_hard_shapes_are_fitted(name, labelled):
    # More features than items, constant columns, wordless texts, a class with one item; whole-number images.
    images, texts, labels = two_views(items=31, image_d=80, words=200)
    images = np.hstack([np.round(50 + 10 * images), np.ones((31, 2))]).astype(np.uint8)
    texts = sp.csr_array(sp.hstack([texts, sp.csr_array((31, 3), dtype=np.float32)]))
    texts = sp.csr_array(sp.vstack([sp.csr_array((1, 203), dtype=np.float32), texts[1:]]))
    labels = np.hstack([labels, np.arange(31)[:, None] == 30])
    labels[30, :3] = False
    if labelled == "several":
        labels[:, 0] |= np.arange(31) < 10
        labels[5] = False
    if labelled == "none":
        labels[:] = False
    method = CLOSED[name]().fit(images, texts, labels)
    for embeddings in (method.encode_images(images), method.encode_texts(texts)):
        assert embeddings.shape[0] == 31
        assert np.isfinite(embeddings).all()


@pytest.mark.parametrize("name", CLOSED)
def test_features_that_are_all_equal_are_refused(name):
    images, texts, labels = two_views()
    with pytest.raises(InputError, match="images: all training items have the same features"):
        CLOSED[name]().fit(np.ones_like(images), texts, labels)


@pytest.mark.parametrize(
    ("name", "text_query", "image_query"),
    [
        ("cm", 0.203, 0.250),
        ("scm", 0.227, 0.314),
        ("pls", 0.180, 0.232),
        ("blm", 0.163, 0.207),
        ("cca-3v", 0.224, 0.272),
        ("ml-cca", 0.216, 0.275),
        ("gmlda", 0.204, 0.259),
        ("gmmfa", 0.199, 0.246),
        ("mvda", 0.202, 0.251),
    ],
)
def test_official_features_give_the_map_that_was_measured(name, text_query, image_query, shared_data):
    found = official_features(shared_data / "wikipedia")
    method = CLOSED[name]().fit(found["I_tr"], found["T_tr"], found["labels_tr"])
    texts, images = method.encode_texts(found["T_te"]), method.encode_images(found["I_te"])
    score = standard_map(texts, images, found["labels_te"])
    assert score["text_query"] == pytest.approx(text_query, abs=0.005)
    assert score["image_query"] == pytest.approx(image_query, abs=0.005)
