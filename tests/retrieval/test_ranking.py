import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from worked_example import HITS, RELEVANT, SCORES

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.ranking import ranked_relevance, similarity, sort_on_device, sort_on_host

BOTH = pytest.mark.parametrize("sort", [sort_on_host, sort_on_device])


@BOTH
def test_items_rank_by_descending_score_and_ties_by_index(sort):
    np.testing.assert_array_equal(sort(SCORES, RELEVANT), HITS)


@BOTH
def test_minus_zero_ties_with_zero(sort):
    scores = np.float32([[0.0, -0.0, 0.0, -0.0]])
    relevant = np.array([[False, True, False, True]])
    np.testing.assert_array_equal(sort(scores, relevant), relevant)


@BOTH
def test_infinities_rank_first_and_last(sort):
    scores, relevant = np.float32([[-np.inf, 1, np.inf, -1]]), np.array([[True, False, True, False]])
    np.testing.assert_array_equal(sort(scores, relevant), [[True, False, False, True]])


@settings(deadline=None)
@given(
    arrays(
        np.float32,
        (3, 40),
        elements=st.one_of(
            st.floats(width=32, allow_nan=False, allow_subnormal=False),
            st.sampled_from([0.0, -0.0, 1.0, -1.0]),
        ),
    ),
    arrays(bool, (3, 40)),
)
def test_host_and_device_sort_alike(scores, relevant):
    np.testing.assert_array_equal(sort_on_host(scores, relevant), sort_on_device(scores, relevant))


def test_host_sort_is_the_same_for_every_number_of_rows():
    random = np.random.default_rng(0)
    scores = random.integers(0, 50, (37, 200)).astype(np.float32)
    relevant = random.random((37, 200)) < 0.2
    whole = sort_on_host(scores, relevant)
    for row in range(37):
        np.testing.assert_array_equal(
            sort_on_host(scores[row : row + 1], relevant[row : row + 1])[0], whole[row]
        )


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("nan", [np.nan, -np.nan])
def test_nan_score_is_refused_with_the_query_named(backend, nan, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    scores = SCORES.copy()
    scores[2, 5] = nan
    with pytest.raises(InputError, match="query 2 has a NaN score"):
        ranked_relevance(scores, RELEVANT)


def test_result_is_on_the_device_where_that_is_not_the_host(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    hits = ranked_relevance(SCORES, RELEVANT)
    assert isinstance(hits, jax.Array)
    np.testing.assert_array_equal(hits, HITS)


def test_scores_are_full_float32_products():
    lowered = jax.jit(similarity).lower(jnp.ones((2, 3)), jnp.ones((4, 3)))
    assert "precision = [HIGHEST, HIGHEST]" in lowered.as_text()
