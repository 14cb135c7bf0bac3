"""The encoders of a finished run in a folder of their own: new texts and pictures without the corpus.

    encoder.json             system, configuration, vocabulary, how images are made, class names, versions
    parameters.safetensors   what was trained
    constants.safetensors    the word graph or word vectors; statistics of the training items

Nothing in such a folder is executed when it is read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, UInt32
from pydantic import ValidationError
from safetensors.numpy import save_file

from gcnxmodal import __version__
from gcnxmodal.config import Experiment, experiment_dict
from gcnxmodal.corpus import Corpus
from gcnxmodal.environment import environment
from gcnxmodal.errors import InputError
from gcnxmodal.finished_run import FinishedRun
from gcnxmodal.inputs import Inputs
from gcnxmodal.nn.weights import read_weights
from gcnxmodal.reading import ImageScaler, Reading, TextReader, read_pictures
from gcnxmodal.retrieval.hamming import pack_codes
from gcnxmodal.retriever import CHUNK, Retriever
from gcnxmodal.runs import EXPERIMENTS, write_json
from gcnxmodal.systems.base import System
from gcnxmodal.systems.build import SYSTEMS
from gcnxmodal.text.vocabulary import Vocabulary
from gcnxmodal.training import sharding

FORMAT = 1
ABOUT, PARAMETERS, CONSTANTS = "encoder.json", "parameters.safetensors", "constants.safetensors"
SHORTLISTS = "inner product, to shortlist by"
"""`score` of a system with two layers or more of co-attention, whose full score depends on the pair."""
_PATHS = ("data.root", "text.vector_file", "model.image_weights")

Rows = Float[np.ndarray, "n D"] | UInt32[np.ndarray, "n W"]


class Encoder:
    """Texts and images to what an export holds of them.

    That is embeddings float32 [n, D], a text's and an image's with their inner product as the score; or of a
    hashing system codes, packed as `retrieval.hamming.pack_codes` does, uint32 [n, W].

    >>> encoder = Encoder.load(Path("runs/gin-emoji-seed0/export-npz/encoder"))  # doctest: +SKIP
    >>> encoder.encode_texts(["a smiling cat"]).shape  # doctest: +SKIP
    (1, 1024)

    Attributes:
        about: encoder.json.
    """

    def __init__(self, retriever: Retriever, about: Mapping[str, Any]):
        self.about = about
        self._retriever = retriever

    def encode_texts(self, texts: Sequence[str], batch: int = CHUNK) -> Rows:
        """One row a text.

        Args:
            batch: texts at a time. With the default, a text of the corpus has the bits of its exported row;
                1 answers a single question sooner.

        Raises:
            InputError: if a text has no word of the vocabulary, or there is none.
        """
        _require_some(len(texts), "texts")
        features = self._retriever.encode_new_texts(texts, batch)
        return as_exported(self._retriever.system, self._retriever.fold_texts(features))

    def encode_images(self, images: np.ndarray | Sequence[Path], batch: int = CHUNK) -> Rows:
        """One row an image.

        Args:
            images: as the corpus had them, before they were scaled: features [n, d] or pixels [n, R, R, 3];
                or picture files, of a system whose images are made from pictures.
            batch: as for texts.

        Raises:
            InputError: if they have another shape, cannot be read, or there is none.
        """
        _require_some(len(images), "images")
        features = self._retriever.encode_new_images(self._unscaled(images), batch)
        return as_exported(self._retriever.system, self._retriever.fold_images(features))

    def _unscaled(self, images: np.ndarray | Sequence[Path]) -> np.ndarray:
        about = self.about["images"]
        if not isinstance(images, np.ndarray):
            source = self.about["system"]
            return read_pictures([Path(p) for p in images], about["feature"], about["resolution"], source)
        pixels = about["dtype"] == "uint8"
        right = images.dtype == np.uint8 if pixels else np.issubdtype(images.dtype, np.floating)
        if not right or list(images.shape[1:]) != about["shape"]:
            raise InputError(
                f"images are {images.dtype} {list(images.shape)}; this encoder takes {about['dtype']} "
                f"{['n', *about['shape']]}: {about['feature']}, before scaling".replace("'", "")
            )
        return images if pixels else images.astype(np.float32, copy=False)

    @classmethod
    def load(cls, folder: Path) -> "Encoder":
        """The encoder in a folder that `save_encoder` made.

        Raises:
            InputError: if a file is missing, damaged, of another version, or does not fit the others.
        """
        about = _read_about(folder / ABOUT)
        constants, arrays = (_read_arrays(folder / name, about) for name in (CONSTANTS, PARAMETERS))
        try:
            system = _system(about, constants)
            reading = _reading(about, system.inputs.corpus.vocabulary, constants)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise InputError(
                f"{folder / ABOUT}: does not describe an encoder of this version ({error}); export again"
            ) from error
        like = jax.eval_shape(lambda: system.initial_state().params)
        return cls(Retriever(system, _filled(like, arrays, folder / PARAMETERS), reading), about)


def save_encoder(folder: Path, run: FinishedRun, reading: Reading) -> dict[str, Any]:
    """Write the encoders of a run into a new folder; returns what encoder.json says."""
    folder.mkdir()
    system = run.system
    corpus = system.inputs.corpus
    texts, scaler = reading
    statistics = {"idf": texts.idf, "image_mean": scaler.mean, "image_divisor": scaler.divisor}
    save_file(_arrays(sharding.to_one_device(run.params)), folder / PARAMETERS)
    save_file(
        _arrays(system.constants)
        | {f"reading.{name}": np.asarray(a, order="C") for name, a in statistics.items() if a is not None},
        folder / CONSTANTS,
    )
    about = {
        "format": FORMAT,
        "system": system.title,
        "preset": run.preset,
        "kind": system.experiment.kind,
        "experiment": _without_paths(experiment_dict(system.experiment)),
        "checkpoint": run.step,
        **what_rows_are(system),
        "vocabulary": corpus.vocabulary.to_dict(),
        "texts": {"weighting": texts.weighting, "length": texts.length, "width": texts.width},
        "images": {
            "feature": system.experiment.data.image_feature,
            "resolution": corpus.provenance.get("options", {}).get("resolution"),
            "shape": list(corpus.images.shape[1:]),
            "dtype": str(corpus.images.dtype),
        },
        "class_names": list(corpus.class_names),
        "source": _source(system),
        "commit": environment()["commit"],
        "gcnxmodal": __version__,
        "sha256": {name: _digest(folder / name) for name in (PARAMETERS, CONSTANTS)},
    }
    write_json(folder / ABOUT, about)
    return about


def what_rows_are(system: System) -> dict[str, Any]:
    """What the rows of an export are, and how two of them are compared (JSON values)."""
    if system.hashes:
        words = "bit k of a code is bit k % 32 of word k // 32"
        return {"rows": "codes", "bits": system.experiment.model.bits, "layout": words, "score": "hamming"}
    score = "inner product" if system.separable else SHORTLISTS
    return {"rows": "embeddings", "dimension": system.experiment.model.dimension, "score": score}


def as_exported(system: System, embeddings_nD: np.ndarray) -> Rows:
    """Embeddings, or of a hashing system their packed signs."""
    return pack_codes(embeddings_nD) if system.hashes else embeddings_nD


def _require_some(count: int, what: str) -> None:
    if not count:
        raise InputError(f"{what}: there is none to encode; give at least one")


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); name the folder of an encoder"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); export again") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"{path}: is not of format {FORMAT}, which this version reads; export again")
    return about


def _read_arrays(path: Path, about: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = read_weights(path)
    if _digest(path) != about.get("sha256", {}).get(path.name):
        raise InputError(f"{path}: is not the file that {ABOUT} was written with; export again")
    return arrays


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _system(about: Mapping[str, Any], constants: Mapping[str, np.ndarray]) -> System:
    """The system of an encoder, on a corpus of two blank items."""
    vocabulary = Vocabulary.from_dict(about["vocabulary"])
    experiment: Experiment = EXPERIMENTS[about["kind"]].validate_python(about["experiment"])
    blank = sp.csr_array((2, len(vocabulary)), dtype=np.float32)
    corpus = Corpus(
        images=np.zeros((2, *about["images"]["shape"]), about["images"]["dtype"]),
        counts=blank,
        labels=np.ones((2, len(about["class_names"])), bool),
        class_names=tuple(about["class_names"]),
        splits={"train": np.array([0]), "test": np.array([1])},
        vocabulary=vocabulary,
        provenance={"source": about["source"]},
        texts=("", ""),
    )
    kind = SYSTEMS[about["kind"]]
    inputs = kind.inputs_from(Inputs(corpus, blank, corpus.images, {}), constants)
    return kind(inputs, experiment, 1, None, sharding.one_device())


def _reading(about: Mapping[str, Any], vocabulary: Vocabulary, arrays: Mapping[str, np.ndarray]) -> Reading:
    scaler = ImageScaler(arrays.get("reading.image_mean"), arrays.get("reading.image_divisor"))
    return Reading(TextReader(vocabulary, idf=arrays.get("reading.idf"), **about["texts"]), scaler)


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """Leaves by name, on the host."""
    return {_plain(name): np.asarray(leaf, order="C") for name, leaf in sharding.named_leaves(tree).items()}


def _filled(like: Any, arrays: Mapping[str, np.ndarray], path: Path) -> Any:
    """A tree of these shapes with the arrays of a file.

    Raises:
        InputError: if the file does not hold exactly these.
    """
    expected = {_plain(name): leaf for name, leaf in sharding.named_leaves(like).items()}
    for name in sorted(expected.keys() ^ arrays.keys()):
        problem = "has no" if name in expected else "has another"
        raise InputError(f"{path}: {problem} array '{name}' than the model of {ABOUT}; export again")
    for name, leaf in expected.items():
        found = arrays[name]
        if found.shape != leaf.shape or found.dtype != leaf.dtype:
            raise InputError(
                f"{path}: {name} is {found.dtype} {list(found.shape)}, expected {leaf.dtype} "
                f"{list(leaf.shape)}; export again"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(arrays[name]) for name in expected])


def _plain(name: str) -> str:
    """A leaf's name without the attribute under which Flax's variables keep their array."""
    return ".".join(part for part in name.split(".") if part != "value")


def _source(system: System) -> str | None:
    """What the loader calls the data set, its folder by name only."""
    source, root = system.inputs.corpus.provenance.get("source"), system.experiment.data.root
    return source.replace(str(root), root.name) if source and root is not None else source


def _without_paths(experiment: dict[str, Any]) -> dict[str, Any]:
    """The configuration without what only the training machine has."""
    for path in _PATHS:
        section, name = path.split(".")
        if experiment.get(section, {}).get(name) is not None:
            experiment[section][name] = None
    return experiment
