"""What a run ends with: every measurement, results.json and the report."""

import time
from typing import Any

import numpy as np

from gcnxmodal.environment import environment
from gcnxmodal.experiments import PRESETS
from gcnxmodal.experiments.config import Experiment
from gcnxmodal.experiments.gin import GIN_TABLE_1
from gcnxmodal.experiments.measure import measure
from gcnxmodal.experiments.retriever import Retriever
from gcnxmodal.experiments.run_folder import RunFolder, experiment_dict, flat, write_json
from gcnxmodal.experiments.system import System
from gcnxmodal.report.gallery import build_gallery, choose, item_of
from gcnxmodal.report.page import write_report
from gcnxmodal.report.reasons import Reasons, describe_attention, heaviest_words

SYSTEMS = {"gin": "GIN", "scanet": "SCANet"}
"""The name of a system by the first word of its presets."""


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
    write_report(
        folder.path,
        title=preset,
        system=SYSTEMS[preset.split("-")[0]],
        results=results,
        details=details,
        history=history,
        class_names=system.inputs.corpus.class_names,
        gallery=_gallery(system, params),
        reasons=_reasons(system, params),
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
    row = GIN_TABLE_1.get(preset.removesuffix("-tuned"))
    return None if row is None else {**row, "source": "GIN (Yu et al. 2018), Table 1"}


def _gallery(system: System, params: Any) -> Any:
    test = system.inputs.corpus.splits["test"]
    retriever = Retriever(system, params)
    features = retriever.encode(test)
    pictures_of_text, _ = retriever.search(features, 8, by="text")
    texts_of_picture, _ = retriever.search(features, 8, by="image")
    return build_gallery(
        system.inputs.corpus,
        test[np.asarray(pictures_of_text)],
        test[np.asarray(texts_of_picture)],
        seed=system.experiment.seed,
    )


def _reasons(system: System, params: Any, count: int = 3) -> list[Reasons]:
    """Why the first pairs of the gallery score as they do."""
    corpus, texts = system.inputs.corpus, system.inputs.texts
    test = corpus.splits["test"]
    rows = test[choose(corpus.labels[test], count, system.experiment.seed)]
    found = Retriever(system, params).explain(rows)
    reasons = []
    for number, row in enumerate(rows):
        # Of counts the words that are there; of a sequence every place that is filled.
        places = np.flatnonzero(texts[row] >= 0) if isinstance(texts, np.ndarray) else texts[[row]].indices
        words = texts[row][places] if isinstance(texts, np.ndarray) else places
        attention = [
            describe_attention(f"layer {layer + 1}, from the {side}", np.asarray(weights[layer, number]))
            for layer in range(system.experiment.model.attention_layers)
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
