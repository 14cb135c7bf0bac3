"""GCH as a system: four networks trained in turn on batches of items."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import plain_inputs
from gcnxmodal.nn.cnnf import CNNF
from gcnxmodal.nn.layers import Features
from gcnxmodal.systems import gch_step as alternation
from gcnxmodal.systems.base import INIT, ORDER, System, mesh_of_rows, training_arrays, with_values
from gcnxmodal.systems.gch_config import HashingExperiment, HashingTrain
from gcnxmodal.systems.gch_model import GCH
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import Data, Step, TrainState, make_rate, start_of


@dataclasses.dataclass(frozen=True)
class HashingSystem(System):
    """See `System`."""

    hashes: ClassVar[bool] = True

    experiment: HashingExperiment

    @classmethod
    def build(cls, experiment: HashingExperiment, corpus: Corpus, mesh: Mesh) -> "HashingSystem":
        """See `build.build`."""
        inputs = plain_inputs(corpus, experiment.data, experiment.text)
        on_host = training_arrays(inputs)
        items, batch = len(on_host[-1]), experiment.train.batch
        if batch > items:
            raise InputError(f"train.batch {batch} exceeds the {items} training items")
        data = sharding.replicate(Data(*on_host, constants=nnx.State({})), mesh)
        return cls(inputs, experiment, items // batch, data, mesh)

    @staticmethod
    def mesh_for(experiment: HashingExperiment, model_parallel: int | None) -> Mesh:
        """See `build.mesh_for`: all devices share the items of a batch."""
        return mesh_of_rows("GCH", experiment.train.batch, model_parallel)

    @property
    def title(self) -> str:
        return "GCH" if self.experiment.model.beacon == "graph" else "GCH-A"

    @property
    def pairs_per_step(self) -> int:
        return self.experiment.train.batch

    @property
    def text_path(self) -> str:
        return "counts"

    def abstract_model(self) -> GCH:
        return nnx.eval_shape(lambda: self._model(nnx.Rngs(0)))

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef:
        model = self.abstract_model()
        model.eval()
        return nnx.split(model)[0]

    @property
    def constants(self) -> nnx.State:
        return nnx.State({})

    def initial_state(self, *, as_shape: bool = False) -> TrainState:
        model = self._model(nnx.Rngs(self._local_key(INIT)))
        weights = self.experiment.model.image_weights
        if weights is not None and not as_shape:
            model.image.path.load_weights(weights)
        optimizers = self._optimizers(self.experiment.train)
        return self._placed(start_of(*alternation.init_networks(model, optimizers), alternation.METRICS))

    def plan(self, epoch: int) -> sampling.Plan:
        order = jax.random.fold_in(self._local_key(ORDER), epoch)
        plan = sampling.plan_items(order, len(self._labels), self.experiment.train.batch)
        return sharding.replicate(plan, self.mesh)

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        train: HashingTrain = with_values(self.experiment.train, values)
        model = self.experiment.model
        terms = alternation.Terms(
            alpha=train.alpha,
            beta=train.beta,
            gamma=train.gamma,
            objective=train.objective,
            fusion=model.fusion,
            graph=model.beacon == "graph",
        )
        return alternation.make_step(self.abstract_model(), self._optimizers(train), terms, mesh=self.mesh)

    def _optimizers(self, train: HashingTrain) -> dict[str, optax.GradientTransformation]:
        # Paper: SGD, no rates (3.3); here Adam with the rates of the code, because it names some.
        make = {"adam": optax.adam, "sgd": optax.sgd}[train.optimizer]
        return {
            name: make(
                make_rate(
                    getattr(train, f"{name}_rate"),
                    decay=train.decay,
                    decay_steps=times * self.steps_per_epoch,
                )
            )
            for name, times in alternation.UPDATES.items()
        }

    def _model(self, rngs: nnx.Rngs) -> GCH:
        config, shape = self.experiment.model, self.inputs.images.shape[1:]
        # Paper: "first seven layers of CNNF" and nothing on their dropout; here without, as all of GCH.
        image = CNNF(precision=config.precision, rngs=rngs) if len(shape) == 3 else Features(*shape)
        return GCH(
            image,
            Features(len(self.inputs.corpus.vocabulary)),
            len(self.inputs.corpus.class_names),
            bits=config.bits,
            width=config.width,
            beacon_width=config.beacon_width,
            beacon_activation=config.beacon_activation,
            batch_norm=config.batch_norm,
            precision=config.precision,
            rngs=rngs,
        )
