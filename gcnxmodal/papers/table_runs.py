"""The runs of a paper's table: which are there, which are missing, and the table with their numbers."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gcnxmodal.config import experiment_dict
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.members import Member, expand
from gcnxmodal.papers.table_baselines import BaselineFolder, official_hashes, refuse_other_data
from gcnxmodal.papers.table_parts import PaperTable, Part, Source
from gcnxmodal.papers.table_text import DIRECTIONS, Cell, Curve, FilledTable, Moments
from gcnxmodal.retrieval.protocols import expected_name
from gcnxmodal.runs import RunFolder
from gcnxmodal.sweep_folder import SweepFolder, sweep_config

LEFT_OUT = "not run yet: left out by --only"


@dataclasses.dataclass(frozen=True)
class Job:
    """A sweep to be run: a part with the seeds first, ..., first + seeds - 1, in a folder of its own."""

    part: Part
    path: Path
    first: int
    seeds: int
    resume: bool

    @property
    def experiment(self) -> Any:
        return dataclasses.replace(self.part.experiment, seed=self.first)


class PartFolder:
    """The sweeps of a part, one for each range of seeds.

    seedsA-B/       a sweep of the seeds A to B

    What is asked for again is there already; more seeds become one sweep more.
    """

    def __init__(self, part: Part, runs: Path):
        self.part = part
        self.path = runs / part.name

    def sweeps(self) -> dict[tuple[int, int], SweepFolder]:
        """The sweeps that have begun, by their first and last seed."""
        found = {}
        for path in self.path.glob("seeds*-*"):
            if (match := re.fullmatch(r"seeds(\d+)-(\d+)", path.name)) and (path / "sweep.json").exists():
                found[int(match[1]), int(match[2])] = SweepFolder(path)
        return dict(sorted(found.items()))

    def check(self) -> None:
        """Refuse sweeps that were made with other options; changes nothing.

        Raises:
            InputError: naming the folder, the field and the fix.
        """
        for (first, last), sweep in self.sweeps().items():
            job = self._job(first, last, resume=True)
            config = sweep_config(self.part.preset, job.experiment, self.part.over, job.seeds)
            if found := sweep.difference(config):
                field, stored, value = found
                raise InputError(
                    f"{sweep.config}: these runs have {field} = {stored} but the command says {value}; "
                    "give the same value, --overwrite to replace them, or another --folder"
                )

    def moved(self) -> bool:
        """Whether a sweep read its data from another folder than the part does now."""
        root = experiment_dict(self.part.experiment)["data"]["root"]
        kept = [read_json(sweep.config)["experiment"]["data"]["root"] for sweep in self.sweeps().values()]
        return any(other != root for other in kept)

    def check_corpus(self, hashes: Mapping[str, str]) -> None:
        """Refuse results of other data; changes nothing.

        Args:
            hashes: of the part's corpus, as its provenance has them.

        Raises:
            InputError: naming the file and the fix.
        """
        for sweep in self.sweeps().values():
            for path in sorted(sweep.path.glob("members/*/results.json")):
                refuse_other_data(path, read_json(path).get("provenance", {}).get("hash"), hashes)

    def jobs(self, seeds: int) -> list[Job]:
        """What must run until the first `seeds` seeds are there: unfinished sweeps, then missing seeds."""
        jobs, begun = [], set()
        for (first, last), sweep in self.sweeps().items():
            begun |= set(range(first, last + 1))
            if first < seeds and not sweep.finished(self._members(range(first, last + 1))):
                jobs.append(self._job(first, last, resume=True))
        missing = [seed for seed in range(seeds) if seed not in begun]
        for place, seed in enumerate(missing):
            if place == 0 or missing[place - 1] != seed - 1:
                last = seed
                while last + 1 in missing:
                    last += 1
                jobs.append(self._job(seed, last, resume=False))
        return jobs

    def runs(self, setting: Mapping[str, Any], seeds: int) -> dict[int, RunFolder]:
        """The folder of each seed that has been started, of the members with a setting."""
        found = {}
        for (first, last), sweep in self.sweeps().items():
            for member in self._members(range(first, min(last + 1, seeds))):
                if member.setting == dict(setting):
                    found[member.experiment.seed] = sweep.member(member)
        return dict(sorted(found.items()))

    def _job(self, first: int, last: int, *, resume: bool) -> Job:
        return Job(self.part, self.path / f"seeds{first}-{last}", first, last - first + 1, resume)

    def _members(self, seeds: range) -> list[Member]:
        if not seeds:
            return []
        return expand(dataclasses.replace(self.part.experiment, seed=seeds.start), self.part.over, len(seeds))


def check_data(
    folders: Sequence[PartFolder], baselines: BaselineFolder, seeds: int, *, overwrite: bool
) -> None:
    """Read the data of parts that lack something, or whose data now lie elsewhere; Wikipedia's official
    features too, where baselines are of them.

    A fault shows before anything is trained or replaced, and numbers of other data are never mixed in.

    Raises:
        InputError: for a fault of the data; for data that what is there is not of, unless it is replaced.
    """
    hashes: dict[Any, Mapping[str, str]] = {}
    for folder in folders:
        part = folder.part
        if not (overwrite or folder.jobs(seeds) or baselines.missing(part, seeds) or folder.moved()):
            continue
        data = part.experiment.data, part.experiment.text
        if data not in hashes:
            hashes[data] = load_corpus(*data).provenance["hash"]
        if not overwrite:
            folder.check_corpus(hashes[data])
            baselines.check_corpus(part, seeds, hashes[data])
        if baselines.reads_official(part):
            official = official_hashes(part)
            if not overwrite:
                baselines.check_corpus(part, seeds, official, official=True)


def fill(table: PaperTable, folder: Path, seeds: int, command: str) -> FilledTable:
    """The table with the numbers of the runs and baselines in `folder`; what has none has a reason.

    A function of these alone: the same runs and baselines give the same table.
    """
    parts = {part.name: PartFolder(part, folder / "runs") for part in table.parts}
    baselines = BaselineFolder(table.sources, folder / "baselines")
    cells, used = {}, []
    for row in table.rows:
        for column in table.columns:
            paper, source = table.paper.get((row, column)), table.ours.get((row, column))
            if source is not None:
                drawn, part = column in table.drawn, parts[source.part]
                if source.of_runs:
                    cell, results = _cell(part, source, seeds, curves=drawn)
                else:
                    cell, results = _baseline(baselines, part.part, source, seeds, curves=drawn)
                used += results
                cells[row, column] = dataclasses.replace(cell, paper=paper)
            elif paper is not None:
                cells[row, column] = Cell(paper, reason=table.quoted.get(row, "quoted only"))
    reports = [sweep.path / "report.html" for part in parts.values() for sweep in part.sweeps().values()]
    return FilledTable(
        **{
            name: getattr(table, name)
            for name in ("name", "title", "kinds", "rows", "columns", "quoted", "digits", "caption")
        },
        **{
            name: getattr(table, name)
            for name in ("training", "notes", "plot", "shown", "protocols", "drawn", "own")
        },
        cells=cells,
        made=made(used, seeds),
        runs=tuple(path.relative_to(folder).as_posix() for path in reports if path.exists()),
        command=command,
    )


def _cell(
    folder: PartFolder, source: Source, seeds: int, *, curves: bool
) -> tuple[Cell, list[dict[str, Any]]]:
    """Our side of a cell, and the results it is from; `curves`: with those of the runs."""
    runs = folder.runs(source.setting, seeds)
    results = {seed: read_json(run.results) for seed, run in runs.items() if run.results.exists()}
    diverged = tuple(seed for seed, run in runs.items() if run.diverged.exists())
    if diverged and source.system == "model":
        reason = f"the loss was not a number with {len(diverged)} of {len(results) + len(diverged)} seeds"
    else:
        reason = "" if results else folder.part.missing or LEFT_OUT
    found = list(results.values())
    if not found:
        return Cell(diverged=diverged, reason=reason), []
    commits = tuple(dict.fromkeys(result["commit"] for result in found))
    files = [runs[seed].curves for seed in results if curves and runs[seed].curves.exists()]
    kept = [of[source.system] for of in map(read_json, files) if source.system in of]
    if source.system not in ("model", "chance"):  # a yardstick is fitted once, and not random
        ours = _moments([_scores(found[0], source.system)])
        return Cell(ours=ours, commits=commits[:1], reason=reason, curves=mean_curves(kept[:1])), found
    ours = _moments([_scores(result, source.system) for result in found])
    return (
        Cell(
            ours=ours,
            seeds=tuple(results),
            diverged=diverged if source.system == "model" else (),
            commits=commits,
            reason=reason,
            curves=mean_curves(kept),
        ),
        found,
    )


def _baseline(
    folder: BaselineFolder, part: Part, source: Source, seeds: int, *, curves: bool
) -> tuple[Cell, list[dict[str, Any]]]:
    """As `_cell`, of a method that the table measured."""
    results = folder.results(part, source, seeds)
    found = [(measurement, result) for measurement, result in results if not result["reason"]]
    reasons = dict.fromkeys(result["reason"] for _, result in results if result["reason"])
    reason = "; ".join(reasons) if results else part.missing or LEFT_OUT
    if not found:
        return Cell(reason=reason), []
    files = [measurement.curves for measurement, _ in found if curves and measurement.curves.exists()]
    return (
        Cell(
            ours=_moments([_scores({"yardsticks": {}, **result}, "model") for _, result in found]),
            seeds=tuple(measurement.seed for measurement, _ in found if measurement.seed is not None),
            commits=tuple(dict.fromkeys(result["commit"] for _, result in found)),
            reason=reason,
            curves=mean_curves([read_json(file) for file in files]),
        ),
        [result for _, result in found],
    )


def _scores(result: Mapping[str, Any], system: str) -> dict[str, dict[str, float]]:
    """MAP of a system in a run's results, by protocol; of codes also what is expected under random ties."""
    own = {"model": result["protocols"], "chance": result.get("chance", {}), **result["yardsticks"]}[system]
    expected = result.get("expected", {}).get(system, {})
    return {**own, **{expected_name(protocol): found for protocol, found in expected.items()}}


def _moments(results: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Moments]]:
    """Mean and standard deviation over results, by protocol and direction."""
    moments = {}
    for protocol in results[0]:
        values = {name: [result[protocol][name] for result in results] for name in DIRECTIONS}
        moments[protocol] = {
            name: Moments(float(np.mean(found)), float(np.std(found)) if len(found) > 1 else None)
            for name, found in values.items()
        }
    return moments


def mean_curves(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Mean over runs of the curves that `RunFolder.curves` keeps of a system, where every run has a point.

    >>> mean_curves([{"precision_at": {"text_query": {"n": [1, 2], "precision": [0.5, value]}}}
    ...              for value in (0.25, 0.5)])
    {'precision_at': {'text_query': ((1.0, 2.0), (0.5, 0.375))}}
    """
    curves: dict[str, dict[str, Curve]] = {}
    for kind, x in (("lookup", "recall"), ("precision_at", "n")):
        for direction in runs[0].get(kind, {}) if runs else ():
            each = [run[kind][direction] for run in runs]
            xs, ys = (
                np.mean([np.array(run[axis], float) for run in each], axis=0) for axis in (x, "precision")
            )
            there = np.isfinite(xs) & np.isfinite(ys)
            curve = tuple(xs[there].tolist()), tuple(ys[there].tolist())
            curves.setdefault(kind, {})[direction] = curve
    return curves


def made(results: Iterable[Mapping[str, Any]], seeds: int, but: str = "") -> tuple[tuple[str, str], ...]:
    """(name, value) of what the numbers of some results.json are from; `but` is said of the seeds."""
    results = list(results)
    if not results:
        return ()
    dates = sorted(result["date"][:10] for result in results)
    return (
        ("mean ± standard deviation over seeds", f"0 to {seeds - 1}{but}") if seeds > 1 else ("seed", "0"),
        ("commit", _list(result["commit"] for result in results)),
        ("device", _list(result["device"] for result in results)),
        ("JAX", _list(result["versions"]["jax"] for result in results)),
        ("measured", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"),
    )


def _list(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def read_json(path: Path) -> dict[str, Any]:
    """A file of a run."""
    return json.loads(path.read_text(encoding="utf-8"))
