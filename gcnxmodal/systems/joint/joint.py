"""Joint: our own system. Two towers learn at once which text belongs to which picture, and their classes.

It is meant for use: it learns from pairs without labels, and with labels one model answers both questions
that people put to a retriever - "find the picture of this text" and "find pictures of its kind". Here are the
configuration, the presets and the system that trains; beside it the model (`model.py`), the loss
(`losses.py`) and the maps of SM and CCA that the model may hold (`yardsticks.py`).

The towers are GIN's (`systems/gin.py`): a text encoder on the word graph, an image encoder on features or
pixels. What is learnt with them comes from elsewhere, and each source stands where it is used.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
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
from gcnxmodal.systems.joint.config import JOINT_PRESETS, JointExperiment, JointModel, JointTrain
from gcnxmodal.systems.joint.losses import METRICS, loss
from gcnxmodal.systems.joint.model import Joint
from gcnxmodal.systems.joint.yardsticks import ARRAYS, GIVES, SIDES, Linear, cca_arrays, sm_arrays
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
        if experiment.model.text == "features":
            return "features"
        return "counts" if experiment.model.text in ("gcn", "linear") else "words"

    @classmethod
    def make_model(
        cls, experiment: JointExperiment, sizes: Sizes, constants: nnx.State, rngs: nnx.Rngs
    ) -> Joint:
        config = experiment.model
        widths = {"linear": sizes.words, "features": sizes.text}
        width = widths.get(config.text)
        text: Any = text_encoder(config, constants, rngs) if width is None else Features(width)
        if config.text == "gcn":
            _start_as_identity(text)
        image = image_encoder(sizes, config.precision, rngs)
        yardsticks = {
            name: Linear(constants[name], gives) for name, gives in GIVES.items() if name in constants
        }
        return Joint(text, image, sizes.classes, config, yardsticks, rngs=rngs)

    @classmethod
    def constants_from(cls, arrays: Mapping[str, np.ndarray]) -> nnx.State:
        words = any(name.startswith("text.") for name in arrays)
        held = dict(saved_word_constants(arrays)) if words else {}
        for name in GIVES:
            if f"{name}.weights" in arrays:
                held[name] = _held({part: arrays[f"{name}.{part}"] for part in ARRAYS})
        return nnx.State(held)

    @classmethod
    def build(cls, experiment: JointExperiment, corpus: Corpus, mesh: Mesh) -> "JointSystem":
        read = read_inputs if experiment.model.text in ("linear", "features") else word_inputs
        inputs = read(corpus, experiment.data, experiment.text, cls.text_input(experiment))
        on_host = training_arrays(inputs, mesh)
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
            *on_host,
            constants=nnx.State(constants | fit_yardsticks(inputs, experiment.model)),
            groups_n=groups,
        )
        steps = steps_of(len(groups), experiment.train)
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


def steps_of(items: int, train: JointTrain) -> int:
    """Steps of an epoch: as many batches of one size as come closest to what is asked for."""
    return max(1, round(items / train.batch))


def fit_yardsticks(inputs: Inputs, model: JointModel) -> dict[str, dict[str, Constant]]:
    """The maps of SM and CCA that have a share in a model, fitted on the training items or from the cache.

    Raises:
        InputError: if they are to read images that are pixels.
    """
    corpus = inputs.corpus
    if (model.sm_images or model.cca) and inputs.images.ndim > 2:
        option = "sm-images" if model.sm_images else "cca"
        raise InputError(f"--model.{option} reads image features, but these images are pixels; let it be 0")
    train, idf_N = corpus.splits["train"], inputs.reading.texts.idf
    texts: Any = inputs.texts[train]
    images, labels = inputs.images[train], corpus.labels[train]
    groups = None if corpus.groups is None else corpus.group_ids[train]
    # Of tf-idf also the counts as they were: of unit length they are the weighted ones over idf.
    scales = [*([] if idf_N is None else [1 / idf_N]), np.ones(texts.shape[1])]
    fits: dict[str, Callable[[], dict[str, np.ndarray]]] = {}
    if corpus.labelled and model.sm_texts:
        fits["texts_by_sm"] = lambda: sm_arrays(texts, scales, labels, groups)
    if corpus.labelled and model.sm_images:
        fits["images_by_sm"] = lambda: sm_arrays(images, [np.ones(images.shape[1])], labels, groups)
    if model.cca:
        both = functools.cache(lambda: cca_arrays(images, texts, scales[0], labels))
        fits |= {f"{side}_by_cca": lambda side=side: both()[side] for side in SIDES}
    if not fits:
        return {}
    digest = hashlib.sha256(importlib.metadata.version("scikit-learn").encode())
    of_texts = (texts.data, texts.indices, texts.indptr) if sp.issparse(texts) else (texts,)
    read = (*of_texts, *scales, images, labels)
    for array in (*read, *([] if groups is None else [groups])):
        digest.update(np.ascontiguousarray(array).tobytes())
    folder = cache_dir() / "yardsticks" / digest.hexdigest()
    shapes: dict[str, Any] = dict.fromkeys(ARRAYS)
    return {
        name: _held(cached_arrays(folder / f"{name}.npz", make=fit, shapes=shapes, what="yardsticks"))
        for name, fit in fits.items()
    }


def _held(arrays: Mapping[str, np.ndarray]) -> dict[str, Constant]:
    return {name: Constant(jnp.asarray(array)) for name, array in arrays.items()}


def _start_as_identity(text: GraphText) -> None:
    """Make the filters let the counts through as they are, so that the graph is learnt from there."""
    for convolution in text.convolutions:
        theta_KFF = convolution.theta.get_value()
        convolution.theta.set_value(theta_KFF.at[1:].multiply(0.1).at[0].set(1 / theta_KFF.shape[1]))
