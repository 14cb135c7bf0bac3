"""An experiment made concrete: from a configuration and a corpus to a model, its data and its step."""

import dataclasses
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
from flax import nnx

from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.experiments.config import Experiment, ModelConfig
from gcnxmodal.experiments.inputs import Inputs, make_inputs
from gcnxmodal.models import gin
from gcnxmodal.training import sampling
from gcnxmodal.training.state import Data, TrainState, init_state, make_adam, make_step

METRICS = ("loss", "mean_match", "mean_other")

# What each random stream is for; a key is a function of (seed, purpose, epoch or step).
INIT, PAIRS, ORDER, DROPOUT = range(4)


@dataclasses.dataclass(frozen=True)
class System:
    """A model with all that trains and applies it."""

    inputs: Inputs
    graphdef: nnx.GraphDef
    constants: Any
    optimizer: optax.GradientTransformation
    loss: Callable
    experiment: Experiment
    steps_per_epoch: int
    data: Data

    @property
    def pairs_per_step(self) -> int:
        train = self.experiment.train
        return train.batch if train.pairing != "grid" else train.grid_texts * train.grid_images

    def key(self, purpose: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.experiment.seed), purpose)

    def initial_state(self) -> TrainState:
        model = _model(self.inputs, self.experiment.model, nnx.Rngs(self.key(INIT)))
        return init_state(nnx.state(model, nnx.Param), self.optimizer, METRICS)

    def plan(self, epoch: int) -> sampling.Plan:
        """The batches of an epoch, a function of (seed, epoch)."""
        train = self.experiment.train
        order = jax.random.fold_in(self.key(ORDER), epoch)
        if train.pairing == "grid":
            items = len(self.data.labels_nC)
            return sampling.plan_grid(order, items, train.grid_texts, train.grid_images)
        pairs = jax.random.fold_in(self.key(PAIRS), epoch if train.resample else 0)
        return sampling.plan_pairs(order, *self._draw(pairs), batch=train.batch)

    def _draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        train = self.experiment.train
        if train.pairing == "uniform":
            return _uniform(key, self.data.labels_nC, train.positives, train.negatives)
        members = sampling.class_members(np.asarray(self.data.labels_nC))
        return _balanced(key, members, len(self.data.labels_nC), train.positives, train.negatives)

    def step(self) -> Callable:
        return make_step(
            self.graphdef, self.optimizer, self.loss, grid=self.experiment.train.pairing == "grid"
        )

    def embed(self, params: Any, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """texts [n, D] and images [n, D] of the given (by default all) items; score = text . image."""
        rows = np.arange(len(self.inputs.corpus)) if rows is None else rows
        texts = _in_chunks(
            partial(_encode_texts, self.graphdef, params, self.constants), self.inputs.counts, rows
        )
        images = _in_chunks(
            partial(_encode_images, self.graphdef, params, self.constants), self.inputs.images, rows
        )
        return texts, images

    def fingerprint(self) -> dict[str, str]:
        """What a checkpoint belongs to: the model's configuration, and the corpus' words, splits and data."""
        model = repr(
            (self.experiment.model, self.experiment.train, self.experiment.seed, self.inputs.images.shape)
        )
        digest = hashlib.sha256()
        corpus = self.inputs.corpus
        for array in (self.inputs.counts.data, self.inputs.counts.indices, self.inputs.images, corpus.labels):
            digest.update(np.asarray(array).tobytes())
        for name in sorted(corpus.splits):
            digest.update(corpus.splits[name].tobytes())
        return {"model": hashlib.sha256(model.encode()).hexdigest(), "corpus": digest.hexdigest()}


def build(experiment: Experiment, corpus: Corpus) -> System:
    """Make the system of an experiment on its corpus.

    Raises:
        InputError: as `make_inputs`, and if a batch is larger than the data.
    """
    inputs = make_inputs(corpus, experiment.data, experiment.text)
    rows = corpus.splits["train"]
    train = experiment.train
    model = nnx.eval_shape(lambda: _model(inputs, experiment.model, nnx.Rngs(0)))
    graphdef, _, _ = nnx.split(model, nnx.Param, ...)
    constants = nnx.State({"graph": gin.Constant(inputs.layout)})
    data = Data(
        counts_nN=jnp.asarray(inputs.counts[rows].toarray()),
        images_nd=jnp.asarray(inputs.images[rows]),
        labels_nC=jnp.asarray(corpus.labels[rows]),
        constants=constants,
    )
    if train.pairing == "grid":
        if max(train.grid_texts, train.grid_images) > len(rows):
            raise InputError(
                f"train.grid-texts {train.grid_texts} and train.grid-images {train.grid_images} "
                f"must not exceed the {len(rows)} training items"
            )
        steps = len(rows) // train.grid_texts
    else:
        steps = (train.positives + train.negatives) // train.batch
        if steps == 0:
            raise InputError(
                f"train.batch {train.batch} exceeds the {train.positives + train.negatives} pairs of an epoch"
            )
    return System(
        inputs=inputs,
        graphdef=graphdef,
        constants=constants,
        optimizer=make_adam(train.learning_rate, decay=train.decay, decay_steps=steps),
        loss=partial(gin.loss, margin=train.margin, balance=train.balance, l2=train.l2),
        experiment=experiment,
        steps_per_epoch=steps,
        data=data,
    )


def _model(inputs: Inputs, config: ModelConfig, rngs: nnx.Rngs) -> gin.GIN:
    return gin.GIN(
        inputs.layout,
        inputs.images.shape[1],
        filters=config.filters,
        order=config.order,
        dimension=config.dimension,
        dropout=config.dropout,
        normalise=config.normalise,
        rngs=rngs,
    )


_balanced = jax.jit(sampling.balanced_pairs, static_argnums=(2, 3, 4))
_uniform = jax.jit(sampling.uniform_pairs, static_argnums=(2, 3))


@partial(jax.jit, static_argnums=0)
def _encode_texts(graphdef, params, constants, counts_BN):
    model = nnx.merge(graphdef, params, constants)
    return model.fold_score(model.encode_texts(counts_BN))


@partial(jax.jit, static_argnums=0)
def _encode_images(graphdef, params, constants, images_Bd):
    return nnx.merge(graphdef, params, constants).encode_images(images_Bd)


def _in_chunks(
    encode: Callable, rows_of: np.ndarray | sp.csr_array, rows: np.ndarray, chunk: int = 256
) -> np.ndarray:
    """Encode the given rows `chunk` at a time (the last chunk padded, so that one program serves all)."""
    encoded = []
    for start in range(0, len(rows), chunk):
        part = rows_of[rows[start : start + chunk]]
        part = part if isinstance(part, np.ndarray) else part.toarray()
        padded = np.zeros((chunk, part.shape[1]), np.float32)
        padded[: len(part)] = part
        encoded.append(np.asarray(encode(padded))[: len(part)])
    return np.concatenate(encoded)
