"""SSPE as a system: two branches trained on neighbours that are drawn from three graphs."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import Inputs, plain_inputs
from gcnxmodal.nn.layers import Constant
from gcnxmodal.systems import sspe_step as neighbour_step
from gcnxmodal.systems.base import INIT, ORDER, System, mesh_of_rows, training_arrays, with_values
from gcnxmodal.systems.feature_graph import FeatureGraph, feature_graph
from gcnxmodal.systems.feature_neighbours import nearest_neighbours
from gcnxmodal.systems.semantic_graph import label_groups
from gcnxmodal.systems.sspe_config import NeighbourExperiment, NeighbourTrain
from gcnxmodal.systems.sspe_model import SSPE, centred_units
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import Data, Step, TrainState, init_state, make_rate


@dataclasses.dataclass(frozen=True)
class CentredInputs(Inputs):
    """`Inputs` with what the branches subtract: the means of the training items, float32 [N] and [d]."""

    text_mean: np.ndarray
    image_mean: np.ndarray


@dataclasses.dataclass(frozen=True)
class NeighbourSystem(System):
    """See `System`."""

    inputs: CentredInputs
    experiment: NeighbourExperiment

    @classmethod
    def build(cls, experiment: NeighbourExperiment, corpus: Corpus, mesh: Mesh) -> "NeighbourSystem":
        """See `build.build`."""
        plain, train = plain_inputs(corpus, experiment.data, experiment.text), experiment.train
        texts, images, labels = training_arrays(plain)
        items = len(labels)
        for option, value in (("batch", train.batch), ("feature-neighbours", train.feature_neighbours)):
            most = items if option == "batch" else items - 1
            if value > most:
                raise InputError(
                    f"--train.{option} is {value}, but there are {items} training items; at most {most}"
                )
        means = (x.mean(axis=0, dtype=np.float64).astype(np.float32) for x in (texts, images))
        inputs = CentredInputs(plain.corpus, plain.texts, plain.images, plain.graph_report, *means)
        graphs = neighbour_step.Graphs(
            label_groups(labels),
            _graph_of(images, inputs.image_mean, train),
            _graph_of(texts, inputs.text_mean, train),
        )
        data = Data(texts, images, labels, constants=_constants(inputs), graphs=graphs)
        return cls(inputs, experiment, items // train.batch, sharding.replicate(data, mesh), mesh)

    @classmethod
    def inputs_from(cls, plain: Inputs, constants: Mapping[str, np.ndarray]) -> CentredInputs:
        means = constants["text.mean"], constants["image.mean"]
        return CentredInputs(plain.corpus, plain.texts, plain.images, plain.graph_report, *means)

    @staticmethod
    def mesh_for(experiment: NeighbourExperiment, model_parallel: int | None) -> Mesh:
        """See `build.mesh_for`: all devices share the items of a batch."""
        return mesh_of_rows("SSPE", experiment.train.batch, model_parallel)

    @property
    def title(self) -> str:
        return "SSPE"

    @property
    def pairs_per_step(self) -> int:
        train = self.experiment.train
        return 2 * train.batch * (train.other + train.same + train.near)

    @property
    def text_path(self) -> str:
        return "counts"

    def abstract_model(self) -> SSPE:
        return nnx.eval_shape(lambda: self._model(nnx.Rngs(0)))

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef:
        return nnx.split(self.abstract_model(), nnx.Param, ...)[0]

    @property
    def constants(self) -> nnx.State:
        return _constants(self.inputs)

    def initial_state(self, *, as_shape: bool = False) -> TrainState:
        params = nnx.state(self._model(nnx.Rngs(self._local_key(INIT))), nnx.Param)
        return self._placed(
            init_state(params, self._optimizer(self.experiment.train), neighbour_step.METRICS)
        )

    def plan(self, epoch: int) -> sampling.Plan:
        # Paper: "five images and five texts", and no word that they are pairs; here each in its own order.
        keys = jax.random.split(jax.random.fold_in(self._local_key(ORDER), epoch))
        items, batch = len(self._labels), self.experiment.train.batch
        texts, images = (sampling.plan_items(key, items, batch).texts for key in keys)
        return sharding.replicate(sampling.Plan(texts, images), self.mesh)

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        train: NeighbourTrain = with_values(self.experiment.train, values)
        fields = (field.name for field in dataclasses.fields(neighbour_step.Terms))
        terms = neighbour_step.Terms(**{name: getattr(train, name) for name in fields})
        return neighbour_step.make_step(self.graphdef, self._optimizer(train), terms, mesh=self.mesh)

    def _optimizer(self, train: NeighbourTrain) -> optax.GradientTransformation:
        rate = make_rate(train.learning_rate, decay=train.decay, decay_steps=train.decay_steps)
        return neighbour_step.make_sgd(
            rate, momentum=train.momentum, weight_decay=train.weight_decay, form=train.decay_form
        )

    def _model(self, rngs: nnx.Rngs) -> SSPE:
        config, inputs = self.experiment.model, self.inputs
        return SSPE(
            jnp.asarray(inputs.image_mean),
            jnp.asarray(inputs.text_mean),
            len(inputs.corpus.class_names),
            hidden=config.hidden,
            dimension=config.dimension,
            output=config.output,
            precision=config.precision,
            rngs=rngs,
        )


def _graph_of(rows_nd: np.ndarray, mean_d: np.ndarray, train: NeighbourTrain) -> FeatureGraph:
    """The graph of features as the branches read them."""
    units_nd = np.asarray(_centred_units(rows_nd, mean_d))
    return feature_graph(nearest_neighbours(units_nd, train.feature_neighbours, train.knn))


_centred_units = jax.jit(centred_units)


def _constants(inputs: CentredInputs) -> nnx.State:
    means = {"text": inputs.text_mean, "image": inputs.image_mean}
    return nnx.State({name: {"mean": Constant(jnp.asarray(mean))} for name, mean in means.items()})
