import doctest
import importlib.util
import itertools
import pickle
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import reference.retrieval_numpy as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.hamming_numpy import unpack_codes

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval import hamming, hamming_device, metrics
from gcnxmodal.retrieval.hamming import (
    average_precisions,
    distance_histograms,
    nearest,
    pack_codes,
)
from gcnxmodal.retrieval.metrics import expected_average_precision
from gcnxmodal.retrieval.ranking import BYTES_PER_SCORE

HAS_NUMBA = importlib.util.find_spec("numba") is not None
NORMS = ["hits", "relevant", "min"]
RANKINGS = [(None, "hits"), (5, "hits"), *itertools.product([50, 500], NORMS)]


@pytest.fixture(params=["host", "device"])
def path(request, monkeypatch):
    """Both implementations, on this machine's CPU."""
    if request.param == "host" and not HAS_NUMBA:
        pytest.skip("needs numba, the extra `hashing`")
    monkeypatch.setattr(hamming, "_on_host", lambda items_MW, wanted: request.param == "host")
    return request.param


def problem(bits: int, queries: int = 23, items: int = 301, classes: int = 5, seed: int = 0):
    """Bits and labels; several labels an item, and two queries without any. Few bits: nearly all is tied."""
    random = np.random.default_rng(seed)
    query_bits, item_bits = random.random((queries, bits)) < 0.5, random.random((items, bits)) < 0.4
    query_labels, item_labels = (random.random((n, classes)) < 0.3 for n in (queries, items))
    query_labels[:2] = False
    return query_bits, item_bits, query_labels, item_labels


def packed(query_bits, item_bits, query_labels, item_labels):
    return pack_codes(query_bits), pack_codes(item_bits), query_labels, item_labels


def distances(query_bits, item_bits) -> np.ndarray:
    return (query_bits[:, None] != item_bits).sum(axis=2)


def relevance(query_labels, item_labels) -> np.ndarray:
    return (query_labels[:, None] & item_labels).any(axis=2)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 256), st.integers(0, 2**32 - 1))
def test_packed_distances_are_those_of_the_bits(bits, seed):
    random = np.random.default_rng(seed)
    queries, items = (random.random((n, bits)) < random.random() for n in (3, 5))
    codes = pack_codes(queries), pack_codes(items)
    assert codes[0].shape == (3, -(-bits // 32))
    np.testing.assert_array_equal(unpack_codes(codes[0], bits), queries)
    found = hamming_device.distances(*(jnp.asarray(code) for code in codes))
    np.testing.assert_array_equal(found, distances(queries, items))


@pytest.mark.parametrize("bits", [31, 64, 256])
def test_both_paths_count_and_find_the_distances_of_the_bits(path, bits):
    data = problem(bits)
    expected = distances(*data[:2])
    indices, found = nearest(*packed(*data)[:2], 301)
    np.testing.assert_array_equal(found, np.sort(expected, axis=1))
    np.testing.assert_array_equal(np.take_along_axis(expected, indices, axis=1), found)
    counts = distance_histograms(*packed(*data))
    at_QMT = expected[:, :, None] == np.arange(counts[0].shape[1])
    np.testing.assert_array_equal(counts[0], at_QMT.sum(axis=1))
    np.testing.assert_array_equal(counts[1], (at_QMT & relevance(*data[2:])[:, :, None]).sum(axis=1))


def test_signs_and_booleans_are_the_same_codes():
    bits = problem(45)[0]
    np.testing.assert_array_equal(pack_codes(np.where(bits, 1.0, -1.0)), pack_codes(bits))
    np.testing.assert_array_equal(pack_codes(jnp.where(bits, 1, -1)), pack_codes(bits))


@pytest.mark.parametrize(("cutoff", "norm"), RANKINGS)
@pytest.mark.parametrize("bits", [1, 4, 64])
def test_average_precision_is_that_of_a_stable_sort(path, bits, cutoff, norm):
    data = problem(bits)
    rows = zip(-distances(*data[:2]), relevance(*data[2:]), strict=True)
    expected = [reference.average_precision(*row, cutoff, norm) for row in rows]
    found = average_precisions(*packed(*data), cutoff, norm)
    assert found.shape == (23,)
    assert not found[:2].any()  # queries without a label
    if path == "host":  # the same bits
        np.testing.assert_array_equal(found, expected)
    else:  # of terms rounded down to 48 binary digits
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 90), st.integers(1, 40), st.integers(0, 2**32 - 1))
@pytest.mark.skipif(not HAS_NUMBA, reason="needs numba, the extra `hashing`")
def test_host_has_the_bits_of_a_stable_sort_for_any_shape(bits, items, classes, seed):
    data = problem(bits, queries=4, items=items, classes=classes, seed=seed)
    rows = zip(-distances(*data[:2]), relevance(*data[2:]), strict=True)
    expected = [reference.average_precision(*row, 7) for row in rows]
    np.testing.assert_array_equal(average_precisions(*packed(*data), 7), expected)


def test_precisions_are_divided_to_48_binary_digits():
    random = np.random.default_rng(0)
    denominators = np.r_[np.arange(1, 65), 2 ** random.uniform(0, 30, 4000)].astype(np.int32)
    numerators = (random.random(len(denominators)) * (1 + denominators)).astype(np.int32)
    numerators[:70], denominators[-1] = denominators[:70], 2**30 - 1
    found = hamming_device.digits(jnp.asarray(numerators), jnp.asarray(denominators))
    pairs = zip(numerators.tolist(), denominators.tolist(), strict=True)
    expected = [(numerator << 48) // denominator for numerator, denominator in pairs]
    assert [
        (a << 32) + (b << 16) + c for a, b, c in zip(*(x.tolist() for x in found), strict=True)
    ] == expected


def test_items_are_counted_across_tiles_and_blocks(path, monkeypatch):
    data = problem(3, queries=9, items=4 * 1024 + 77)  # more than two tiles in each half of the database
    rows = zip(-distances(*data[:2]), relevance(*data[2:]), strict=True)
    expected = [reference.average_precision(*row) for row in rows]
    np.testing.assert_allclose(average_precisions(*packed(*data)), expected, rtol=1e-12 * (path == "device"))
    monkeypatch.setattr(hamming, "SEARCH_BLOCK", 300)
    order = np.argsort(distances(*data[:2]), axis=1, kind="stable")
    for k in (40, 700, 4 * 1024 + 77):  # less than a block, more, all items
        np.testing.assert_array_equal(nearest(*packed(*data)[:2], k)[0], order[:, :k])


@pytest.mark.parametrize("k", [1, 17, 301])
@pytest.mark.parametrize("bits", [2, 64])
def test_search_is_a_stable_argsort(path, bits, k):
    data = problem(bits)
    order = np.argsort(distances(*data[:2]), axis=1, kind="stable")[:, :k]
    indices, found = nearest(*packed(*data)[:2], k)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(found, np.take_along_axis(distances(*data[:2]), order, axis=1))


def test_search_finds_the_distances_of_faiss(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its SWIG types have no __module__
        faiss = pytest.importorskip("faiss", reason="needs faiss-cpu, the extra `faiss`")
    queries, items, *_ = packed(*problem(64))
    index = faiss.IndexBinaryFlat(64)
    index.add(items.view(np.uint8))
    expected = np.sort(index.search(queries.view(np.uint8), 50)[0], axis=1)
    np.testing.assert_array_equal(nearest(queries, items, 50)[1], expected)


@pytest.mark.parametrize(("cutoff", "norm"), [(None, "hits"), *itertools.product([1, 3, 4, 9], NORMS)])
def test_expected_precision_is_the_mean_over_all_orders_of_the_ties(path, cutoff, norm):
    data = problem(2, queries=8, items=6, classes=8)
    orders = [list(order) for order in itertools.permutations(range(6))]
    distance_QM, relevant_QM = distances(*data[:2]), relevance(*data[2:])
    expected = [
        np.mean([reference.average_precision(-distance_M[o], relevant_M[o], cutoff, norm) for o in orders])
        for distance_M, relevant_M in zip(distance_QM, relevant_QM, strict=True)
    ]
    assert 0.3 < np.mean(relevant_QM) < 0.7
    found = expected_average_precision(*distance_histograms(*packed(*data)), cutoff, norm)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_expected_precision_without_ties_is_the_precision():
    random = np.random.default_rng(0)
    hits = random.random((7, 4000)) < 0.1
    found = metrics.expected_average_precision(np.ones_like(hits, int), hits.astype(int), 500)
    expected = [reference.average_precision(np.arange(4000, 0, -1), row, 500) for row in hits]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_expected_precision_is_the_mean_over_many_shuffled_databases():
    queries, items, query_labels, item_labels = problem(6, queries=6, items=400)
    random, found = np.random.default_rng(0), []
    for _ in range(300):
        order = random.permutation(400)
        found.append(average_precisions(*packed(queries, items[order], query_labels, item_labels[order]), 60))
    counts = distance_histograms(*packed(queries, items, query_labels, item_labels))
    expected = expected_average_precision(*counts, 60)
    error = np.std(found, axis=0) / np.sqrt(300)
    assert (abs(np.mean(found, axis=0) - expected) <= 5 * error).all()
    assert error.max() > 1e-4


def test_results_do_not_depend_on_the_budget(path):
    data = packed(*problem(16, queries=61))
    for measure in (average_precisions, distance_histograms):
        np.testing.assert_array_equal(measure(*data, max_bytes=1), measure(*data))
    for part, whole in zip(nearest(*data[:2], 40, max_bytes=1), nearest(*data[:2], 40), strict=True):
        np.testing.assert_array_equal(part, whole)


def test_chunks_of_queries_stay_within_the_budget(monkeypatch):
    sizes, count = [], hamming_device.histograms
    monkeypatch.setattr(
        hamming_device, "histograms", lambda q, *a, **k: sizes.append(len(q)) or count(q, *a, **k)
    )
    a_query = BYTES_PER_SCORE * hamming.CPU_BLOCK * 33  # one word: distances 0..32
    distance_histograms(*packed(*problem(16, queries=61)), max_bytes=24 * a_query, on_host=False)
    assert sizes == [24, 24, 24]


def test_cut_off_beyond_the_database_is_no_cut_off(path):
    data = packed(*problem(8))
    counts = distance_histograms(*data)
    for measure, values in ((average_precisions, data), (expected_average_precision, counts)):
        np.testing.assert_array_equal(measure(*values, 10_000), measure(*values))


def test_equal_codes_rank_first_and_opposite_ones_last():
    codes = np.eye(4, dtype=bool)
    labels = np.eye(4, dtype=bool)
    np.testing.assert_array_equal(average_precisions(pack_codes(codes), pack_codes(codes), labels, labels), 1)
    found = average_precisions(pack_codes(~codes), pack_codes(codes), labels, labels)
    np.testing.assert_allclose(found, 1 / 4)


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (np.ones(4), r"codes are \(4,\)"),
        (np.ones((4, 0)), "one column a bit"),
        (np.full((2, 3), np.nan), "NaN"),
    ],
)
def test_what_has_no_bits_is_refused(bits, message):
    with pytest.raises(InputError, match=message):
        pack_codes(bits)


def test_misaligned_codes_and_labels_are_refused():
    queries, items, query_labels, item_labels = packed(*problem(40))
    with pytest.raises(InputError, match=r"queries: codes are float64 \(23, 40\); pack them"):
        average_precisions(np.ones((23, 40)), items, query_labels, item_labels)
    with pytest.raises(InputError, match=r"database: codes are \(301, 2\) and labels \(300, 5\)"):
        average_precisions(queries, items, query_labels, item_labels[:-1])
    with pytest.raises(InputError, match="queries have 1 words and 5 classes, the database 2 and 5"):
        average_precisions(queries[:, :1], items, query_labels, item_labels)
    with pytest.raises(InputError, match="k is 302 and the database has 301 items"):
        nearest(queries, items, 302)
    with pytest.raises(InputError, match="cutoff is 0"):
        average_precisions(queries, items, query_labels, item_labels, 0)


@pytest.mark.parametrize("fault", ["no folder", "damaged"])
def test_where_numba_cannot_keep_its_programs_it_compiles_without(monkeypatch, caplog, fault):
    host = pytest.importorskip("gcnxmodal.retrieval.hamming_host")
    njit = host.numba.njit

    def broken(*_: object) -> None:
        raise pickle.UnpicklingError("invalid load key")

    def faulty(*, cache: bool = False, **options: object) -> object:
        if cache and fault == "no folder":
            raise RuntimeError("no locator available")
        return (lambda function: broken) if cache else njit(**options)

    queries, items = packed(*problem(40))[:2]
    expected = host.nearest(queries, items.T.copy(), 5)
    monkeypatch.setattr(host, "_programs", {})
    monkeypatch.setattr(host.numba, "njit", faulty)
    for _ in range(2):
        np.testing.assert_array_equal(host.nearest(queries, items.T.copy(), 5), expected)
    assert caplog.text.count("numba cannot keep its programs") == 1


@pytest.mark.parametrize("module", [hamming, hamming_device, metrics])
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(module) != (0, 0)
    assert doctest.testmod(module).failed == 0
