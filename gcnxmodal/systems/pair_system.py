"""GIN and SCANet as a system: two paths trained on pairs that match and pairs that do not."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from gcnxmodal.config import Experiment
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.graph.layout import Hubs, SparseLayout
from gcnxmodal.inputs import GraphInputs, Inputs, make_inputs
from gcnxmodal.systems import scanet_model as scanet
from gcnxmodal.systems.base import INIT, ORDER, PAIRS, System, training_arrays, with_values
from gcnxmodal.systems.pair_config import PairExperiment, TrainConfig
from gcnxmodal.systems.pair_model import Surroundings, abstract_model, constants_of, make_model, split_model
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import Data, Step, TrainState, init_state, make_adam, make_step

METRICS = ("loss", "mean_match", "mean_other")


@dataclasses.dataclass(frozen=True)
class PairSystem(System):
    """See `System`."""

    explains: ClassVar[bool] = True

    inputs: GraphInputs
    experiment: PairExperiment

    @classmethod
    def build(cls, experiment: PairExperiment, corpus: Corpus, mesh: Mesh) -> "PairSystem":
        """See `build.build`."""
        inputs = make_inputs(corpus, experiment.data, experiment.text, experiment.model.text)
        on_host = training_arrays(inputs)
        items, train = len(on_host[-1]), experiment.train
        if train.pairing == "grid":
            if max(train.grid_texts, train.grid_images) > items:
                raise InputError(
                    f"train.grid-texts {train.grid_texts} and train.grid-images {train.grid_images} "
                    f"must not exceed the {items} training items"
                )
            steps = items // train.grid_texts
        else:
            steps = (train.positives + train.negatives) // train.batch
            if steps == 0:
                raise InputError(
                    f"train.batch {train.batch} exceeds the {train.positives + train.negatives} pairs of an "
                    "epoch"
                )
        constants = constants_of(_around(inputs), experiment.model)
        data = sharding.replicate(Data(*on_host, constants=constants), mesh)
        return cls(inputs, experiment, steps, data, mesh)

    @classmethod
    def inputs_from(cls, plain: Inputs, constants: Mapping[str, np.ndarray]) -> GraphInputs:
        words = len(plain.corpus.vocabulary)
        graph: dict[str, Any] = {  # a text path has the one or the other
            "layout": _layout(constants, "text.graph.") if "text.graph.diagonal" in constants else None,
            "vectors": constants.get("text.vectors", np.zeros((words, 0), np.float32)),
        }
        return GraphInputs(plain.corpus, plain.texts, plain.images, plain.graph_report, **graph)

    @staticmethod
    def mesh_for(experiment: PairExperiment, model_parallel: int | None) -> Mesh:
        """See `build.mesh_for`."""
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

    @property
    def title(self) -> str:
        return "SCANet" if self.experiment.model.attention_layers else "GIN"

    @property
    def pairs_per_step(self) -> int:
        train = self.experiment.train
        return train.batch if train.pairing != "grid" else train.grid_texts * train.grid_images

    @property
    def text_path(self) -> str:
        return self.experiment.model.text

    @property
    def separable(self) -> bool:
        return self.experiment.model.attention_layers < 2

    def abstract_model(self) -> Any:
        return abstract_model(_around(self.inputs), self.experiment.model)

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef:
        return split_model(self.abstract_model())[0]

    @functools.cached_property
    def constants(self) -> nnx.State:
        return constants_of(_around(self.inputs), self.experiment.model)

    def initial_state(self, *, as_shape: bool = False) -> TrainState:
        rngs = nnx.Rngs(self._local_key(INIT))
        model = make_model(_around(self.inputs), self.experiment.model, rngs)
        optimizer = self._optimizer(self.experiment.train)
        return self._placed(init_state(nnx.state(model, nnx.Param), optimizer, METRICS))

    def plan(self, epoch: int) -> sampling.Plan:
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

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        train: TrainConfig = with_values(self.experiment.train, values)
        options = {"margin": train.margin, "balance": train.balance, "l2": train.l2}
        used = (values or {}).get("model.attention_layers")  # all, if not given
        loss = partial(scanet.loss, used=used, augment=train.augment, **options)
        model = abstract_model(_around(self.inputs), self.experiment.model, self.mesh)
        grid = self.experiment.train.pairing == "grid"
        return make_step(split_model(model)[0], self._optimizer(train), loss, grid=grid, mesh=self.mesh)

    def covering(self, experiments: Sequence[Experiment]) -> System:
        layers = max(experiment.model.attention_layers for experiment in experiments)
        model = dataclasses.replace(self.experiment.model, attention_layers=layers)
        return dataclasses.replace(self, experiment=dataclasses.replace(self.experiment, model=model))

    def _optimizer(self, train: TrainConfig) -> optax.GradientTransformation:
        return make_adam(
            train.learning_rate,
            decay=train.decay,
            decay_steps=self.steps_per_epoch,
            first_moment=train.first_moment,
        )

    def _read_beside(self) -> tuple[np.ndarray, ...]:
        return () if self.text_path == "gcn" else (self.inputs.vectors,)


def _around(inputs: GraphInputs) -> Surroundings:
    return Surroundings(inputs.layout, jnp.asarray(inputs.vectors), inputs.images.shape[1:])


_balanced = jax.jit(sampling.balanced_pairs, static_argnums=(2, 3, 4))
_uniform = jax.jit(sampling.uniform_pairs, static_argnums=(2, 3))


def _layout(arrays: Mapping[str, np.ndarray], prefix: str) -> SparseLayout:
    """A layout whose leaves have these names, after `prefix`."""
    levels = itertools.takewhile(lambda level: f"{prefix}hubs.{level}.rows" in arrays, itertools.count())
    fields = [field.name for field in dataclasses.fields(Hubs)]
    hubs = [{name: jnp.asarray(arrays[f"{prefix}hubs.{n}.{name}"]) for name in fields} for n in levels]
    mirrored = f"{prefix}transpose."
    return SparseLayout(
        **{name: jnp.asarray(arrays[prefix + name]) for name in ("diagonal", "neighbours", "weights")},
        hubs=tuple(Hubs(**level) for level in hubs),
        transpose=_layout(arrays, mirrored) if f"{mirrored}diagonal" in arrays else None,
    )
