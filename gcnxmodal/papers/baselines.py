"""Baselines that no run measures: chosen on a part of the training items, fitted, evaluated and written."""

import dataclasses
import hashlib
import inspect
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from sklearn.exceptions import ConvergenceWarning

from gcnxmodal.baselines import HASHING_METHODS, METHODS, selection
from gcnxmodal.baselines.base import Items
from gcnxmodal.config import experiment_dict
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.files import read_json
from gcnxmodal.data.load import load_corpus
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.environment import environment
from gcnxmodal.errors import InputError
from gcnxmodal.evaluation import (
    evaluate_baseline,
    evaluate_signs,
    fit_baseline,
    flat_images,
    kept_curves,
    kept_scope,
)
from gcnxmodal.papers.table import Part, Source
from gcnxmodal.retrieval.hamming import average_precisions, pack_codes
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS
from gcnxmodal.runs import Made, Scores, write_json

_OF_TEXTS = ("words", "stop_words", "lemmatise", "segmenter")  # what word counts depend on


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One baseline on a part's data, with one seed if it is random, and its files.

    METHOD[-Bbits][-seedS].json         its numbers, or why it has none
    METHOD[-Bbits][-seedS]-curves.json  what may be drawn, as `RunFolder.curves`
    METHOD[-Bbits]-chosen.json          the hyper-parameters that were chosen, once for all seeds
    official/...                        the same on Wikipedia's official features

    Attributes:
        folder: of the part.
    """

    part: Part
    source: Source
    seed: int | None
    folder: Path

    @property
    def name(self) -> str:
        bits = self.source.fixed.get("bits")
        words = [
            self.source.label or self.source.system,
            "" if bits is None else f"{bits} bits",
            "" if self.seed is None else f"seed {self.seed}",
        ]
        return ", ".join(filter(None, words))

    @property
    def path(self) -> Path:
        return self._file("" if self.seed is None else f"-seed{self.seed}")

    @property
    def curves(self) -> Path:
        return self.path.with_name(f"{self.path.stem}-curves.json")

    @property
    def chosen(self) -> Path:
        return self._file("-chosen")

    def config(self) -> dict[str, Any]:
        """What decides the numbers, as JSON has it; where the data lie does not."""
        experiment = experiment_dict(self.part.experiment)
        config = {
            "method": self.source.system,
            "fixed": dict(self.source.fixed),
            "official": self.source.official,
            "data": {name: value for name, value in experiment["data"].items() if name != "root"},
            "text": {name: experiment["text"][name] for name in _OF_TEXTS},
        }
        return json.loads(json.dumps(config))

    def _file(self, ending: str) -> Path:
        bits = self.source.fixed.get("bits")
        stem = self.source.label or self.source.system + ("" if bits is None else f"-{bits}bits")
        return self.folder / ("official" if self.source.official else "") / f"{stem}{ending}.json"


def measurements(part: Part, source: Source, seeds: int, folder: Path) -> list[Measurement]:
    """Those of a cell; of a random method the seeds 0 to seeds - 1."""
    random = "random_state" in inspect.signature(_method(source)).parameters
    return [Measurement(part, source, seed, folder) for seed in (range(seeds) if random else (None,))]


def measure(asked: Sequence[Measurement], report: Callable[[str], None]) -> None:
    """Choose, fit, evaluate and write each; a line a measurement, with its seconds and `standard` MAP.

    Args:
        asked: measurements of one part.
        report: called with a line for the user.

    Raises:
        InputError: for a fault of the data. What a method cannot take, or solve, becomes its reason.
    """
    data: Mapping[bool, Corpus | Items] = {}
    for number, measurement in enumerate(asked, 1):
        official = measurement.source.official
        if official not in data:
            data = {official: _data(measurement.part, official)}
        head = f"  {number}/{len(asked)} {measurement.name}{' (official features)' if official else ''}"
        started = time.perf_counter()
        result = {**measurement.config(), **_hashes(data[official]), "seed": measurement.seed, "reason": ""}
        try:
            chosen = _chosen(measurement, data[official])
            result |= {"parameters": chosen, **_evaluate(measurement, chosen, data[official])}
            scores = result["protocols"]["standard"]
            words = f"MAP text {scores['text_query']:.3f} image {scores['image_query']:.3f}"
        except (InputError, np.linalg.LinAlgError) as error:
            result["reason"] = words = str(error)
        result |= {"seconds": time.perf_counter() - started, **environment()}
        write_json(measurement.path, result)
        report(f"{head}  {result['seconds']:.1f} s  {words}")


class _Kept(Made):
    corpus: dict[str, str] | None = None


class Measured(_Kept):
    """The numbers of a measurement, or why it has none."""

    reason: str
    protocols: Mapping[str, Scores] = {}
    expected: Mapping[str, dict[str, Scores]] = {}

    @pydantic.model_validator(mode="after")
    def _has_numbers_or_a_reason(self) -> "Measured":
        if not self.protocols and not self.reason:
            raise ValueError("there are neither 'protocols' nor a 'reason'")
        return self


class _Chosen(_Kept):
    parameters: dict[str, Any]


def read_measurement(path: Path, schema: type[Made] = _Kept) -> dict[str, Any]:
    """A file of a measurement.

    Raises:
        InputError: if it is no JSON, or not what `schema` describes.
    """
    return read_json(path, schema, "it is no measurement of a baseline: remove the file")


def official_hashes(part: Part) -> dict[str, str]:
    """The SHA-256 of each of Wikipedia's official arrays, read from the part's root.

    Raises:
        InputError: as `official_features`.
    """
    return _hashes(_data(part, official=True))["corpus"]


def refuse_other_data(path: Path, kept: Mapping[str, str] | None, hashes: Mapping[str, str]) -> None:
    """Refuse a file whose numbers are of data with other hashes; None: it is older than they are.

    Raises:
        InputError: naming the file and the fix.
    """
    if differ := [name for name in hashes if kept is not None and kept.get(name) != hashes[name]]:
        raise InputError(
            f"{path}: these numbers are of other data: {' and '.join(differ)} of the corpus differ; name the "
            "folder of the data that they are of, --overwrite to replace them, or another --folder"
        )


def _method(source: Source) -> Callable[..., Any]:
    """The estimator that a cell asks for; with `bits`, one whose signs are a code."""
    return (HASHING_METHODS if "bits" in source.fixed else METHODS)[source.system]


def _chosen(measurement: Measurement, items: Corpus | Items) -> dict[str, Any]:
    """Keyword arguments of the method: `fixed`, and what `select` finds on a part of the training items."""
    if measurement.chosen.exists():
        return {**read_measurement(measurement.chosen, _Chosen)["parameters"], **measurement.source.fixed}
    started = time.perf_counter()
    source, train, candidates = measurement.source, items.splits["train"], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        parameters = selection.select(
            _method(source),
            flat_images(items.images)[train],
            items.counts[train],
            items.labels[train],
            groups=None if items.groups is None else np.asarray(items.groups)[train],
            fixed=source.fixed,
            measure=_map_of_signs if "bits" in source.fixed else selection.average_standard_map,
            report=candidates.append,
        )
    choice = {"parameters": parameters, "candidates": candidates, "seconds": time.perf_counter() - started}
    write_json(measurement.chosen, {**measurement.config(), **_hashes(items), **choice, **environment()})
    return parameters


def _map_of_signs(method: Any, held: Items, fitted: Items) -> float:
    """`hashing@500` MAP of the items held out, mean of both directions: what a code is for."""
    encoders = {"counts": method.encode_texts, "images": method.encode_images}
    codes = {
        name: [pack_codes(encode(getattr(items, name))) for items in (held, fitted)]
        for name, encode in encoders.items()
    }
    cutoff, norm = HASHING_PROTOCOLS["hashing@500"].cutoff, HASHING_PROTOCOLS["hashing@500"].norm
    means = []
    for query, base in (("counts", "images"), ("images", "counts")):
        scores = average_precisions(codes[query][0], codes[base][1], held.labels, fitted.labels, cutoff, norm)
        means.append(scores.mean())
    return float(np.mean(means))


def _evaluate(measurement: Measurement, chosen: dict[str, Any], items: Corpus | Items) -> dict[str, Any]:
    """MAP under every protocol; of codes also as expected under random ties. Curves go into their file."""
    seed = {} if measurement.seed is None else {"random_state": measurement.seed}
    method = _method(measurement.source)(**chosen, **seed)
    if "bits" not in measurement.source.fixed:
        result = evaluate_baseline(method, items)
        write_json(measurement.curves, {"scope": kept_scope(result["curves"])}, indent=None)
        return {"protocols": result["protocols"]}
    result = evaluate_signs(*fit_baseline(method, items), items)
    write_json(measurement.curves, kept_curves({"model": result})["model"], indent=None)
    return {"protocols": result["protocols"], "expected": {"model": result["expected"]}}


def _data(part: Part, official: bool) -> Corpus | Items:
    if not official:
        return load_corpus(part.experiment.data, part.experiment.text)
    arrays = official_features(part.experiment.data.root)
    images, texts, labels = (
        np.concatenate([arrays[f"{name}_tr"], arrays[f"{name}_te"]]) for name in ("I", "T", "labels")
    )
    rows, train = np.arange(len(labels)), len(arrays["I_tr"])
    return Items(images, texts, labels, {"train": rows[:train], "test": rows[train:]})


def _hashes(items: Corpus | Items) -> dict[str, dict[str, str]]:
    """What numbers keep of the data that they are of."""
    if isinstance(items, Corpus):
        return {"corpus": items.provenance["hash"]}
    train = len(items.splits["train"])
    arrays = {"images": items.images, "texts": items.counts, "labels": items.labels}
    # The lengths of rows and of the training split, as bytes alone do not tell them.
    return {
        "corpus": {
            f"official {name}": hashlib.sha256(
                f"{array.shape} {train} ".encode() + array.tobytes()
            ).hexdigest()
            for name, array in arrays.items()
        }
    }
