"""An experiment made concrete: from a configuration and a corpus to a model, its data and its step."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
from flax import nnx
from jax.sharding import Mesh

from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.experiments.config import Experiment, TrainConfig
from gcnxmodal.experiments.inputs import Inputs, make_inputs
from gcnxmodal.experiments.model import Surroundings, abstract_model, constants_of, make_model, split_model
from gcnxmodal.models import scanet
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import Data, Step, TrainState, init_state, make_adam, make_step

METRICS = ("loss", "mean_match", "mean_other")

# What each random stream is for; a key is a function of (seed, purpose, epoch or step).
INIT, PAIRS, ORDER, DROPOUT = range(4)


@dataclasses.dataclass(frozen=True)
class System:
    """A model with all that trains and applies it.

    Training is on the devices of `mesh`; what it learnt is applied by a `Retriever`.
    """

    inputs: Inputs
    experiment: Experiment
    steps_per_epoch: int
    data: Data
    mesh: Mesh

    @property
    def pairs_per_step(self) -> int:
        train = self.experiment.train
        return train.batch if train.pairing != "grid" else train.grid_texts * train.grid_images

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        model = abstract_model(self._around, self.experiment.model)
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))

    @property
    def separable(self) -> bool:
        """Whether the score of a pair is an inner product of its embeddings."""
        return self.experiment.model.attention_layers < 2

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef:
        """The model's structure."""
        return split_model(abstract_model(self._around, self.experiment.model))[0]

    @functools.cached_property
    def constants(self) -> nnx.State:
        """The model's arrays that are not trained."""
        return constants_of(self._around, self.experiment.model)

    @property
    def _around(self) -> Surroundings:
        return _around(self.inputs)

    def key(self, purpose: int) -> jax.Array:
        return sharding.replicate(self._local_key(purpose), self.mesh)

    def initial_state(self) -> TrainState:
        rngs = nnx.Rngs(self._local_key(INIT))
        model = make_model(self._around, self.experiment.model, rngs)
        state = init_state(nnx.state(model, nnx.Param), self._optimizer(self.experiment.train), METRICS)
        return sharding.place(state, sharding.state_shardings(state, self.mesh))

    def plan(self, epoch: int) -> sampling.Plan:
        """The batches of an epoch, a function of (seed, epoch)."""
        train = self.experiment.train
        order = jax.random.fold_in(self._local_key(ORDER), epoch)
        if train.pairing == "grid":
            items = len(self._labels)
            plan = sampling.plan_grid(order, items, train.grid_texts, train.grid_images)
        else:
            pairs = jax.random.fold_in(self._local_key(PAIRS), epoch if train.resample else 0)
            plan = sampling.plan_pairs(order, *self._draw(pairs), batch=train.batch)
        return sharding.replicate(plan, self.mesh)

    def _draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        train = self.experiment.train
        if train.pairing == "uniform":
            return _uniform(key, jnp.asarray(self._labels), train.positives, train.negatives)
        members = sampling.class_members(self._labels)
        return _balanced(key, members, len(self._labels), train.positives, train.negatives)

    def _local_key(self, purpose: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.experiment.seed), purpose)

    @property
    def _labels(self) -> np.ndarray:
        corpus = self.inputs.corpus
        return corpus.labels[corpus.splits["train"]]

    def step(self, values: Mapping[str, Any] | None = None, attention_layers: Any = None) -> Step:
        """One optimizer step.

        Args:
            values: in place of fields of `TrainConfig`; also traced numbers.
            attention_layers: how many of the model's are in use; also a traced number. All, if not given.
        """
        train = dataclasses.replace(self.experiment.train, **(values or {}))
        options = {"margin": train.margin, "balance": train.balance, "l2": train.l2}
        loss = partial(scanet.loss, used=attention_layers, augment=train.augment, **options)
        graphdef, _ = split_model(abstract_model(self._around, self.experiment.model, self.mesh))
        grid = self.experiment.train.pairing == "grid"
        return make_step(graphdef, self._optimizer(train), loss, grid=grid, mesh=self.mesh)

    def _optimizer(self, train: TrainConfig) -> optax.GradientTransformation:
        return make_adam(
            train.learning_rate,
            decay=train.decay,
            decay_steps=self.steps_per_epoch,
            first_moment=train.first_moment,
        )

    def fingerprint(self) -> dict[str, str]:
        """What a checkpoint belongs to: the model's configuration, and the data and vectors it reads."""
        model = repr(
            (self.experiment.model, self.experiment.train, self.experiment.seed, self.inputs.images.shape)
        )
        digest = hashlib.sha256()
        corpus = self.inputs.corpus
        for array in (*_arrays(self.inputs.texts), self.inputs.images, corpus.labels):
            digest.update(np.asarray(array).tobytes())
        for name in sorted(corpus.splits):
            digest.update(corpus.splits[name].tobytes())
        if self.experiment.model.text != "gcn":
            digest.update(self.inputs.vectors.tobytes())
        return {"model": hashlib.sha256(model.encode()).hexdigest(), "corpus": digest.hexdigest()}

    def identity(self) -> dict[str, str]:
        """What all processes of a job must hold alike: the fingerprint's parts; the word graph or vectors."""
        graph = hashlib.sha256()
        for leaf in jax.tree.leaves(self.constants):
            graph.update(np.asarray(leaf).tobytes())
        return {**self.fingerprint(), "word graph": graph.hexdigest()}


def mesh_for(experiment: Experiment, model_parallel: int | None = None) -> Mesh:
    """All devices of the job, as the mesh that trains the experiment.

    Raises:
        InputError: if they cannot share the batch and D evenly, or not by `model_parallel`.
    """
    train = experiment.train
    if train.pairing == "grid":
        rows = {"train.grid-texts": train.grid_texts, "train.grid-images": train.grid_images}
    else:
        rows = {"train.batch": train.batch}
    # Of the other text paths, and of pixels, there are rows to share and hardly a parameter to split.
    heads_first = experiment.model.text == "gcn" and experiment.data.image_feature != "pixels"
    return sharding.make_mesh(
        model_parallel,
        dimension=experiment.model.dimension,
        rows=rows,
        most_on_model=sharding.MOST_ON_MODEL if heads_first else 1,
    )


def build(experiment: Experiment, corpus: Corpus, mesh: Mesh | None = None) -> System:
    """Make the system of an experiment on its corpus.

    Args:
        mesh: the devices that train it; the first one of this process if not given.

    Raises:
        InputError: as `make_inputs`, and if a batch is larger than the data.
    """
    inputs = make_inputs(corpus, experiment.data, experiment.text, experiment.model.text)
    rows = corpus.splits["train"]
    train = experiment.train
    mesh = sharding.one_device() if mesh is None else mesh
    texts = inputs.texts[rows]
    on_host: Any = (
        texts if isinstance(texts, np.ndarray) else texts.toarray(),
        inputs.images[rows],
        corpus.labels[rows],
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
    constants = constants_of(_around(inputs), experiment.model)
    return System(
        inputs=inputs,
        experiment=experiment,
        steps_per_epoch=steps,
        data=sharding.replicate(Data(*on_host, constants=constants), mesh),
        mesh=mesh,
    )


def _around(inputs: Inputs) -> Surroundings:
    return Surroundings(inputs.layout, jnp.asarray(inputs.vectors), inputs.images.shape[1:])


_balanced = jax.jit(sampling.balanced_pairs, static_argnums=(2, 3, 4))
_uniform = jax.jit(sampling.uniform_pairs, static_argnums=(2, 3))


def _arrays(texts: np.ndarray | sp.csr_array) -> tuple[np.ndarray, ...]:
    return (texts,) if isinstance(texts, np.ndarray) else (texts.data, texts.indices)
