"""An experiment made concrete: from a configuration and a corpus to a model, its data and its step."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from gcnxmodal.chebyshev.layout import SparseLayout
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.experiments.config import Experiment, ModelConfig, TrainConfig
from gcnxmodal.experiments.inputs import Inputs, make_inputs
from gcnxmodal.models import gin
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import Data, Step, TrainState, init_state, make_adam, make_step

METRICS = ("loss", "mean_match", "mean_other")

# What each random stream is for; a key is a function of (seed, purpose, epoch or step).
INIT, PAIRS, ORDER, DROPOUT = range(4)


@dataclasses.dataclass(frozen=True)
class System:
    """A model with all that trains and applies it.

    Training is on the devices of `mesh`; `embed` on the first device of this process.
    """

    inputs: Inputs
    graphdef: nnx.GraphDef
    constants: Any
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
        model = abstract_model(*_shape(self.inputs), self.experiment.model)
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))

    def key(self, purpose: int) -> jax.Array:
        return sharding.replicate(self._local_key(purpose), self.mesh)

    def initial_state(self) -> TrainState:
        rngs = nnx.Rngs(self._local_key(INIT))
        model = _model(*_shape(self.inputs), self.experiment.model, rngs)
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

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        """One optimizer step; `values` replace fields of `TrainConfig`, also by traced numbers."""
        train = dataclasses.replace(self.experiment.train, **(values or {}))
        loss = partial(gin.loss, margin=train.margin, balance=train.balance, l2=train.l2)
        model = abstract_model(*_shape(self.inputs), self.experiment.model, self.mesh)
        graphdef, _, _ = nnx.split(model, nnx.Param, ...)
        grid = self.experiment.train.pairing == "grid"
        return make_step(graphdef, self._optimizer(train), loss, grid=grid, mesh=self.mesh)

    def _optimizer(self, train: TrainConfig) -> optax.GradientTransformation:
        return make_adam(
            train.learning_rate,
            decay=train.decay,
            decay_steps=self.steps_per_epoch,
            first_moment=train.first_moment,
        )

    def embed(self, params: Any, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """texts [n, D] and images [n, D] of the given (by default all) items; score = text . image."""
        params = sharding.to_one_device(params)
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

    def identity(self) -> dict[str, str]:
        """What all processes of a job must hold alike: the fingerprint's parts, and the word graph."""
        graph = hashlib.sha256()
        for leaf in jax.tree.leaves(self.inputs.layout):
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
    return sharding.make_mesh(model_parallel, dimension=experiment.model.dimension, rows=rows)


def build(experiment: Experiment, corpus: Corpus, mesh: Mesh | None = None) -> System:
    """Make the system of an experiment on its corpus.

    Args:
        mesh: the devices that train it; the first one of this process if not given.

    Raises:
        InputError: as `make_inputs`, and if a batch is larger than the data.
    """
    inputs = make_inputs(corpus, experiment.data, experiment.text)
    rows = corpus.splits["train"]
    train = experiment.train
    model = abstract_model(*_shape(inputs), experiment.model)
    graphdef, _, _ = nnx.split(model, nnx.Param, ...)
    constants = nnx.State({"graph": gin.Constant(inputs.layout)})
    mesh = sharding.one_device() if mesh is None else mesh
    on_host: Any = (inputs.counts[rows].toarray(), inputs.images[rows], corpus.labels[rows])
    data = Data(*on_host, constants=constants)
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
        experiment=experiment,
        steps_per_epoch=steps,
        data=sharding.replicate(data, mesh),
        mesh=mesh,
    )


class _GINOnMesh(gin.GIN):
    """GIN in training: the same numbers, its text path written for each device of a mesh."""

    def __init__(self, *args: Any, mesh: Mesh, **options: Any):
        super().__init__(*args, **options)
        self.mesh = mesh

    def encode_texts(self, counts_BN: Float[Array, "B N"]) -> Float[Array, "B D"]:
        graphdef, params, constants = nnx.split(self, nnx.Param, ...)

        def part(params: Any, constants: Any, counts_bN: Array, all_rows: Callable) -> Array:
            model = nnx.merge(graphdef, params, constants)
            model.normalise = False  # a device has some columns; the length of a row is that of all
            multiply = model.text_head.dot_general
            model.text_head.dot_general = lambda x, *more, **options: multiply(all_rows(x), *more, **options)
            return gin.GIN.encode_texts(model, counts_bN)

        return self._scaled(sharding.over_mesh(part, self.mesh, params, constants, counts_BN))


def abstract_model(
    layout: SparseLayout, image_size: int, config: ModelConfig, mesh: Mesh | None = None
) -> gin.GIN:
    """The model with shapes in place of its parameters; with a mesh, as it is trained there."""
    kind = gin.GIN if mesh is None else partial(_GINOnMesh, mesh=mesh)
    return nnx.eval_shape(lambda: _model(layout, image_size, config, nnx.Rngs(0), kind))


def _shape(inputs: Inputs) -> tuple[SparseLayout, int]:
    return inputs.layout, inputs.images.shape[1]


def _model(
    layout: SparseLayout,
    image_size: int,
    config: ModelConfig,
    rngs: nnx.Rngs,
    kind: Callable[..., gin.GIN] = gin.GIN,
) -> gin.GIN:
    return kind(
        layout,
        image_size,
        filters=config.filters,
        order=config.order,
        dimension=config.dimension,
        dropout=config.dropout,
        normalise=config.normalise,
        precision=config.precision,
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
