"""What a run ends with: every measurement, results.json and the report."""

import time
from typing import Any

import numpy as np

from gcnxmodal.environment import environment
from gcnxmodal.experiments import PRESETS
from gcnxmodal.experiments.config import Experiment
from gcnxmodal.experiments.gin import GIN_TABLE_1
from gcnxmodal.experiments.measure import measure
from gcnxmodal.experiments.run_folder import RunFolder, experiment_dict, flat, write_json
from gcnxmodal.experiments.system import System
from gcnxmodal.report.gallery import build_gallery
from gcnxmodal.report.page import write_report
from gcnxmodal.retrieval.chunks import top_k


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
        system="GIN",
        results=results,
        details=details,
        history=history,
        class_names=system.inputs.corpus.class_names,
        gallery=_gallery(system, params),
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
                words.append(option if value else option.replace("--", "--no-", 1))
            else:
                words += [option, *(str(v) for v in (value if isinstance(value, list) else [value]))]
    return " ".join(words)


def _paper_row(preset: str) -> dict[str, Any] | None:
    row = GIN_TABLE_1.get(preset.removesuffix("-tuned"))
    return None if row is None else {**row, "source": "GIN (Yu et al. 2018), Table 1"}


def _gallery(system: System, params: Any) -> Any:
    test = system.inputs.corpus.splits["test"]
    texts, images = system.embed(params, test)
    pictures_of_text, _ = top_k(texts, images, 8)
    texts_of_picture, _ = top_k(images, texts, 8)
    return build_gallery(
        system.inputs.corpus,
        test[np.asarray(pictures_of_text)],
        test[np.asarray(texts_of_picture)],
        seed=system.experiment.seed,
    )
