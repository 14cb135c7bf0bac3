"""Makes a table or figure again: trains what is missing of its parts, and fills its cells.

    FOLDER/runs/PART/seedsA-B/   a sweep of the seeds A to B
    FOLDER/baselines/PART/       measurements of what no run measures, see `Measurement`

What is finished is used again, so the same line goes on after a stop; more seeds become one sweep more.
"""

import dataclasses
import math
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from gcnxmodal import sweeps
from gcnxmodal.config import experiment_dict, flat, validate
from gcnxmodal.console import say, status_of
from gcnxmodal.data.cache import keep_compiled_programs
from gcnxmodal.data.files import read_json
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError, saying
from gcnxmodal.papers.baselines import (
    Measured,
    Measurement,
    measure,
    measurements,
    official_hashes,
    read_measurement,
    refuse_other_data,
)
from gcnxmodal.papers.output import as_text, write
from gcnxmodal.papers.table import (
    DIRECTIONS,
    Cell,
    Curve,
    Exhibit,
    Figure,
    Moments,
    Panel,
    Part,
    Source,
    Table,
)
from gcnxmodal.retrieval.protocols import expected_name
from gcnxmodal.runs import Curves, CurvesOfRun, RunFolder, claimed, remove_partial
from gcnxmodal.sweeps import Member, SweepFolder, expand, sweep_config
from gcnxmodal.systems.gin import GINExperiment
from gcnxmodal.training.loop import Diverged

LEFT_OUT = "not run yet: left out by --only"


@dataclasses.dataclass(frozen=True)
class Job:
    """A sweep to be run: a part with the seeds first, ..., last, in a folder of its own."""

    part: Part
    path: Path
    first: int
    last: int
    resume: bool

    @property
    def seeds(self) -> int:
        return self.last - self.first + 1

    @property
    def experiment(self) -> Any:
        return dataclasses.replace(self.part.experiment, seed=self.first)


class PartFolder:
    """What is there of a part of a table or figure, and what is not: its sweeps, and its baselines.

    Args:
        folder: of the table or figure.
        seeds: how many are asked for, from 0 on.
    """

    def __init__(self, part: Part, exhibit: Exhibit, folder: Path, seeds: int):
        self.part, self.seeds = part, seeds
        self.runs = folder / "runs" / part.name
        self.baselines = folder / "baselines" / part.name
        self.sources = [of for of in exhibit.sources if of.part == part.name and not of.of_runs]

    def sweeps(self) -> dict[tuple[int, int], SweepFolder]:
        """The sweeps that have begun, by their first and last seed."""
        begun = {}
        for path in self.runs.glob("seeds*-*"):
            if (match := re.fullmatch(r"seeds(\d+)-(\d+)", path.name)) and (path / "sweep.json").exists():
                begun[int(match[1]), int(match[2])] = SweepFolder(path)
        return dict(sorted(begun.items()))

    def jobs(self) -> list[Job]:
        """What must run until all seeds are there: unfinished sweeps, then missing seeds."""
        jobs, begun = [], set()
        for (first, last), sweep in self.sweeps().items():
            begun |= set(range(first, last + 1))
            if first < self.seeds and not sweep.ended(self._members(range(first, last + 1))):
                jobs.append(self._job(first, last, resume=True))
        for seed in range(self.seeds):
            if seed not in begun:
                last = seed
                while last + 1 < self.seeds and last + 1 not in begun:
                    last += 1
                jobs.append(self._job(seed, last, resume=False))
                begun |= set(range(seed, last + 1))
        return jobs

    def asked(self) -> list[Measurement]:
        """All measurements that are needed, one corpus after the other: the official features last."""
        asked = [measurement for source in self.sources for measurement in self._measurements(source)]
        asked.sort(key=lambda measurement: measurement.source.official)
        return list({measurement.path: measurement for measurement in asked}.values())

    def to_measure(self) -> list[Measurement]:
        """Those of `asked` that have neither numbers nor a reason."""
        return [measurement for measurement in self.asked() if not measurement.path.exists()]

    def check(self) -> None:
        """Refuse sweeps and measurements that were made with other options; changes nothing.

        Raises:
            InputError: naming the file, the field and the fix.
        """
        fix = "give the same value, --overwrite to replace them, or another --folder"
        for (first, last), sweep in self.sweeps().items():
            job = self._job(first, last, resume=True)
            config = sweep_config(self.part.preset, job.experiment, self.part.over, job.seeds)
            if difference := sweep.difference(config):
                field, stored, value = difference
                raise InputError(
                    f"{sweep.config}: these runs have {field} = {stored} but the command says {value}; {fix}"
                )
        for measurement, path in self._files():
            config, stored = measurement.config(), read_measurement(path)
            now, before = flat(config), flat({name: stored.get(name) for name in config})
            for field in sorted({*now, *before}):
                if now.get(field) != before.get(field):
                    raise InputError(
                        f"{path}: these numbers have {field} = {before.get(field)} but the command says "
                        f"{now.get(field)}; {fix}"
                    )

    def check_data(self, hashes: Mapping[str, str], *, official: bool = False) -> None:
        """Refuse results and measurements of other data; changes nothing.

        Args:
            hashes: of the part's corpus, as its provenance has them; or `official_hashes`.
            official: check what is of Wikipedia's official features, in place of the rest.

        Raises:
            InputError: naming the file and the fix.
        """
        if not official:
            for sweep in self.sweeps().values():
                for path in sorted(sweep.path.glob("members/*/results.json")):
                    kept = RunFolder(path.parent).read_results().get("provenance", {}).get("hash")
                    refuse_other_data(path, kept, hashes)
        for measurement, path in self._files():
            if measurement.source.official == official:
                refuse_other_data(path, read_measurement(path).get("corpus"), hashes)

    def moved(self) -> bool:
        """Whether a sweep read its data from another folder than the part does now."""
        root = experiment_dict(self.part.experiment)["data"]["root"]
        kept = [sweep.read_config()["experiment"]["data"]["root"] for sweep in self.sweeps().values()]
        return any(other != root for other in kept)

    def remove(self) -> None:
        shutil.rmtree(self.runs, ignore_errors=True)
        shutil.rmtree(self.baselines, ignore_errors=True)

    def fill(
        self, cell: Cell, source: Source, *, curves: bool, history: str
    ) -> tuple[Cell, list[dict[str, Any]]]:
        """A cell with what is there of ours, and the results that this is from.

        Args:
            curves: with those that the runs keep.
            history: a field of their histories, to be read as a curve; "" for none.
        """
        diverged, refused, system = (), "", source.system
        if source.of_runs:
            members = self._runs_of(source.setting)
            results = {
                seed: (run, run.read_results()) for seed, run in members.items() if run.results.exists()
            }
            diverged = tuple(seed for seed, run in members.items() if run.diverged.exists())
        else:
            asked = self._measurements(source)
            there = [of for of in asked if of.path.exists()]
            all_results = {of.seed: (of, read_measurement(of.path, Measured)) for of in there}
            results = {seed: of for seed, of in all_results.items() if not of[1]["reason"]}
            refused = "; ".join(dict.fromkeys(of["reason"] for _, of in all_results.values() if of["reason"]))
            system = "model"
        if not results:
            absent = "" if refused else self.part.missing or LEFT_OUT
            return dataclasses.replace(cell, diverged=diverged, refused=refused, absent=absent), []
        used = [result for _, result in results.values()]
        folders = [folder for folder, _ in results.values()]
        # A yardstick of the runs is fitted once, and is not random.
        once = system not in ("model", "chance")
        of_cell = used[:1] if once else used
        return (
            dataclasses.replace(
                cell,
                ours=_moments([_scores(result, system) for result in of_cell]),
                curves={
                    **(_kept_curves(folders, system, once=once) if curves else {}),
                    **({"history": {history: _history(folders, history)}} if history else {}),
                },
                seeds=() if once else tuple(seed for seed in results if seed is not None),
                diverged=diverged if system == "model" else (),
                commits=tuple(dict.fromkeys(result["commit"] for result in of_cell)),
                refused=refused,
            ),
            used,
        )

    def _measurements(self, source: Source) -> list[Measurement]:
        return measurements(self.part, source, self.seeds, self.baselines)

    def _runs_of(self, setting: Mapping[str, Any]) -> dict[int, RunFolder]:
        """The folder of each seed that has been started, of the members with a setting."""
        runs = {}
        for (first, last), sweep in self.sweeps().items():
            for member in self._members(range(first, min(last + 1, self.seeds))):
                if member.setting == dict(setting):
                    runs[member.experiment.seed] = sweep.member(member)
        return dict(sorted(runs.items()))

    def _files(self) -> list[tuple[Measurement, Path]]:
        """The files that are there of what is asked for."""
        files = [(of, path) for of in self.asked() for path in (of.chosen, of.path)]
        return [(measurement, path) for measurement, path in files if path.exists()]

    def _job(self, first: int, last: int, *, resume: bool) -> Job:
        return Job(self.part, self.runs / f"seeds{first}-{last}", first, last, resume)

    def _members(self, seeds: range) -> list[Member]:
        if not seeds:
            return []
        return expand(dataclasses.replace(self.part.experiment, seed=seeds.start), self.part.over, len(seeds))


def reproduce(
    exhibit: Table | Figure,
    folder: Path,
    *,
    seeds: int,
    only: Sequence[str] = (),
    overwrite: bool = False,
    command: str,
) -> Path:
    """Train and measure what a table or figure lacks, print it and write it; returns its folder.

    Args:
        exhibit: the table or figure.
        folder: where those of its kind are kept.
        seeds: how many, from 0 on.
        only: names of the parts that may be trained; all, if empty.
        overwrite: train and measure again what is there.
        command: the line that makes it.

    Raises:
        InputError: for what the user can mend.
        Interrupted: after saving, on SIGTERM or SIGINT.
    """
    path = folder / exhibit.name
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; it must be at least 1")
    names = [part.name for part in exhibit.parts]
    if unknown := [name for name in only if name not in names]:
        raise InputError(f"--only {unknown[0]}: {exhibit.name} has the parts {', '.join(names)}")
    with claimed(path, "--folder"):
        folders = [PartFolder(part, exhibit, path, seeds) for part in exhibit.parts]
        chosen = [of for of in folders if not of.part.missing and (not only or of.part.name in only)]
        _check_options(exhibit, folders, chosen, overwrite=overwrite)
        _check_data(chosen, overwrite=overwrite)
        for part_folder in chosen if overwrite else ():
            part_folder.remove()
        remove_partial(path)
        say(_plan(exhibit, path, folders, chosen))
        for job in [job for part_folder in chosen for job in part_folder.jobs()]:
            say(f"\n{exhibit.name}: {job.part.name}, {_seeds(job.first, job.last)}")
            _train(job)
        for part_folder in chosen:
            if to_measure := part_folder.to_measure():
                say(f"\n{exhibit.name}: baselines of {part_folder.part.name}")
                measure(to_measure, say)
        return show(exhibit, path, seeds, command)


def show(exhibit: Table | Figure, path: Path, seeds: int, command: str) -> Path:
    """Print the table or figure of the runs and baselines in its folder, and write its files."""
    filled = fill(exhibit, path, seeds, command)
    say(f"\n{as_text(filled)}\n\n{write(path, filled)}")
    return path


def fill(exhibit: Table | Figure, folder: Path, seeds: int, command: str) -> Table | Figure:
    """The table or figure with the numbers of the runs and baselines in `folder`.

    A function of these alone: the same runs and baselines give the same table. What has no number has a
    reason.
    """
    parts = {part.name: PartFolder(part, exhibit, folder, seeds) for part in exhibit.parts}
    used: list[dict[str, Any]] = []

    def filled(grid: Any) -> Any:
        cells: dict[tuple[str, str], Cell] = {}
        for row, column, cell in grid:
            if cell.source is None:
                cell = dataclasses.replace(cell, absent=row.quoted or "quoted only")
            else:
                in_panel = isinstance(grid, Panel)
                curves = grid.reads == "scope" if in_panel else bool(column.drawn)
                history = row.reads if in_panel and grid.reads == "history" else ""
                part = parts[cell.source.part]
                cell, results = part.fill(cell, cell.source, curves=curves, history=history)
                used.extend(results)
            cells[row.label, column.label] = cell
        return dataclasses.replace(grid, cells=cells)

    if isinstance(exhibit, Figure):
        exhibit = dataclasses.replace(exhibit, panels=tuple(map(filled, exhibit.panels)))
        exhibit = dataclasses.replace(exhibit, notes=(*_ended(exhibit), *exhibit.notes))
        partly = any(cell.partly(seeds) for panel in exhibit.panels for _, _, cell in panel)
        fewer = ", of some points fewer" if partly else ""
    else:
        exhibit, fewer = filled(exhibit), ""
    reports = [sweep.report for part in parts.values() for sweep in part.sweeps().values()]
    return dataclasses.replace(
        exhibit,
        seeds=seeds,
        made=_made(used, seeds, fewer),
        runs=tuple(path.relative_to(folder).as_posix() for path in reports if path.exists()),
        command=command,
    )


def main(
    module: str,
    kind: type,
    description: str | None,
    arguments: Sequence[str],
    make: Callable[[Any], Table | Figure],
) -> int:
    """What the entry points do.

    Args:
        kind: of the parsed arguments, with the fields `seeds`, `folder`, `only` and `overwrite`.
        description: of the help.
        arguments: the command line.
        make: the table or figure that parsed arguments ask for.

    Returns:
        The exit code: 0 done, 2 bad arguments or data, 128 + n stopped by signal n.
    """
    keep_compiled_programs()
    config = (tyro.conf.FlagCreatePairsOff,)
    parsed = tyro.cli(
        kind, prog=f"python -m {module}", description=description, args=arguments, config=config
    )
    again = [word for word in arguments if word != "--overwrite"]
    how = {name: getattr(parsed, name) for name in ("seeds", "only", "overwrite")}

    def job() -> None:
        with saying(lambda: "what is finished is kept"):
            reproduce(make(parsed), parsed.folder, **how, command=f"python -m {module} {shlex.join(again)}")

    return status_of(job, module, arguments)


def mean_curve(xs: Sequence[Sequence[float | None]], ys: Sequence[Sequence[float | None]]) -> Curve:
    """Mean and standard deviation over runs of a curve, where every run has a point; a row a run.

    >>> mean_curve([[1, 2], [1, 2]], [[0.5, 0.25], [0.5, 0.5]])
    Curve(x=(1.0, 2.0), mean=(0.5, 0.375), std=(0.0, 0.125))
    """
    x, values = np.array(xs, float).mean(axis=0), np.array(ys, float)
    mean = values.mean(axis=0)
    there = np.isfinite(x) & np.isfinite(mean)
    std = values.std(axis=0)[there].tolist() if len(values) > 1 else [None] * int(there.sum())
    return Curve(tuple(x[there].tolist()), tuple(mean[there].tolist()), tuple(std))


def _check_options(
    exhibit: Exhibit, folders: Sequence[PartFolder], chosen: Sequence[PartFolder], *, overwrite: bool
) -> None:
    """Refuse what cannot be done before anything is done."""
    for folder in folders:
        if not folder.part.missing:
            validate(folder.part.experiment)
            if not (overwrite and folder in chosen):
                folder.check()
    if not chosen and not any(folder.sweeps() for folder in folders):
        lacking: dict[str, list[str]] = {}
        for part in exhibit.parts:
            if part.missing:
                lacking.setdefault(part.missing, []).append(part.name)
        reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in lacking.items())
        raise InputError(f"{exhibit.name}: nothing can be run. {reasons}")


def _check_data(folders: Sequence[PartFolder], *, overwrite: bool) -> None:
    """Read the data of parts that lack something, or whose data now lie elsewhere; Wikipedia's official
    features too, where baselines are of them.

    A fault shows before anything is trained or replaced, and numbers of other data are never mixed in.

    Raises:
        InputError: for a fault of the data; for data that what is there is not of, unless it is replaced.
    """
    hashes: dict[Any, Mapping[str, str]] = {}
    for folder in folders:
        if not (overwrite or folder.jobs() or folder.to_measure() or folder.moved()):
            continue
        data = folder.part.experiment.data, folder.part.experiment.text
        if data not in hashes:
            hashes[data] = load_corpus(*data).provenance["hash"]
        if not overwrite:
            folder.check_data(hashes[data])
        if any(source.official for source in folder.sources):
            official = official_hashes(folder.part)
            if not overwrite:
                folder.check_data(official, official=True)


def _plan(exhibit: Exhibit, path: Path, folders: Sequence[PartFolder], chosen: Sequence[PartFolder]) -> str:
    """What will be trained and measured, and what is used again."""
    lines = [f"{exhibit.title}\n{exhibit.training}; in {path}"]
    models = pairs = 0
    width = max(len(part.name) for part in exhibit.parts) + 2
    for folder in folders:
        part, jobs = folder.part, folder.jobs() if folder in chosen else []
        settings = math.prod(len(values) for values in part.over.values())
        words = [
            f"{'go on with' if job.resume else 'train'} {settings * job.seeds} models, "
            f"{_seeds(job.first, job.last)}"
            for job in jobs
        ]
        resumed = [job.first for job in jobs if job.resume]
        there = [_seeds(a, b) for a, b in folder.sweeps() if a < folder.seeds and a not in resumed]
        words += [f"{', '.join(there)}: finished, used again"] if there else []
        baselines = len(folder.to_measure()) if folder in chosen else 0
        words += [f"measure {baselines} baselines"] if baselines else []
        lines.append(f"  {part.name:<{width}}{'; '.join(words) or part.missing or 'left out by --only'}")
        if isinstance(part.experiment, GINExperiment) and part.experiment.train.pairing != "grid":
            train, new = part.experiment.train, settings * sum(job.seeds for job in jobs)
            models += new
            pairs += new * part.experiment.epochs * (train.positives + train.negatives)
    if models:
        lines.append(
            f"  The paper's training: {models} models see {pairs / 1e6:,.0f} million pairs between them; the "
            "first line of progress says how long that takes here. Ctrl-C saves, and the same line goes on."
        )
    return "\n".join(lines)


def _train(job: Job) -> None:
    if not job.resume:
        # A sweep that was cut off before its sweep.json was there has trained nothing.
        shutil.rmtree(job.path, ignore_errors=True)
    try:
        sweeps.run_sweep(
            job.part.preset,
            job.experiment,
            over=job.part.over,
            seeds=job.seeds,
            folder=job.path,
            resume=job.resume,
            member_reports=job.part.member_reports,
        )
    except Diverged as stop:
        say(f"{job.part.name}: no member has a loss that is a number at step {stop.step:,}; the page says so")


def _seeds(first: int, last: int) -> str:
    return f"seeds {first} to {last}" if first < last else f"seed {first}"


def _scores(result: Mapping[str, Any], system: str) -> dict[str, dict[str, float]]:
    """MAP of a system in a run's results, by protocol; of codes also what is expected under random ties."""
    systems = {
        "model": result["protocols"],
        "chance": result.get("chance", {}),
        **result.get("yardsticks", {}),
    }
    expected = result.get("expected", {}).get(system, {})
    return {**systems[system], **{expected_name(protocol): of for protocol, of in expected.items()}}


def _moments(results: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Moments]]:
    """Mean and standard deviation over results, by protocol and direction."""
    moments: dict[str, dict[str, Moments]] = {}
    for protocol in results[0]:
        for direction in DIRECTIONS:
            values = [result[protocol][direction] for result in results]
            std = float(np.std(values)) if len(values) > 1 else None
            moments.setdefault(protocol, {})[direction] = Moments(float(np.mean(values)), std)
    return moments


def _kept_curves(
    folders: Sequence[RunFolder | Measurement], system: str, *, once: bool
) -> dict[str, dict[str, Curve]]:
    """Mean over runs of the curves that they keep of a system, by kind and direction."""
    kept = [(folder, _read_curves(folder)) for folder in folders if folder.curves.exists()]
    of_system = [of.get(system) if isinstance(folder, RunFolder) else of for folder, of in kept]
    runs = [of for of in of_system if of is not None][: 1 if once else None]
    curves: dict[str, dict[str, Curve]] = {}
    for kind, x in (("lookup", "recall"), ("precision_at", "n"), ("scope", "n")):
        for direction in runs[0].get(kind, {}) if runs else ():
            each = [run[kind][direction] for run in runs]
            curve = mean_curve([of[x] for of in each], [of["precision"] for of in each])
            curves.setdefault(kind, {})[direction] = curve
    return curves


def _read_curves(folder: RunFolder | Measurement) -> dict[str, Any]:
    schema = CurvesOfRun if isinstance(folder, RunFolder) else Curves
    return read_json(folder.curves, schema, "remove the file, and what it belongs to is drawn without it")


def _history(folders: Sequence[RunFolder | Measurement], field: str) -> Curve:
    """Mean over runs of a field of their histories, such as "standard.text_query", by step."""
    steps, values = [], []
    for folder in folders:
        assert isinstance(folder, RunFolder)
        lines = [
            (line["step"], value)
            for line in map(flat, folder.history())
            if (value := line.get(field)) is not None
        ]
        steps.append([step for step, _ in lines])
        values.append([value for _, value in lines])
    return mean_curve(steps, values)


def _ended(figure: Figure) -> list[str]:
    """How many of the runs with a setting, if they are to be counted, gave a number."""
    if figure.counted is None:
        return []
    field, value = figure.counted
    counted = {
        (source.part, *source.setting.items()): cell
        for panel in figure.panels
        for _, _, cell in panel
        if (source := cell.source) is not None and source.setting.get(field) == value
    }
    numbers = sum(len(cell.seeds) for cell in counted.values())
    ended = numbers + sum(len(cell.diverged) for cell in counted.values())
    name = field.rpartition(".")[2]
    return [f"Here, of {ended} runs with {name} = {value:g}, {numbers} ended with a number."] if ended else []


def _made(results: Iterable[Mapping[str, Any]], seeds: int, fewer: str) -> tuple[tuple[str, str], ...]:
    """(name, value) of what the numbers are from; `fewer` is said of the seeds."""
    results = list(results)
    if not results:
        return ()
    dates = sorted(result["date"][:10] for result in results)

    def all_of(values: Iterable[str]) -> str:
        return ", ".join(sorted(set(values)))

    return (
        ("mean ± standard deviation over seeds", f"0 to {seeds - 1}{fewer}") if seeds > 1 else ("seed", "0"),
        ("commit", all_of(result["commit"] for result in results)),
        ("device", all_of(result["device"] for result in results)),
        ("JAX", all_of(result["versions"]["jax"] for result in results)),
        ("measured", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"),
    )
