"""Neighbours and negatives have the chances of the dense definition, and no [n, n] array is ever made."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.extend.core import jaxprs_in_params
from reference import sspe_numpy

from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.nearest import nearest_by_distance
from gcnxmodal.systems.feature_graph import draw_far, draw_near, feature_graph
from gcnxmodal.systems.semantic_graph import Drawn, draw_connected, draw_unconnected, label_groups

DRAWS = 40_000


def random_labels(n: int, labels: int, share: float) -> np.ndarray:
    return np.random.default_rng(0).random((n, labels)) < share


def with_a_label(labels: np.ndarray) -> np.ndarray:
    return labels[labels.any(axis=1)]


STRUCTURES = {
    "several labels": with_a_label(random_labels(60, 6, 0.25)),
    "few distinct vectors": np.repeat(np.eye(4, dtype=bool), (3, 9, 14, 20), axis=0)
    | (np.arange(46)[:, None] % 5 == 0) & (np.arange(4) == 2),
    "one label an item": np.eye(5, dtype=bool)[np.arange(40) % 5],
    "no two alike": np.unique(with_a_label(random_labels(40, 12, 0.15)), axis=0),
}
OTHER = {
    "uniform over the connected": lambda weights: weights > 0,
    "without the sizes of label vectors": lambda weights: np.where(weights > 0, weights**3, 0),
}


@functools.cache
def two_words(items: int, k: int) -> jax.Array:
    return jax.random.bits(jax.random.key(3), (2, items, k), jnp.uint32)


def words(draw, items: int, k: int) -> jax.Array:
    both = two_words(items, k)
    return both[0] if draw in (draw_near, draw_far) else both


@functools.partial(jax.jit, static_argnums=0, static_argnames=("same_modality", "similarity"))
def draw_many(draw, words, item, **options) -> Drawn:
    return draw(words, items_B=jnp.full(100, item), **options)


def frequencies(draw, item: int, n: int, **options) -> np.ndarray:
    """How often each item is drawn for one, in DRAWS draws."""
    found = draw_many(draw, words(draw, 100, DRAWS // 100), item, **options)
    assert bool(found.exist.all())
    return np.bincount(np.asarray(found.items).ravel(), minlength=n)


def p_value(counts: np.ndarray, chances: np.ndarray) -> float:
    """Of Pearson's chi-square test; 0 if something impossible was drawn."""
    possible = chances > 0
    if counts[~possible].any():
        return 0.0
    if possible.sum() == 1:
        return 1.0
    return float(scipy.stats.chisquare(counts[possible], counts.sum() * chances[possible]).pvalue)


@pytest.mark.parametrize("similarity", ["cosine", "squared-exponential"])
@pytest.mark.parametrize("same_modality", [True, False], ids=["same", "other"])
@pytest.mark.parametrize("labels", STRUCTURES.values(), ids=STRUCTURES)
def test_neighbours_are_drawn_by_the_weights_of_their_edges(labels, same_modality, similarity):
    groups = label_groups(labels)
    weights = sspe_numpy.semantic_weights(labels, similarity, sigma=1.5)
    chances = sspe_numpy.neighbour_chances(weights, same_modality=same_modality)
    options = {"same_modality": same_modality, "similarity": similarity, "sigma": 1.5, "groups": groups}
    tested = 0
    for item in range(0, len(labels), 7):
        if weights[item].sum() == weights[item, item] and same_modality:
            continue
        counts = frequencies(draw_connected, item, len(labels), **options)
        assert p_value(counts, chances[item]) > 1e-4, item
        tested += 1
    assert tested >= 3


@pytest.mark.parametrize("wrong", OTHER.values(), ids=OTHER)
def test_the_test_above_fails_for_other_chances(wrong):
    labels = STRUCTURES["several labels"]
    weights = sspe_numpy.semantic_weights(labels)
    counts = frequencies(draw_connected, 7, len(labels), groups=label_groups(labels), same_modality=True)
    chances = sspe_numpy.neighbour_chances(wrong(weights), same_modality=True)
    assert p_value(counts, chances[7]) < 1e-6
    with_itself = sspe_numpy.neighbour_chances(weights, same_modality=False)
    assert p_value(counts, with_itself[7]) < 1e-6


@pytest.mark.parametrize("same_modality", [True, False], ids=["same", "other"])
@pytest.mark.parametrize("labels", STRUCTURES.values(), ids=STRUCTURES)
def test_negatives_are_uniform_over_items_without_a_common_label(labels, same_modality):
    groups = label_groups(labels)
    chances = sspe_numpy.unconnected_chances(sspe_numpy.semantic_weights(labels))
    for item in range(0, len(labels), 9):
        counts = frequencies(draw_unconnected, item, len(labels), groups=groups, same_modality=same_modality)
        assert p_value(counts, chances[item]) > 1e-4, item


def test_what_does_not_exist_is_said_not_to():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    items, groups = jnp.arange(5), label_groups(labels)
    four = words(draw_connected, 5, 4)
    connected, unconnected = (
        jax.jit(draw, static_argnames="same_modality") for draw in (draw_connected, draw_unconnected)
    )
    same, other = (connected(four, groups, items, same_modality=m) for m in (True, False))
    # 3 has its label alone and 4 has none; the counterpart of 3 has the same label.
    assert same.exist.tolist() == [True, True, True, False, False]
    assert other.exist.tolist() == [True, True, True, True, False]
    assert unconnected(four, groups, items, same_modality=False).exist.all()
    everywhere = label_groups(labels | (np.arange(3) == 0))
    assert not unconnected(four, everywhere, items, same_modality=False).exist.any()
    for drawn in (same, other):
        assert ((drawn.items >= 0) & (drawn.items < 5)).all()


def test_neighbours_drawn_for_many_items_are_all_connected_and_negatives_not():
    labels = with_a_label(random_labels(3_000, 12, 0.15))
    groups, items = label_groups(labels), jnp.arange(len(labels))
    shared = labels.astype(int) @ labels.T.astype(int)
    eight = words(draw_connected, len(labels), 8)
    near = jax.jit(functools.partial(draw_connected, same_modality=True))(eight, groups, items)
    far = jax.jit(functools.partial(draw_unconnected, same_modality=False))(eight, groups, items)
    rows = np.arange(len(labels))[:, None]
    assert (shared[rows, np.asarray(near.items)] > 0)[np.asarray(near.exist)].all()
    assert (np.asarray(near.items) != rows)[np.asarray(near.exist)].all()
    assert (shared[rows, np.asarray(far.items)] == 0)[np.asarray(far.exist)].all()


def largest_array(function, *arguments) -> int:
    """Entries of the largest array anywhere in a traced function, its arguments too."""

    def sizes(jaxpr):
        for variable in [*jaxpr.invars, *jaxpr.constvars]:
            yield variable.aval.size
        for equation in jaxpr.eqns:
            for variable in equation.outvars:
                yield variable.aval.size
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    closed = jax.make_jaxpr(function)(*arguments)
    return max([*sizes(closed.jaxpr), *(np.size(constant) for constant in closed.consts)])


def test_drawing_takes_memory_linear_in_items_and_label_vectors():
    n, k, B = 20_000, 8, 10
    labels = np.eye(6, dtype=bool)[np.arange(n) % 6] | np.eye(6, dtype=bool)[np.arange(n) % 5]
    groups, items = label_groups(labels), jnp.arange(B)
    assert len(groups.size_U) <= 30
    for draw in (draw_connected, draw_unconnected):
        traced = functools.partial(draw, same_modality=True)
        assert largest_array(traced, words(draw, B, k), groups, items) == n
    near = (np.arange(n)[:, None] + 1 + np.arange(k)) % n
    graph = feature_graph(near)
    for draw in (draw_near, draw_far):
        assert largest_array(draw, words(draw, B, k), graph, items) <= (2 * k + 1) * n


@pytest.mark.parametrize("unit", [True, False], ids=["unit rows", "rows of any length"])
def test_nearest_neighbours_are_those_of_a_dense_reference(unit):
    rows = np.random.default_rng(1).standard_normal((300, 20)).astype(np.float32)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit else rows * np.arange(1, 301)[:, None]
    found = nearest_by_distance(rows.astype(np.float32), 8)
    distances = ((rows[:, None].astype(float) - rows[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :8])


def test_equal_rows_are_neighbours_and_never_their_own():
    rows = np.ones((20, 3), np.float32)
    found = nearest_by_distance(rows, 8)
    assert (found != np.arange(20)[:, None]).all()
    assert all(len(set(row)) == 8 for row in found.tolist())


def test_as_many_neighbours_as_items_are_refused():
    with pytest.raises(InputError, match="choose k from 1 to 7"):
        nearest_by_distance(np.eye(8, dtype=np.float32), 8)


def test_near_and_far_items_are_uniform_over_the_symmetric_graph_and_its_complement():
    rows = np.random.default_rng(2).standard_normal((70, 8)).astype(np.float32)
    rows[0] *= 0.1  # in the middle: a neighbour of many
    graph = feature_graph(nearest_by_distance(rows, 4))
    weights = sspe_numpy.feature_weights(rows, 4)
    near = weights / weights.sum(axis=1, keepdims=True)
    far = sspe_numpy.unconnected_chances(weights)
    assert weights[0].sum() > 6
    for item in (0, 1, 30, 69):
        assert p_value(frequencies(draw_near, item, 70, graph=graph), near[item]) > 1e-4
        assert p_value(frequencies(draw_far, item, 70, graph=graph), far[item]) > 1e-4
        assert p_value(frequencies(draw_near, item, 70, graph=graph), far[item]) == 0


def test_where_all_are_neighbours_there_is_no_negative():
    near = np.array([[1, 2], [0, 2], [0, 1]])
    assert not draw_far(words(draw_far, 3, 2), feature_graph(near), jnp.arange(3)).exist.any()
