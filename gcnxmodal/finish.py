"""What a run ends with: every measurement, results.json and the report."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from gcnxmodal.config import Experiment, experiment_dict, flat
from gcnxmodal.environment import environment
from gcnxmodal.measure import measure
from gcnxmodal.papers.gch import GCH_1, GCH_2, GCH_BITS, GCH_DATA
from gcnxmodal.papers.scanet import SCANET_2, SCANET_COLUMNS
from gcnxmodal.papers.sspe import SSPE_1, SSPE_DATA
from gcnxmodal.papers.table import DIRECTIONS, two_directions
from gcnxmodal.report.gallery import Gallery, build_gallery, choose_queries, item_of
from gcnxmodal.report.page import write_report
from gcnxmodal.report.reasons import Reasons, describe_attention, heaviest_words
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import RunFolder, write_json
from gcnxmodal.systems import PRESETS
from gcnxmodal.systems.base import System
from gcnxmodal.systems.gch_config import HashingExperiment
from gcnxmodal.systems.gin_presets import GIN_TABLE_1

REASONS = 3  # queries of the gallery whose own pairs are explained


def finish(
    system: System,
    params: Any,
    folder: RunFolder,
    preset: str,
    compile_seconds: float | None = None,
    yardsticks: dict[str, dict[str, Any]] | None = None,
    *,
    report: bool = True,
) -> dict[str, Any]:
    """Measure, write results.json, curves.json and report.html, and return the results.

    Args:
        system: the system of the run.
        params: its trained parameters.
        folder: where the run lies.
        preset: name of the preset, for titles and the paper's row.
        compile_seconds: of this session's training; None if it did not train.
        yardsticks: as `measure` takes them.
        report: whether to write report.html, which takes most of the time.
    """
    started = time.perf_counter()
    results, details = measure(system, params, yardsticks)
    history = folder.history()
    results |= {
        "preset": preset,
        "seed": system.experiment.seed,
        "epochs": len(history),
        "seconds": {
            "compile": compile_seconds,
            "train": sum(line["seconds"] for line in history),
            "evaluate": time.perf_counter() - started,
        },
        "provenance": system.inputs.corpus.provenance,
        "graph": system.inputs.graph_report,
        **environment(),
    }
    # Before the results, which say that a member of a sweep is finished.
    write_json(folder.curves, kept_curves(details) if system.hashes else kept_scopes(details), indent=None)
    write_json(folder.results, results)
    if not report:
        return results
    retriever = Retriever(system, params)
    queries = choose_queries(system.inputs.corpus, system.experiment.seed)
    write_report(
        folder.path,
        title=preset,
        system=system.title,
        results=results,
        details=details,
        history=history,
        class_names=system.inputs.corpus.class_names,
        gallery=_gallery(retriever, queries),
        reasons=_reasons(retriever, queries[:REASONS]) if system.explains else [],
        paper_row=paper_row(preset, system.experiment),
        config={"preset": preset, **experiment_dict(system.experiment)},
        command=command_line(preset, system.experiment),
        date=time.strftime("%Y-%m-%d"),
    )
    return results


def command_line(preset: str, experiment: Experiment, module: str = "gcnxmodal.train") -> str:
    """The line that makes this run: the preset, and each value that differs from it."""
    before = flat(experiment_dict(PRESETS[preset][1]))
    words = [f"python -m {module}", preset]
    for field, value in flat(experiment_dict(experiment)).items():
        if value != before[field]:
            option = f"--{field.replace('_', '-')}"
            if isinstance(value, bool):
                section, dot, name = option[2:].rpartition(".")
                words.append(option if value else f"--{section}{dot}no-{name}")
            else:
                words += [option, *(str(v) for v in (value if isinstance(value, list) else [value]))]
    return " ".join(words)


def kept_curves(details: Mapping[str, Any]) -> dict[str, Any]:
    """Hash lookup and precision@N of each system that has codes: what `curves.json` holds.

    Numbers have five decimals, enough to draw, for there are thousands.
    """
    kinds = ("lookup", "precision_at")
    return {
        system: {kind: _rounded(found[kind]) for kind in kinds}
        for system, found in details.items()
        if all(kind in found for kind in kinds)
    }


def kept_scopes(details: Mapping[str, Any]) -> dict[str, Any]:
    """Precision by scope of each system that has no codes: what `curves.json` holds then."""
    return {system: {"scope": kept_scope(found["curves"])} for system, found in details.items()}


def kept_scope(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Precision among the first n items by direction, at enough n to draw it: the first 50, then 100 more."""
    found = {}
    for direction, curve in curves.items():
        n = np.array(curve["scope"])
        drawn = np.flatnonzero(n <= 50)
        if n[-1] > 50:
            far = np.searchsorted(n, np.geomspace(50, n[-1], 101)[1:].round())
            drawn = np.unique([*drawn, *far])
        precision = [curve["precision_at_scope"][place] for place in drawn]
        found[direction] = _rounded({"n": n[drawn].tolist(), "precision": precision})
    return found


def _rounded(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _rounded(value) for name, value in tree.items()}
    return [round(value, 5) if isinstance(value, float) else value for value in tree]


def paper_row(preset: str, experiment: Experiment) -> dict[str, Any] | None:
    """The published result of a preset's system on its data set."""
    if row := GIN_TABLE_1.get(preset.removesuffix("-tuned")):
        return {**row, "source": "GIN (Yu et al. 2018), Table 1"}
    if isinstance(experiment, HashingExperiment):
        return _gch_row(preset, experiment)
    if preset.removeprefix("sspe-") in SSPE_DATA:
        found = two_directions(SSPE_1, "SSPE")[SSPE_DATA.index(preset.removeprefix("sspe-"))]
        return {
            **dict(zip(DIRECTIONS, found, strict=True)),
            "source": "SSPE (Wu et al. 2018), Table 1",
            "note": "The paper's protocol is standard: test items rank test items and the whole ranking "
            "counts. Its image feature is fc7 of CaffeNet, and its lists of photos are not known.",
        }
    column = next((name for name in SCANET_COLUMNS if preset.startswith(f"scanet-{name}-")), None)
    if column is None:
        return None
    found = SCANET_2["SCANet"][SCANET_COLUMNS.index(column)]
    assert found is not None
    values = dict(zip(DIRECTIONS, found, strict=True))
    return {**values, "source": "SCANet (Lu et al. 2018), Table 2"}


def _gch_row(preset: str, experiment: HashingExperiment) -> dict[str, Any] | None:
    """GCH's of its Table 1, or GCH-A's of Table 2, at the lengths of code that these have."""
    bits, ablated = experiment.model.bits, experiment.model.beacon == "dense"
    column = next((place for place, name in enumerate(GCH_DATA) if preset.startswith(f"gch-{name}-")), None)
    if column is None or bits not in (GCH_BITS[:1] if ablated else GCH_BITS):
        return None
    name, table = ("GCH-A", 2) if ablated else ("GCH", 1)
    if ablated:
        found = two_directions(GCH_2, name)[column]
    else:
        found = two_directions(GCH_1, name)[len(GCH_BITS) * column + GCH_BITS.index(bits)]
    return {
        **dict(zip(DIRECTIONS, found, strict=True)),
        "source": f"{name} at {bits} bits (Xu et al. 2019), Table {table}",
        "note": "The paper says that MAP is over the first 500 of the retrieval split (hashing@500); its "
        "public code ranks all of it (hashing).",
    }


def _gallery(retriever: Retriever, queries: np.ndarray) -> Gallery:
    corpus = retriever.system.inputs.corpus
    test = corpus.splits["test"]
    images_found, _ = retriever.search(
        (retriever.encode_texts(queries), retriever.encode_images(test)), 8, by="text"
    )
    texts_found, _ = retriever.search(
        (retriever.encode_texts(test), retriever.encode_images(queries)), 8, by="image"
    )
    return build_gallery(corpus, queries, test[images_found], test[texts_found])


def _reasons(retriever: Retriever, rows: np.ndarray) -> list[Reasons]:
    """Why the pairs of these rows score as they do."""
    inputs, layers = retriever.system.inputs, retriever.system.experiment.model.attention_layers
    corpus, texts = inputs.corpus, inputs.texts
    found = retriever.explain(rows)
    reasons = []
    for number, row in enumerate(rows):
        # Of counts the words that are there; of a sequence every place that is filled.
        places = np.flatnonzero(texts[row] >= 0) if isinstance(texts, np.ndarray) else texts[[row]].indices
        words = texts[row][places] if isinstance(texts, np.ndarray) else places
        attention = [
            describe_attention(f"layer {layer + 1}, from the {side}", np.asarray(weights[layer, number]))
            for layer in range(layers)
            for side, weights in (("text", found.text_attention), ("image", found.image_attention))
        ]
        reasons.append(
            Reasons(
                item_of(corpus, row),
                float(found.scores[number]),
                heaviest_words(
                    [corpus.vocabulary.words[w] for w in words], np.asarray(found.words[number])[places]
                ),
                tuple(attention),
            )
        )
    return reasons
