"""GCH's training: one iteration is four updates in turn, each of its own network alone.

    teacher  =>  students under the teacher  =>  beacon  =>  students again, drawn to the beacon

Source: GCH (Xu et al. 2019), Algorithm 1 and Section 3.3.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from gcnxmodal.systems.gch_losses import Objective, similar, similarity_loss, squared_error
from gcnxmodal.systems.gch_model import GCH, Beacon, Fusion, Student, Teacher, fuse, propagation
from gcnxmodal.training.state import Data, Step, TrainState, planned_rows

NETWORKS = ("teacher", "image", "text", "beacon")
UPDATES = {"teacher": 1, "image": 2, "text": 2, "beacon": 1}
"""How often an iteration updates each network."""

METRICS = ("loss", *NETWORKS)
"""`loss` is Eq. 9, the sum of the others; a student's is that of its second update."""


@dataclasses.dataclass(frozen=True)
class Terms:
    """What the losses are made of.

    Attributes:
        alpha, beta, gamma: weights of their terms: similarity; distance to the beacon (and the label error of
            teacher and beacon, Eq. 3 and 8); label error of the students.
        objective: "paper" or "official"; see `models/hashing_losses.py`.
        fusion: how features are fused; see `models.gch.fuse`.
        graph: whether the beacon's layers are graph convolutions, or dense (GCH-A).
    """

    alpha: Any = 1.0
    beta: Any = 1.0
    gamma: Any = 1.0
    objective: Objective = "paper"
    fusion: Fusion = "frobenius"
    graph: bool = True


class Batch(NamedTuple):
    """The items of an iteration and how similar they are, S."""

    images: Array
    texts: Array
    labels: Bool[Array, "B C"]
    similar: Float[Array, "B B"]


def teacher_loss(teacher: Teacher, batch: Batch, terms: Terms) -> Array:
    """Eq. 3: alpha x similarity of the teacher's codes + beta x ||L^l - L||^2."""
    codes, labels = teacher(batch.labels)
    similarity = similarity_loss(codes, codes, batch.similar, terms.objective)
    return terms.alpha * similarity + terms.beta * squared_error(labels, batch.labels, terms.objective)


def student_loss(
    student: Student,
    items: Array,
    batch: Batch,
    teacher_BK: Float[Array, "B K"],
    beacon_BK: Float[Array, "B K"] | None,
    terms: Terms,
) -> Array:
    """Eq. 5: alpha x similarity to the teacher's codes + beta x ||H^b - H||^2 + gamma x ||L - L^*||^2.

    Args:
        beacon_BK: H^b, or None for an update under the teacher alone (Algorithm 1, line 6).
    """
    codes, labels = student(items)
    if terms.objective == "paper":
        loss = terms.alpha * similarity_loss(teacher_BK, codes, batch.similar, terms.objective)
    else:  # the code: not their similarities, the teacher's signs themselves
        loss = terms.alpha * squared_error(codes, jnp.sign(teacher_BK), terms.objective)
    if beacon_BK is not None:
        loss += terms.beta * squared_error(codes, beacon_BK, terms.objective)
    return loss + terms.gamma * squared_error(labels, batch.labels, terms.objective)


def beacon_loss(
    beacon: Beacon, fused_BF: Array, propagation_BB: Array | None, batch: Batch, terms: Terms
) -> Array:
    """Eq. 8: alpha x similarity of the beacon's codes + beta x ||L^G - L||^2."""
    codes, labels = beacon(fused_BF, propagation_BB)
    similarity = similarity_loss(codes, codes, batch.similar, terms.objective)
    return terms.alpha * similarity + terms.beta * squared_error(labels, batch.labels, terms.objective)


Update = Callable[..., tuple[Any, Any, Array]]


def make_update(
    graphdef: nnx.GraphDef, optimizer: optax.GradientTransformation, loss: Callable[..., Array]
) -> Update:
    """`variables, opt_state, value = update(variables, opt_state, *inputs)` of one network, a pure step.

    Parameters take the optimizer's update, and the running statistics those of this batch.

    Args:
        graphdef: the network's structure in training, from `nnx.split(network)`.
        loss: `loss(network, *inputs) -> scalar`.
    """

    def update(variables: Any, opt_state: Any, *inputs: Any) -> tuple[Any, Any, Array]:
        structure, params, statistics = nnx.split(nnx.merge(graphdef, variables), nnx.Param, ...)

        def objective(params: Any) -> tuple[Array, Any]:
            network = nnx.merge(structure, params, statistics, copy=True)
            value = loss(network, *inputs)
            return value, nnx.split(network, nnx.Param, ...)[2]

        (value, statistics), gradients = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        network = nnx.merge(structure, optax.apply_updates(params, updates), statistics)
        return nnx.split(network)[1], opt_state, value

    return update


def init_networks(
    model: GCH, optimizers: Mapping[str, optax.GradientTransformation]
) -> tuple[dict[str, nnx.State], dict[str, Any]]:
    """The variables of each network, and the state of its optimizer."""
    networks = {name: getattr(model, name) for name in NETWORKS}
    variables = {name: nnx.split(network)[1] for name, network in networks.items()}
    return variables, {
        name: optimizers[name].init(nnx.state(network, nnx.Param)) for name, network in networks.items()
    }


def make_step(
    model: GCH,
    optimizers: Mapping[str, optax.GradientTransformation],
    terms: Terms,
    *,
    mesh: Mesh | None = None,
) -> Step:
    """One iteration of Algorithm 1: `state, metrics = step(state, data, key)`.

    It takes row `state.step` (modulo the length) of the plan; there is nothing random in it.

    Args:
        model: its structure; shapes will do in place of values.
        optimizers: one a network.
        mesh: the devices, which share the rows of a batch; one device if not given.
    """
    model.train()
    structures = {name: nnx.split(getattr(model, name))[0] for name in NETWORKS}
    losses = {"teacher": teacher_loss, "image": student_loss, "text": student_loss, "beacon": beacon_loss}
    updates = {name: make_update(structures[name], optimizers[name], losses[name]) for name in NETWORKS}

    def step(state: TrainState, data: Data, key: Array) -> tuple[TrainState, dict[str, Array]]:
        batch = _batch(state, data, mesh)
        networks, opt_state, values = dict(state.params), dict(state.opt_state), {}

        def update(name: str, *inputs: Any) -> None:
            done = updates[name](networks[name], opt_state[name], *inputs)
            networks[name], opt_state[name], values[name] = done

        def apply(name: str) -> Any:  # as in training, but what it would learn is forgotten
            return nnx.merge(structures[name], networks[name], copy=True)

        update("teacher", batch, terms)
        teacher_BK = apply("teacher")(batch.labels).codes
        update("image", batch.images, batch, teacher_BK, None, terms)
        update("text", batch.texts, batch, teacher_BK, None, terms)
        features = apply("image").features(batch.images), apply("text").features(batch.texts)
        fused_BF = fuse(*features, terms.fusion)
        propagation_BB = propagation(batch.labels) if terms.graph else None
        update("beacon", fused_BF, propagation_BB, batch, terms)
        beacon_BK = apply("beacon")(fused_BF, propagation_BB).codes
        update("image", batch.images, batch, teacher_BK, beacon_BK, terms)
        update("text", batch.texts, batch, teacher_BK, beacon_BK, terms)

        metrics = {"loss": sum(values.values(), start=jnp.zeros(())), **values}
        changed = {"params": networks, "opt_state": opt_state, "step": state.step + 1}
        return dataclasses.replace(state, **changed), metrics

    return step


def _batch(state: TrainState, data: Data, mesh: Mesh | None) -> Batch:
    rows, _ = planned_rows(state, data, mesh)  # text and image of an item together
    labels_BC = data.labels_nC[rows]
    return Batch(data.images_nd[rows], data.texts_nT[rows], labels_BC, similar(labels_BC))
