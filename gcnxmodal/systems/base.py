"""An experiment made concrete: from a configuration and a corpus to a model, its data and its step."""

import abc
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
import scipy.sparse as sp
from flax import nnx
from jax.sharding import Mesh

from gcnxmodal.config import Experiment, changed_values
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import Inputs
from gcnxmodal.training import sharding
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Data, Step, TrainState

# What each random stream is for; a key is a function of (seed, purpose, epoch or step).
INIT, PAIRS, ORDER, DROPOUT = range(4)


@dataclasses.dataclass(frozen=True)
class System(abc.ABC):
    """A model with all that trains and applies it; a subclass for each kind of experiment.

    Training is on the devices of `mesh`; what it learnt is applied by a `Retriever`.

    Attributes:
        hashes: whether embeddings are binary codes.
        explains: whether a pair's score can be explained, see `systems/explanation.py`.
    """

    hashes: ClassVar[bool] = False
    explains: ClassVar[bool] = False

    inputs: Inputs
    experiment: Experiment
    steps_per_epoch: int
    data: Data
    mesh: Mesh

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """The name of the system in reports, such as "GIN"."""

    @property
    @abc.abstractmethod
    def pairs_per_step(self) -> int:
        """How many pairs a step sees."""

    @property
    @abc.abstractmethod
    def text_path(self) -> str:
        """What is read of a text, see `inputs.read_texts`."""

    @property
    def separable(self) -> bool:
        """Whether the score of a pair is an inner product of its embeddings."""
        return True

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.abstract_model(), nnx.Param)))

    @abc.abstractmethod
    def abstract_model(self) -> Any:
        """The model with shapes in place of its arrays."""

    @property
    @abc.abstractmethod
    def graphdef(self) -> nnx.GraphDef:
        """The model's structure when it is applied."""

    @property
    @abc.abstractmethod
    def constants(self) -> nnx.State:
        """The model's arrays that are not trained."""

    @abc.abstractmethod
    def initial_state(self, *, as_shape: bool = False) -> TrainState:
        """The state before the first step, on the mesh.

        Args:
            as_shape: it only shows structure and shapes: weights that come from a file are not read.
        """

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

    @classmethod
    def inputs_from(cls, plain: Inputs, constants: Mapping[str, np.ndarray]) -> Inputs:
        """What the system reads, of `plain` and of its `constants` by the names that an export gives them.

        Raises:
            KeyError: if one is missing.
        """
        return plain

    def covering(self, experiments: Sequence[Experiment]) -> "System":
        """The system with room for each of some experiments that differ in their `arguments` only."""
        return self

    def key(self, purpose: int) -> jax.Array:
        """The key of a random stream, on the mesh."""
        return sharding.replicate(self._local_key(purpose), self.mesh)

    def _local_key(self, purpose: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.experiment.seed), purpose)

    def _placed(self, state: TrainState) -> TrainState:
        return sharding.place(state, sharding.state_shardings(state, self.mesh))

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
        model = json.dumps(about, sort_keys=True)
        digest = hashlib.sha256()
        corpus = self.inputs.corpus
        for array in (*_arrays(self.inputs.texts), self.inputs.images, corpus.labels):
            digest.update(np.asarray(array).tobytes())
        for name in sorted(corpus.splits):
            digest.update(corpus.splits[name].tobytes())
        for array in self._read_beside():
            digest.update(array.tobytes())
        return {"model": model, "corpus": digest.hexdigest()}

    def _read_beside(self) -> tuple[np.ndarray, ...]:
        """Arrays that a checkpoint belongs to beside the corpus."""
        return ()

    def identity(self) -> dict[str, str]:
        """What all processes of a job must hold alike: the fingerprint's parts; the word graph or vectors."""
        graph = hashlib.sha256()
        for leaf in jax.tree.leaves(self.constants):
            graph.update(np.asarray(leaf).tobytes())
        return {**self.fingerprint(), "word graph": graph.hexdigest()}


def training_arrays(inputs: Inputs) -> tuple[Any, Any, Any]:
    """Texts, images and labels of the training items, dense, as `Data` takes them."""
    rows = inputs.corpus.splits["train"]
    texts = inputs.texts[rows]
    dense = texts if isinstance(texts, np.ndarray) else texts.toarray()
    return dense, inputs.images[rows], inputs.corpus.labels[rows]


def mesh_of_rows(title: str, batch: int, model_parallel: int | None) -> Mesh:
    """All devices of the job, sharing the items of a batch: the mesh of a system without a layer to split.

    Raises:
        InputError: if `model_parallel` asks for more, or they cannot share the batch evenly.
    """
    if model_parallel not in (None, 1):
        raise InputError(
            f"--model-parallel is {model_parallel}, but {title} has no layer to split; leave it out"
        )
    devices = jax.device_count()
    if batch % devices:
        raise InputError(
            f"--train.batch {batch} cannot be shared evenly by {devices} devices; make it a multiple of "
            f"{devices}, or use fewer devices"
        )
    return sharding.make_mesh(1, dimension=1, rows={})


def with_values(train: Any, values: Mapping[str, Any] | None) -> Any:
    """A training configuration with some of its values, by dotted name, replaced."""
    given = {name.removeprefix("train."): value for name, value in (values or {}).items()}
    return dataclasses.replace(train, **{k: v for k, v in given.items() if not k.startswith("model.")})


def _arrays(texts: np.ndarray | sp.csr_array) -> tuple[np.ndarray, ...]:
    return (texts,) if isinstance(texts, np.ndarray) else (texts.data, texts.indices)
