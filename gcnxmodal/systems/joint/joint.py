"""Joint: our own system. Two towers learn at once which text belongs to which picture, and their classes.

It is meant for use: it learns from pairs without labels, and with labels one model answers both questions
that people put to a retriever - "find the picture of this text" and "find pictures of its kind". Here are the
configuration, the presets and the system that trains; beside it the model (`model.py`), the loss
(`losses.py`) and SM's classifiers, which the model may hold (`classifier.py`).

The towers are GIN's (`systems/gin.py`): a text encoder on the word graph, an image encoder on features or
pixels. What is learnt with them comes from elsewhere, and each source stands where it is used.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sklearn
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array

from gcnxmodal.config import Experiment
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.cache import cache_dir, cached_arrays
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import Inputs, TextInput, WordInputs, read_inputs, word_inputs
from gcnxmodal.nn.encoders import GraphText
from gcnxmodal.nn.layers import Constant, Features
from gcnxmodal.systems.base import ORDER, Sizes, System, register, training_arrays, with_values
from gcnxmodal.systems.gin import image_encoder, saved_word_constants, text_encoder, word_constants
from gcnxmodal.systems.joint.classifier import Classifier, fitted
from gcnxmodal.systems.joint.config import JOINT_PRESETS, JointExperiment, JointTrain
from gcnxmodal.systems.joint.losses import METRICS, loss
from gcnxmodal.systems.joint.model import Joint
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import (
    Data,
    Step,
    TrainState,
    average_of,
    averaged,
    init_state,
    make_gradient_step,
    planned_rows,
)

CLASSIFIERS = {"sm_texts": "text_classifier", "sm_images": "image_classifier"}
"""What the model calls the classifiers that have a share."""
CLASSIFIER_ARRAYS = ("scale", "mean", "weights", "bias", "several")


@register(JOINT_PRESETS)
@dataclasses.dataclass(frozen=True)
class JointSystem(System):
    """Joint in training; see `System`."""

    experiment_type: ClassVar[type[Experiment]] = JointExperiment
    unit: ClassVar[Literal["pairs", "items", "draws"]] = "items"

    experiment: JointExperiment

    @classmethod
    def title(cls, experiment: JointExperiment) -> str:
        return "Joint"

    @classmethod
    def text_input(cls, experiment: JointExperiment) -> TextInput:
        return "counts" if experiment.model.text in ("gcn", "linear") else "words"

    @classmethod
    def make_model(
        cls, experiment: JointExperiment, sizes: Sizes, constants: nnx.State, rngs: nnx.Rngs
    ) -> Joint:
        config = experiment.model
        linear_text = config.text == "linear"
        text: Any = Features(sizes.words) if linear_text else text_encoder(config, constants, rngs)
        if config.text == "gcn":
            _start_as_identity(text)
        image = image_encoder(sizes, config.precision, rngs)
        classifiers = {
            side: Classifier(constants[side]) for side in CLASSIFIERS.values() if side in constants
        }
        return Joint(text, image, sizes.classes, config, **classifiers, rngs=rngs)

    @classmethod
    def constants_from(cls, arrays: Mapping[str, np.ndarray]) -> nnx.State:
        words = any(name.startswith("text.") for name in arrays)
        held = dict(saved_word_constants(arrays)) if words else {}
        for classifier in CLASSIFIERS.values():
            if f"{classifier}.weights" in arrays:
                held[classifier] = _held({name: arrays[f"{classifier}.{name}"] for name in CLASSIFIER_ARRAYS})
        return nnx.State(held)

    @classmethod
    def build(cls, experiment: JointExperiment, corpus: Corpus, mesh: Mesh) -> "JointSystem":
        read = read_inputs if experiment.model.text == "linear" else word_inputs
        inputs = read(corpus, experiment.data, experiment.text, cls.text_input(experiment))
        on_host = training_arrays(inputs)
        groups: Any = corpus.group_ids[corpus.splits["train"]]
        if len(np.unique(groups)) < 2:
            raise InputError(
                f"{corpus.provenance.get('source')}: all training items are of one group, so none is told "
                "from another; give pictures of at least two"
            )
        if not corpus.labelled and not experiment.train.pair:
            raise InputError(
                f"--train.pair is 0, but {corpus.provenance.get('source')} has no labels, so there is "
                "nothing else to learn from; leave it out"
            )
        constants = dict(word_constants(inputs)) if isinstance(inputs, WordInputs) else {}
        data = Data(
            *on_host, constants=nnx.State(constants | _classifiers(inputs, experiment)), groups_n=groups
        )
        steps = max(1, round(len(groups) / experiment.train.batch))
        return cls(inputs, experiment, steps, sharding.replicate(data, mesh), mesh)

    @property
    def per_step(self) -> int:
        devices = self.mesh.size
        return max(len(self._labels) // self.steps_per_epoch // devices * devices, 1)

    @property
    def constants(self) -> nnx.State:
        return sharding.to_one_device(self.data.constants)

    def fingerprint(self) -> dict[str, str]:
        # The learning rate of a step depends on how many there are.
        parts = super().fingerprint()
        about = {**json.loads(parts["model"]), "epochs": self.experiment.epochs}
        return {**parts, "model": json.dumps(about, sort_keys=True)}

    def trained(self, state: TrainState) -> Any:
        return average_of(state) if self.experiment.train.average else state.params

    def _fresh_state(self) -> TrainState:
        params = nnx.state(self._new_model(), nnx.Param)
        return init_state(params, self._optimizer(self.experiment.train), METRICS)

    def plan(self, epoch: int) -> sampling.Plan:
        order = jax.random.fold_in(self._local_key(ORDER), epoch)
        plan = sampling.plan_items(order, len(self._labels), self.per_step)
        rows = plan.texts[: self.steps_per_epoch]
        return sharding.replicate(sampling.Plan(rows, rows), self.mesh)

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        train: JointTrain = with_values(self.experiment.train, values)

        def read_items(state: TrainState, data: Data, key: Array) -> tuple[Any, ...]:
            rows, _ = planned_rows(state, data, self.mesh)
            dropout = jax.random.fold_in(key, state.step)
            read: Any = data.texts_nT, data.images_nd, data.labels_nC, data.groups_n
            return *(array[rows] for array in read), dropout

        graphdef = nnx.split(self.applied_model, nnx.Param, ...)[0]
        return make_gradient_step(graphdef, self._optimizer(train), partial(loss, train=train), read_items)

    def _optimizer(self, train: JointTrain) -> optax.GradientTransformation:
        steps = self.experiment.epochs * self.steps_per_epoch
        rising = max(1.0, self.experiment.train.warmup * steps)

        def rate(step: Any) -> Array:
            falling = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum((step + 1) / steps, 1.0)))
            return train.learning_rate * jnp.minimum((step + 1) / rising, falling)

        def matrices(params: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

        optimizer = optax.chain(
            optax.clip_by_global_norm(train.clip),
            optax.adamw(rate, weight_decay=train.weight_decay, mask=matrices),
        )
        return averaged(optimizer, train.average) if train.average else optimizer


def _classifiers(inputs: Inputs, experiment: JointExperiment) -> dict[str, dict[str, Constant]]:
    """SM's classifiers that have a share, fitted on the training items or found in the cache."""
    corpus, model = inputs.corpus, experiment.model
    wanted = [name for name in CLASSIFIERS if corpus.labelled and getattr(model, name)]
    if model.sm_images and inputs.images.ndim > 2:
        raise InputError("--model.sm-images is for image features, and these are pixels; leave it out")
    train, idf_N = corpus.splits["train"], inputs.reading.texts.idf
    rows = {"sm_texts": inputs.texts, "sm_images": inputs.images}
    groups = None if corpus.groups is None else np.asarray(corpus.groups)[train]
    made = {}
    for side in wanted:
        x, labels = rows[side][train], corpus.labels[train]
        scales = [np.ones(x.shape[1])]
        if side == "sm_texts" and idf_N is not None:
            scales = [1 / idf_N, *scales]  # the counts themselves, and as they are weighted
        read = (x.data, x.indices, x.indptr) if side == "sm_texts" else (x,)
        digest = hashlib.sha256(f"{side} {sklearn.__version__}".encode())
        for array in (*read, *scales, labels, *([] if groups is None else [corpus.group_ids[train]])):
            digest.update(np.ascontiguousarray(array).tobytes())
        found = cached_arrays(
            cache_dir() / "classifiers" / f"{digest.hexdigest()}.npz",
            make=partial(fitted, x, scales, labels, groups),
            shapes=dict.fromkeys(CLASSIFIER_ARRAYS),
            what="classifiers",
        )
        made[CLASSIFIERS[side]] = _held(found)
    return made


def _held(arrays: Mapping[str, np.ndarray]) -> dict[str, Constant]:
    return {name: Constant(jnp.asarray(array)) for name, array in arrays.items()}


def _start_as_identity(text: GraphText) -> None:
    """Make the filters let the counts through as they are, so that the graph is learnt from there."""
    for convolution in text.convolutions:
        theta_KFF = convolution.theta.get_value()
        convolution.theta.set_value(theta_KFF.at[1:].multiply(0.1).at[0].set(1 / theta_KFF.shape[1]))
