import dataclasses
import doctest
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference.retrieval_numpy as reference

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval import metrics, ranking
from gcnxmodal.retrieval.evaluate import (
    evaluate_embeddings,
    protocol_average_precisions,
    standard_map,
)
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS, PROTOCOLS

TRAIN, TEST = np.arange(150), np.arange(150, 230)
SPLITS = {"train": TRAIN, "test": TEST}


def system(several_labels: bool = False, seed: int = 0):
    """Texts, images and labels of 230 items; small whole numbers, so scores are exact and often tied."""
    random = np.random.default_rng(seed)
    labels = np.eye(6, dtype=bool)[random.integers(0, 6, 230)]
    if several_labels:
        labels |= random.random((230, 6)) < 0.1
    centres = random.integers(-2, 3, (6, 7))
    texts, images = (
        (labels @ centres + random.integers(-2, 3, (230, 7))).astype(np.float32) for _ in range(2)
    )
    return texts, images, labels


def expected_map(queries, database, query_labels, database_labels, protocol) -> float:
    relevant = query_labels.astype(int) @ database_labels.T.astype(int) > 0
    pairs = zip(queries @ database.T, relevant, strict=True)
    return np.mean([reference.average_precision(*pair, protocol.cutoff, protocol.norm) for pair in pairs])


@pytest.mark.parametrize("several_labels", [False, True])
def test_every_protocol_equals_its_definition(several_labels):
    texts, images, labels = system(several_labels)
    found = evaluate_embeddings(texts, images, labels, SPLITS)["protocols"]
    assert set(found) == {"standard", "test@100", "authors"}
    for name, protocol in PROTOCOLS.items():
        rows = SPLITS[protocol.database]
        expected = [
            expected_map(queries[TEST], database[rows], labels[TEST], labels[rows], protocol)
            for queries, database in ((texts, images), (images, texts))
        ]
        scores = found[name]
        assert scores["text_query"] == pytest.approx(expected[0], rel=1e-6)
        assert scores["image_query"] == pytest.approx(expected[1], rel=1e-6)
        assert scores["average"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_hashing_protocols_rank_the_retrieval_split():
    texts, images, labels = system(several_labels=True)
    splits = {"test": TEST, "retrieval": TRAIN, "train": TRAIN[::2]}
    found = evaluate_embeddings(texts, images, labels, splits, protocols={**PROTOCOLS, **HASHING_PROTOCOLS})
    assert set(found["protocols"]) == set(found["queries_without_relevant"])
    assert set(found["protocols"]) == {"standard", "test@100", "authors", "hashing@500", "hashing"}
    for name, protocol in HASHING_PROTOCOLS.items():
        expected = expected_map(texts[TEST], images[TRAIN], labels[TEST], labels[TRAIN], protocol)
        assert found["protocols"][name]["text_query"] == pytest.approx(expected, rel=1e-6)
    assert (
        found["protocols"]["authors"]
        == evaluate_embeddings(texts, images, labels, splits)["protocols"]["authors"]
    )


def test_without_a_retrieval_split_hashing_protocols_rank_the_training_items():
    texts, images, labels = system()
    named = {**SPLITS, "retrieval": TRAIN}
    found, same = (
        evaluate_embeddings(texts, images, labels, s, protocols=HASHING_PROTOCOLS) for s in (SPLITS, named)
    )
    assert found == same
    assert found["curves"] == evaluate_embeddings(texts, images, labels, SPLITS)["curves"]


@pytest.mark.parametrize("norm", ["hits", "relevant", "min"])
def test_cut_off_rankings_follow_the_norm(norm):
    texts, images, labels = system(several_labels=True)
    protocol = dataclasses.replace(PROTOCOLS["authors"], cutoff=10, norm=norm)
    data = jnp.asarray(texts[TEST]), jnp.asarray(images[TRAIN]), labels[TEST], labels[TRAIN]
    found = protocol_average_precisions(*data, protocol)
    expected = expected_map(texts[TEST], images[TRAIN], labels[TEST], labels[TRAIN], protocol)
    assert np.mean(found) == pytest.approx(expected, rel=1e-6)


def test_details_equal_their_definitions():
    texts, images, labels = system(several_labels=True)
    found = evaluate_embeddings(texts, images, labels, SPLITS)
    scores = images[TEST] @ texts[TEST].T
    relevant = labels[TEST].astype(int) @ labels[TEST].T.astype(int) > 0
    ap = np.array([reference.average_precision(*pair) for pair in zip(scores, relevant, strict=True)])
    interpolated = [reference.interpolated_precision(*pair) for pair in zip(scores, relevant, strict=True)]
    ranks = np.array([reference.pair_rank(scores[i], i) for i in range(len(TEST))])
    np.testing.assert_allclose(
        found["per_class"]["image_query"], [ap[has].mean() for has in labels[TEST].T], rtol=1e-6
    )
    np.testing.assert_allclose(
        found["curves"]["image_query"]["precision"], np.mean(interpolated, axis=0), rtol=1e-6
    )
    assert found["exact_pair"]["image_query"]["median_rank"] == np.median(ranks)
    assert found["exact_pair"]["image_query"]["recall@5"] == np.mean(ranks <= 5)


def test_query_without_a_relevant_item_counts_zero_and_is_reported():
    texts, images, labels = system()
    before = evaluate_embeddings(texts, images, labels, SPLITS)
    assert before["queries_without_relevant"] == {"standard": 0, "test@100": 0, "authors": 0}
    without_labels = labels.copy()
    without_labels[TEST[:3]] = False  # no label at all: relevant to nothing, not even to its own pair
    found = evaluate_embeddings(texts, images, without_labels, SPLITS)
    assert found["queries_without_relevant"] == {"standard": 3, "test@100": 3, "authors": 3}
    expected = expected_map(
        texts[TEST], images[TEST], without_labels[TEST], without_labels[TEST], PROTOCOLS["standard"]
    )
    assert found["protocols"]["standard"]["text_query"] == pytest.approx(expected, rel=1e-6)


def test_class_without_a_test_item_has_no_map():
    texts, images, labels = system()
    labels[TEST, 0], labels[TEST, 1] = False, labels[TEST, 0] | labels[TEST, 1]
    per_class = evaluate_embeddings(texts, images, labels, SPLITS)["per_class"]
    assert per_class["text_query"][0] is None
    assert all(value > 0 for value in per_class["text_query"][1:])


def test_order_of_the_queries_does_not_matter():
    texts, images, labels = system()
    order = np.random.default_rng(1).permutation(len(TEST))
    data = jnp.asarray(images[TEST]), labels[TEST], PROTOCOLS["standard"]
    found = protocol_average_precisions(jnp.asarray(texts[TEST]), data[0], labels[TEST], data[1], data[2])
    permuted = protocol_average_precisions(
        jnp.asarray(texts[TEST][order]), data[0], labels[TEST][order], data[1], data[2]
    )
    np.testing.assert_array_equal(permuted, found[order])


@pytest.mark.parametrize("max_bytes", [1, 400_000])
def test_results_have_the_same_bits_for_every_budget(max_bytes):
    random = np.random.default_rng(4)
    texts, images = random.standard_normal((2, 230, 33)).astype(np.float32)
    labels = system()[2]
    whole = evaluate_embeddings(texts, images, labels, SPLITS)
    assert evaluate_embeddings(texts, images, labels, SPLITS, max_bytes=max_bytes) == whole


def test_results_agree_on_a_device_that_is_not_the_host(monkeypatch):
    texts, images, labels = system()
    on_host = evaluate_embeddings(texts, images, labels, SPLITS)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    on_device = evaluate_embeddings(texts, images, labels, SPLITS)
    leaves, expected = jax.tree.leaves(on_device), jax.tree.leaves(on_host)
    np.testing.assert_allclose(leaves, expected, rtol=1e-6)


def test_standard_map_is_that_of_evaluate():
    texts, images, labels = system()
    expected = evaluate_embeddings(texts, images, labels, SPLITS)["protocols"]["standard"]
    assert standard_map(texts[TEST], images[TEST], labels[TEST]) == expected


def test_perfect_embeddings_have_map_one_and_random_ones_about_the_class_frequency():
    labels = system()[2]
    perfect = evaluate_embeddings(labels.astype(float), labels.astype(float), labels, SPLITS)["protocols"]
    assert all(value == pytest.approx(1) for scores in perfect.values() for value in scores.values())
    random = np.random.default_rng(0).standard_normal((2, 230, 16))
    chance = evaluate_embeddings(*random, labels, SPLITS)["protocols"]["standard"]["average"]
    assert 1 / 6 < chance < 1 / 6 + 0.08


def test_results_are_plain_json_values():
    found = evaluate_embeddings(*system(), SPLITS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_nan_embedding_is_refused_with_its_item_named():
    texts, images, labels = system()
    images[41, 3] = np.nan
    with pytest.raises(InputError, match="images: embedding 41 is not finite"):
        evaluate_embeddings(texts, images, labels, SPLITS)


def test_misaligned_arrays_are_refused():
    texts, images, labels = system()
    with pytest.raises(InputError, match="one row an item"):
        evaluate_embeddings(texts[:-1], images, labels, SPLITS)
    with pytest.raises(InputError, match="texts embed in 6 dimensions and images in 7"):
        evaluate_embeddings(texts[:, :6], images, labels, SPLITS)


@pytest.mark.parametrize("module", [metrics, ranking])
def test_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module) != (0, 0)
    assert doctest.testmod(module).failed == 0
