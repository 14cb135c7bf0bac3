"""SSPE's step: the loss of the paper written out, SGD as it says, and nothing that breaks."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reference import sspe_numpy

from gcnxmodal.retrieval.nearest import nearest_by_distance
from gcnxmodal.systems.feature_graph import feature_graph
from gcnxmodal.systems.semantic_graph import label_groups
from gcnxmodal.systems.sspe_model import SSPE, centred_units
from gcnxmodal.systems.sspe_step import METRICS, Graphs, Terms, batch_loss, draw, make_sgd, make_step
from gcnxmodal.training.sampling import Plan, plan_items
from gcnxmodal.training.sharding import named_leaves
from gcnxmodal.training.state import Data, TrainState, init_state, make_block, make_rate, start_epoch

LABELS, IMAGES, TEXTS, ITEMS, BATCH, K = 5, 10, 15, 40, 4, 4
KEY = jax.random.key(0)


def make_model(data: Data, output: Any = "tanh") -> SSPE:
    means = data.images_nd.mean(axis=0), data.texts_nT.mean(axis=0)
    return SSPE(*means, LABELS, hidden=8, dimension=6, output=output, rngs=nnx.Rngs(1))


compiled_draw = jax.jit(draw, static_argnums=4)


def graphs_of(labels: np.ndarray, images, texts) -> Graphs:
    near = (
        feature_graph(nearest_by_distance(np.asarray(centred_units(x, x.mean(axis=0))), K))
        for x in (images, texts)
    )
    return Graphs(label_groups(labels), *near)


@pytest.fixture(scope="module")
def data() -> Data:
    random = np.random.default_rng(0)
    labels = random.random((ITEMS, LABELS)) < 0.2
    labels[:, 0] |= ~labels.any(axis=1)
    images, texts = (
        jnp.asarray(
            labels @ random.standard_normal((LABELS, width)) + 0.1 * random.standard_normal((ITEMS, width)),
            jnp.float32,
        )
        for width in (IMAGES, TEXTS)
    )
    plan = Plan(*(plan_items(jax.random.key(seed), ITEMS, BATCH).texts for seed in range(2)))
    graphs = graphs_of(labels, images, texts)
    return Data(texts, images, jnp.asarray(labels), constants=None, plan=plan, graphs=graphs)


def started(
    data: Data, terms: Terms, *, rate: Any = 0.05, output="tanh", **sgd
) -> tuple[TrainState, Any, Any]:
    """State before the first step, data with the model's constants, and the step."""
    graphdef, params, constants = nnx.split(make_model(data, output), nnx.Param, ...)
    optimizer = make_sgd(rate, **{"momentum": 0.9, "weight_decay": 1e-3, "form": "l2"} | sgd)
    state = init_state(params, optimizer, METRICS)
    return state, dataclasses.replace(data, constants=constants), make_step(graphdef, optimizer, terms)


def leaves(state: TrainState) -> dict[str, np.ndarray]:
    return {
        key.removesuffix(".value"): np.asarray(leaf, float)
        for key, leaf in named_leaves(state.params).items()
    }


def reference_losses(data: Data, weights: dict, images, texts, drawn, output: str):
    """Eq. 4 and 5 of every item of a batch, item by item: [semantic, labels, features]."""
    labels, drawn = np.asarray(data.labels_nC).astype(float), jax.device_get(drawn)
    embedded = {}
    for side, rows in (("image", data.images_nd), ("text", data.texts_nT)):
        own = {key.removeprefix(f"{side}."): w for key, w in weights.items() if key.startswith(f"{side}.")}
        x = np.asarray(rows, float)
        embedded[side] = sspe_numpy.embedded(x, x.mean(axis=0), own, output)
    found = {}
    sides = ("image", "text", images, drawn[0]), ("text", "image", texts, drawn[1])
    for side, other, items, around in sides:
        found[side] = []
        for number, item in enumerate(np.asarray(items)):
            f = embedded[side][item]

            def term(pair, table, f=f, number=number):
                near = table[np.asarray(pair.near.items)[number]] if pair.near.exist[number] else table[:0]
                far = (
                    table[np.asarray(pair.far.items)[number]]
                    if len(near) and pair.far.exist[number]
                    else table[:0]
                )
                return sspe_numpy.skip_gram(f, near, far)

            predicted = f @ weights["labels.kernel"] + weights["labels.bias"]
            semantic = term(around.other, embedded[other]) + term(around.same, embedded[side])
            error = ((predicted - labels[item]) ** 2).sum()
            found[side].append((semantic, error, term(around.features, embedded[side])))
    return np.array(found["image"]), np.array(found["text"])


@pytest.mark.parametrize(("output", "reduction"), [("tanh", "mean"), ("none", "sum")])
def test_a_batch_costs_what_the_equations_say(data, output, reduction):
    terms = Terms(alpha1=0.3, alpha2=0.7, reduction=reduction, same=2 if reduction == "mean" else 0)
    state, given, step = started(data, terms, output=output)
    _, metrics = jax.jit(step)(state, given, KEY)
    images, texts = given.plan.images[0], given.plan.texts[0]
    drawn = compiled_draw(jax.random.fold_in(KEY, 0), given.graphs, images, texts, terms)
    of_images, of_texts = reference_losses(given, leaves(state), images, texts, drawn, output)
    both = np.concatenate([of_images, of_texts])
    each = both @ [1, 0.3, 0.7]
    wanted = each.mean() if reduction == "mean" else each.sum()
    np.testing.assert_allclose(metrics["loss"], wanted, rtol=1e-5)
    np.testing.assert_allclose(metrics["semantic"], both[:, 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["labels"], both[:, 1].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["image_graph"], of_images[:, 2].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["text_graph"], of_texts[:, 2].mean(), rtol=1e-5)


def test_items_without_neighbours_or_negatives_leave_these_terms_out(data):
    labels = np.zeros((ITEMS, LABELS), bool)
    labels[: ITEMS // 2] = True  # these have no negative, and the others no neighbour
    labels[0] = np.arange(LABELS) == 0
    alone = dataclasses.replace(
        data, labels_nC=jnp.asarray(labels), graphs=data.graphs._replace(semantic=label_groups(labels))
    )
    images, texts = jnp.array([0, 3, 25, 39]), jnp.array([39, 0, 1, 22])
    state, given, _ = started(alone, Terms())
    graphdef = nnx.split(make_model(data), nnx.Param, ...)[0]
    drawn = compiled_draw(KEY, given.graphs, images, texts, Terms())
    model = nnx.merge(graphdef, state.params, given.constants)
    _, metrics = nnx.jit(lambda model: batch_loss(model, given, images, texts, drawn, Terms()))(model)
    both = np.concatenate(reference_losses(given, leaves(state), images, texts, drawn, "tanh"))
    assert (both[:, 0] == 0).sum() == 4
    np.testing.assert_allclose(metrics["semantic"], both[:, 0].mean(), rtol=1e-5)


def test_what_is_drawn_for_images_and_texts_are_neighbours_and_negatives(data):
    images, texts = jnp.arange(12), jnp.arange(20, 30)
    terms = Terms(other=5, same=3, near=7)
    labels = np.asarray(data.labels_nC).astype(int)
    shared = labels @ labels.T
    edges = []
    for rows in (data.images_nd, data.texts_nT):
        x = np.asarray(centred_units(rows, rows.mean(axis=0)))
        edges.append(sspe_numpy.feature_weights(x, K))
    drawn = compiled_draw(KEY, data.graphs, images, texts, terms)
    for items, own_edges, around in zip((images, texts), edges, drawn, strict=True):
        column = np.asarray(items)[:, None]
        kinds = {"other": (around.other, 5), "same": (around.same, 3), "features": (around.features, 7)}
        for name, (pair, k) in kinds.items():
            near, far = np.asarray(pair.near.items), np.asarray(pair.far.items)
            assert near.shape == far.shape == (len(column), k)
            connected = own_edges if name == "features" else shared
            assert (connected[column, near] > 0)[np.asarray(pair.near.exist)].all(), name
            assert (connected[column, far] == 0)[np.asarray(pair.far.exist)].all(), name
            if name != "other":
                assert (near != column)[np.asarray(pair.near.exist)].all(), name
    flat = [np.asarray(x).tobytes() for x in jax.tree.leaves(drawn) if x.dtype != bool]
    assert len(set(flat)) == len(flat)  # no two draws share their random words


@pytest.mark.parametrize("form", ["l2", "decoupled"])
def test_a_step_is_sgd_with_momentum_weight_decay_and_a_stepped_rate(data, form):
    terms = Terms()
    rate = make_rate(0.1, decay=0.5, decay_steps=2)
    state, given, step = started(data, terms, rate=rate, weight_decay=0.02, form=form)
    graphdef = nnx.split(make_model(data), nnx.Param, ...)[0]
    weights: dict[str, Any] = leaves(state)
    velocity: dict[str, Any] = dict.fromkeys(weights, 0.0)

    @jax.jit
    def gradient_of(params, images, texts, drawn):
        def objective(params):
            model = nnx.merge(graphdef, params, given.constants)
            return batch_loss(model, given, images, texts, drawn, terms)[0]

        return jax.grad(objective)(params)

    compiled = jax.jit(step)
    for number, own_rate in enumerate((0.1, 0.1, 0.05, 0.05)):
        images, texts = given.plan.images[number], given.plan.texts[number]
        drawn = compiled_draw(jax.random.fold_in(KEY, number), given.graphs, images, texts, terms)
        gradients = gradient_of(state.params, images, texts, drawn)
        for name, gradient in leaves(dataclasses.replace(state, params=gradients)).items():
            decayed = 0.02 * weights[name]
            velocity[name] = 0.9 * velocity[name] + gradient + (decayed if form == "l2" else 0)
            weights[name] = weights[name] - own_rate * (velocity[name] + (0 if form == "l2" else decayed))
        state, _ = compiled(state, given, KEY)
    for name, leaf in leaves(state).items():
        np.testing.assert_allclose(leaf, weights[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_every_step_draws_anew_and_the_same_key_draws_the_same(data):
    state, given, step = started(data, Terms(), rate=0.0, weight_decay=0.0)
    once = dataclasses.replace(given, plan=Plan(given.plan.texts[:1], given.plan.images[:1]))
    compiled = jax.jit(step)
    after, first = compiled(state, once, KEY)
    _, second = compiled(after, once, KEY)
    _, again = compiled(state, once, KEY)
    assert first["semantic"] != second["semantic"]
    assert first["labels"] == second["labels"]
    assert {name: float(value) for name, value in first.items()} == {
        name: float(value) for name, value in again.items()
    }


def test_semantic_and_label_losses_fall(data):
    state, given, step = started(data, Terms())
    block = make_block(step)
    totals = []
    for steps in (20, 400, 20):
        state = block(start_epoch(state), given, KEY, jnp.int32(steps))
        totals.append({name: float(value) for name, value in state.totals.items()})
    for name in ("loss", "semantic", "labels"):
        assert totals[2][name] < 0.8 * totals[0][name], name


@pytest.mark.parametrize("alpha2", [0.0, 0.1])
def test_nothing_becomes_nan_without_feature_graphs_or_with_huge_inputs(data, alpha2):
    largest = float(np.finfo(np.float32).max)
    images = data.images_nd.at[0].set(largest).at[1].set(-largest).at[2, 0].set(1e30).at[3].set(0.0)
    texts = data.texts_nT.at[0, 0].set(largest).at[4].set(1e20).at[5].set(-1e-38)
    labels = data.labels_nC.at[6].set(True).at[7].set(False)
    graphs = data.graphs._replace(semantic=label_groups(np.asarray(labels)))
    hostile = dataclasses.replace(data, images_nd=images, texts_nT=texts, labels_nC=labels, graphs=graphs)
    # The model's means are those of the data before: a mean of these would be huge alone.
    model = make_model(data)
    graphdef, params, constants = nnx.split(model, nnx.Param, ...)
    optimizer = make_sgd(0.05, momentum=0.9, weight_decay=1e-3, form="l2")
    state = init_state(params, optimizer, METRICS)
    block = make_block(make_step(graphdef, optimizer, Terms(alpha2=alpha2)))
    state = block(state, dataclasses.replace(hostile, constants=constants), KEY, jnp.int32(300))
    assert int(state.first_nan) == -1
    assert all(np.isfinite(leaf).all() for leaf in leaves(state).values())
    trained = nnx.merge(graphdef, state.params, constants)
    for embedded in (trained.encode_images(images), trained.encode_texts(texts)):
        folded = trained.fold_texts(embedded)
        assert jnp.isfinite(folded).all()
        np.testing.assert_allclose(jnp.linalg.norm(folded, axis=1), 1, rtol=1e-5)
