"""At 200,000 items a step makes the arrays of one at 20,000, and draws as the dense definition says."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx
from jax import ShapeDtypeStruct
from jax.extend.core import jaxprs_in_params

from gcnxmodal.systems.sspe.graphs import (
    FeatureGraph,
    LabelGroups,
    draw_connected,
    draw_unconnected,
    label_groups,
)
from gcnxmodal.systems.sspe.sspe import SSPE, SSPE_METRICS, Graphs, make_neighbour_step, make_sgd
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Data, init_state, make_block

LABELS, FEATURES, WORDS, BATCH, K = 20, 128, 1_000, 5, 8
N = 200_000
VALUES: dict[str, Any] = {
    **{"alpha1": 0.1, "alpha2": 0.1, "reduction": "mean"},
    **{"other": 6, "same": 2, "near": 8, "similarity": "cosine", "sigma": 1.0},
}


def largest_made(jaxpr: Any) -> int:
    """Entries of the largest array that is computed anywhere in a traced function."""
    made = [0]
    for equation in jaxpr.eqns:
        made += [variable.aval.size for variable in equation.outvars]
        made += [largest_made(inner) for inner in jaxprs_in_params(equation.params)]
    return max(made)


def block_arrays(n: int, label_vectors: int, change: Any = None) -> int:
    """`largest_made` in a block of steps, from shapes alone; compiling it would take ten times as long."""

    def ints(*shape: int) -> ShapeDtypeStruct:
        return ShapeDtypeStruct(shape, jnp.int32)

    def floats(*shape: int) -> ShapeDtypeStruct:
        return ShapeDtypeStruct(shape, jnp.float32)

    sizes = ints(label_vectors), ints(label_vectors)
    groups = LabelGroups(floats(label_vectors, LABELS), *sizes, ints(n), ints(n), ints(n))
    near = FeatureGraph(ints(n), ints(n), ints(n), ints(2 * K * n))
    model = nnx.eval_shape(lambda: SSPE(jnp.zeros(FEATURES), jnp.zeros(WORDS), LABELS, rngs=nnx.Rngs(0)))
    graphdef, params, constants = nnx.split(model, nnx.Param, ...)
    optimizer = make_sgd(0.01, momentum=0.9, weight_decay=1e-3, form="l2")
    state = jax.eval_shape(lambda params: init_state(params, optimizer, SSPE_METRICS), params)
    data = Data(
        *(floats(n, WORDS), floats(n, FEATURES), ShapeDtypeStruct((n, LABELS), bool)),
        constants=constants,
        plan=Plan(ints(n // BATCH, BATCH), ints(n // BATCH, BATCH)),
        extra=Graphs(groups, near, near),
    )
    step = make_neighbour_step(graphdef, optimizer, **VALUES)
    block = make_block(change(step) if change else step)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return largest_made(block.trace(state, data, key, ints()).jaxpr.jaxpr)


def test_no_array_of_a_step_grows_with_the_number_of_items():
    small, large = (block_arrays(n, 2_000) for n in (20_000, N))
    assert small == large
    assert large < 600 * WORDS  # the words of all texts of a batch, drawn ones too


def test_a_running_sum_over_all_items_would_be_seen():
    def change(step):
        def summed(state, data, key):
            until_n = jnp.cumsum(data.extra.semantic.group_n + state.step)
            labels_nC = data.labels_nC ^ (until_n[:, None] < 0)
            return step(state, dataclasses.replace(data, labels_nC=labels_nC), key)

        return summed

    assert block_arrays(N, 2_000, change) >= N


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """20 labels as skewed as those of NUS-WIDE, one at least."""
    random = np.random.default_rng(6)
    found = random.random((N, LABELS)) < 0.4 / (1 + np.arange(LABELS))
    found[np.arange(N), random.integers(LABELS, size=N)] |= ~found.any(axis=1)
    return found


def p_value(drawn: np.ndarray, weight_n: np.ndarray, like_n: np.ndarray) -> float:
    """Of Pearson's chi-square test on 100 cells of items of like `like_n`; 0 for the impossible."""
    if not (weight_n[drawn] > 0).all():
        return 0.0
    order = np.argsort(like_n, kind="stable")
    chance_n, like_n = weight_n / weight_n.sum(), like_n / like_n.sum()
    cell_n = np.empty(N, int)
    cell_n[order] = np.minimum(np.cumsum(like_n[order]) * 100, 99).astype(int)
    wanted = np.bincount(cell_n, chance_n, minlength=100)
    counts = np.bincount(cell_n[drawn], minlength=100)
    seen = wanted > 0
    return float(scipy.stats.chisquare(counts[seen], len(drawn) * wanted[seen]).pvalue)


def test_neighbours_and_negatives_among_200_000_items_have_the_chances_of_their_edges(labels):
    groups = label_groups(labels)
    items, draws = np.array([0, 77_777, N - 1]), 50_000
    words = jax.random.bits(jax.random.key(1), (2, len(items), draws), jnp.uint32)
    connected = jax.jit(draw_connected, static_argnames="same_modality")
    near = connected(words, groups, jnp.asarray(items), same_modality=True)
    far = jax.jit(draw_unconnected, static_argnames="same_modality")(
        words, groups, jnp.asarray(items), same_modality=True
    )
    assert near.exist.all()
    assert far.exist.all()
    lengths_n = np.sqrt(labels.sum(axis=1))
    for row, item in enumerate(items):
        shared_n = labels.astype(int) @ labels[item]
        weight_n = shared_n / lengths_n
        weight_n[item] = 0
        drawn = np.asarray(near.items)[row]
        assert p_value(drawn, weight_n, weight_n) > 1e-4
        assert p_value(drawn, (weight_n > 0).astype(float), weight_n) < 1e-6  # uniform, it would be found out
        apart_n = (shared_n == 0).astype(float)
        assert p_value(np.asarray(far.items)[row], apart_n, apart_n) > 1e-4
