"""GCH's four updates: each of its own network, in the order of Algorithm 1, and none that breaks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from reference import gch_numpy

from gcnxmodal.nn.layers import Features
from gcnxmodal.systems.gch import GCH, GCH_METRICS, NETWORKS, UPDATES, init_networks, make_iteration
from gcnxmodal.training.sampling import Plan, plan_items
from gcnxmodal.training.sharding import named_leaves
from gcnxmodal.training.state import Data, TrainState, make_block, start_epoch, start_of

LABELS, IMAGES, TEXTS, ITEMS, BATCH = 4, 10, 15, 32, 16
KEY = jax.random.key(0)
PAPER = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0, "objective": "paper", "fusion": "frobenius", "graph": True}
OFFICIAL = {**PAPER, "objective": "official", "fusion": "largest"}


def make_model(bits: int = 16, **options) -> GCH:
    sizes = {"width": 24, "beacon_width": 12}
    return GCH(Features(IMAGES), Features(TEXTS), LABELS, bits=bits, **sizes, **options, rngs=nnx.Rngs(1))


@pytest.fixture(scope="module")
def data() -> Data:
    random = np.random.default_rng(0)
    labels = random.random((ITEMS, LABELS)) < 0.3
    images, texts = (
        (labels @ random.standard_normal((LABELS, width)) + 0.1 * random.standard_normal((ITEMS, width)))
        for width in (IMAGES, TEXTS)
    )
    arrays = (jnp.asarray(x, jnp.float32) for x in (texts, images))
    plan = plan_items(KEY, ITEMS, BATCH)
    return Data(*arrays, jnp.asarray(labels), constants=nnx.State({}), plan=plan)


def start(model: GCH, rates: dict[str, float], make=optax.sgd) -> tuple[TrainState, dict]:
    optimizers = {name: make(rates.get(name, 0.0)) for name in NETWORKS}
    return start_of(*init_networks(model, optimizers), GCH_METRICS), optimizers


def params(state: TrainState, name: str) -> dict[str, np.ndarray]:
    return {key: np.asarray(leaf) for key, leaf in named_leaves(state.params[name]).items()}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("terms", [PAPER, OFFICIAL], ids=["paper", "official"])
def test_an_update_changes_its_own_network_and_no_other(data, name, terms):
    model = make_model()
    state, optimizers = start(model, {name: 0.1})
    after, _ = jax.jit(make_iteration(model, optimizers, **terms))(state, data, KEY)
    for network in NETWORKS:
        before, found = params(state, network), params(after, network)
        for key in before:
            statistic = key.endswith(("mean", "var", "mean.value", "var.value"))
            if network == name or statistic:
                # Running statistics move in the updates of their own student, whatever its rate.
                assert not np.array_equal(before[key], found[key]), f"{network}.{key}"
            else:
                np.testing.assert_array_equal(before[key], found[key], err_msg=f"{network}.{key}")


def test_an_iteration_updates_students_twice_and_teacher_and_beacon_once(data):
    model = make_model()
    state, optimizers = start(model, dict.fromkeys(NETWORKS, 1e-3), optax.adam)
    after, _ = jax.jit(make_iteration(model, optimizers, **PAPER))(state, data, KEY)
    assert {name: int(after.opt_state[name][0].count) for name in NETWORKS} == UPDATES
    assert int(after.step) == 1


def test_an_iteration_is_algorithm_1_written_out(data):
    """The same iteration with plain functions of plain dicts, gradients by JAX and a step of SGD each."""
    model, rate = make_model(batch_norm=False), 0.05
    state, optimizers = start(model, dict.fromkeys(NETWORKS, rate))
    after, metrics = jax.jit(make_iteration(model, optimizers, **PAPER))(state, data, KEY)
    assert data.plan is not None
    rows = np.asarray(data.plan.texts[0])
    labels = np.asarray(data.labels_nC)[rows]
    S, P = gch_numpy.similarities(labels), gch_numpy.propagation(labels)
    images, texts, targets = data.images_nd[rows], data.texts_nT[rows], labels.astype(np.float32)
    weights = {
        name: {key.removesuffix(".value"): jnp.asarray(leaf) for key, leaf in params(state, name).items()}
        for name in NETWORKS
    }

    def dense(own, name, x):
        return x @ own[f"{name}.kernel"] + own[f"{name}.bias"]

    def features(own, x):
        number = 0
        while f"layers.dense.{number}.kernel" in own:
            x = jax.nn.leaky_relu(dense(own, f"layers.dense.{number}", x), 0.2)
            number += 1
        return x

    def heads(own, f):
        return jnp.tanh(dense(own, "heads.codes", f)), jax.nn.sigmoid(dense(own, "heads.labels", f))

    def fit(a, b):
        theta = a @ b.T / 2
        return -jnp.sum(S * theta - jnp.log(1 + jnp.exp(theta)))

    def teacher(own):
        H, L = heads(own, features(own, targets))
        return (fit(H, H) + jnp.sum((L - targets) ** 2)) / BATCH**2

    def student(own, x, H_l, H_b=None):
        H, L = heads(own, features(own, x))
        drawn = 0.0 if H_b is None else jnp.sum((H_b - H) ** 2)
        return (fit(H_l, H) + drawn + jnp.sum((L - targets) ** 2)) / BATCH**2

    def beacon(own, f, only_codes=False):
        hidden = P @ jax.nn.relu(P @ f @ own["hidden.kernel"] + own["hidden.bias"])
        H, L = jnp.tanh(dense(own, "codes", hidden)), jax.nn.sigmoid(dense(own, "labels", hidden))
        return H if only_codes else (fit(H, H) + jnp.sum((L - targets) ** 2)) / BATCH**2

    losses = {}

    def update(name, loss, *inputs):
        losses[name], gradient = jax.value_and_grad(loss)(weights[name], *inputs)
        weights[name] = jax.tree.map(lambda w, g: w - rate * g, weights[name], gradient)

    update("teacher", teacher)
    H_l = heads(weights["teacher"], features(weights["teacher"], targets))[0]
    update("image", student, images, H_l)
    update("text", student, texts, H_l)
    f = gch_numpy.fused(features(weights["image"], images), features(weights["text"], texts), "frobenius")
    update("beacon", beacon, f)
    H_b = beacon(weights["beacon"], f, only_codes=True)
    update("image", student, images, H_l, H_b)
    update("text", student, texts, H_l, H_b)

    for name in NETWORKS:
        np.testing.assert_allclose(metrics[name], losses[name], rtol=1e-4)
        for key, leaf in params(after, name).items():
            wanted = weights[name][key.removesuffix(".value")]
            np.testing.assert_allclose(leaf, wanted, rtol=1e-4, atol=1e-6, err_msg=f"{name}.{key}")
    np.testing.assert_allclose(metrics["loss"], sum(losses.values()), rtol=1e-4)


@pytest.mark.parametrize("terms", [PAPER, OFFICIAL], ids=["paper", "official"])
def test_all_four_losses_fall(data, terms):
    model = make_model()
    state, optimizers = start(model, dict.fromkeys(NETWORKS, 3e-3), optax.adam)
    block = make_block(make_iteration(model, optimizers, **terms))
    totals = []
    for steps in (10, 200, 10):
        state = block(start_epoch(state), data, KEY, jnp.int32(steps))
        totals.append({name: float(value) for name, value in state.totals.items()})
    for name in GCH_METRICS:
        assert totals[2][name] < 0.9 * totals[0][name], name


def test_running_statistics_are_the_moving_average_of_the_batches(data):
    model = make_model()
    state, optimizers = start(model, {})  # nothing but the statistics moves
    after, _ = jax.jit(make_iteration(model, optimizers, **PAPER))(state, data, KEY)
    assert data.plan is not None
    layer = nnx.merge(nnx.split(model.image)[0], state.params["image"]).layers.dense[0]
    x = np.asarray(layer(data.images_nd[data.plan.texts[0]]))
    norm = after.params["image"]["layers"]["norms"][0]
    # Two updates of an iteration: from 0 and 1, twice a tenth of the way.
    np.testing.assert_allclose(norm["mean"].get_value(), 0.19 * x.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm["var"].get_value(), 0.81 + 0.19 * x.var(axis=0), rtol=1e-4)


def test_without_a_graph_the_beacon_does_not_see_who_shares_labels(data):
    """GCH-A: with the beacon's loss at zero, other labels change nothing that students learn from it."""
    model, other = make_model(), dataclasses.replace(data, labels_nC=data.labels_nC[::-1])
    found = {}
    for graph in (True, False):
        # Students follow the beacon alone: nothing else has a weight.
        terms = {**PAPER, "alpha": 0.0, "gamma": 0.0, "graph": graph}
        state, optimizers = start(model, {"text": 0.1})
        step = jax.jit(make_iteration(model, optimizers, **terms))
        texts = [params(step(state, given, KEY)[0], "text") for given in (data, other)]
        found[graph] = all(np.array_equal(texts[0][key], texts[1][key]) for key in texts[0])
    assert found == {True: False, False: True}


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("terms", [PAPER, OFFICIAL], ids=["paper", "official"])
@pytest.mark.parametrize("bits", [16, 256])
def test_nothing_becomes_nan_from_16_to_256_bits_whatever_the_inputs(
    data, bits, terms, precision, batch_norm
):
    largest = float(np.finfo(np.float32).max)
    images = data.images_nd.at[0].set(largest).at[1].set(-largest).at[2, 0].set(1e30).at[3].set(0.0)
    texts = data.texts_nT.at[0, 0].set(largest).at[4].set(1e20).at[5].set(-1e-38)
    labels = data.labels_nC.at[6].set(True).at[7].set(False)
    hostile = dataclasses.replace(data, images_nd=images, texts_nT=texts, labels_nC=labels)
    model = make_model(bits, precision=precision, batch_norm=batch_norm)
    rates = {"teacher": 0.05, "image": 0.05, "text": 0.05, "beacon": 0.05}
    state, optimizers = start(model, rates, optax.adam)
    state = make_block(make_iteration(model, optimizers, **terms))(state, hostile, KEY, jnp.int32(40))
    assert int(state.first_nan) == -1
    for name in NETWORKS:
        for key, leaf in params(state, name).items():
            assert np.isfinite(leaf).all(), f"{name}.{key}"
    model.eval()
    trained = nnx.merge(nnx.split(model)[0], state.params, nnx.State({}))
    assert jnp.isfinite(trained.encode_images(images)).all()
    assert jnp.isfinite(trained.encode_texts(texts)).all()


def test_an_epoch_meets_each_item_once_and_text_with_image():
    plan: Plan = plan_items(KEY, 10, 3)
    assert plan.texts.shape == (3, 3)
    assert (plan.texts == plan.images).all()
    assert len(set(np.asarray(plan.texts).ravel().tolist())) == 9
