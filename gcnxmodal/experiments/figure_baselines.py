"""The baselines that a paper's figure draws beside its system: fitted once, and kept as JSON."""

import dataclasses
import inspect
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gcnxmodal.baselines import METHODS
from gcnxmodal.corpus import Corpus
from gcnxmodal.environment import environment
from gcnxmodal.experiments.finish import kept_scope
from gcnxmodal.experiments.measure import evaluate_baseline
from gcnxmodal.experiments.paper_figures import Baseline, PaperFigure
from gcnxmodal.experiments.run_folder import experiment_dict, write_json
from gcnxmodal.experiments.table_parts import Part
from gcnxmodal.retrieval.protocols import PROTOCOLS

HIDDEN = 64  # width of the first layer of all networks (4.4)


@dataclasses.dataclass(frozen=True)
class Fit:
    """A baseline on the data of a part; `seed` is None where it does not depend on one."""

    part: Part
    baseline: Baseline
    seed: int | None
    path: Path

    @property
    def name(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.baseline.method}, {self.baseline.dimension} dimensions{seed}"

    def read(self) -> dict[str, Any] | None:
        """What is kept of it, if it is of the same method, values and data."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if found.get("config") == self._config() else None

    def make(self, corpus: Corpus) -> dict[str, Any]:
        """Fit, measure and keep it."""
        started = time.perf_counter()
        found = evaluate_baseline(self._method(), corpus, {"standard": PROTOCOLS["standard"]})
        result = {
            "config": self._config(),
            "protocols": found["protocols"],
            "scope": kept_scope(found["curves"]),
            "seconds": time.perf_counter() - started,
            **environment(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, result)
        return result

    def _method(self) -> Any:
        method, dimension = METHODS[self.baseline.method], self.baseline.dimension
        if "widths" in inspect.signature(method).parameters:
            return method(widths=(HIDDEN, dimension), **({} if self.seed is None else {"seed": self.seed}))
        return method(components=dimension)

    def _config(self) -> dict[str, Any]:
        """What decides the numbers, as JSON has it; where the data lie does not."""
        experiment = experiment_dict(self.part.experiment)
        data = {name: value for name, value in experiment["data"].items() if name != "root"}
        values = {"method": self.baseline.method, **self._method().get_params()}
        return json.loads(json.dumps({"values": values, "data": data, "text": experiment["text"]}))


def fits(figure: PaperFigure, folder: Path, seeds: int) -> dict[tuple[str, Baseline], list[Fit]]:
    """All that the figure draws, by part and baseline: a fit a seed where the method is random."""
    parts = {part.name: part for part in figure.parts}
    found = {}
    for panel in figure.panels:
        for point in (point for line in panel.lines for point in line.points):
            if point.baseline is not None:
                found[point.part, point.baseline] = [
                    _fit(parts[point.part], point.baseline, seed, folder)
                    for seed in _seeds(point.baseline, seeds)
                ]
    return found


def fit_missing(
    wanted: Mapping[tuple[str, Baseline], list[Fit]],
    parts: list[Part],
    corpus_of: Callable[[Part], Corpus],
    report: Callable[[str], None],
) -> None:
    """Fit and keep what is not there yet of the baselines of some parts; a line each."""
    for part in parts:
        missing = [
            fit
            for (name, _), found in wanted.items()
            for fit in found
            if name == part.name and fit.read() is None
        ]
        corpus = corpus_of(part) if missing else None
        for number, fit in enumerate(missing, 1):
            assert corpus is not None
            found = fit.make(corpus)
            scores = found["protocols"]["standard"]
            report(
                f"{part.name}, baseline {number}/{len(missing)}: {fit.name}  {found['seconds']:.1f} s  "
                f"MAP text {scores['text_query']:.3f} image {scores['image_query']:.3f}"
            )


def _fit(part: Part, baseline: Baseline, seed: int | None, folder: Path) -> Fit:
    name = f"{baseline.method}-{baseline.dimension}" + ("" if seed is None else f"-seed{seed}")
    return Fit(part, baseline, seed, folder / "baselines" / part.name / f"{name}.json")


def _seeds(baseline: Baseline, seeds: int) -> tuple[int | None, ...]:
    random = "seed" in inspect.signature(METHODS[baseline.method]).parameters
    return tuple(range(seeds)) if random else (None,)
