"""DCMH: two networks whose outputs make the similarities of labels likely, drawn to common codes."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from gcnxmodal.baselines.base import Count, NonNegative, Positive, Seed
from gcnxmodal.baselines.hashing import HashCodes
from gcnxmodal.baselines.two_branches import Branches, apply_branch, descend, init_branches, product, trained


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
        bits: K, of a code.
        hidden: width of the first layer, ReLU.
        gamma: weight of the quantisation.
        eta: weight of the balance of bits.
        epochs: rounds.
        batch: items of a step, at most all.
        learning_rate: of Adam, falling linearly to 0.
        axes: see `HashCodes`.
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
        branches, losses = _train(
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

    def _image_numbers(self, P: np.ndarray) -> Float[np.ndarray, "n K"]:
        return apply_branch(self.image_branch_, self._scales[0] * P, "relu", np)

    def _text_numbers(self, Q: np.ndarray) -> Float[np.ndarray, "n K"]:
        return apply_branch(self.text_branch_, self._scales[1] * Q, "relu", np)


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
    # log(1 + exp) in the form that cannot overflow.
    theta_Bn = 0.5 * product(outputs_BK, others_nK.T)
    likelihood = jnp.mean(jax.nn.softplus(theta_Bn) - similar_Bn * theta_Bn)
    return likelihood + (gamma * quantisation + eta * balance) / similar_Bn.size


@functools.partial(jax.jit, static_argnames=("epochs", "batch"))
def _train(
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
            branch, opt_state, own_nK = state
            rows_B = order_n[(number * batch + jnp.arange(batch)) % n]  # the last batch is filled up
            similar_Bn = (product(labels_nC[rows_B], labels_nC.T) > 0).astype(jnp.float32)
            rest_K = jnp.sum(own_nK, axis=0) - jnp.sum(own_nK[rows_B], axis=0)

            def objective(branch: Any) -> Any:
                outputs_BK = apply_branch(branch, items[side][rows_B], "relu")
                values = outputs_BK, others_nK, codes_nK[rows_B], rest_K, similar_Bn, gamma, eta
                return dcmh_loss(*values), outputs_BK

            branch, opt_state, (value, outputs_BK) = descend(optimizer, objective, branch, opt_state)
            return (branch, opt_state, own_nK.at[rows_B].set(outputs_BK)), value

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
