"""GCH: a teacher of labels, two students that give binary codes, and a beacon that a graph sets them.

From top to bottom: the values of a run; the four networks; the losses; the training iteration; the presets;
what the paper prints; the system. One iteration is four updates in turn, each of its own network alone:

    teacher  =>  students under the teacher  =>  beacon  =>  students again, drawn to the beacon

Shapes: B items of a batch, C labels, K bits, F of a feature.

Source: GCH (Xu et al. 2019), Eq. 1 to 10, Algorithm 1; `code` is its public code.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Le
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from gcnxmodal.config import Count, DataConfig, Decay, Experiment, Rate, Rule, TextConfig, Weight, counts_only
from gcnxmodal.corpus import Corpus
from gcnxmodal.inputs import read_inputs
from gcnxmodal.nn.cnnf import CNNF, RESOLUTION
from gcnxmodal.nn.layers import Features, Precision, linear
from gcnxmodal.nn.losses import likelihood_loss
from gcnxmodal.systems.base import ORDER, Model, Sizes, System, register, training_arrays, with_values
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import Data, Step, TrainState, make_rate, planned_rows, start_of

MOST_BITS = 1024

Fusion = Literal["frobenius", "largest", "softmax"]
Objective = Literal["paper", "official"]
"""paper: the equations; official: what the public code has in their place."""
Squashing = Literal["tanh", "sigmoid"]

# --- Configuration ---


@dataclasses.dataclass(frozen=True)
class GCHModel:
    """Teacher, students and beacon."""

    bits: Annotated[int, Ge(1), Le(MOST_BITS)] = 64
    """K: length of a code."""
    width: Count = 512
    """Of the hidden layers, and of the feature that is fused."""
    batch_norm: bool = True
    """Batch normalisation in the students (the code; running statistics at test)."""
    fusion: Fusion = "frobenius"
    """What the weights of the fusion are divided by: their norm (the paper's words), their largest entry (the
    code), or each row a softmax (attention)."""
    beacon: Literal["graph", "dense"] = "graph"
    """graph: convolutions over the items of a batch that share labels; dense: the ablation GCH-A."""
    beacon_width: Count = 1024
    """Of the first graph convolution (the code: 512)."""
    beacon_activation: Squashing = "tanh"
    """Of the beacon's codes. The paper says sigmoid there and tanh for all codes."""
    image_weights: Path | None = None
    """For pixels: weights that CNN-F starts from, imagenet-vgg-f.mat or .safetensors; by default random."""
    precision: Precision = "float32"
    """Of the products of the dense layers. Weights, codes and losses are float32 in all of them."""


# Paper: SGD, without a rate, an end or weights of the terms; code: Adam, its rates halved after each epoch.
# Here Adam with its rates of teacher, text and beacon; the image student ten times as fast, because it starts
# from nothing and not from ImageNet; and a slow decay, because with the code's small data sets hardly train:
# benchmarks/results/select_gch-*.json, by python -m benchmarks.select_gch gch-emoji-paper.
@dataclasses.dataclass(frozen=True)
class GCHTrain:
    """Losses and optimizers of the four updates."""

    objective: Objective = "paper"
    """paper: the likelihood of its equations; official: the public code's squared form, students on the
    teacher's signs."""
    batch: Annotated[int, Ge(2)] = 128
    """Items a step."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """The paper says SGD, its code has Adam. Losses are divided by the square of the batch, which rates of
    sgd must make up for."""
    teacher_rate: Rate = 1e-2
    """Learning rate of the semantic encoder."""
    text_rate: Rate = 1e-2
    """Learning rate of the text student."""
    image_rate: Rate = 1e-3
    """Learning rate of the image student; the code: 1e-4, from CNN-F on ImageNet."""
    beacon_rate: Rate = 1e-3
    """Learning rate of the graph convolutions."""
    decay: Decay = 0.95
    """All rates are multiplied by this after each epoch; the code: .5."""
    alpha: Weight = 1.0
    """Weight of the similarity terms."""
    beta: Weight = 1.0
    """Weight of the distance to the beacon, and of the label error of teacher and beacon."""
    gamma: Weight = 1.0
    """Weight of the students' label error."""


@dataclasses.dataclass(frozen=True)
class GCHExperiment(Experiment):
    """One run of GCH."""

    kind: ClassVar[str] = "gch"
    arguments: ClassVar[tuple[str, ...]] = tuple(
        f"train.{name}"
        for name in (
            *("teacher_rate", "text_rate", "image_rate", "beacon_rate"),
            *("decay", "alpha", "beta", "gamma"),
        )
    )

    model: GCHModel = GCHModel()
    train: GCHTrain = GCHTrain()

    def relations(self) -> dict[str, Rule]:
        weights, pixels = self.model.image_weights, self.data.image_feature == "pixels"
        return {
            **counts_only(self.text, "GCH"),
            "model.image-weights": (
                weights,
                weights is None or pixels,
                "left out unless --data.image-feature is pixels",
            ),
            "data.resolution": (
                self.data.resolution,
                not pixels or self.data.resolution == RESOLUTION,
                f"{RESOLUTION} for pixels, which CNN-F reads",
            ),
        }


# --- Networks ---

LARGEST_INPUT = 1e6
"""Features beyond this are cut: with it, no sum of squares of a layer can leave float32."""


class CodesAndLabels(NamedTuple):
    """What every network of GCH gives.

    Attributes:
        codes: H, the codes before they are rounded, in (-1, 1).
        labels: the predicted probability of each label.
    """

    codes: Float[Array, "B K"]
    labels: Float[Array, "B C"]


class Heads(nnx.Module):
    """From features to codes and labels: H = tanh(f W_h + b_h), L = sigmoid(f W_l + b_l). Eq. 1."""

    def __init__(self, width: int, bits: int, labels: int, precision: Precision, rngs: nnx.Rngs):
        self.codes = linear(width, bits, precision, rngs)
        self.labels = linear(width, labels, precision, rngs)

    def __call__(self, features_BF: Float[Array, "B F"]) -> CodesAndLabels:
        return CodesAndLabels(jnp.tanh(self.codes(features_BF)), jax.nn.sigmoid(self.labels(features_BF)))


class Layers(nnx.Module):
    """Dense layers, each with a LeakyReLU of slope .2 and, if asked for, batch normalisation before it.

    At test the normalisation takes the running statistics (`model.eval()`).
    """

    def __init__(
        self, widths: tuple[int, ...], precision: Precision, rngs: nnx.Rngs, *, batch_norm: bool = False
    ):
        self.dense = nnx.List(
            [
                # Normalisation takes away what a bias adds: its gradient is rounding, and Adam steps by it.
                linear(before, after, precision, rngs, bias=not batch_norm)
                for before, after in itertools.pairwise(widths)
            ]
        )
        # Paper: nothing on normalisation; the code normalises, at test with the statistics of the test batch.
        # Here with the running ones, because the code of an item must not depend on the items beside it.
        # Momentum .9 and not .99: small data sets have ten steps an epoch.
        norms = [nnx.BatchNorm(width, momentum=0.9, rngs=rngs) for width in widths[1:]] if batch_norm else []
        self.norms = nnx.List(norms)

    def __call__(self, x_Bd: Float[Array, "B d"]) -> Float[Array, "B F"]:
        for number, layer in enumerate(self.dense):
            x_Bd = layer(x_Bd)
            if len(self.norms):
                x_Bd = self.norms[number](x_Bd)
            x_Bd = jax.nn.leaky_relu(x_Bd, 0.2)
        return x_Bd


class Teacher(nnx.Module):
    """The semantic encoder: labels -> width -> width -> codes and labels. Eq. 2, Section 4.2."""

    def __init__(self, labels: int, width: int, bits: int, precision: Precision, rngs: nnx.Rngs):
        self.layers = Layers((labels, width, width), precision, rngs)
        self.heads = Heads(width, bits, labels, precision, rngs)

    def __call__(self, labels_BC: Bool[Array, "B C"]) -> CodesAndLabels:
        return self.heads(self.layers(labels_BC.astype(jnp.float32)))


class Student(nnx.Module):
    """The encoder of a modality: dense layers to a feature, then codes and labels. Eq. 4.

    Args:
        path: the encoder below, from the rows of an item to [B, path.width]; `Features` for those given.
        hidden: widths of the dense layers, the feature's last.
    """

    def __init__(
        self,
        path: Any,
        hidden: tuple[int, ...],
        bits: int,
        labels: int,
        precision: Precision,
        rngs: nnx.Rngs,
        *,
        batch_norm: bool,
    ):
        self.path = path
        self.layers = Layers((path.width, *hidden), precision, rngs, batch_norm=batch_norm)
        self.heads = Heads(hidden[-1], bits, labels, precision, rngs)

    def features(self, x_B: Array) -> Float[Array, "B F"]:
        """f, what is fused."""
        return self.layers(jnp.clip(self.path(x_B), -LARGEST_INPUT, LARGEST_INPUT))

    def __call__(self, x_B: Array) -> CodesAndLabels:
        return self.heads(self.features(x_B))


class Beacon(nnx.Module):
    """Two graph convolutions of the fused features over the items of the batch. Eq. 7.

        H = tanh(P relu(P f W_1) W_2),   L = sigmoid(P relu(P f W_1) W_3)

    with P = D^(-1/2) (A + I) D^(-1/2) from `propagation`. Without a graph, P = I, these are dense layers:
    the ablation GCH-A (Section 4.4).
    """

    def __init__(
        self,
        features: int,
        width: int,
        bits: int,
        labels: int,
        precision: Precision,
        rngs: nnx.Rngs,
        *,
        activation: Squashing = "tanh",
    ):
        self.hidden = linear(features, width, precision, rngs)
        self.codes = linear(width, bits, precision, rngs)
        self.labels = linear(width, labels, precision, rngs)
        self.activation = activation

    def __call__(
        self, fused_BF: Float[Array, "B F"], propagation_BB: Float[Array, "B B"] | None
    ) -> CodesAndLabels:
        def spread(x_BF: Array) -> Array:
            return x_BF if propagation_BB is None else _product(propagation_BB, x_BF)

        hidden_BF = spread(jax.nn.relu(self.hidden(spread(fused_BF))))
        # Paper: "ReLU and sigmoid" for the two layers, and in the same section tanh for all codes (4.2). Here
        # tanh, as in the code: codes in (0, 1) can call no pair dissimilar, and pull every student's bits to
        # one (how little that matters beside the other terms: benchmarks/README.md).
        squash = jnp.tanh if self.activation == "tanh" else jax.nn.sigmoid
        return CodesAndLabels(squash(self.codes(hidden_BF)), jax.nn.sigmoid(self.labels(hidden_BF)))


def propagation(labels_BC: Bool[Array, "B C"]) -> Float[Array, "B B"]:
    """P = D^(-1/2) (A + I) D^(-1/2), with A = L L^T, the number of labels that two items share.

    Source: GCH Eq. 7 and the text below it; Kipf and Welling 2016.
    """
    labels_BC = labels_BC.astype(jnp.float32)
    adjacency_BB = labels_BC @ labels_BC.T + jnp.eye(len(labels_BC))
    scale_B = jax.lax.rsqrt(adjacency_BB.sum(axis=1))  # at least one: every item is its own neighbour
    return scale_B[:, None] * adjacency_BB * scale_B


def fuse(
    images_BF: Float[Array, "B F"], texts_BF: Float[Array, "B F"], fusion: Fusion
) -> Float[Array, "B F"]:
    """f_r = 1/2 (W f_x + W^T f_y), W = norm(f_x f_y^T): each modality's features weighted by the other's.

    Source: GCH Eq. 6, in matrix form over the batch.

    Args:
        fusion: the norm. "frobenius": W divided by its Frobenius norm (the paper: "matrix normalization");
            "largest": by its largest entry (the code), in magnitude, so that it cannot be near zero or below;
            "softmax": each row a distribution (attention as of Vaswani et al. 2017, whom the paper cites).
    """
    # Paper: f x W, whose shapes do not fit for W of [B, B]; here W f, and W^T for the other side.
    weights_BB = _product(images_BF, texts_BF.T)
    if fusion == "softmax":
        weights_BB = jax.nn.softmax(weights_BB, axis=1)
    else:
        largest = jnp.max(jnp.abs(weights_BB))
        weights_BB = weights_BB / jnp.maximum(largest, 1e-12)
        if fusion == "frobenius":  # of what is at most one: its square cannot overflow
            weights_BB = weights_BB * jax.lax.rsqrt(jnp.maximum(jnp.sum(weights_BB**2), 1e-12))
    return 0.5 * (_product(weights_BB, images_BF) + _product(weights_BB.T, texts_BF))


class GCH(Model):
    """The four networks, sized as in `GCHModel`. Codes of new items are the signs of a student's, Eq. 10.

    Args:
        image, text: the encoders that the students' dense layers read; `Features` for those given.
        labels: C.
    """

    def __init__(
        self,
        image: Any,
        text: Any,
        labels: int,
        *,
        bits: int,
        width: int,
        beacon_width: int,
        beacon_activation: Squashing = "tanh",
        batch_norm: bool = True,
        precision: Precision = "float32",
        rngs: nnx.Rngs,
    ):
        self.bits = bits
        self.teacher = Teacher(labels, width, bits, precision, rngs)
        self.image = Student(image, (width,), bits, labels, precision, rngs, batch_norm=batch_norm)
        # "four fully-connected layers" (4.2): three here, and the heads.
        self.text = Student(text, (width,) * 3, bits, labels, precision, rngs, batch_norm=batch_norm)
        self.beacon = Beacon(width, beacon_width, bits, labels, precision, rngs, activation=beacon_activation)

    def encode_texts(self, texts_BT: Array) -> Float[Array, "B K"]:
        """H^y, codes before they are rounded."""
        return self.text(texts_BT).codes

    def encode_images(self, images_Bd: Array) -> Float[Array, "B K"]:
        """H^x, codes before they are rounded."""
        return self.image(images_Bd).codes

    def fold_texts(self, texts_BK: Float[Array, "B K"]) -> Float[Array, "B K"]:
        """Codes of -1 and 1; zero is -1. Their inner product is K - 2 x Hamming distance."""
        return jnp.where(texts_BK > 0, 1.0, -1.0)

    fold_images = fold_texts


# --- Losses ---


def similar(labels_BC: Bool[Array, "B C"]) -> Float[Array, "B B"]:
    """S: 1 where two items share a label, else 0."""
    labels_BC = labels_BC.astype(jnp.float32)
    return (labels_BC @ labels_BC.T > 0).astype(jnp.float32)


def squared_likelihood_loss(
    a_BK: Float[Array, "B K"], b_BK: Float[Array, "B K"], similar_BB: Float[Array, "B B"]
) -> Float[Array, ""]:
    """What the public code of GCH has in place of `likelihood_loss`.

        mean_ij (S_ij Theta_ij - log(1 + exp(Theta_ij)))^2,    Theta = A B^T

    Written as it stands, exp(Theta) overflows in float32 from 89 on, that is from 89 bits.

    >>> codes = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(squared_likelihood_loss(codes, codes, jnp.eye(2))), 4)  # log(1 + exp(-2))^2
    0.0161
    """
    theta_BB = _product(a_BK, b_BK.T)
    return jnp.mean((similar_BB * theta_BB - jax.nn.softplus(theta_BB)) ** 2)


def similarity_loss(
    a_BK: Float[Array, "B K"],
    b_BK: Float[Array, "B K"],
    similar_BB: Float[Array, "B B"],
    objective: Objective,
) -> Float[Array, ""]:
    """The likelihood of an objective: first terms of Eq. 3, 5 and 8."""
    # Paper: sums over all pairs; here their mean, and the other two terms divided by B^2 alike: the same
    # minimum, and Adam does not see the factor (SGD does).
    loss = likelihood_loss if objective == "paper" else squared_likelihood_loss
    return loss(a_BK, b_BK, similar_BB)


def squared_error(
    found_BX: Float[Array, "B X"], wanted_BX: Float[Array, "B X"], objective: Objective
) -> Float[Array, ""]:
    """||found - wanted||_F^2 divided by B^2 ("paper": as its likelihood) or by B X ("official").

    >>> round(float(squared_error(jnp.zeros((2, 3)), jnp.ones((2, 3)), "paper")), 4)
    1.5
    """
    total = jnp.sum((found_BX - wanted_BX) ** 2)
    return total / (len(found_BX) ** 2 if objective == "paper" else found_BX.size)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


# --- Training: Algorithm 1 ---

NETWORKS = ("teacher", "image", "text", "beacon")
UPDATES = {"teacher": 1, "image": 2, "text": 2, "beacon": 1}
"""How often an iteration updates each network."""

GCH_METRICS = ("loss", *NETWORKS)
"""`loss` is Eq. 9, the sum of the others; a student's is that of its second update."""


class Batch(NamedTuple):
    """The items of an iteration and how similar they are, S."""

    images: Array
    texts: Array
    labels: Bool[Array, "B C"]
    similar: Float[Array, "B B"]


def label_loss(
    network: Teacher | Beacon, batch: Batch, *inputs: Any, alpha: Any, beta: Any, objective: Objective
) -> Float[Array, ""]:
    """Eq. 3 of the teacher, Eq. 8 of the beacon: alpha x similarity of its codes + beta x ||L^l - L||^2.

    Args:
        inputs: what the network reads.
    """
    codes, labels = network(*inputs)
    similarity = similarity_loss(codes, codes, batch.similar, objective)
    return alpha * similarity + beta * squared_error(labels, batch.labels, objective)


def student_loss(
    student: Student,
    items: Array,
    batch: Batch,
    teacher_BK: Float[Array, "B K"],
    beacon_BK: Float[Array, "B K"] | None,
    *,
    alpha: Any,
    beta: Any,
    gamma: Any,
    objective: Objective,
) -> Float[Array, ""]:
    """Eq. 5: alpha x similarity to the teacher's codes + beta x ||H^b - H||^2 + gamma x ||L - L^*||^2.

    Args:
        beacon_BK: H^b, or None for an update under the teacher alone (Algorithm 1, line 6).
    """
    codes, labels = student(items)
    if objective == "paper":
        loss = alpha * similarity_loss(teacher_BK, codes, batch.similar, objective)
    else:  # the code: not their similarities, the teacher's signs themselves
        loss = alpha * squared_error(codes, jnp.sign(teacher_BK), objective)
    if beacon_BK is not None:
        loss += beta * squared_error(codes, beacon_BK, objective)
    return loss + gamma * squared_error(labels, batch.labels, objective)


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
        network = nnx.merge(graphdef, variables, copy=True)
        value, gradients = nnx.value_and_grad(loss)(network, *inputs)  # the statistics are now this batch's
        params = nnx.state(network, nnx.Param)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        nnx.update(network, optax.apply_updates(params, updates))
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


def make_iteration(
    model: GCH,
    optimizers: Mapping[str, optax.GradientTransformation],
    *,
    alpha: Any,
    beta: Any,
    gamma: Any,
    objective: Objective,
    fusion: Fusion,
    graph: bool,
    mesh: Mesh | None = None,
) -> Step:
    """One iteration of Algorithm 1: `state, metrics = step(state, data, key)`.

    It takes row `state.step` (modulo the length) of the plan; there is nothing random in it.

    Args:
        model: its structure; shapes will do in place of values.
        optimizers: one a network.
        alpha, beta, gamma: weights of the terms: similarity; distance to the beacon (and the label error of
            teacher and beacon, Eq. 3 and 8); label error of the students.
        fusion: how features are fused, see `fuse`.
        graph: whether the beacon's layers are graph convolutions, or dense (GCH-A).
        mesh: the devices, which share the rows of a batch; one device if not given.
    """
    model.train()
    structures = {name: nnx.split(getattr(model, name))[0] for name in NETWORKS}
    terms = {"alpha": alpha, "beta": beta, "objective": objective}
    of_labels = functools.partial(label_loss, **terms)
    of_student = functools.partial(student_loss, gamma=gamma, **terms)
    losses = {"teacher": of_labels, "image": of_student, "text": of_student, "beacon": of_labels}
    updates = {name: make_update(structures[name], optimizers[name], losses[name]) for name in NETWORKS}

    def step(state: TrainState, data: Data, key: Array) -> tuple[TrainState, dict[str, Array]]:
        rows, _ = planned_rows(state, data, mesh)  # text and image of an item together
        labels_BC = data.labels_nC[rows]
        batch = Batch(data.images_nd[rows], data.texts_nT[rows], labels_BC, similar(labels_BC))
        networks, opt_state, values = dict(state.params), dict(state.opt_state), {}

        def update(name: str, *inputs: Any) -> None:
            updated = updates[name](networks[name], opt_state[name], *inputs)
            networks[name], opt_state[name], values[name] = updated

        def apply(name: str) -> Any:  # as in training, but what it would learn is forgotten
            return nnx.merge(structures[name], networks[name], copy=True)

        update("teacher", batch, batch.labels)
        teacher_BK = apply("teacher")(batch.labels).codes
        update("image", batch.images, batch, teacher_BK, None)
        update("text", batch.texts, batch, teacher_BK, None)
        features = apply("image").features(batch.images), apply("text").features(batch.texts)
        beacon_reads = fuse(*features, fusion), propagation(batch.labels) if graph else None
        update("beacon", batch, *beacon_reads)
        beacon_BK = apply("beacon")(*beacon_reads).codes
        update("image", batch.images, batch, teacher_BK, beacon_BK)
        update("text", batch.texts, batch, teacher_BK, beacon_BK)

        metrics = {"loss": sum(values.values(), start=jnp.zeros(())), **values}
        changed = {"params": networks, "opt_state": opt_state, "step": state.step + 1}
        return dataclasses.replace(state, **changed), metrics

    return step


# --- Presets ---

# Every number carries its source: (4.1), (4.2) are sections of the paper. What it leaves open is a default of
# the classes above.

# Paper: 1024 in the first graph convolution (4.2), W divided by its norm (3.2), the likelihood (Eq. 3, 5, 8);
# code: 512, W divided by its largest entry, squares in place of the likelihood.
VARIANTS: dict[str, tuple[GCHModel, Objective, str]] = {
    "paper": (GCHModel(fusion="frobenius", beacon_width=1024), "paper", "by its equations"),
    "official": (
        GCHModel(fusion="largest", beacon_width=512),
        "official",
        "with the objective, fusion and widths of its public code",
    ),
}

# Data, N (4.1).
_DATA: dict[str, tuple[str, DataConfig, int]] = {
    # Not in the paper: these two, and their N; nor the N of NUS-WIDE, the 1,000 tags that hashing papers use.
    "emoji": (
        "the embedded emoji corpus, several labels an item",
        DataConfig(name="emoji-multi-label", image_scale="standard"),
        2_000,
    ),
    "corel5k": (
        "Corel5k in the folder layout, 20 labels: --data.root FOLDER",
        DataConfig(name="folder", image_feature="features", image_scale="standard"),
        1_000,
    ),
    # Paper: CNN-F, trained from pictures; here a frozen EfficientNet-Lite0 (NUS-WIDE: the official bag of
    # words), because the weights of CNN-F are not always at hand. As in the paper: --data.image-feature
    # pixels --data.resolution 224 --model.image-weights imagenet-vgg-f.mat --train.image-rate 1e-4.
    "mirflickr": ("MIRFLICKR-25K, 24 labels", DataConfig(name="mirflickr", image_scale="standard"), 1_386),
    "nus-wide": (
        "NUS-WIDE, 21 largest concepts",
        DataConfig(name="nus-wide-21", image_feature="bow", image_scale="standard"),
        1_000,
    ),
    "coco": ("COCO 2014, 80 categories", DataConfig(name="coco", image_scale="standard"), 2_000),
    "folder": (
        "your own pictures and texts: --data.root FOLDER (docs/your-own-data.md)",
        DataConfig(name="folder", image_scale="standard"),
        10_000,
    ),
}


def _experiment(name: str, variant: str) -> GCHExperiment:
    _, data, words = _DATA[name]
    model, objective, _ = VARIANTS[variant]
    return GCHExperiment(
        data=data,
        text=TextConfig(words=words),
        model=model,
        train=GCHTrain(objective=objective),
        epochs=30,
        evaluate_every=5,
        checkpoint_every=5,
    )


GCH_PRESETS: dict[str, tuple[str, GCHExperiment]] = {
    f"gch-{name}-{variant}": (f"GCH on {title}, {how}", _experiment(name, variant))
    for name, (title, *_) in _DATA.items()
    for variant, (*_, how) in VARIANTS.items()
}


# --- What the paper prints ---

# MAP of text and of image queries by data set and bits: GCH in Table 1, GCH-A in Table 2.
PUBLISHED: dict[str, dict[str, dict[int, tuple[float, float]]]] = {
    "GCH": {
        "mirflickr": {16: (0.892, 0.833), 32: (0.910, 0.857), 64: (0.907, 0.869)},
        "nus-wide": {16: (0.732, 0.693), 32: (0.766, 0.719), 64: (0.761, 0.753)},
        "coco": {16: (0.745, 0.648), 32: (0.797, 0.686), 64: (0.830, 0.708)},
    },
    "GCH-A": {
        "mirflickr": {16: (0.811, 0.755)},
        "nus-wide": {16: (0.510, 0.525)},
        "coco": {16: (0.741, 0.641)},
    },
}


# --- System ---


@register(GCH_PRESETS)
@dataclasses.dataclass(frozen=True)
class GCHSystem(System):
    """See `System`."""

    experiment_type: ClassVar[type[Experiment]] = GCHExperiment
    unit: ClassVar[Literal["pairs", "items", "draws"]] = "items"
    needs_labels: ClassVar[bool] = True
    within_items: ClassVar[Mapping[str, int]] = {"batch": 0}

    experiment: GCHExperiment

    @classmethod
    def title(cls, experiment: GCHExperiment) -> str:
        return "GCH" if experiment.model.beacon == "graph" else "GCH-A"

    @classmethod
    def make_model(cls, experiment: GCHExperiment, sizes: Sizes, constants: nnx.State, rngs: nnx.Rngs) -> GCH:
        config = experiment.model
        # Paper: "first seven layers of CNNF" and nothing on their dropout; here without, as all of GCH.
        pixels = len(sizes.image) == 3
        image = CNNF(precision=config.precision, rngs=rngs) if pixels else Features(*sizes.image)
        return GCH(
            image,
            Features(sizes.words),
            sizes.classes,
            bits=config.bits,
            width=config.width,
            beacon_width=config.beacon_width,
            beacon_activation=config.beacon_activation,
            batch_norm=config.batch_norm,
            precision=config.precision,
            rngs=rngs,
        )

    @classmethod
    def published_row(cls, preset: str, experiment: GCHExperiment) -> dict[str, Any] | None:
        bits, graph = experiment.model.bits, experiment.model.beacon == "graph"
        name, table = ("GCH", 1) if graph else ("GCH-A", 2)
        data = preset.removeprefix("gch-").rpartition("-")[0]
        if bits not in PUBLISHED[name].get(data, {}):
            return None
        text_query, image_query = PUBLISHED[name][data][bits]
        return {
            "text_query": text_query,
            "image_query": image_query,
            "average": None,
            "source": f"{name} at {bits} bits (Xu et al. 2019), Table {table}",
            "note": "The paper says that MAP is over the first 500 of the retrieval split (hashing@500); its "
            "public code ranks all of it (hashing).",
        }

    @classmethod
    def reads(cls, kind: str, values: Mapping[str, Any]) -> bool:
        return kind == "hashing"  # until version 0.1.0

    @classmethod
    def build(cls, experiment: GCHExperiment, corpus: Corpus, mesh: Mesh) -> "GCHSystem":
        inputs = read_inputs(corpus, experiment.data, experiment.text)
        on_host = training_arrays(inputs, mesh)
        items = len(on_host[-1])
        batch = cls.fitting(experiment.train, items, mesh).batch
        data = sharding.replicate(Data(*on_host, constants=nnx.State({})), mesh)
        return cls(inputs, experiment, items // batch, data, mesh)

    @property
    def per_step(self) -> int:
        return self.fitted.batch

    def _fresh_state(self, *, weights: Path | None = None) -> TrainState:
        model = self._new_model()
        if weights is not None:
            model.image.path.load_weights(weights)
        optimizers = self._optimizers(self.experiment.train)
        return start_of(*init_networks(model, optimizers), GCH_METRICS)

    def initial_state(self) -> TrainState:
        return self._placed(self._fresh_state(weights=self.experiment.model.image_weights))

    def plan(self, epoch: int) -> sampling.Plan:
        order = jax.random.fold_in(self._local_key(ORDER), epoch)
        plan = sampling.plan_items(order, len(self._labels), self.fitted.batch)
        return sharding.replicate(plan, self.mesh)

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        train: GCHTrain = with_values(self.experiment.train, values)
        model = self.experiment.model
        return make_iteration(
            # Not `applied_model`: the iteration puts its model into training.
            self.applied(self.experiment, self.sizes, self.constants),
            self._optimizers(train),
            alpha=train.alpha,
            beta=train.beta,
            gamma=train.gamma,
            objective=train.objective,
            fusion=model.fusion,
            graph=model.beacon == "graph",
            mesh=self.mesh,
        )

    def _optimizers(self, train: GCHTrain) -> dict[str, optax.GradientTransformation]:
        # Paper: SGD, no rates (3.3); here Adam with the rates of the code, because it names some.
        make = {"adam": optax.adam, "sgd": optax.sgd}[train.optimizer]
        decayed = functools.partial(make_rate, decay=train.decay)
        return {
            name: make(decayed(getattr(train, f"{name}_rate"), decay_steps=times * self.steps_per_epoch))
            for name, times in UPDATES.items()
        }
