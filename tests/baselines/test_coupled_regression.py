import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from two_views import two_views

from gcnxmodal.baselines import coupled_regression
from gcnxmodal.baselines.coupled_regression import JFSSL, LCFS, View, class_vectors, neighbour_weights, solve
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.evaluate import standard_map

METHODS = {"lcfs": LCFS, "jfssl": JFSSL}
EXACT = {"unit_length": False, "tolerance": 1e-13, "steps": 3000}


def views(several=False, **shape):
    images, texts, labels = two_views(**shape)
    if several:
        labels = labels | (np.random.default_rng(9).random(labels.shape) < 0.2)
    return images.astype(float) / 4, np.log1p(texts.toarray().astype(float)), labels


def slow_minimum(X, T, Y, sparsity, coupling):
    """(objective, F, G) of the stated problem by L-BFGS; `coupling` gives value and gradient at [F; G]."""
    n, p = X.shape

    def value_and_gradient(flat):
        U, V = np.split(flat.reshape(-1, Y.shape[1]), [p])
        both = np.vstack([X @ U, T @ V])
        value, slope = coupling(both)
        value += np.sum((both - np.vstack([Y, Y])) ** 2)
        slope = slope + 2 * (both - np.vstack([Y, Y]))
        rows = np.vstack([U, V])
        norms = np.sqrt((rows**2).sum(axis=1, keepdims=True) + coupled_regression.ROUNDING)
        gradient = np.vstack([X.T @ slope[:n], T.T @ slope[n:]]) + sparsity * rows / norms
        return value + sparsity * norms.sum(), gradient.ravel()

    start = np.zeros((p + T.shape[1]) * Y.shape[1])
    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-14, "gtol": 1e-6}
    found = scipy.optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    U, V = np.split(found.x.reshape(-1, Y.shape[1]), [p])
    return found.fun, X @ U, T @ V


def trace_norm(weight):
    def coupling(both):
        M = np.hstack(np.split(both, 2))
        Q, s, Vt = np.linalg.svd(M, full_matrices=False)
        root = np.sqrt(s**2 + coupled_regression.SMALL)
        slope = weight * (Q * (s / root)) @ Vt
        return weight * np.sum(root), np.vstack(np.hsplit(slope, 2))

    return coupling


def slow_graph(X, T, labels, within, k):
    """W [2n, 2n] by loops, as the docstring of JFSSL has it."""
    n = len(X)
    W = np.zeros((2 * n, 2 * n))
    for i in range(n):
        for j in range(n):
            W[i, n + j] = labels[i] @ labels[j] / np.sqrt(labels[i].sum() * labels[j].sum())
    W[:n, n:] /= W[:n, n:].sum() / n
    W[n:, :n] = W[:n, n:].T
    for place, features in ((slice(0, n), X), (slice(n, None), T)):
        square = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
        joined = np.zeros((n, n), bool)
        for i in range(n):
            others = [j for j in np.argsort(square[i], kind="stable") if j != i]
            joined[i, others[:k]] = True
        near = np.where(joined | joined.T, np.exp(-square / square[joined].mean()), 0)
        W[place, place] = within * near / (near.sum() / n)
    return W


def smoothness(weight, W):
    def coupling(both):
        square = ((both[:, None] - both[None]) ** 2).sum(axis=-1)
        return weight * 0.5 * np.sum(W * square), weight * 2 * (np.diag(W.sum(axis=1)) - W) @ both

    return coupling


@pytest.mark.parametrize("low_rank", [0.0, 0.5, 5.0])
def test_lcfs_minimises_what_it_says(low_rank, monkeypatch):
    monkeypatch.setattr(coupled_regression, "ROUNDING", 1e-3)
    monkeypatch.setattr(coupled_regression, "SMALL", 1e-2)
    X, T, labels = views(items=40)
    method = LCFS(0.7, low_rank=low_rank, **EXACT).fit(X, T, labels)
    objective, F, G = slow_minimum(X, T, labels.astype(float), 0.7, trace_norm(low_rank))
    assert method.objective_[-1] == pytest.approx(objective, rel=1e-7)
    np.testing.assert_allclose(X @ method.image_map_, F, atol=1e-3)
    np.testing.assert_allclose(T @ method.text_map_, G, atol=1e-3)


@pytest.mark.parametrize(
    ("graph", "within", "several"), [(0.5, 1.0, False), (3.0, 2.0, True), (3.0, 0.0, True)]
)
def test_jfssl_minimises_what_it_says(graph, within, several, monkeypatch):
    monkeypatch.setattr(coupled_regression, "ROUNDING", 1e-3)
    X, T, labels = views(several, items=24)
    T = T + 0.01 * np.random.default_rng(1).standard_normal(T.shape)  # no two texts equally near
    method = JFSSL(0.7, graph=graph, within=within, neighbours=4, **EXACT).fit(X, T, labels)
    W = slow_graph(X, T, labels.astype(float), within, 4)
    objective, F, G = slow_minimum(X, T, labels.astype(float), 0.7, smoothness(graph, W))
    assert method.objective_[-1] == pytest.approx(objective, rel=1e-7)
    np.testing.assert_allclose(X @ method.image_map_, F, atol=1e-3)
    np.testing.assert_allclose(T @ method.text_map_, G, atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [{}, {"items": 31, "image_d": 80, "words": 200}])
@pytest.mark.parametrize("weight", [1e-3, 1.0, 50.0])
def test_no_step_raises_the_objective_and_the_iterations_end_by_themselves(name, shape, weight):
    X, T, labels = views(several=True, **shape)
    coupling = {"low_rank": weight} if name == "lcfs" else {"graph": weight}
    method = METHODS[name](**coupling, steps=500).fit(X, T, labels)
    values = np.array(method.objective_)
    assert (np.diff(values) <= 1e-10 * values[0]).all()
    assert 2 <= len(values) < 500
    assert values[-2] - values[-1] <= method.tolerance * values[-2]


@pytest.mark.parametrize("shape", [(9, 4), (5, 12)])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_solution_is_the_same_in_features_and_in_items(shape, sparse):
    random = np.random.default_rng(0)
    n, p = shape
    X, Q, target = (random.standard_normal(size) for size in ((n, p), (n, 2), (n, 3)))
    metric = sp.csr_array(np.diag(random.random(n) + 1) + 0.1)
    weight, low_rank = random.random(p) + 0.1, np.array([0.3, 0.6])
    A = 1.5 * metric.toarray() + (Q * low_rank) @ Q.T
    expected = np.linalg.solve(np.diag(weight) + X.T @ A @ X, X.T @ target)
    found = solve(View(sp.csr_array(X) if sparse else X, metric), weight, target, 1.5, (Q, low_rank))
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("words", [15, 200])
def test_csr_and_dense_features_give_the_same_maps(name, words):
    images, texts, labels = two_views(words=words)
    texts.data *= 1 + np.random.default_rng(1).random(texts.nnz)  # no two texts equally near
    dense, sparse = (
        METHODS[name](unit_length=False).fit(images, T, labels) for T in (texts.toarray(), texts)
    )
    np.testing.assert_allclose(sparse.text_map_, dense.text_map_, atol=1e-8)
    np.testing.assert_allclose(sparse.image_map_, dense.image_map_, atol=1e-8)


@pytest.mark.parametrize("method", [LCFS(40.0), JFSSL(40.0, graph=0.1)])
def test_features_that_say_nothing_are_left_out(method):
    X, T, labels = views(items=300)
    noise = np.random.default_rng(3).standard_normal((300, 6))
    method.set_params(unit_length=False, tolerance=1e-8).fit(np.hstack([X, noise]), T, labels)
    norms = np.linalg.norm(method.image_map_, axis=1)
    assert norms[8:].max() < 1e-3 * norms[:8].max()


def test_outputs_of_lcfs_have_lower_rank_the_more_it_weighs(monkeypatch):
    monkeypatch.setattr(coupled_regression, "SMALL", 1e-4)
    X, T, labels = views()
    ranks = []
    for low_rank in (0.0, 12.0, 14.0):
        method = LCFS(low_rank=low_rank, unit_length=False, tolerance=1e-9, steps=1000).fit(X, T, labels)
        s = np.linalg.svd(np.hstack([X @ method.image_map_, T @ method.text_map_]), compute_uv=False)
        ranks.append(int(np.sum(s > 0.2 * s[0])))
    assert ranks[0] > ranks[1] > ranks[2]


def test_without_their_couplings_both_methods_are_one():
    X, T, labels = views()
    first, second = LCFS(low_rank=0.0).fit(X, T, labels), JFSSL(graph=0.0).fit(X, T, labels)
    np.testing.assert_allclose(first.image_map_, second.image_map_, atol=1e-10)


def test_class_weights_are_cosines_of_labels_and_sum_to_one_on_average():
    _, _, labels = views(several=True)
    labels[3] = False
    M = class_vectors(labels)
    length = np.linalg.norm(labels, axis=1)
    cosine = labels.astype(float) @ labels.T / np.maximum(np.outer(length, length), 1)
    np.testing.assert_allclose(M @ M.T, cosine / (cosine.sum() / len(labels)), atol=1e-12)


def test_neighbour_weights_stay_sparse_and_take_fewer_items_than_neighbours():
    X, _, _ = views()
    graph = neighbour_weights(X, 5)
    assert graph.nnz <= 2 * 5 * len(X)
    assert (graph != graph.T).nnz == 0
    assert graph.sum() == pytest.approx(len(X))
    assert neighbour_weights(X[:3], 5).nnz == 6
    assert np.isfinite(neighbour_weights(np.zeros((4, 2)), 2).data).all()


@pytest.mark.parametrize("name", METHODS)
def test_texts_that_are_all_equal_are_refused(name):
    images, texts, labels = two_views()
    texts = sp.csr_array(np.tile(texts.toarray()[:1], (len(labels), 1)))
    with pytest.raises(InputError, match="texts: all training items have the same features"):
        METHODS[name]().fit(images, texts, labels)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (LCFS(0.0), r"sparsity is 0\.0; it must be a finite number, above 0"),
        (LCFS(low_rank=-1.0), "low_rank is -1.0; it must be a finite number, 0 or more"),
        (JFSSL(graph=-1.0), "graph is -1.0; it must be a finite number, 0 or more"),
        (JFSSL(within=-1.0), "within is -1.0; it must be a finite number, 0 or more"),
        (LCFS(np.inf), "sparsity is inf; it must be a finite number, above 0"),
        (LCFS(np.nan), "sparsity is nan; it must be a finite number, above 0"),
        (LCFS(low_rank=np.inf), "low_rank is inf; it must be a finite number"),
        (JFSSL(graph=np.inf), "graph is inf; it must be a finite number"),
        (JFSSL(within=np.nan), "within is nan; it must be a finite number"),
        (JFSSL(neighbours=0), "neighbours is 0; it must be a whole number, 1 or more"),
    ],
)
def test_weights_that_have_no_minimum_are_refused(method, message):
    with pytest.raises(InputError, match=message):
        method.fit(*two_views())


@pytest.mark.parametrize(
    ("name", "text_query", "image_query"), [("lcfs", 0.210, 0.270), ("jfssl", 0.214, 0.273)]
)
def test_official_features_give_the_map_that_was_measured(name, text_query, image_query, shared_data):
    found = official_features(shared_data / "wikipedia")
    method = METHODS[name]().fit(found["I_tr"], found["T_tr"], found["labels_tr"])
    texts, images = method.encode_texts(found["T_te"]), method.encode_images(found["I_te"])
    score = standard_map(texts, images, found["labels_te"])
    assert score["text_query"] == pytest.approx(text_query, abs=0.005)
    assert score["image_query"] == pytest.approx(image_query, abs=0.005)
