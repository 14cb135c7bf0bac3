"""What tables and figures share: they train and measure what they lack, and end with an exit code."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gcnxmodal import sweep
from gcnxmodal.config import validate
from gcnxmodal.console import how_to_go_on, say
from gcnxmodal.errors import InputError
from gcnxmodal.papers.figure_parts import PaperFigure
from gcnxmodal.papers.table_baselines import BaselineFolder, Measurement, measure
from gcnxmodal.papers.table_parts import PaperTable, Part
from gcnxmodal.papers.table_runs import Job, PartFolder, check_data
from gcnxmodal.systems.pair_config import PairExperiment
from gcnxmodal.training.loop import Diverged, Interrupted


def complete(
    what: PaperTable | PaperFigure,
    folder: Path,
    *,
    seeds: int,
    only: Sequence[str],
    overwrite: bool,
    reports: Callable[[Part], bool] = lambda _: True,
) -> Path:
    """Train and measure what the table or figure lacks; returns its folder.

    Args:
        what: the table or figure.
        folder: where those of its kind are kept.
        seeds: how many, from 0 on.
        only: names of the parts that may be trained; all, if empty.
        overwrite: train and measure again what is there.
        reports: whether the members of a part's sweeps have reports.

    Raises:
        InputError: for what the user can mend.
        Interrupted: after saving, on SIGTERM or SIGINT.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; it must be at least 1")
    path = folder / what.name
    names = [part.name for part in what.parts]
    if unknown := [name for name in only if name not in names]:
        raise InputError(f"--only {unknown[0]}: {what.name} has the parts {', '.join(names)}")
    parts = [part for part in what.parts if not part.missing and (not only or part.name in only)]
    folders = {part.name: PartFolder(part, path / "runs") for part in what.parts}
    baselines = BaselineFolder(what.sources, path / "baselines")
    _check(what, folders, baselines, parts, seeds, overwrite=overwrite)
    check_data([folders[part.name] for part in parts], baselines, seeds, overwrite=overwrite)
    if overwrite:
        for part in parts:
            shutil.rmtree(folders[part.name].path, ignore_errors=True)
            baselines.remove(part)
    jobs = {part.name: folders[part.name].jobs(seeds) for part in parts}
    measurements = {part.name: baselines.missing(part, seeds) for part in parts}
    say(_plan(what, path, folders, jobs, measurements, seeds))
    for job in (job for found in jobs.values() for job in found):
        say(f"\n{what.name}: {job.part.name}, {_seeds(job.first, job.first + job.seeds - 1)}")
        _train(job, reports(job.part))
    for name, found in measurements.items():
        if found:
            say(f"\n{what.name}: baselines of {name}")
            measure(found, say)
    return path


def exit_code(module: str, arguments: Sequence[str], command: str, make: Callable[[], object]) -> int:
    """Of an entry point that calls `make`: 0 done, 2 bad arguments or data, 128 + n stopped by signal n."""
    try:
        make()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        say(how_to_go_on(module, stop.step, arguments, resume=False))
        return 128 + stop.signal
    except KeyboardInterrupt:
        print(f"stopped; what is finished is kept. To go on:\n  {command}", file=sys.stderr)
        return 130
    return 0


def _check(
    what: PaperTable | PaperFigure,
    folders: Mapping[str, PartFolder],
    baselines: BaselineFolder,
    parts: Sequence[Part],
    seeds: int,
    *,
    overwrite: bool,
) -> None:
    """Refuse what cannot be done before anything is done."""
    for part in what.parts:
        if part.missing:
            continue
        validate(part.experiment)
        if not (overwrite and part in parts):
            folders[part.name].check()
            baselines.check(part, seeds)
    if not parts and not any(found.sweeps() for found in folders.values()):
        lacking: dict[str, list[str]] = {}
        for part in what.parts:
            if part.missing:
                lacking.setdefault(part.missing, []).append(part.name)
        reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in lacking.items())
        raise InputError(f"{what.name}: nothing can be run. {reasons}")


def _plan(
    what: PaperTable | PaperFigure,
    path: Path,
    folders: Mapping[str, PartFolder],
    jobs: dict[str, list[Job]],
    measurements: dict[str, list[Measurement]],
    seeds: int,
) -> str:
    """What will be trained and measured, and what is used again."""
    lines = [f"{what.title}\n{what.training}; in {path}"]
    models = pairs = 0
    width = max(len(part.name) for part in what.parts) + 2
    for part in what.parts:
        settings = 1
        for values in part.over.values():
            settings *= len(values)
        found = folders[part.name].sweeps()
        words = [
            f"{'go on with' if job.resume else 'train'} {settings * job.seeds} models, "
            f"{_seeds(job.first, job.first + job.seeds - 1)}"
            for job in jobs.get(part.name, [])
        ]
        resumed = [job.first for job in jobs.get(part.name, []) if job.resume]
        there = [_seeds(a, b) for a, b in found if a < seeds and a not in resumed]
        words += [f"{', '.join(there)}: finished, used again"] if there else []
        baselines = len(measurements.get(part.name, []))
        words += [f"measure {baselines} baselines"] if baselines else []
        lines.append(f"  {part.name:<{width}}{'; '.join(words) or part.missing or 'left out by --only'}")
        if isinstance(part.experiment, PairExperiment) and part.experiment.train.pairing != "grid":
            train = part.experiment.train
            new = settings * sum(job.seeds for job in jobs.get(part.name, []))
            models += new
            pairs += new * part.experiment.epochs * (train.positives + train.negatives)
    if models:
        lines.append(
            f"  The paper's training: {models} models see {pairs / 1e6:,.0f} million pairs between them; the "
            "first line of progress says how long that takes here. Ctrl-C saves, and the same line goes on."
        )
    return "\n".join(lines)


def _seeds(first: int, last: int) -> str:
    return f"seeds {first} to {last}" if first < last else f"seed {first}"


def _train(job: Job, reports: bool) -> None:
    over = [f"{field}={','.join(map(json.dumps, values))}" for field, values in job.part.over.items()]
    arguments = sweep.Arguments(
        job.experiment,
        over=tuple(over),
        seeds=job.seeds,
        run_dir=job.path,
        resume=job.resume,
        member_reports=reports,
    )
    if not job.resume:
        # A sweep that was cut off before its sweep.json was there has trained nothing.
        shutil.rmtree(job.path, ignore_errors=True)
    try:
        sweep.run(job.part.preset, arguments)
    except Diverged as stop:
        say(f"{job.part.name}: no member has a loss that is a number at step {stop.step:,}; the page says so")
