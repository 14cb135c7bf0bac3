"""A trained system applied, without its corpus: texts and pictures to embeddings or codes, and search.

A trained model is one folder in one format, which every run writes at its end (RUN/model), an export has, and
`Retriever.save_pretrained` writes:

    model.json               system, configuration, vocabulary, how images are made, class names, versions
    parameters.safetensors   what was trained
    constants.safetensors    the word graph or word vectors; statistics of the training items; mapped words
    items.jsonl              the items that can be searched: see `stores/files.py`
    embeddings.safetensors   their rows; codes or features of models that have these

Nothing in such a folder is executed when it is read; the digests of the arrays stand in model.json.
"""

import contextlib
import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from flax import nnx
from jaxtyping import Array, Bool
from pydantic import ValidationError

from gcnxmodal import __version__
from gcnxmodal.config import experiment_dict
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.files import Schema, read_json
from gcnxmodal.environment import environment
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import (
    MAPPED,
    FeatureScaler,
    Inputs,
    Reading,
    TextReader,
    read_pictures,
    text_features,
)
from gcnxmodal.nn.layers import Constant
from gcnxmodal.nn.weights import read_weights
from gcnxmodal.retrieval.database import Codes, Database, Embeddings, PairFeatures, score_matrix
from gcnxmodal.retrieval.hamming import pack_codes
from gcnxmodal.runs import FinishedRun, RunFolder, claimed, restore, write_json
from gcnxmodal.stores.files import (
    FORMATS,
    Rows,
    describe_items,
    distinct_rows,
    read_items,
    replacing_folder,
    rows_among,
    save_safetensors,
    without_pictures,
    write_items,
)
from gcnxmodal.systems import SYSTEMS, System, experiment_from
from gcnxmodal.systems.base import Model, Sizes
from gcnxmodal.text.vocabulary import MappedWords, Vocabulary
from gcnxmodal.training import sharding

FORMAT = 2
ABOUT, PARAMETERS, CONSTANTS = "model.json", "parameters.safetensors", "constants.safetensors"
EXPORT = "export.json"
SHORTLISTS = "inner product, to shortlist by"
"""`score` of embeddings of a model whose full score depends on the pair."""
CHUNK = 256
"""Rows that are encoded at a time: one program for all."""
_PATHS = ("data.root", "text.vector_file", "model.image_weights")


@dataclasses.dataclass(frozen=True)
class Hit:
    """An item that was found.

    Attributes:
        id: its picture's path below the folder that all pictures share, or the number of its row.
        score: inner product; bits - 2 x Hamming distance of codes; of models of pairs the full score.
        text, labels: its own.
        picture: where its picture lay when the model was trained, if that is known.
        metadata: what else is known of it: its row in the corpus, its splits, and the fields of your own that
            the metadata of your folder has.

    >>> from gcnxmodal import Hit
    >>> hit = Hit("1F408.svg", 0.5, "cat: pet", None, ("Animals & Nature",), {"row": 7, "splits": ["test"]})
    >>> hit.id, hit.score, hit.metadata["splits"]
    ('1F408.svg', 0.5, ['test'])
    """

    id: str
    score: float
    text: str
    picture: str | None
    labels: tuple[str, ...]
    metadata: dict[str, Any]


class Retriever:
    """A trained model, applied on the first device of this process.

    >>> from gcnxmodal import Retriever
    >>> retriever = Retriever.from_pretrained("runs/gin-emoji-seed0")  # doctest: +SKIP
    >>> retriever.search("a smiling cat", k=5)  # doctest: +SKIP
    >>> retriever.encode_text(["a smiling cat"]).shape  # doctest: +SKIP
    (1, 256)

    Attributes:
        about: what model.json says.
        model: its structure, with shapes in place of arrays: see `systems.base.Model`.
        reading: how texts, and images as the corpus had them, are read.
        items, database: the items that can be searched, a dictionary and a row each; None without any.
        weights: of the network that made the features of the corpus (`gcnxmodal.features`), if no package
            brings them: set it to search by a picture.
    """

    weights: Path | None = None

    def __init__(
        self,
        about: Mapping[str, Any],
        model: Model,
        params: Any,
        constants: Any,
        reading: Reading,
        items: Sequence[dict[str, Any]] = (),
        database: Any = None,
    ):
        self.about = about
        self.model = model
        self.reading = reading
        self.items = items
        self.database = database
        self._arrays = sharding.to_one_device(params), constants
        self._graphdef = nnx.split(model)[0]

    # What users call.

    @classmethod
    def from_pretrained(
        cls, path: Any, *, root: Path | None = None, report: Callable[[str], None] | None = None
    ) -> "Retriever":
        """The model of a run, an export, or a folder that `save_pretrained` wrote.

        Args:
            path: the folder (or the run that `gcnxmodal.train` returned).
            root: for a run that has no model of its newest checkpoint (it was stopped, or is of an older
                version): the folder of its data set, if that has moved.
            report: told when a checkpoint has to be restored; by default standard error is.

        Raises:
            InputError: if there is no model, or a file is missing, damaged, or does not fit the others.
        """
        folder = Path(getattr(path, "path", path))
        if (folder / ABOUT).exists():
            return _load(folder)
        if (folder / EXPORT).exists():
            return _load_export(folder)
        return _of_run(folder, root, report or (lambda text: print(text, file=sys.stderr)))

    def save_pretrained(self, path: Path | str) -> Path:
        """Write the model, and its items if it has any, into a folder that needs nothing else.

        Paths of this machine are left out. The folder is written whole or not at all.

        Raises:
            InputError: if there is something else in the folder, or it cannot be written.
        """
        folder = Path(path)
        if folder.exists() and not (folder / ABOUT).exists() and (folder.is_file() or any(folder.iterdir())):
            raise InputError(f"{folder}: has files in it but no model; name an empty or a new folder")
        with replacing_folder(folder) as temporary:
            self._write(temporary, without_pictures(self.items))
        return folder

    @overload
    def encode_text(
        self,
        texts: str | Sequence[str] | np.ndarray,
        batch: int = CHUNK,
        *,
        missing: Literal["raise"] = "raise",
    ) -> Rows: ...
    @overload
    def encode_text(
        self, texts: str | Sequence[str] | np.ndarray, batch: int = CHUNK, *, missing: Literal["mask"]
    ) -> tuple[Rows, Bool[np.ndarray, " n"]]: ...
    def encode_text(
        self,
        texts: str | Sequence[str] | np.ndarray,
        batch: int = CHUNK,
        *,
        missing: Literal["raise", "mask"] = "raise",
    ) -> Any:
        """Texts to embeddings float32 [n, D], whose inner product with an image's is the score; or of a model
        of binary codes to codes, packed as `retrieval.hamming.pack_codes` does, uint32 [n, W].

        Args:
            texts: in words; or of a model that reads dense features of texts (`--model.text features`) these,
                float [n, e], as the corpus had them, before they were scaled.
            batch: texts at a time. With the default, a text of the corpus has the bits of its stored row
                (unless words of it are mapped, see `words_read`); 1 answers a single question sooner.
            missing: what a text without a known word does. "raise": it is an error. "mask": its row is zero,
                and which texts have a word comes back beside the rows, bool [n].

        Raises:
            InputError: if a text has no known word and `missing` is "raise"; or there is no text, or not what
                the model reads.
        """
        features, known = self._features_of_texts(texts, batch, missing)
        rows = self._rows(self.fold_texts(features))
        if missing == "raise":
            return rows
        rows = np.array(rows)
        rows[~known] = 0
        return rows, known

    def words_read(self, text: str) -> dict[str, tuple[str, ...]]:
        """The words of a text that are not in the vocabulary, but read as words of it that are near by the
        word vectors: of a run with `text.mapped_words`."""
        return self.reading.texts.read([text]).mapped

    def encode_image(
        self, images: np.ndarray | Path | str | Sequence[Path | str], batch: int = CHUNK
    ) -> Rows:
        """Images to embeddings or codes; see `encode_text`.

        Args:
            images: as the corpus had them, before they were scaled: features [n, d] or pixels [n, R, R, 3];
                or one or several picture files, of a model whose images are made from pictures.

        Raises:
            InputError: if they have another shape, cannot be read, or there is none.
        """
        return self._rows(self.fold_images(self._features_of_images(images, batch)))

    def search(
        self,
        text: str | np.ndarray | None = None,
        *,
        image: np.ndarray | Path | str | None = None,
        k: int = 10,
        among: str = "all",
        shortlist: int = 100,
        prefer: str | None = None,
    ) -> list[Hit]:
        """The k best items, best first: by their images for a text, by their texts for an image.

        A picture with several texts is found once, and so is a text with several pictures.

        Args:
            text, image: one of them, as `encode_text` and `encode_image` take one; features as [1, d].
            among: "all", or the split whose items are searched.
            shortlist: where the score depends on the pair, how many items are scored by it.
            prefer: of a model whose score has parts, the one to search by: "pair", the item that belongs to
                the query, or "class", items of its kind; by default both, as the model mixes them.

        Raises:
            InputError: if not one of text and image is given, there are no items to search, or as
                `encode_text` and `encode_image` do.
        """
        if (text is None) == (image is None):
            raise InputError("give one of text and image")
        for name, value in (("k", k), ("shortlist", shortlist)):
            if value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        part = None if prefer is None else self._part(prefer)
        if self.database is None:
            raise InputError("this model has no items to search; load a run or an export of it")
        chosen = rows_among(self.items, among)
        if not len(chosen):
            raise InputError(f"no item is in '{among}'; search among all")
        chosen = distinct_rows(self.items, chosen, "picture" if text is not None else "text")
        if text is not None:
            by, features = "text", self._features_of_texts(text, 1, "raise")[0]
        else:
            by, features = "image", self._features_of_images(image, 1)
        whole = len(chosen) == len(self.items)
        database = self.database if whole else self.database.take(chosen)
        if isinstance(database, PairFeatures):
            query = features
        else:
            query = self._rows(self.fold_texts(features) if by == "text" else self.fold_images(features))
        if part is not None:
            query = _only(query, part)
        found, scores = database.search(query, k, by=by, shortlist=shortlist)
        hits = zip((self.items[row] for row in chosen[found[0]]), scores[0], strict=True)
        return [_hit(item, float(score)) for item, score in hits]

    # What evaluation and training call: items as `Inputs` has them, features before they are folded.

    @classmethod
    def of_run(cls, run: FinishedRun) -> "Retriever":
        """The model of a run that has its corpus and its parameters."""
        return cls.of_system(run.system, run.params, run.preset, run.step)

    @classmethod
    def of_system(cls, system: System, params: Any, preset: str = "", step: int = 0) -> "Retriever":
        """The model of a system with some parameters; in a job of several processes, all must take part."""
        about = _about(system, preset, step)
        return cls(about, system.applied_model, params, system.constants, system.inputs.reading)

    def with_items(self, inputs: Inputs) -> "Retriever":
        """The same model with the items of a corpus to search."""
        items = describe_items(inputs.corpus, np.arange(len(inputs.corpus)), pictures=True)
        database = self.encode_items(inputs)
        return Retriever(self.about, self.model, *self._arrays, self.reading, items, database)

    def without_items(self) -> "Retriever":
        """The model alone."""
        return Retriever(self.about, self.model, *self._arrays, self.reading)

    def encode_items(self, inputs: Inputs, rows: np.ndarray | None = None) -> Any:
        """Some (by default all) items of a corpus as the model ranks them.

        Returns:
            `Embeddings`; `Codes`; or `PairFeatures`, where the score depends on the pair.
        """
        rows = np.arange(len(inputs.corpus)) if rows is None else rows
        features = (
            self._encode("encode_texts", inputs.texts, rows),
            self._encode("encode_images", inputs.images, rows),
        )
        if not self.model.separable:
            return PairFeatures(*features, self)
        texts, images = self.fold_texts(features[0]), self.fold_images(features[1])
        return Embeddings(texts, images) if self.model.bits is None else Codes.of_signs(texts, images)

    def encode_corpus(self, corpus: Corpus) -> Any:
        """All items of any corpus with images of the model's kind; see `encode_items`.

        Texts without a word of the vocabulary are kept. Their unknown words are not mapped, so that the
        corpus of the training has the same rows again.
        """
        if self.reading.text_features is None:
            texts = self.reading.texts(corpus.texts)
        else:
            texts = self._scaled_texts(text_features(corpus))
        images = self.reading.images(self._unscaled(corpus.images))
        return self.encode_items(Inputs(corpus, texts, images, {}, self.reading))

    def encode_words(self, sequences: Sequence[np.ndarray], batch: int = CHUNK) -> np.ndarray:
        """Texts that are given as numbers of words, as queries that the database searches by."""
        return self._as_queries(
            self._encode("encode_texts", self.reading.texts.of_words(sequences), batch=batch)
        )

    def _as_queries(self, features_nD: np.ndarray) -> np.ndarray:
        if isinstance(self.database, PairFeatures):
            return features_nD
        return self._rows(self.fold_texts(features_nD))

    def preferring(self, prefer: str) -> Any:
        """The items as they are ranked by one part of the score, see `search`."""
        part = self._part(prefer)
        return Embeddings(_only(self.database.texts, part), self.database.images)

    def _part(self, prefer: str) -> slice:
        parts = self.model.preferences
        if prefer not in parts:
            which = f"it may be {' or '.join(parts)}" if parts else "the score of this model has no parts"
            raise InputError(f"prefer is '{prefer}'; {which}")
        return parts[prefer]

    def embeddings(self, database: Any) -> Any:
        """A database as rows that need no model: of features the embeddings to shortlist by."""
        if not isinstance(database, PairFeatures):
            return database
        return Embeddings(self.fold_texts(database.texts), self.fold_images(database.images))

    def fold_texts(self, features_nD: np.ndarray) -> np.ndarray:
        """Features as the embeddings whose inner product is the score (or shortlists)."""
        return self._encode("fold_texts", features_nD)

    def fold_images(self, features_nD: np.ndarray) -> np.ndarray:
        """See `fold_texts`."""
        return self._encode("fold_images", features_nD)

    def score(self, texts_QD: np.ndarray, images_MD: np.ndarray, devices: int | None = None) -> np.ndarray:
        """Scores [Q, M] of every text with every image, by their features; see `score_matrix`."""
        scorer = PairScore(self._graphdef)
        return score_matrix(scorer, self._arrays, texts_QD, images_MD, devices=devices)

    def score_chosen(
        self, features: tuple[np.ndarray, np.ndarray], text_P: np.ndarray, image_P: np.ndarray
    ) -> np.ndarray:
        """Scores [P] of chosen pairs: text_P[p] with image_P[p], rows of the features of texts and images."""
        score = partial(_applied, self._graphdef, "score_aligned", *self._arrays)
        return _in_chunks(score, features, (text_P, image_P), 4096)

    def explain(self, inputs: Inputs, rows: np.ndarray) -> Any:
        """Why these items' own pairs score as they do, see `Model.explain`, as arrays on the host."""
        texts = inputs.dense_texts(rows)
        return jax.device_get(_applied(self._graphdef, "explain", *self._arrays, texts, inputs.images[rows]))

    def _encode(self, method: str, rows: Any, chosen: np.ndarray | None = None, batch: int = CHUNK) -> Any:
        """A method of the model, of some (by default all) rows, `batch` at a time."""
        chosen = np.arange(rows.shape[0]) if chosen is None else chosen
        return _in_chunks(partial(_applied, self._graphdef, method, *self._arrays), rows, chosen, batch)

    def _features_of_texts(
        self, texts: str | Sequence[str] | np.ndarray, batch: int, missing: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of texts, and which of them have a known word."""
        texts = [texts] if isinstance(texts, str) else texts
        if not len(texts):
            raise InputError("texts: there is none to encode; give at least one")
        if missing not in ("raise", "mask"):
            raise InputError(f"missing is '{missing}'; it must be raise or mask")
        numbers = isinstance(texts, np.ndarray) and texts.dtype.kind in "biuf"
        if numbers or self.reading.text_features is not None:
            rows = self._scaled_texts(texts)
            return self._encode("encode_texts", rows, batch=batch), np.ones(len(rows), bool)
        texts = list(texts)
        rows, known, _ = self.reading.texts.read(texts)
        if missing == "raise" and not known.all():
            raise InputError(self._without_a_word(texts, np.flatnonzero(~known)))
        return self._encode("encode_texts", rows, batch=batch), known

    def _scaled_texts(self, texts: Any) -> np.ndarray:
        """Dense features of texts as the model reads them."""
        scaler, e = self.reading.text_features, self.about.get("text_features", 0)
        if scaler is None:
            raise InputError("texts are numbers, but this model reads words; give the texts themselves")
        if not isinstance(texts, np.ndarray) or texts.dtype.kind not in "biuf":
            raise InputError(
                "this model reads no words but dense features of texts, which another model makes; give them "
                f"as an array [n, {e}], before scaling, or search with an image"
            )
        if not np.issubdtype(texts.dtype, np.floating) or texts.shape[1:] != (e,):
            raise InputError(
                f"texts are {texts.dtype} {list(texts.shape)}; this model takes dense features of texts, "
                f"float [n, {e}], before scaling"
            )
        return scaler(texts.astype(np.float32, copy=False))

    def _without_a_word(self, texts: Sequence[str], unknown: np.ndarray) -> str:
        reader = self.reading.texts
        words = f"the {len(reader.vocabulary):,} of the run"
        if len(texts) == 1:
            near = reader.similar_words(texts[0])
            fix = f"did you mean {' or '.join(near)}?" if near else "use other words"
            return f"'{texts[0]}': none of its words is among {words}; {fix}"
        first = ", ".join(f"'{texts[row]}' (text {row})" for row in unknown[:3])
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        return (
            f"{len(unknown):,} of {len(texts):,} texts have no word among {words}: {first}{more}; use other "
            'words, or take missing="mask"'
        )

    def _features_of_images(self, images: Any, batch: int) -> np.ndarray:
        if isinstance(images, (str, Path)):
            images = [images]
        if not len(images):
            raise InputError("images: there is none to encode; give at least one")
        return self._encode("encode_images", self.reading.images(self._unscaled(images)), batch=batch)

    def _unscaled(self, images: Any) -> np.ndarray:
        about = self.about["images"]
        if not isinstance(images, np.ndarray):
            source = self.about["system"]
            paths = [Path(picture) for picture in images]
            made_with = about.get("made_with"), self.weights
            return read_pictures(paths, about["feature"], about["resolution"], source, *made_with)
        pixels = about["dtype"] == "uint8"
        right = images.dtype == np.uint8 if pixels else np.issubdtype(images.dtype, np.floating)
        if not right or list(images.shape[1:]) != about["shape"]:
            raise InputError(
                f"images are {images.dtype} {list(images.shape)}; this model takes {about['dtype']} "
                f"{['n', *about['shape']]}: {about['feature']}, before scaling".replace("'", "")
            )
        if pixels:
            return images
        with np.errstate(over="ignore"):
            features = images.astype(np.float32, copy=False)
        if len(bad := np.flatnonzero(~np.isfinite(features).all(axis=1))):
            raise InputError(
                f"images: row {bad[0]} is not finite in float32 ({len(bad):,} such rows); extract the "
                "features again"
            )
        return features

    def _rows(self, embeddings_nD: np.ndarray) -> Rows:
        return embeddings_nD if self.model.bits is None else pack_codes(embeddings_nD)

    def _write(self, folder: Path, items: Sequence[dict[str, Any]]) -> None:
        params, constants = self._arrays
        texts, images, text = self.reading
        statistics = {"idf": texts.idf, "image_mean": images.mean, "image_divisor": images.divisor}
        statistics |= {} if text is None else {"text_mean": text.mean, "text_divisor": text.divisor}
        statistics |= {} if texts.mapped is None else texts.mapped.arrays()
        read = {
            f"reading.{name}": np.asarray(a, order="C") for name, a in statistics.items() if a is not None
        }
        save_safetensors(folder / PARAMETERS, _plain_arrays(params))
        save_safetensors(folder / CONSTANTS, _plain_arrays(constants) | read)
        about = {name: value for name, value in self.about.items() if name != "items"}
        if self.database is not None:
            kind = self.database.kind
            write_items(folder, items)
            FORMATS["safetensors"].write(
                folder, kind, {"texts": self.database.texts, "images": self.database.images}
            )
            about["items"] = {"kind": kind, "count": len(items)}
        digests = {name: _digest(folder / name) for name in (PARAMETERS, CONSTANTS)}
        write_json(folder / ABOUT, {**about, "sha256": digests})


def save_run_model(folder: RunFolder, retriever: Retriever) -> None:
    """Write RUN/model, whole or not at all; it says where the pictures of the run lie."""
    with replacing_folder(folder.model) as temporary:
        retriever._write(temporary, retriever.items)


def _only(embeddings_nE: np.ndarray, part: slice) -> np.ndarray:
    """Embeddings with zeros outside of a part, so that their scores are of that part alone."""
    kept_nE = np.zeros_like(embeddings_nE)
    kept_nE[:, part] = embeddings_nE[:, part]
    return kept_nE


def _hit(item: Mapping[str, Any], score: float) -> Hit:
    shown = ("id", "text", "picture", "labels", "metadata", "same_picture", "same_text")
    metadata = {**item.get("metadata", {}), **{name: item[name] for name in item if name not in shown}}
    return Hit(item["id"], score, item["text"], item.get("picture"), tuple(item["labels"]), metadata)


def _about(system: System, preset: str, step: int) -> dict[str, Any]:
    """What model.json says of a system."""
    corpus, experiment = system.inputs.corpus, system.experiment
    texts, root = system.inputs.reading.texts, experiment.data.root
    source = corpus.provenance.get("source")
    if source and root is not None:  # the folder by its name only
        root = Path(os.path.abspath(root))
        source = source.replace(str(root), root.name)
    return {
        "format": FORMAT,
        "system": system.title(experiment),
        "preset": preset,
        "kind": experiment.kind,
        "experiment": _without_paths(experiment_dict(experiment)),
        "checkpoint": step,
        **what_rows_are(system.applied_model, experiment),
        "vocabulary": corpus.vocabulary.to_dict(),
        "texts": {"weighting": texts.weighting, "length": texts.length, "width": texts.width},
        **({"text_features": system.sizes.text} if system.sizes.text else {}),
        "images": {
            "feature": experiment.data.image_feature,
            "resolution": corpus.provenance.get("options", {}).get("resolution"),
            "shape": list(corpus.images.shape[1:]),
            "dtype": str(corpus.images.dtype),
            **({"made_with": made_with} if (made_with := corpus.provenance.get("made_with")) else {}),
        },
        "class_names": list(corpus.class_names),
        "source": source,
        "commit": environment()["commit"],
        "gcnxmodal": __version__,
    }


def what_rows_are(model: Model, experiment: Any) -> dict[str, Any]:
    """What `encode_text` and `encode_image` give, and how two of them are compared (JSON values)."""
    if model.bits is not None:
        words = "bit k of a code is bit k % 32 of word k // 32"
        return {"rows": "codes", "bits": model.bits, "layout": words, "score": "hamming"}
    score = "inner product" if model.separable else SHORTLISTS
    return {"rows": "embeddings", "dimension": experiment.model.dimension, "score": score}


def _without_paths(experiment: dict[str, Any]) -> dict[str, Any]:
    """The configuration without what only the training machine has."""
    for path in _PATHS:
        section, name = path.split(".")
        if experiment.get(section, {}).get(name) is not None:
            experiment[section][name] = None
    return experiment


def _of_run(path: Path, root: Path | None, report: Callable[[str], None]) -> Retriever:
    """Of a run: the model that it wrote at its end; made again where its newest checkpoint is a later one."""
    folder = RunFolder(path)
    if not folder.config.exists():
        raise InputError(
            f"{path}: has no {ABOUT}, {EXPORT} or {folder.config.name}, so it is no model, export "
            "or run; name one"
        )
    if (folder.model / ABOUT).exists():
        step = folder.applied_step()
        if step is None or read_about(folder.model)["checkpoint"] >= step:
            return _load(folder.model)
    report(f"{path}: has no model of its newest checkpoint yet; restoring it with its data set")
    try:
        run = restore(path, root, report)
    except InputError as error:
        if not (folder.model / ABOUT).exists():
            raise
        step = read_about(folder.model)["checkpoint"]
        report(f"{error}\n{folder.model}: the model of step {step:,} answers")
        return _load(folder.model)
    retriever = Retriever.of_run(run).with_items(run.system.inputs)
    # Kept for the next search, if this process may write there and no other does.
    with contextlib.suppress(InputError), claimed(path, "RUN"):
        save_run_model(folder, retriever)
    return retriever


def _load(folder: Path) -> Retriever:
    """What `_write` wrote."""
    about = read_about(folder)
    constants, arrays = (_read_arrays(folder / name, about) for name in (CONSTANTS, PARAMETERS))
    try:
        vocabulary = Vocabulary.from_dict(about["vocabulary"])
        experiment = experiment_from(about["kind"], about["experiment"])
        system = SYSTEMS[experiment.kind]
        dense = about.get("text_features", 0)
        sizes = Sizes(len(vocabulary), tuple(about["images"]["shape"]), len(about["class_names"]), dense)
        held = system.constants_from(constants)
        model = system.applied(experiment, sizes, held)
        scalers = [
            FeatureScaler(*(constants.get(f"reading.{side}_{part}") for part in ("mean", "divisor")))
            for side in ("image", "text")
        ]
        mapped = {name: constants[f"reading.{name}"] for name in MAPPED if f"reading.{name}" in constants}
        texts = TextReader(
            vocabulary,
            idf=constants.get("reading.idf"),
            mapped=MappedWords.from_arrays(mapped) if mapped else None,
            **about["texts"],
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise InputError(
            f"{folder / ABOUT}: does not describe a model of this version ({error}); export again"
        ) from error
    params = _filled(nnx.split(model, Constant, ...)[2], arrays, folder / PARAMETERS)
    retriever = Retriever(about, model, params, held, Reading(texts, *scalers[: 2 if dense else 1]))
    if stored := about.get("items"):
        rows = FORMATS["safetensors"].read(folder, stored["kind"])
        retriever.items, retriever.database = _items(retriever, folder, stored["kind"], rows)
    return retriever


def _load_export(folder: Path) -> Retriever:
    """The model of an export with the rows that the export has."""
    about = _read(folder / EXPORT, _Export)
    retriever = _load(folder / "model")
    rows = FORMATS[about["to"]].read(folder, about["rows"])
    retriever.items, retriever.database = _items(retriever, folder, about["rows"], rows)
    return retriever


def _items(
    retriever: Retriever, folder: Path, kind: str, rows: tuple[Rows, Rows]
) -> tuple[list[dict[str, Any]], Database]:
    items, (texts, images) = read_items(folder), rows
    if not len(items) == len(texts) == len(images):
        raise InputError(
            f"{folder}: {len(items):,} items, {len(texts):,} texts, {len(images):,} images; export again"
        )
    made: dict[str, Callable[[], Database]] = {
        "embeddings": lambda: Embeddings(texts, images),
        "codes": lambda: Codes(texts, images, retriever.model.bits or 0),
        "features": lambda: PairFeatures(texts, images, retriever),
    }
    return items, made[kind]()


class _Format(Schema):
    format: int


class _Export(_Format):
    to: Literal[*FORMATS]  # pyright: ignore[reportInvalidTypeForm]
    rows: Literal["embeddings", "codes"]


class _Words(Schema):
    words: list[str]
    tokenizer: dict[str, Any]


class _Texts(Schema, extra="forbid"):
    weighting: str | None
    length: int
    width: int


class _Images(Schema):
    feature: str
    resolution: int | None
    shape: list[int]
    dtype: str


class _Items(Schema):
    kind: Literal["embeddings", "codes", "features"]
    count: int


class _About(_Format):
    system: str
    preset: str
    kind: str
    experiment: dict[str, Any]
    checkpoint: int
    rows: str
    score: str
    vocabulary: _Words
    texts: _Texts
    images: _Images
    class_names: list[str]
    source: str | None
    commit: str
    sha256: dict[str, str]
    items: _Items | None = None


def read_about(folder: Path) -> dict[str, Any]:
    """model.json of a model.

    Raises:
        InputError: if it is missing, damaged, or of another version.
    """
    return _read(folder / ABOUT, _About)


def _read(path: Path, schema: type[Schema]) -> dict[str, Any]:
    if read_json(path, _Format, "export again")["format"] != FORMAT:
        raise InputError(f"{path}: is not of format {FORMAT}, which this version reads; export again")
    return read_json(path, schema, "export again")


def _read_arrays(path: Path, about: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = read_weights(path)
    if _digest(path) != about["sha256"].get(path.name):
        raise InputError(f"{path}: is not the file that {ABOUT} was written with; export again")
    return arrays


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain_arrays(tree: Any) -> dict[str, np.ndarray]:
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


@partial(jax.jit, static_argnums=(0, 1))
def _applied(graphdef, method, params, constants, *rows):
    return getattr(nnx.merge(graphdef, params, constants), method)(*rows)


@dataclasses.dataclass(frozen=True)
class PairScore:
    """`score_all_pairs` of a structure: equal structures are compiled once."""

    graphdef: nnx.GraphDef

    def __call__(self, arrays: tuple[Any, Any], texts_QD: Array, images_MD: Array) -> Array:
        return nnx.merge(self.graphdef, *arrays).score_all_pairs(texts_QD, images_MD)


def _in_chunks(function: Callable, arrays: Any, rows: Any, chunk: int = CHUNK) -> np.ndarray:
    """`function` of some rows of an array, or of rows of several arrays side by side, `chunk` at a time.

    The last chunk is padded, so that one program serves all.
    """
    arrays, rows = (x if isinstance(x, tuple) else (x,) for x in (arrays, rows))
    results = []
    for start in range(0, len(rows[0]), chunk):
        numbers = [part[start : start + chunk] for part in rows]
        parts = [_dense(array[part], chunk) for array, part in zip(arrays, numbers, strict=True)]
        results.append(np.asarray(function(*parts))[: len(numbers[0])])
    return np.concatenate(results)


def _dense(part: np.ndarray | sp.csr_array, size: int) -> np.ndarray:
    """The rows as one array, filled up with zeros to `size` rows."""
    part = part if isinstance(part, np.ndarray) else part.toarray()
    padded = np.zeros((size, *part.shape[1:]), part.dtype)
    padded[: len(part)] = part
    return padded
