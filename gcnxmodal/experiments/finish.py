"""What a run ends with: every measurement, results.json and the report."""

import time
from typing import Any

import numpy as np

from gcnxmodal.environment import environment
from gcnxmodal.experiments import PRESETS
from gcnxmodal.experiments.config import Experiment
from gcnxmodal.experiments.gin import GIN_TABLE_1
from gcnxmodal.experiments.measure import measure
from gcnxmodal.experiments.published import SCANET_2, SCANET_COLUMNS
from gcnxmodal.experiments.retriever import Retriever
from gcnxmodal.experiments.run_folder import RunFolder, experiment_dict, flat, write_json
from gcnxmodal.experiments.system import System
from gcnxmodal.report.gallery import Gallery, build_gallery, choose_queries, item_of
from gcnxmodal.report.page import write_report
from gcnxmodal.report.reasons import Reasons, describe_attention, heaviest_words

REASONS = 3  # queries of the gallery whose own pairs are explained


def finish(
    system: System,
    params: Any,
    folder: RunFolder,
    preset: str,
    compile_seconds: float | None = None,
    yardsticks: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure, write results.json and report.html, and return the results.

    Args:
        system: the system of the run.
        params: its trained parameters.
        folder: where the run lies.
        preset: name of the preset, for titles and the paper's row.
        compile_seconds: of this session's training; None if it did not train.
        yardsticks: as `measure` takes them.
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
    write_json(folder.results, results)
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
        paper_row=_paper_row(preset),
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


def _paper_row(preset: str) -> dict[str, Any] | None:
    """The published result of a preset's system on its data set."""
    if row := GIN_TABLE_1.get(preset.removesuffix("-tuned")):
        return {**row, "source": "GIN (Yu et al. 2018), Table 1"}
    column = next((name for name in SCANET_COLUMNS if preset.startswith(f"scanet-{name}-")), None)
    if column is None:
        return None
    found = SCANET_2["SCANet"][SCANET_COLUMNS.index(column)]
    assert found is not None
    values = dict(zip(("text_query", "image_query", "average"), found, strict=True))
    return {**values, "source": "SCANet (Lu et al. 2018), Table 2"}


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
