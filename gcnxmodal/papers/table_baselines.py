"""Baselines of a paper's table that no run measures: which are there, which are not, how they are made."""

import dataclasses
import hashlib
import inspect
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gcnxmodal.baselines import HASHING_METHODS, METHODS, selection
from gcnxmodal.config import experiment_dict, flat
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.environment import environment
from gcnxmodal.errors import InputError
from gcnxmodal.finish import kept_curves, kept_scope
from gcnxmodal.measure import (
    Items,
    evaluate_baseline,
    evaluate_signs,
    fit_baseline,
    flat_images,
)
from gcnxmodal.papers.table_parts import Part, Source
from gcnxmodal.retrieval.hamming import average_precisions, pack_codes
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS
from gcnxmodal.runs import write_json

_OF_TEXTS = ("words", "stop_words", "lemmatise", "segmenter")  # what word counts depend on


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One baseline on a part's data, with one seed if it is random.

    Attributes:
        path: of the JSON with its numbers, or with the reason why it has none.
    """

    part: Part
    source: Source
    seed: int | None
    path: Path

    @property
    def name(self) -> str:
        bits, seed = self.source.fixed.get("bits"), self.seed
        words = [self.source.label or self.source.system, "" if bits is None else f"{bits} bits"]
        return ", ".join([*filter(None, words), *([] if seed is None else [f"seed {seed}"])])

    @property
    def chosen(self) -> Path:
        """The file of its hyper-parameters, which all seeds share."""
        return self.path.with_name(f"{_stem(self.source)}-chosen.json")

    @property
    def curves(self) -> Path:
        """As `RunFolder.curves`."""
        return self.path.with_name(f"{self.path.stem}-curves.json")

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


class BaselineFolder:
    """The measurements of the baselines of a table or figure.

    PART/METHOD[-Bbits][-seedS].json    its numbers, or why it has none
    PART/METHOD[-Bbits]-chosen.json     the hyper-parameters that were chosen, once for all seeds
    PART/...-curves.json                what may be drawn
    PART/official/...                   the same on Wikipedia's official features

    What is there is not measured again.
    """

    def __init__(self, sources: Iterable[Source], path: Path):
        self.sources = [source for source in sources if not source.of_runs]
        self.path = path

    def asked(self, part: Part, seeds: int) -> list[Measurement]:
        """All that is needed of a part; of a random method the seeds 0 to seeds - 1."""
        sources = [source for source in self.sources if source.part == part.name]
        found = [
            self._measurement(part, source, seed) for source in sources for seed in _seeds(source, seeds)
        ]
        # One corpus after the other: the official features last.
        found.sort(key=lambda measurement: measurement.source.official)
        return list({measurement.path: measurement for measurement in found}.values())

    def missing(self, part: Part, seeds: int) -> list[Measurement]:
        """Those of `asked` that have neither numbers nor a reason."""
        return [measurement for measurement in self.asked(part, seeds) if not measurement.path.exists()]

    def results(self, part: Part, source: Source, seeds: int) -> list[tuple[Measurement, dict[str, Any]]]:
        """What is there of a cell."""
        asked = [self._measurement(part, source, seed) for seed in _seeds(source, seeds)]
        return [(found, _read(found.path)) for found in asked if found.path.exists()]

    def check(self, part: Part, seeds: int) -> None:
        """Refuse numbers that were made with other options; changes nothing.

        Raises:
            InputError: naming the file, the field and the fix.
        """
        for measurement in self.asked(part, seeds):
            for path in (measurement.chosen, measurement.path):
                if not path.exists():
                    continue
                config, stored = measurement.config(), _read(path)
                now, before = flat(config), flat({name: stored.get(name) for name in config})
                for field in sorted({*now, *before}):
                    if now.get(field) != before.get(field):
                        raise InputError(
                            f"{path}: these numbers have {field} = {before.get(field)} but the command says "
                            f"{now.get(field)}; give the same value, --overwrite to replace them, or another "
                            "--folder"
                        )

    def check_corpus(
        self, part: Part, seeds: int, hashes: Mapping[str, str], *, official: bool = False
    ) -> None:
        """Refuse numbers of other data; changes nothing.

        Args:
            hashes: of the part's corpus, as its provenance has them; or `official_hashes`.
            official: check what is of Wikipedia's official features, in place of the rest.

        Raises:
            InputError: naming the file and the fix.
        """
        for measurement in self.asked(part, seeds):
            for path in (measurement.chosen, measurement.path):
                if path.exists() and measurement.source.official == official:
                    refuse_other_data(path, _read(path).get("corpus"), hashes)

    def reads_official(self, part: Part) -> bool:
        """Whether one of its baselines is of Wikipedia's official features."""
        return any(source.official for source in self.sources if source.part == part.name)

    def remove(self, part: Part) -> None:
        shutil.rmtree(self.path / part.name, ignore_errors=True)

    def _measurement(self, part: Part, source: Source, seed: int | None) -> Measurement:
        folder = self.path / part.name / ("official" if source.official else "")
        name = _stem(source) if seed is None else f"{_stem(source)}-seed{seed}"
        return Measurement(part, source, seed, folder / f"{name}.json")


def measure(measurements: Sequence[Measurement], report: Callable[[str], None]) -> None:
    """Choose, fit, evaluate and write each; a line a measurement, with its seconds and `standard` MAP.

    Args:
        measurements: of one part.
        report: called with a line for the user.

    Raises:
        InputError: for a fault of the data. What a method cannot take, or solve, becomes its reason.
    """
    data: dict[bool, Corpus | Items] = {}
    for number, measurement in enumerate(measurements, 1):
        official = measurement.source.official
        if official not in data:
            data = {official: _data(measurement.part, official)}
        head = (
            f"  {number}/{len(measurements)} {measurement.name}{' (official features)' if official else ''}"
        )
        started = time.perf_counter()
        measurement.path.parent.mkdir(parents=True, exist_ok=True)
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


def method_of(source: Source) -> Callable[..., Any]:
    """The estimator that a cell asks for; with `bits`, one whose signs are a code."""
    return (HASHING_METHODS if "bits" in source.fixed else METHODS)[source.system]


def _chosen(measurement: Measurement, items: Corpus | Items) -> dict[str, Any]:
    """Keyword arguments of the method: `fixed`, and what `select` finds on a part of the training items."""
    if measurement.chosen.exists():
        return {**_read(measurement.chosen)["parameters"], **measurement.source.fixed}
    started = time.perf_counter()
    source, train, candidates = measurement.source, items.splits["train"], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        parameters = selection.select(
            method_of(source),
            flat_images(items.images)[train],
            items.counts[train],
            items.labels[train],
            groups=None if items.groups is None else items.groups[train],
            fixed=source.fixed,
            measure=_map_of_signs if "bits" in source.fixed else selection.average_standard_map,
            report=candidates.append,
        )
    found = {"parameters": parameters, "candidates": candidates, "seconds": time.perf_counter() - started}
    write_json(measurement.chosen, {**measurement.config(), **_hashes(items), **found, **environment()})
    return parameters


def _map_of_signs(method: Any, held: selection.Items, fitted: selection.Items) -> float:
    """`hashing@500` MAP of the items held out, mean of both directions: what a code is for."""
    encoders = {"texts": method.encode_texts, "images": method.encode_images}
    codes = {
        name: [pack_codes(encode(getattr(items, name))) for items in (held, fitted)]
        for name, encode in encoders.items()
    }
    protocol = HASHING_PROTOCOLS["hashing@500"]
    return float(
        np.mean(
            [
                average_precisions(
                    codes[query][0],
                    codes[base][1],
                    held.labels,
                    fitted.labels,
                    protocol.cutoff,
                    protocol.norm,
                ).mean()
                for query, base in (("texts", "images"), ("images", "texts"))
            ]
        )
    )


def _evaluate(measurement: Measurement, chosen: dict[str, Any], items: Corpus | Items) -> dict[str, Any]:
    """MAP under every protocol; of codes also as expected under random ties. Curves go into their file."""
    seed = {} if measurement.seed is None else {"seed": measurement.seed}
    method = method_of(measurement.source)(**chosen, **seed)
    if "bits" not in measurement.source.fixed:
        found = evaluate_baseline(method, items)
        write_json(measurement.curves, {"scope": kept_scope(found["curves"])}, indent=None)
        return {"protocols": found["protocols"]}
    found = evaluate_signs(*fit_baseline(method, items), items)
    write_json(measurement.curves, kept_curves({"model": found})["model"], indent=None)
    return {"protocols": found["protocols"], "expected": {"model": found["expected"]}}


def _data(part: Part, official: bool) -> Corpus | Items:
    if not official:
        return load_corpus(part.experiment.data, part.experiment.text)
    found = official_features(part.experiment.data.root)
    images, texts, labels = (
        np.concatenate([found[f"{name}_tr"], found[f"{name}_te"]]) for name in ("I", "T", "labels")
    )
    rows, train = np.arange(len(labels)), len(found["I_tr"])
    return Items(images, texts, labels, {"train": rows[:train], "test": rows[train:]})


def _seeds(source: Source, seeds: int) -> Sequence[int | None]:
    random = "seed" in inspect.signature(method_of(source)).parameters
    return range(seeds) if random else (None,)


def _stem(source: Source) -> str:
    bits = source.fixed.get("bits")
    if source.label:
        return source.label
    return source.system if bits is None else f"{source.system}-{bits}bits"


def official_hashes(part: Part) -> dict[str, str]:
    """The SHA-256 of each of Wikipedia's official arrays, read from the part's root.

    Raises:
        InputError: as `official_features`.
    """
    return _hashes(_data(part, official=True))["corpus"]


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


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not a measurement of a baseline: {error}; remove the file") from error
