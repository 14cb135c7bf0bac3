import doctest
import importlib.util
import json

import jax
import numpy as np
import pytest
import reference.hamming_numpy as reference
import reference.retrieval_numpy as retrieval
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval import evaluate as module
from gcnxmodal.retrieval import protocols
from gcnxmodal.retrieval.evaluate import (
    ALL_PROTOCOLS,
    evaluate_codes,
    evaluate_embeddings,
    expected_hits,
    standard_map_of_codes,
)
from gcnxmodal.retrieval.hamming import distance_histograms, pack_codes

HAS_NUMBA = importlib.util.find_spec("numba") is not None
SPLITS = {"test": np.arange(40), "retrieval": np.arange(40, 160), "train": np.arange(90, 160)}
NAMES = {"standard", "test@100", "authors", "hashing@500", "hashing"}


@pytest.fixture(params=["host", "device"])
def on_host(request):
    """Both implementations, on this machine's CPU."""
    if request.param == "host" and not HAS_NUMBA:
        pytest.skip("needs numba, the extra `hashing`")
    return request.param == "host"


def system(bits=7, items=160, classes=4, seed=0):
    """Bits of texts and images that agree with their labels two times in three: most distances are ties.

    Some items have no label: as queries, nothing is relevant to them.
    """
    random = np.random.default_rng(seed)
    labels = random.random((items, classes)) < 0.35
    centres = random.standard_normal((classes, bits))
    points = (labels @ centres + random.standard_normal((items, bits)) for _ in range(2))
    texts, images = (x > 0 for x in points)
    return texts, images, labels


def measured(system, on_host, splits=SPLITS, **options):
    texts, images, labels = system
    codes = pack_codes(texts), pack_codes(images)
    return evaluate_codes(*codes, labels, splits, texts.shape[1], on_host=on_host, **options)


def expected(system, splits=SPLITS):
    """{database: {direction: (distances, relevance)}}, by the reference."""
    rows = {**splits, "retrieval": splits.get("retrieval", splits["train"])}
    return {name: reference.sides(*system, splits["test"], rows[name]) for name in rows}


def assert_equals_the_reference(found, system, splits=SPLITS):
    sides, bits = expected(system, splits), system[0].shape[1]
    for name, protocol in ALL_PROTOCOLS.items():
        for direction, side in sides[protocol.database].items():
            ap = reference.average_precisions(*side, protocol.cutoff, protocol.norm)
            assert found["protocols"][name][direction] == pytest.approx(np.mean(ap), rel=1e-12)
        queries_without_relevant = np.sum(~side[1].any(axis=1))
        assert found["queries_without_relevant"][name] == queries_without_relevant
    for direction, (distances, relevant) in sides["test"].items():
        hits, M = reference.hits(distances, relevant), len(relevant)
        pairs = list(zip(-distances, relevant, strict=True))
        curves = found["curves"][direction]
        interpolated = [retrieval.interpolated_precision(*pair) for pair in pairs]
        np.testing.assert_allclose(curves["precision"], np.mean(interpolated, axis=0), rtol=1e-12)
        assert curves["scope"] == list(range(1, M + 1))
        precision = np.cumsum(hits, axis=1) / np.arange(1, M + 1)
        np.testing.assert_allclose(curves["precision_at_scope"], precision.mean(axis=0), rtol=1e-12)
        recall = np.cumsum(hits, axis=1) / np.maximum(hits.sum(axis=1, keepdims=True), 1)
        np.testing.assert_allclose(curves["pr_by_rank"]["recall"], recall.mean(axis=0), rtol=1e-12)
        ranks = np.array([retrieval.pair_rank(-distances[q], q) for q in range(M)])
        pair = found["exact_pair"][direction]
        assert pair["median_rank"] == np.median(ranks)
        assert [pair[f"recall@{k}"] for k in (1, 5, 10)] == [np.mean(ranks <= k) for k in (1, 5, 10)]
        ap = np.array(reference.average_precisions(distances, relevant))
        for value, has in zip(found["per_class"][direction], system[2][splits["test"]].T, strict=True):
            assert value == (pytest.approx(ap[has].mean(), rel=1e-12) if has.any() else None)
    for direction, (distances, relevant) in sides["retrieval"].items():
        lookup = found["lookup"][direction]
        assert lookup["radius"] == list(range(bits + 1))
        for radius in range(bits + 1):
            balls = np.array(reference.lookup(distances, relevant, radius))
            with_hits = balls[balls[:, 0] > 0]
            assert lookup["queries_with_hits"][radius] == len(with_hits)
            two = lookup["precision"][radius], lookup["recall"][radius]
            assert two == (pytest.approx(tuple(with_hits.mean(axis=0))) if len(with_hits) else (None, None))
            two = lookup["precision_of_all"][radius], lookup["recall_of_all"][radius]
            assert two == pytest.approx(tuple(balls.mean(axis=0)), rel=1e-12)
        at, hits = found["precision_at"][direction], reference.hits(distances, relevant)[:, :1000]
        ranks = np.arange(1, hits.shape[1] + 1)
        assert at["n"] == ranks.tolist()
        precision = (np.cumsum(hits, axis=1) / ranks).mean(axis=0)
        np.testing.assert_allclose(at["precision"], precision, rtol=1e-12)


@pytest.mark.parametrize("bits", [3, 33, 64])
def test_everything_equals_a_stable_argsort(on_host, bits):
    data = system(bits)
    found = measured(data, on_host)
    assert set(found["protocols"]) == set(found["expected"]) == NAMES
    assert_equals_the_reference(found, data)
    assert 0 < found["queries_without_relevant"]["hashing"] < 40


@settings(max_examples=25, deadline=None)
@given(
    bits=st.integers(1, 70),
    queries=st.integers(1, 5),
    items=st.integers(1, 30),
    classes=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.skipif(not HAS_NUMBA, reason="needs numba, the extra `hashing`")
def test_everything_equals_a_stable_argsort_for_any_shape(bits, queries, items, classes, seed):
    data = system(bits, queries + items, classes, seed)
    splits = {"test": np.arange(queries), "train": np.arange(queries, queries + items)}
    assert_equals_the_reference(measured(data, True, splits), data, splits)


@pytest.mark.parametrize(("queries", "items", "bits"), [(1, 1, 1), (1, 30, 31), (30, 1, 32), (5, 9, 45)])
def test_one_query_and_one_item_are_a_database_too(on_host, queries, items, bits):
    data = system(bits, queries + items, seed=queries + bits)
    splits = {"test": np.arange(queries), "train": np.arange(queries, queries + items)}
    found = measured(data, on_host, splits)
    assert_equals_the_reference(found, data, splits)


def test_expected_map_and_precision_are_the_mean_over_all_orders_of_the_ties(on_host):
    data = system(bits=2, items=13)
    splits = {"test": np.arange(6), "train": np.arange(6, 13)}
    found = measured(data, on_host, splits)
    sides = expected(data, splits)
    for name, protocol in ALL_PROTOCOLS.items():
        for direction, side in sides[protocol.database].items():

            def ap(ranked_M, cutoff=protocol.cutoff):
                return retrieval.average_precision(-np.arange(len(ranked_M)), ranked_M, cutoff)

            mean = reference.mean_over_orders(*side, ap).mean()
            assert found["expected"][name][direction] == pytest.approx(mean, rel=1e-12)
    for direction, side in sides["retrieval"].items():
        mean = reference.mean_over_orders(*side, lambda ranked_M: np.cumsum(ranked_M) / np.arange(1, 8))
        at = found["precision_at"][direction]
        np.testing.assert_allclose(at["expected"], mean.mean(axis=0), rtol=1e-12)


def test_ties_by_index_are_near_what_is_expected_and_not_the_same():
    found = measured(system(bits=4), None)
    for name in NAMES:
        given_order, expected_ap = found["protocols"][name]["average"], found["expected"][name]["average"]
        assert given_order != expected_ap
        assert given_order == pytest.approx(expected_ap, abs=0.05)


def test_equals_the_evaluation_of_the_same_codes_as_embeddings(on_host):
    """Of -1 and 1, whose inner product is bits - 2 x distance: two implementations that share no code."""
    texts, images, labels = system(bits=37)
    signs = np.where(texts, 1.0, -1.0), np.where(images, 1.0, -1.0)
    by_score = evaluate_embeddings(*signs, labels, SPLITS, protocols=ALL_PROTOCOLS)
    by_distance = measured((texts, images, labels), on_host)
    by_distance = {name: by_distance[name] for name in by_score}
    assert jax.tree.structure(by_distance) == jax.tree.structure(by_score)
    np.testing.assert_allclose(jax.tree.leaves(by_distance), jax.tree.leaves(by_score), rtol=1e-5)


def test_without_a_retrieval_split_the_training_items_are_searched(on_host):
    data = system()
    without = {"test": SPLITS["test"], "train": SPLITS["retrieval"]}
    found, same = measured(data, on_host, without), measured(data, on_host)
    for name in ("hashing", "hashing@500"):
        assert found["protocols"][name] == same["protocols"][name]
    assert found["lookup"] == same["lookup"]
    assert found["protocols"]["authors"] != same["protocols"]["authors"]


@pytest.mark.parametrize("max_bytes", [1, 100_000])
def test_results_do_not_depend_on_the_memory(on_host, max_bytes):
    data = system(bits=40)
    whole, in_parts = measured(data, on_host), measured(data, on_host, max_bytes=max_bytes)
    assert in_parts == whole


def test_nothing_is_larger_than_the_memory(monkeypatch):
    shapes, nearest = [], module.nearest

    def recorded(queries, items, k, *rest):
        shapes.append((len(queries), k))
        return nearest(queries, items, k, *rest)

    monkeypatch.setattr(module, "nearest", recorded)
    measured(system(), None, max_bytes=64 * 16 * 40)  # 16 queries by 40 items, at 64 bytes each
    in_one_direction = [(16, 40), (16, 40), (8, 40)] + 5 * [(8, 120)]  # 8 queries are the least
    assert shapes == 2 * in_one_direction


def test_standard_map_is_that_of_evaluate_codes(on_host):
    texts, images, labels = (x[SPLITS["test"]] for x in system())
    found = standard_map_of_codes(pack_codes(texts), pack_codes(images), labels, on_host=on_host)
    assert found == measured(system(), on_host)["protocols"]["standard"]


def test_perfect_codes_have_map_one_and_their_whole_class_at_radius_zero(on_host):
    labels = np.eye(4, dtype=bool)[np.arange(160) % 4]
    found = measured((labels, labels, labels), on_host)
    assert all(scores["average"] == 1 for scores in found["protocols"].values())
    lookup = found["lookup"]["text_query"]
    assert lookup["precision"][:2] == lookup["recall"][:2] == [1, 1]
    assert lookup["precision_of_all"][2] == pytest.approx(1 / 4)


def test_results_are_plain_json_values():
    found = measured(system(), None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_codes_that_are_not_of_so_many_bits_are_refused():
    texts, images, labels = system(bits=40)
    codes = pack_codes(texts), pack_codes(images)
    with pytest.raises(InputError, match=r"texts: codes are uint32 \(160, 2\), and 65 bits take 3 words"):
        evaluate_codes(*codes, labels, SPLITS, 65)
    with pytest.raises(InputError, match="images: a code has a one beyond its 40 bits"):
        evaluate_codes(codes[0], pack_codes(np.ones((160, 41))), labels, SPLITS, 40)
    with pytest.raises(InputError, match=r"texts: codes are float64 \(160, 2\)"):
        evaluate_codes(np.ones((160, 2)), codes[1], labels, SPLITS, 40)


def test_expected_hits_of_the_whole_database_are_all_hits():
    texts, images, labels = system()
    counts = distance_histograms(pack_codes(texts), pack_codes(images), labels, labels)
    np.testing.assert_array_equal(expected_hits(*counts, np.array([160]))[:, 0], counts[1].sum(axis=1))


@pytest.mark.parametrize("documented", [module, protocols])
def test_docstring_examples_hold(documented):
    assert doctest.testmod(documented) != (0, 0)
    assert doctest.testmod(documented).failed == 0
