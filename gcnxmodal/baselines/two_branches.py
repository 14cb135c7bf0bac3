"""Two small networks, one a modality, trained by SGD as one compiled loop: what MMNN and DSPE share."""

from __future__ import annotations

import abc
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
from jaxtyping import Array, Bool, Float
from sklearn.base import BaseEstimator

from gcnxmodal.baselines.features import Features, check_training_set, mean_of, unit_rows
from gcnxmodal.errors import InputError

Layers = list[tuple[Any, Any]]
"""(weight [d, h], bias [h]) of each layer of a branch; tanh follows each."""

MOMENTUM = 0.9


class TwoBranches(BaseEstimator, abc.ABC):
    """Branches f (images) and g (texts), tanh(W2 tanh(W1 x + b1) + b2), trained on a loss over a batch.

    The configuration is that of SSPE's comparison (Wu et al. 2018, Section 4.4): features mean-centred and
    of unit length, widths 64 and 32. Batches are drawn with replacement on the device, which holds the
    training items dense: 4 n (N + d) bytes. All is float32 and a function of the seed.

    Attributes:
        image_branch_, text_branch_: the trained layers, as NumPy arrays.
        losses_: the loss of each step.
    """

    widths: tuple[int, ...]
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    seed: int

    def fit(self, images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> TwoBranches:
        """Fit on training items; two items are alike if they share a label.

        Args:
            images, texts: [n, d] and [n, N], dense or CSR; N and d may exceed n.

        Raises:
            InputError: if rows do not match, a feature is not finite, or training diverged.
        """
        check_training_set(images, texts, labels)
        self._image_mean, self._text_mean = mean_of(images), mean_of(texts)
        images_nd = _dense(unit_rows(images, self._image_mean))
        texts_nN = _dense(unit_rows(texts, self._text_mean))
        of_images, of_texts, of_batches = jax.random.split(jax.random.key(self.seed), 3)
        branches = (
            init_branch(of_images, (images_nd.shape[1], *self.widths)),
            init_branch(of_texts, (texts_nN.shape[1], *self.widths)),
        )
        loss, values = self._loss()
        branches, losses = _train(
            branches,
            (images_nd, texts_nN, jnp.asarray(labels, jnp.float32)),
            of_batches,
            self.learning_rate,
            self.weight_decay,
            values,
            loss=loss,
            steps=self.steps,
            batch=self.batch,
        )
        self.image_branch_, self.text_branch_ = jax.tree.map(np.asarray, branches)
        self.losses_ = np.asarray(losses)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(branches)):
            raise InputError(
                f"learning_rate {self.learning_rate}: after {self.steps} steps weights are not finite; "
                "a lower rate trains"
            )
        return self

    @abc.abstractmethod
    def _loss(self) -> tuple[Callable, dict[str, float]]:
        """`loss(images_BD, texts_BD, alike_BB, other_BB, **values)` and its values; see `_train`."""

    def _image_outputs(self, images: Features) -> Float[np.ndarray, "n D"]:
        return apply_branch(self.image_branch_, unit_rows(images, self._image_mean), np)

    def _text_outputs(self, texts: Features) -> Float[np.ndarray, "n D"]:
        return apply_branch(self.text_branch_, unit_rows(texts, self._text_mean), np)


def init_branch(key: Array, widths: tuple[int, ...]) -> Layers:
    """Glorot's uniform weights, which suit tanh, and biases of zero."""
    glorot = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, len(widths) - 1)
    shapes = itertools.pairwise(widths)
    return [
        (glorot(k, shape, jnp.float32), jnp.zeros(shape[1])) for k, shape in zip(keys, shapes, strict=True)
    ]


def apply_branch(layers: Layers, x: Any, xp: Any = jnp) -> Any:
    """[n, d] -> [n, D] by JAX or, with `xp` NumPy, on the host, where x may be CSR."""
    for weight, bias in layers:
        product = x @ weight if xp is np else jnp.matmul(x, weight, precision=jax.lax.Precision.HIGHEST)
        x = xp.tanh(product + bias)
    return x


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
def _train(
    branches: tuple[Layers, Layers],
    items: tuple[Array, Array, Array],
    key: Array,
    learning_rate: float,
    weight_decay: float,
    values: dict[str, float],
    *,
    loss: Callable,
    steps: int,
    batch: int,
) -> tuple[tuple[Layers, Layers], Float[Array, " steps"]]:
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

        def objective(branches: tuple[Layers, Layers]) -> Array:
            images_BD = apply_branch(branches[0], images_nd[rows_B])
            texts_BD = apply_branch(branches[1], texts_nN[rows_B])
            return loss(images_BD, texts_BD, alike_BB, other_BB, **values)

        value, gradient = jax.value_and_grad(objective)(branches)
        updates, opt_state = optimizer.update(gradient, opt_state, branches)
        return (optax.apply_updates(branches, updates), opt_state), value

    (branches, _), losses = jax.lax.scan(step, (branches, optimizer.init(branches)), jnp.arange(steps))
    return branches, losses


def _dense(features: Features) -> Float[Array, "n d"]:
    return jnp.asarray(features.toarray() if sp.issparse(features) else features, jnp.float32)
