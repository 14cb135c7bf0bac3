"""The contract of a system: its configuration, its model, its step, and how a trained one is applied.

A system is one module (or package) of `systems/`. It registers itself with its presets:

    @register(GIN_PRESETS)
    class GINSystem(System): ...

Applying needs parameters, constants and sizes (`make_model`, `constants_from`), never the corpus: that is
what `Retriever` uses. Training is a value of the class, made by `build` from an experiment and a corpus.
"""

import abc
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from flax import nnx
from jax.sharding import Mesh

from gcnxmodal import stopping
from gcnxmodal.config import Experiment, adapter, changed_values
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import Inputs, TextInput
from gcnxmodal.training import sharding
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Best, Data, SparseRows, Step, TrainState

# What each random stream is for; a key is a function of (seed, purpose, epoch or step).
INIT, PAIRS, ORDER, DROPOUT = range(4)

SYSTEMS: dict[str, type["System"]] = {}
"""By `Experiment.kind`."""

PRESETS: dict[str, tuple[str, Experiment]] = {}
"""Of all systems: a summary and an experiment by name."""

Registered = TypeVar("Registered", bound="type[System]")


def register(presets: Mapping[str, tuple[str, Experiment]]) -> Callable[[Registered], Registered]:
    """Make a system known by the kind of its experiments, with its presets."""

    def add(system: Registered) -> Registered:
        SYSTEMS[system.experiment_type.kind] = system
        PRESETS.update(presets)
        return system

    return add


class Sizes(NamedTuple):
    """What the shapes of a model depend on beside its configuration.

    Attributes:
        words: N.
        image: shape of one image as it is read: (d,) features or (R, R, 3) pixels.
        classes: C.
        text: e, of a model that reads dense features of texts.
    """

    words: int
    image: tuple[int, ...]
    classes: int
    text: int = 0


class Model(nnx.Module):
    """What every trained model can do; see the systems for the equations.

    Attributes:
        bits: K, where the rows of a model are the signs of its embeddings: binary codes; else None.
        separable: whether a score is the inner product of what `fold_texts` and `fold_images` give.
    """

    bits: int | None = None
    separable: bool = True

    def encode_texts(self, texts_BT: jax.Array) -> jax.Array:
        """Features f_t [B, D] of texts as they are read."""
        raise NotImplementedError

    def encode_images(self, images_Bd: jax.Array) -> jax.Array:
        """Features f_i [B, D] of images as they are read."""
        raise NotImplementedError

    def fold_texts(self, texts_QD: jax.Array, /) -> jax.Array:
        """Text features as embeddings that are ranked by inner product."""
        return texts_QD

    def fold_images(self, images_MD: jax.Array, /) -> jax.Array:
        """Image features as embeddings that are ranked by inner product."""
        return images_MD

    @property
    def preferences(self) -> Mapping[str, slice]:
        """Parts of an embedding that answer one of several questions alone, by what a query may prefer."""
        return {}

    def explain(self, texts_BT: jax.Array, images_Bd: jax.Array) -> Any:
        """Why aligned pairs score as they do, an `Explanation`; None of a model that cannot tell."""
        return None


@dataclasses.dataclass(frozen=True)
class System(abc.ABC):
    """A system in training, on the devices of `mesh`.

    Attributes:
        experiment_type: the class of its configuration.
        unit: what a step takes so many of (`per_step`), and is counted in progress and metrics.
        needs_labels: whether it cannot learn from pairs alone.
        within_items: fields of its `train` that are at most the training items, or so many fewer: where
            there are fewer, a batch is all of them.
    """

    experiment_type: ClassVar[type[Experiment]]
    unit: ClassVar[Literal["pairs", "items", "draws"]]
    needs_labels: ClassVar[bool] = False
    within_items: ClassVar[Mapping[str, int]] = {}

    inputs: Inputs
    experiment: Any
    steps_per_epoch: int
    data: Data
    mesh: Mesh

    # Applying: of the class, from a configuration.

    @classmethod
    @abc.abstractmethod
    def title(cls, experiment: Any) -> str:
        """The name of the system in reports, such as "GIN"."""

    @classmethod
    def text_input(cls, experiment: Any) -> TextInput:
        """What is read of a text."""
        return "counts"

    @classmethod
    @abc.abstractmethod
    def make_model(cls, experiment: Any, sizes: Sizes, constants: nnx.State, rngs: nnx.Rngs) -> Model:
        """The model with its first parameters."""

    @classmethod
    def constants_from(cls, arrays: Mapping[str, np.ndarray]) -> nnx.State:
        """The arrays of the model that are not trained, from those of a saved model by name.

        Raises:
            KeyError: if one is missing.
        """
        return nnx.State({})

    @classmethod
    def applied(cls, experiment: Any, sizes: Sizes, constants: nnx.State) -> Any:
        """The model as it is applied, with shapes in place of its parameters."""
        model = nnx.eval_shape(lambda: cls.make_model(experiment, sizes, constants, nnx.Rngs(0)))
        model.eval()
        return model

    @classmethod
    def published_row(cls, preset: str, experiment: Any) -> dict[str, Any] | None:
        """The published result of a preset: text_query, image_query, source; perhaps average and note."""
        return None

    @classmethod
    def reads(cls, kind: str, values: Mapping[str, Any]) -> bool:
        """Whether a stored configuration of an older version's kind is the system's."""
        return False

    # Training: of a value, on a corpus.

    @classmethod
    @abc.abstractmethod
    def build(cls, experiment: Any, corpus: Corpus, mesh: Mesh) -> "System":
        """The system of an experiment on its corpus; see `build`."""

    @classmethod
    def mesh_for(cls, experiment: Any, model_parallel: int | None) -> Mesh:
        """All devices of the job, which share the items of a batch; for a system without a layer to split.

        Raises:
            InputError: if `model_parallel` asks for more, or they cannot share the batch evenly.
        """
        if model_parallel not in (None, 1):
            raise InputError(
                f"--model-parallel is {model_parallel}, but {cls.title(experiment)} has no layer to split; "
                "leave it out"
            )
        batch, devices = experiment.train.batch, jax.device_count()
        if batch % devices:
            raise InputError(
                f"--train.batch {batch} cannot be shared evenly by {devices} devices; make it a multiple of "
                f"{devices}, or use fewer devices"
            )
        return sharding.make_mesh(1, dimension=1, rows={})

    @property
    @abc.abstractmethod
    def per_step(self) -> int:
        """How many of its `unit` a step takes."""

    def initial_state(self) -> TrainState:
        """The state before the first step, on the mesh."""
        return self._placed(self._fresh_state())

    @abc.abstractmethod
    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch, a function of (seed, epoch)."""

    @abc.abstractmethod
    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        """One step of training.

        Args:
            values: in place of the experiment's, by dotted name: fields of its `arguments`; also traced
                numbers.
        """

    def trained(self, state: TrainState) -> Any:
        """The parameters of a state that are measured and saved."""
        return state.params

    def chosen(self, state: TrainState) -> tuple[Any, int]:
        """The parameters that a run ends with, of the best epoch or the last, and after how many steps."""
        if state.best is not None and (step := int(state.best.step)):
            return state.best.params, step
        return self.trained(state), int(state.step)

    def covering(self, experiments: Sequence[Any]) -> "System":
        """The system with room for each of some experiments that differ in their `arguments` only."""
        return self

    @functools.cached_property
    def sizes(self) -> Sizes:
        """Of its inputs."""
        corpus, inputs = self.inputs.corpus, self.inputs
        text = 0 if inputs.reading.text_features is None else inputs.dense_texts(np.arange(1)).shape[1]
        return Sizes(len(corpus.vocabulary), inputs.images.shape[1:], len(corpus.class_names), text)

    @property
    def constants(self) -> nnx.State:
        """The model's arrays that are not trained."""
        return nnx.State({})

    def without_training_data(self) -> Any:
        """The system when its training is over, without the items on the device."""
        data = self.data
        kept = Data(*(None for _ in range(3)), constants=data.constants)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(self, data=kept)

    def shape_of_state(self) -> TrainState:
        """`initial_state` with shapes in place of arrays: nothing is allocated, no file of weights read."""
        shapes = jax.eval_shape(lambda: self._with_best(self._fresh_state()))
        lies = sharding.state_shardings(shapes, self.mesh)
        return jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes, lies)

    @abc.abstractmethod
    def _fresh_state(self) -> TrainState:
        """The state before the first step, without weights from files, wherever it lies."""

    @functools.cached_property
    def applied_model(self) -> Any:
        """The model as it is applied, with shapes in place of its parameters."""
        return self.applied(self.experiment, self.sizes, self.constants)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.applied_model, nnx.Param)))

    def key(self, purpose: int) -> jax.Array:
        """The key of a random stream, on the mesh."""
        return sharding.replicate(self._local_key(purpose), self.mesh)

    def _local_key(self, purpose: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.experiment.seed), purpose)

    def _new_model(self) -> Any:
        """The model with the first parameters of the experiment's seed."""
        rngs = nnx.Rngs(self._local_key(INIT))
        return self.make_model(self.experiment, self.sizes, self.constants, rngs)

    def _with_best(self, state: TrainState) -> TrainState:
        """The state with room for the best epoch's model, of a run that ends with it."""
        if self.experiment.stop == "last":
            return state
        best = Best(jax.tree.map(jnp.copy, self.trained(state)), jnp.zeros((), jnp.int32))
        return dataclasses.replace(state, best=best)

    def _placed(self, state: TrainState) -> TrainState:
        state = self._with_best(state)
        return sharding.place(state, sharding.state_shardings(state, self.mesh))

    @classmethod
    def fitting(cls, train: Any, items: int, mesh: Mesh) -> Any:
        """A training configuration whose batches fit so many training items, and the devices of a mesh."""
        shared = mesh.shape[sharding.DATA]
        most = {name: (items - fewer) // shared * shared for name, fewer in cls.within_items.items()}
        return dataclasses.replace(train, **{name: min(getattr(train, name), most[name]) for name in most})

    @property
    def fitted(self) -> Any:
        """`experiment.train`, with batches that fit the training items."""
        return self.fitting(self.experiment.train, len(self._labels), self.mesh)

    @property
    def _labels(self) -> np.ndarray:
        corpus = self.inputs.corpus
        return corpus.labels[corpus.splits["train"]]

    def fingerprint(self) -> dict[str, str]:
        """What a checkpoint belongs to.

        Returns:
            model: canonical JSON of the kind, the shape of an image, and the values of model, training and
                seed that are not their defaults - so a new option, which has its default in old runs, changes
                no fingerprint; corpus: SHA-256 of the data it reads.
        """
        deciding = {
            name: value
            for name, value in changed_values(self.experiment).items()
            if name.startswith(("model.", "train.")) or name == "seed"
        }
        about = {"kind": self.experiment.kind, "image": list(self.inputs.images.shape[1:]), **deciding}
        digest = hashlib.sha256()
        corpus = self.inputs.corpus
        for array in (*_arrays(self.inputs.texts), self.inputs.images, corpus.labels):
            digest.update(np.asarray(array).tobytes())
        if not corpus.labelled:  # what matches is decided by the groups
            digest.update(corpus.group_ids.tobytes())
        for name in sorted(corpus.splits):
            digest.update(corpus.splits[name].tobytes())
        for array in self._read_beside():
            digest.update(array.tobytes())
        return {"model": json.dumps(about, sort_keys=True), "corpus": digest.hexdigest()}

    def _read_beside(self) -> tuple[np.ndarray, ...]:
        """Arrays that a checkpoint belongs to beside the corpus."""
        return ()

    def identity(self) -> dict[str, str]:
        """What all processes of a job must hold alike: the fingerprint's parts; the word graph or vectors."""
        graph = hashlib.sha256()
        for leaf in jax.tree.leaves(self.constants):
            graph.update(np.asarray(leaf).tobytes())
        return {**self.fingerprint(), "word graph": graph.hexdigest()}


def build(experiment: Experiment, corpus: Corpus, mesh: Mesh | None = None) -> System:
    """Make the system of an experiment on its corpus; with --stop best, without the items held out for it.

    Args:
        mesh: the devices that train it; the first one of this process if not given.

    Raises:
        InputError: if the corpus has one class only, or none and the system needs classes, the word graph
            cannot be built, or too few items can be held out to choose the epoch by.
    """
    mesh = sharding.one_device() if mesh is None else mesh
    system = SYSTEMS[experiment.kind]
    if system.needs_labels and not corpus.labelled:
        raise InputError(
            f"{corpus.provenance.get('source')}: has no labels, and {system.title(experiment)} learns from "
            "classes; add the field 'label' or 'labels' to its metadata, or train gin-folder or "
            "joint-folder, which learn from the pairs alone"
        )
    if experiment.stop == "best":
        corpus = stopping.hold_out(experiment, corpus)
    return system.build(experiment, corpus, mesh)


def mesh_for(experiment: Experiment, model_parallel: int | None = None) -> Mesh:
    """All devices of the job, as the mesh that trains the experiment.

    Raises:
        InputError: if they cannot share the batch and the large layers evenly, or not by `model_parallel`.
    """
    return SYSTEMS[experiment.kind].mesh_for(experiment, model_parallel)


def experiment_from(kind: str, values: Mapping[str, Any]) -> Experiment:
    """An experiment from JSON values, those of older versions too; a value that is not there is the default.

    Raises:
        KeyError: if no system has this kind.
        pydantic.ValidationError: if a value is not one that its field can have.
    """
    system = SYSTEMS.get(kind) or next((s for s in SYSTEMS.values() if s.reads(kind, values)), None)
    if system is None:
        raise KeyError(f"no system has the kind '{kind}'")
    return adapter(system.experiment_type).validate_python(values)


def training_arrays(inputs: Inputs, mesh: Mesh) -> tuple[Any, Any, Any]:
    """Texts, images and labels of the training items, as `Data` takes them."""
    rows = inputs.corpus.splits["train"]
    texts = inputs.texts[rows]
    texts = texts if isinstance(texts, np.ndarray) else SparseRows.of(texts, mesh)
    return texts, inputs.images[rows], inputs.corpus.labels[rows]


def with_values(train: Any, values: Mapping[str, Any] | None) -> Any:
    """A training configuration with those of the values, by dotted name, that are its own."""
    of_train = {name: value for name, value in (values or {}).items() if name.startswith("train.")}
    return dataclasses.replace(train, **{name.removeprefix("train."): v for name, v in of_train.items()})


def _arrays(texts: np.ndarray | sp.csr_array) -> tuple[np.ndarray, ...]:
    return (texts,) if isinstance(texts, np.ndarray) else (texts.data, texts.indices)


def presets() -> dict[str, str]:
    """The presets by name, each with a sentence on what it is.

    >>> from gcnxmodal import presets
    >>> presets()["gin-emoji"]
    'GIN on the embedded emoji corpus: nothing to download'
    """
    return {name: summary for name, (summary, _) in PRESETS.items()}
