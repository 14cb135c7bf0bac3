import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from two_views import two_views

from gcnxmodal.baselines import METHODS, SemanticMatching
from gcnxmodal.baselines import semantic_matching as sm
from gcnxmodal.baselines.selection import validation_split
from gcnxmodal.data import wikipedia
from gcnxmodal.holdout import validation_items
from gcnxmodal.retrieval.evaluate import evaluate_embeddings, standard_map
from gcnxmodal.text.vocabulary import Tokenizer


def test_embedding_is_the_posterior_of_one_multinomial_regression(monkeypatch):
    monkeypatch.setattr(sm, "STRENGTHS", (10.0,))
    images, texts, labels = two_views()
    method = SemanticMatching(score="cosine").fit(images, texts, labels)
    expected = LogisticRegression(C=10, max_iter=1000).fit(normalize(texts), labels.argmax(axis=1))
    posterior = normalize(expected.predict_proba(normalize(texts)))
    np.testing.assert_allclose(method.encode_texts(texts), posterior, atol=1e-4)


def test_several_labels_get_one_regression_each(monkeypatch):
    monkeypatch.setattr(sm, "STRENGTHS", (10.0,))
    images, texts, labels = two_views()
    labels[::2, 0] = True
    method = SemanticMatching(score="cosine").fit(images, texts, labels)
    models = [LogisticRegression(C=10, max_iter=1000).fit(normalize(texts), has) for has in labels.T]
    posterior = np.stack([model.predict_proba(normalize(texts))[:, 1] for model in models], axis=1)
    np.testing.assert_allclose(method.encode_texts(texts), normalize(posterior), atol=1e-4)


def test_inner_product_of_posteriors_ranks_as_their_centred_correlation():
    images, texts, labels = two_views()
    method = SemanticMatching().fit(images, texts, labels)
    p, q = method.encode_texts(texts), method.encode_images(images)
    np.testing.assert_allclose(p, method.posteriors(texts, "texts"), rtol=1e-6)
    centred = (p - p.mean(axis=1, keepdims=True)) @ (q - q.mean(axis=1, keepdims=True)).T
    np.testing.assert_allclose(p @ q.T - 1 / 3, centred, atol=1e-6)


def test_official_features_give_the_published_map(shared_data):
    found = wikipedia.official_features(shared_data / "wikipedia")
    method = SemanticMatching()
    method.fit(found["I_tr"], found["T_tr"], found["labels_tr"])
    texts, images = method.encode_texts(found["T_te"]), method.encode_images(found["I_te"])
    score = standard_map(texts, images, found["labels_te"])
    assert score["text_query"] == pytest.approx(0.230, abs=0.01)
    assert score["image_query"] == pytest.approx(0.306, abs=0.01)


def test_images_find_texts_of_new_items():
    images, texts, labels = two_views(items=240)
    method = SemanticMatching().fit(images[:160], texts[:160], labels[:160])
    found = standard_map(method.encode_texts(texts[160:]), method.encode_images(images[160:]), labels[160:])
    assert found["text_query"] > 0.7
    assert found["image_query"] > 0.7


def test_regularisation_is_the_best_on_the_held_out_fifth():
    random = np.random.default_rng(0)
    labels = np.eye(2, dtype=bool)[np.arange(400) % 2]
    noise = random.standard_normal((400, 200))  # nothing to learn: the strongest regularisation is the best
    clear = labels + 0.01 * random.standard_normal((400, 2))  # nothing to fear: the weakest is
    held = validation_items(labels, sm.HELD_OUT)
    chosen = [sm.select_classifier(features, labels, held)[0].models[0][0].C for features in (noise, clear)]
    assert chosen == [min(sm.STRENGTHS), max(sm.STRENGTHS)]


def test_log_loss_counts_absent_labels_only_where_there_may_be_several():
    posterior = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    one = np.array([[1, 0, 0], [0, 0, 1]], bool)
    several = np.array([[1, 0, 0], [0, 1, 1]], bool)
    assert sm._log_loss(posterior, one) == pytest.approx(-np.log(0.5 * 0.8) / 2)
    expected = -np.log([0.5 * 0.75 * 0.75, 0.9 * 0.1 * 0.8]).mean()
    assert sm._log_loss(posterior, several) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["sm", "scm"])
def test_groups_are_whole_among_the_items_that_the_regularisation_is_chosen_by(name, monkeypatch):
    """So that variants of one picture never help to choose."""
    seen, select = [], sm.select_classifier
    monkeypatch.setattr(sm, "select_classifier", lambda *values: (seen.append(values[2]), select(*values))[1])
    images, texts, labels = two_views(items=100, classes=4)
    groups = np.arange(100) % 50 // 2  # of four items of two classes
    METHODS[name]().fit(images, texts, labels, groups)
    for held in seen:
        assert 16 <= held.sum() <= 24
        assert not set(groups[held]) & set(groups[~held])
    METHODS[name]().fit(images, texts, labels)
    assert set(groups[seen[-1]]) & set(groups[~seen[-1]])


def test_the_regularisation_is_chosen_by_the_rule_that_hyper_parameters_are(monkeypatch):
    seen, select = [], sm.select_classifier
    monkeypatch.setattr(sm, "select_classifier", lambda *values: (seen.append(values[2]), select(*values))[1])
    images, texts, labels = two_views()
    SemanticMatching().fit(images, texts, labels)
    expected = validation_split(labels, 0.2, 0)["held"]
    for held in seen:
        np.testing.assert_array_equal(np.flatnonzero(held), expected)


def test_class_without_a_training_item_is_never_predicted():
    images, texts, labels = two_views()
    labels = np.hstack([labels, np.zeros((120, 1), bool)])
    method = SemanticMatching().fit(images, texts, labels)
    assert (method.encode_images(images)[:, 3] == 0).all()


@pytest.mark.slow
def test_yardstick_on_wikipedia_is_as_strong_as_the_published_one(shared_data, tmp_path):
    corpus = wikipedia.load(
        shared_data / "wikipedia",
        words=10_055,
        tokenizer=Tokenizer(),
        image_feature="cnn",
        cache_dir=tmp_path,
    )
    train = corpus.splits["train"]
    method = SemanticMatching().fit(corpus.images[train], corpus.counts[train], corpus.labels[train])
    texts, images = method.encode_texts(corpus.counts), method.encode_images(corpus.images)
    found = evaluate_embeddings(texts, images, corpus.labels, corpus.splits)["protocols"]
    # Two logistic regressions with other scaling and C score .431 / .450 and .730 / .454.
    assert found["standard"]["text_query"] > 0.431
    assert found["standard"]["image_query"] > 0.450
    assert found["authors"]["text_query"] > 0.690
    assert found["authors"]["image_query"] > 0.454


@pytest.mark.parametrize("case", ["one label", "two classes", "several labels", "a class never seen"])
def test_the_linear_form_of_a_classifier_gives_its_posterior(case: str):
    random = np.random.default_rng(0)
    features = random.standard_normal((60, 5))
    labels = random.integers(0, 2 if case == "two classes" else 4, 60)[:, None] == np.arange(4)
    if case == "several labels":
        labels = random.random((60, 4)) < [0.3, 0.5, 0, 1]
    elif case == "a class never seen":
        labels[:, 2], labels[:, 0] = False, labels[:, 0] | labels[:, 2]
    classifier = sm.Classifier.fit(features, labels, 1.0)
    weights, bias = classifier.linear(5)
    logits = features @ weights + bias
    found = scipy.special.softmax(logits, axis=1) if classifier.one_label else scipy.special.expit(logits)
    assert classifier.one_label == (case != "several labels")
    np.testing.assert_allclose(found, classifier.posterior(features), atol=1e-9)
