"""Two small networks, one a modality, trained as one compiled loop: MMNN, DSPE, and DCMH with its codes."""

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
from jaxtyping import Array, Bool, Float
from sklearn.preprocessing import normalize

from gcnxmodal.baselines.base import (
    Baseline,
    Count,
    Features,
    Groups,
    NonNegative,
    Positive,
    Seed,
    Side,
    mean_of,
    unit_rows,
)
from gcnxmodal.baselines.hashing import HashCodes
from gcnxmodal.errors import InputError
from gcnxmodal.nn.layers import unit
from gcnxmodal.nn.losses import likelihood_loss

Layers = list[tuple[Any, Any]]
"""(weight [d, h], bias [h]) of each layer of a branch."""

Branches = tuple[Layers, Layers]
"""Of images and of texts."""

MOMENTUM = 0.9


@dataclasses.dataclass(eq=False, repr=False)
class TwoBranches(Baseline):
    """Branches f (images) and g (texts), tanh(W2 tanh(W1 x + b1) + b2), trained on a loss over a batch.

    The configuration is that of SSPE's comparison (Wu et al. 2018, Section 4.4): features mean-centred and
    of unit length, widths 64 and 32, of which the last is the dimension of the space. Batches are drawn with
    replacement on the device, which holds the training items dense: 4 n (N + d) bytes. All is float32 and a
    function of `random_state`.

    Attributes:
        image_branch_, text_branch_: the trained layers, as NumPy arrays.
        losses_: the loss of each step.
    """

    _: KW_ONLY
    widths: tuple[Count, ...] = (64, 32)
    steps: Count = 2000
    batch: Count = 64
    learning_rate: Positive = 0.1
    weight_decay: NonNegative = 5e-4
    random_state: Seed = 0

    def _fit(self, images: Features, texts: Features, labels_nC: np.ndarray, groups: Groups | None) -> None:
        self._mean: dict[Side, np.ndarray] = {"images": mean_of(images), "texts": mean_of(texts)}
        images_nd = _dense(unit_rows(images, self._mean["images"]))
        texts_nN = _dense(unit_rows(texts, self._mean["texts"]))
        branches, key = init_branches(
            self.random_state, (images_nd.shape[1], *self.widths), (texts_nN.shape[1], *self.widths)
        )
        loss, values = self._loss()
        branches, losses = _train_by_sgd(
            branches,
            (images_nd, texts_nN, jnp.asarray(labels_nC, jnp.float32)),
            key,
            self.learning_rate,
            self.weight_decay,
            values,
            loss=loss,
            steps=self.steps,
            batch=self.batch,
        )
        self.image_branch_, self.text_branch_ = trained(branches, self.learning_rate, f"{self.steps} steps")
        self.losses_ = np.asarray(losses)

    @abc.abstractmethod
    def _loss(self) -> tuple[Callable, dict[str, float]]:
        """`loss(images_BD, texts_BD, alike_BB, other_BB, **values)` and its values; see `_train_by_sgd`."""

    def _outputs(self, features: Features, side: Side) -> Float[np.ndarray, "n D"]:
        branch = self.image_branch_ if side == "images" else self.text_branch_
        return apply_branch(branch, unit_rows(features, self._mean[side]), xp=np)


def init_branches(
    seed: int, image_widths: tuple[int, ...], text_widths: tuple[int, ...]
) -> tuple[Branches, Array]:
    """The first weights of both branches, and the key of the batches."""
    of_images, of_texts, of_batches = jax.random.split(jax.random.key(seed), 3)
    return (init_branch(of_images, image_widths), init_branch(of_texts, text_widths)), of_batches


def trained(branches: Branches, learning_rate: float, after: str) -> Branches:
    """The branches as NumPy arrays.

    Raises:
        InputError: if training diverged.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(branches)):
        raise InputError(
            f"learning_rate {learning_rate}: after {after} weights are not finite; a lower rate trains"
        )
    return jax.tree.map(np.asarray, branches)


def init_branch(key: Array, widths: tuple[int, ...]) -> Layers:
    """Glorot's uniform weights, which suit tanh, and biases of zero."""
    glorot = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, len(widths) - 1)
    shapes = itertools.pairwise(widths)
    return [
        (glorot(k, shape, jnp.float32), jnp.zeros(shape[1])) for k, shape in zip(keys, shapes, strict=True)
    ]


def apply_branch(layers: Layers, x: Any, activation: Literal["tanh", "relu"] = "tanh", xp: Any = jnp) -> Any:
    """[n, d] -> [n, D] by JAX or, with `xp` NumPy, on the host, where x may be CSR.

    tanh follows each layer; ReLU each but the last.
    """
    for number, (weight, bias) in enumerate(layers, 1):
        x = (x @ weight if xp is np else product(x, weight)) + bias
        if activation == "tanh":
            x = xp.tanh(x)
        elif number < len(layers):
            x = xp.maximum(x, 0)
    return x


def product(a: Array, b: Array) -> Array:
    """a b, in full float32 also where the device's default is bf16 or tf32."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def descend(
    optimizer: optax.GradientTransformation, objective: Callable, params: Any, opt_state: Any
) -> tuple[Any, Any, Any]:
    """One step down the objective, a function of the parameters that returns (value, what else is wanted).

    Returns:
        The new parameters, the new state of the optimiser, and what the objective returned before the step.
    """
    returned, gradient = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, returned


def squared_distances(a_BD: Float[Array, "B D"], b_MD: Float[Array, "M D"]) -> Float[Array, "B M"]:
    """||a_i - b_j||^2 by differences, so that it is never negative and exactly 0 for equal rows."""
    return jnp.sum((a_BD[:, None] - b_MD[None]) ** 2, axis=-1)


def distances(a_BD: Float[Array, "B D"], b_MD: Float[Array, "M D"]) -> Float[Array, "B M"]:
    """||a_i - b_j||, whose gradient is 0, not NaN, where the rows are equal."""
    squared = squared_distances(a_BD, b_MD)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)


def mean_where(values: Array, mask: Array) -> Float[Array, ""]:
    """The mean of the values that the mask keeps; 0 if it keeps none."""
    return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(jnp.sum(mask), 1)


@functools.partial(jax.jit, static_argnames=("loss", "steps", "batch"))
def _train_by_sgd(
    branches: Branches,
    items: tuple[Array, Array, Array],
    key: Array,
    learning_rate: float,
    weight_decay: float,
    values: dict[str, float],
    *,
    loss: Callable,
    steps: int,
    batch: int,
) -> tuple[Branches, Float[Array, " steps"]]:
    """SGD with momentum, the rate falling linearly to 0: all steps as one loop.

    The loss is given `alike_BB`, which items share a label (each is like itself), and `other_BB`, which rows
    of the batch are two different items.
    """
    images_nd, texts_nN, labels_nC = items

    def rate(step: Any) -> Any:
        return learning_rate * (1 - step / steps)

    # Of the weights and biases alike, added to the gradient: L2 regularisation.
    optimizer = optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum=MOMENTUM))

    def step(state: Any, number: Array) -> Any:
        branches, opt_state = state
        rows_B = jax.random.randint(jax.random.fold_in(key, number), (batch,), 0, len(images_nd))
        other_BB = rows_B[:, None] != rows_B
        alike_BB = (labels_nC[rows_B] @ labels_nC[rows_B].T > 0) | ~other_BB

        def objective(branches: Branches) -> tuple[Array, None]:
            images_BD = apply_branch(branches[0], images_nd[rows_B])
            texts_BD = apply_branch(branches[1], texts_nN[rows_B])
            return loss(images_BD, texts_BD, alike_BB, other_BB, **values), None

        branches, opt_state, (value, _) = descend(optimizer, objective, branches, opt_state)
        return (branches, opt_state), value

    (branches, _), losses = jax.lax.scan(step, (branches, optimizer.init(branches)), jnp.arange(steps))
    return branches, losses


def _dense(features: Features) -> Float[Array, "n d"]:
    return jnp.asarray(features.toarray() if sp.issparse(features) else features, jnp.float32)


@dataclasses.dataclass(eq=False, repr=False)
class MMNN(TwoBranches):
    """Multimodal similarity-preserving networks (Masci et al., PAMI 2014), real-valued as in SSPE's tables.

    Minimises L(f, g) + alpha (L(f, f) + L(g, g)) over two branches, with L of `contrastive_loss`. The score
    is minus the squared Euclidean distance. Its last two columns make that the inner product that ranks:

        text [sqrt(2) g, -||g||^2, 1] . image [sqrt(2) f, 1, -||f||^2]  =  -||g - f||^2

    Args:
        margin: how far apart unlike items are pushed.
        alpha: weight of each within-modality loss.
        widths: of the layers; the others are of SGD, see `TwoBranches`.

    Margin and rate were chosen once, on a held-out fifth of Wikipedia's training items. The paper's constants
    could not be checked; the form of the loss agrees with an independent implementation.
    """

    space: ClassVar = {"margin": (1.0, 3.0), "alpha": (0.1, 0.3)}

    # Paper: signs of the outputs, a hash code; here the outputs, because SSPE's table ignores the step.
    _: KW_ONLY
    margin: NonNegative = 3.0
    alpha: NonNegative = 0.3
    weight_decay: NonNegative = 1e-3

    def _encode(self, features: Features, side: Side) -> Float[np.ndarray, "n D+2"]:
        x_nD = self._outputs(features, side)
        columns = np.ones(len(x_nD)), -np.sum(x_nD**2, axis=1)
        last = columns if side == "images" else columns[::-1]
        return np.column_stack([np.sqrt(2) * x_nD, *last]).astype(np.float32)

    def _loss(self) -> tuple[Callable, dict[str, float]]:
        return mmnn_loss, {"margin": self.margin, "alpha": self.alpha}


def mmnn_loss(
    images_BD: Float[Array, "B D"],
    texts_BD: Float[Array, "B D"],
    alike_BB: Bool[Array, "B B"],
    other_BB: Bool[Array, "B B"],
    *,
    margin: float,
    alpha: float,
) -> Float[Array, ""]:
    """L(f, g) + alpha (L(f, f) + L(g, g)); within a modality no item is paired with itself."""
    across = contrastive_loss(images_BD, texts_BD, alike_BB, jnp.ones_like(other_BB), margin)
    within = (contrastive_loss(x, x, alike_BB, other_BB, margin) for x in (images_BD, texts_BD))
    return across + alpha * sum(within)


def contrastive_loss(
    a_BD: Float[Array, "B D"],
    b_BD: Float[Array, "B D"],
    alike_BB: Bool[Array, "B B"],
    counts_BB: Bool[Array, "B B"],
    margin: float,
) -> Float[Array, ""]:
    """1/2 mean over alike pairs of d^2 + 1/2 mean over unlike pairs of max(0, margin - d)^2, d = ||a - b||.

    Args:
        alike_BB: pairs that share a label.
        counts_BB: pairs that count at all.

    >>> a, b = jnp.array([[0.0], [0.0]]), jnp.array([[0.5], [1.0]])
    >>> alike = jnp.eye(2, dtype=bool)  # alike: d = .5 and 1; unlike: 1 and .5, margin 2
    >>> float(contrastive_loss(a, b, alike, jnp.ones((2, 2), bool), 2.0))  # (.25 + 1) / 4 + (1 + 2.25) / 4
    1.125
    """
    # Paper: sums over pairs drawn beforehand; here means over all pairs of a batch, of alike and of unlike
    # ones apart, because alike pairs are few where there are many classes.
    together = mean_where(squared_distances(a_BD, b_BD), alike_BB & counts_BB)
    hinge_BB = jnp.maximum(margin - distances(a_BD, b_BD), 0.0)
    return 0.5 * together + 0.5 * mean_where(hinge_BB**2, ~alike_BB & counts_BB)


@dataclasses.dataclass(eq=False, repr=False)
class DSPE(TwoBranches):
    """Deep structure-preserving embeddings (Wang, Li, Lazebnik, CVPR 2016), networks as in SSPE's tables.

    Minimises `dspe_loss` over two branches whose outputs have length 1. Cosine is the score: on the unit
    sphere it ranks as the Euclidean distance does.

    Args:
        margin: by how much a positive shall be nearer than a negative.
        text_anchors: weight of the triplets with a text as anchor and images to rank (lambda_1).
        image_structure, text_structure: weights of the triplets within a modality (lambda_2, lambda_3).
        widths: of the layers; the others are of SGD, see `TwoBranches`.
    """

    space: ClassVar = {"margin": (0.1, 0.3), "weight_decay": (5e-4, 2e-3)}

    # Paper: ReLU, dropout and batch normalisation, widths 2048 and 512; here tanh, 64 and 32, because SSPE's
    # table gives all networks the same branches. Margin and weights could not be checked; copies of the code
    # of the paper's journal version have .05, and weights of 1.5 and .05.
    _: KW_ONLY
    margin: NonNegative = 0.1
    text_anchors: NonNegative = 2.0
    image_structure: NonNegative = 0.1
    text_structure: NonNegative = 0.2

    def _encode(self, features: Features, side: Side) -> Float[np.ndarray, "n D"]:
        return np.asarray(normalize(self._outputs(features, side)))

    def _loss(self) -> tuple[Callable, dict[str, float]]:
        values = ("margin", "text_anchors", "image_structure", "text_structure")
        return dspe_loss, {name: getattr(self, name) for name in values}


def dspe_loss(
    images_BD: Float[Array, "B D"],
    texts_BD: Float[Array, "B D"],
    alike_BB: Bool[Array, "B B"],
    other_BB: Bool[Array, "B B"],
    *,
    margin: float,
    text_anchors: float,
    image_structure: float,
    text_structure: float,
) -> Float[Array, ""]:
    """T(x, y) + lambda_1 T(y, x) + lambda_2 T(x, x) + lambda_3 T(y, y), x and y the outputs at length 1.

    T(a, b) is `triplet_loss` of anchors a and of positives and negatives b. The positives of an item are
    those that share a label with it; within a modality, not the item itself.
    """
    # Paper: the positives of an image are its captions; here all items that share a label with it, because
    # that is the relevance that is measured.
    x_BD, y_BD = (unit(z) for z in (images_BD, texts_BD))
    across, within = distances(x_BD, y_BD), alike_BB & other_BB
    return (
        triplet_loss(across, alike_BB, ~alike_BB, margin)
        + text_anchors * triplet_loss(across.T, alike_BB, ~alike_BB, margin)
        + image_structure * triplet_loss(distances(x_BD, x_BD), within, ~alike_BB, margin)
        + text_structure * triplet_loss(distances(y_BD, y_BD), within, ~alike_BB, margin)
    )


def triplet_loss(
    distances_BB: Float[Array, "B B"],
    positive_BB: Bool[Array, "B B"],
    negative_BB: Bool[Array, "B B"],
    margin: float,
) -> Float[Array, ""]:
    """Mean of max(0, margin + d(a, positive) - d(a, negative)) over anchors a, positives and negatives.

    Args:
        distances_BB: of each anchor (row) to each item.

    >>> d = jnp.array([[0.25, 0.5, 1.0]])  # the first is the positive: violated by .25 with the second only
    >>> positive = jnp.array([[True, False, False]])
    >>> float(triplet_loss(d, positive, ~positive, 0.5))  # (.5 + .25 - .5 + 0) / 2
    0.125
    """
    # Paper: the sum over the K most violated constraints of each positive pair; here the mean over all
    # constraints of a batch, because with labels in place of captions the most violated ones are items that
    # look like another class: K = 10 gave MAP .163 / .194, all of them .203 / .261 (text / image query, a
    # fifth of Wikipedia's training items held out, official features).
    known_BBB = positive_BB[:, :, None] & negative_BB[:, None]
    return mean_where(jnp.maximum(margin + distances_BB[:, :, None] - distances_BB[:, None], 0.0), known_BBB)


@dataclasses.dataclass(eq=False, repr=False)
class DCMH(HashCodes):
    """Deep cross-modal hashing (Jiang, Li, CVPR 2017) on given features: a network of two layers a modality.

    With f_i and g_i [K] the outputs for image and text i, S_ij 1 where i and j share a label, minimises

        - sum_ij (S_ij Theta_ij - log(1 + exp(Theta_ij))) + gamma (||F - B||^2 + ||G - B||^2)
            + eta (||F^T 1||^2 + ||G^T 1||^2),    Theta = 1/2 F G^T,    B = sgn(F + G)

    A round (epoch) trains the images' network, then the texts', on batches of items against the last known
    outputs of all items of the other modality, then sets B. All rounds are one compiled loop in float32, a
    function of `random_state`; memory is linear in the items. The equations are those of the authors' public
    code.

    Args:
        bits, axes: see `HashCodes`.
        hidden: width of the first layer, ReLU.
        gamma: weight of the quantisation.
        eta: weight of the balance of bits.
        epochs: rounds.
        batch: items of a step, at most all.
        learning_rate: of Adam, falling linearly to 0.
        random_state: of the weights and the batches.

    Attributes:
        image_branch_, text_branch_: the trained layers, as NumPy arrays.
        losses_: of each round, the mean of its steps, over the pairs of a step.
    """

    space: ClassVar = {"eta": (1e-3, 1e-2), "learning_rate": (1e-3, 3e-4)}

    # Paper: 8,192 or, of images, CNN-F; here 512, because the features are given and the corpora small.
    # Paper: eta 1 and SGD, 500 rounds of 10,000 items; here .001 and Adam, because the sums over known
    # outputs lag behind the network, and codes swing where a round has ten steps: with eta 1, .01 and .001,
    # .287 / .366, .473 / .533 and .509 / .522 on validation items of the emoji corpus (16 bits, text / image
    # query, `hashing@500`).
    _: KW_ONLY
    hidden: Count = 512
    gamma: NonNegative = 1.0
    eta: NonNegative = 1e-3
    epochs: Count = 100
    batch: Count = 128
    learning_rate: Positive = 1e-3
    random_state: Seed = 0

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        # Inputs of unit variance on average, which the initial weights are made for.
        self._scales = [np.sqrt(x.shape[1] / np.mean(np.sum(x * x, axis=1))) for x in (P, Q)]
        items = tuple(
            jnp.asarray(scale * x, jnp.float32) for scale, x in zip(self._scales, (P, Q), strict=True)
        )
        branches, key = init_branches(
            self.random_state, *((x.shape[1], self.hidden, self.bits) for x in (P, Q))
        )
        branches, losses = _train_in_rounds(
            branches,
            items,
            jnp.asarray(labels_nC, jnp.float32),
            key,
            self.learning_rate,
            self.gamma,
            self.eta,
            epochs=self.epochs,
            batch=min(self.batch, len(P)),
        )
        self.image_branch_, self.text_branch_ = trained(branches, self.learning_rate, f"{self.epochs} epochs")
        self.losses_ = np.asarray(losses)

    def _numbers(self, components_np: np.ndarray, side: Side) -> Float[np.ndarray, "n K"]:
        if side == "images":
            return apply_branch(self.image_branch_, self._scales[0] * components_np, "relu", np)
        return apply_branch(self.text_branch_, self._scales[1] * components_np, "relu", np)


def dcmh_loss(
    outputs_BK: Float[Array, "B K"],
    others_nK: Float[Array, "n K"],
    codes_BK: Float[Array, "B K"],
    rest_K: Float[Array, " K"],
    similar_Bn: Float[Array, "B n"],
    gamma: Any,
    eta: Any,
) -> Float[Array, ""]:
    """What a step lowers: the terms of `DCMH` that depend on the batch of one modality, over its B n pairs.

    Args:
        others_nK: outputs of the other modality.
        rest_K: sum of the outputs of the items that are not in the batch.
    """
    quantisation = jnp.sum((outputs_BK - codes_BK) ** 2)
    balance = jnp.sum((rest_K + jnp.sum(outputs_BK, axis=0)) ** 2)
    likelihood = likelihood_loss(outputs_BK, others_nK, similar_Bn)
    return likelihood + (gamma * quantisation + eta * balance) / similar_Bn.size


@functools.partial(jax.jit, static_argnames=("epochs", "batch"))
def _train_in_rounds(
    branches: Branches,
    items: tuple[Array, Array],
    labels_nC: Float[Array, "n C"],
    key: Array,
    learning_rate: float,
    gamma: float,
    eta: float,
    *,
    epochs: int,
    batch: int,
) -> tuple[Branches, Float[Array, " epochs"]]:
    """All rounds as one loop over epochs, of loops over steps."""
    n = len(labels_nC)
    steps = -(-n // batch)
    optimizer = optax.adam(lambda step: learning_rate * (1 - step / (epochs * steps)))

    def train_one(side: int, branch: Any, opt_state: Any, known: Any, codes_nK: Array, epoch: Array) -> Any:
        """An epoch of one network; `known` are the last outputs of both."""
        others_nK = known[1 - side]
        order_n = jax.random.permutation(jax.random.fold_in(key, 2 * epoch + side), n)

        def step(state: Any, number: Array) -> Any:
            branch, opt_state, known_nK = state
            rows_B = order_n[(number * batch + jnp.arange(batch)) % n]  # the last batch is filled up
            similar_Bn = (product(labels_nC[rows_B], labels_nC.T) > 0).astype(jnp.float32)
            rest_K = jnp.sum(known_nK, axis=0) - jnp.sum(known_nK[rows_B], axis=0)

            def objective(branch: Any) -> Any:
                outputs_BK = apply_branch(branch, items[side][rows_B], "relu")
                values = outputs_BK, others_nK, codes_nK[rows_B], rest_K, similar_Bn, gamma, eta
                return dcmh_loss(*values), outputs_BK

            branch, opt_state, (value, outputs_BK) = descend(optimizer, objective, branch, opt_state)
            return (branch, opt_state, known_nK.at[rows_B].set(outputs_BK)), value

        return jax.lax.scan(step, (branch, opt_state, known[side]), jnp.arange(steps))

    def round_(state: Any, epoch: Array) -> Any:
        (f, g), (opt_f, opt_g), (F, G) = state
        codes_nK = jnp.sign(F + G)
        (f, opt_f, F), of_images = train_one(0, f, opt_f, (F, G), codes_nK, epoch)
        (g, opt_g, G), of_texts = train_one(1, g, opt_g, (F, G), codes_nK, epoch)
        return ((f, g), (opt_f, opt_g), (F, G)), (jnp.mean(of_images) + jnp.mean(of_texts)) / 2

    # Paper: outputs not known yet are random; here those of the first weights, which need no second seed.
    known = tuple(apply_branch(branch, x, "relu") for branch, x in zip(branches, items, strict=True))
    opt_states = tuple(optimizer.init(branch) for branch in branches)
    (branches, _, _), losses = jax.lax.scan(round_, (branches, opt_states, known), jnp.arange(epochs))
    return branches, losses
