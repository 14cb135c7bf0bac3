"""Make a paper's figure again: `python -m gcnxmodal.figures FIGURE [--data emoji] [--seeds N]`.

- sspe-4: precision by scope, SSPE beside GMLDA, ml-CCA, MMNN, DSPE and CCA (Wu et al. 2018, Figure 4)

- sspe-5: MAP by alpha1 x alpha2, each of 0, .2, .4, .6, .8, 1 (Figure 5)

- sspe-6: MAP by dimension of the space, beside CCA, ml-CCA and MMNN (Figure 6)

- sspe-7: MAP by the number of neighbours drawn for an item, a quarter of its own modality (Figure 7)

- sspe-8: losses and MAP by iteration (Figure 8)

Models are trained from the preset sspe-DATA, all that differ in numbers and seeds as one vmapped program:
sspe-5 is one program, a dimension (sspe-6) and a number of neighbours (sspe-7) are one each, over the seeds.
What is finished is used again, so the same line goes on after a stop, and more --seeds train the new ones
only. The numbers are printed and written as figure.csv, plots/*.png and figure.html.
"""

import dataclasses
import functools
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnxmodal import sweep
from gcnxmodal.compilation import keep_compiled_programs
from gcnxmodal.console import how_to_go_on, say
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.experiments.config import validate
from gcnxmodal.experiments.corpora import load_corpus
from gcnxmodal.experiments.figure_baselines import fit_missing, fits
from gcnxmodal.experiments.figure_runs import fill
from gcnxmodal.experiments.paper_figures import FIGURES, Options, PaperFigure
from gcnxmodal.experiments.table_parts import Part
from gcnxmodal.experiments.table_runs import Job, PartFolder
from gcnxmodal.report.paper_figure import as_csv, as_text
from gcnxmodal.report.paper_figure_page import write_figure_page
from gcnxmodal.training.loop import Diverged, Interrupted


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which figure, from what, and where it is kept."""

    figure: tyro.conf.Positional[Literal["sspe-4", "sspe-5", "sspe-6", "sspe-7", "sspe-8"]]
    """The figure."""
    options: Annotated[Options, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Options)
    seeds: int = 5
    """How many seeds each model is trained with, from 0 on."""
    folder: Path = Path("runs/figures")
    """Where figures and their runs are kept, a folder a figure."""
    only: tuple[str, ...] = ()
    """Train these parts only: data sets (emoji, corel5k, pascal, mirflickr, nus-wide), of sspe-7 with the
    number of neighbours (emoji-8). What the others have is shown."""
    overwrite: bool = False
    """Train again what is there."""


def parse(arguments: list[str]) -> Arguments:
    """Arguments of a command line."""
    return tyro.cli(
        Arguments,
        prog="python -m gcnxmodal.figures",
        description=__doc__,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def run(
    figure: PaperFigure,
    folder: Path,
    *,
    seeds: int,
    only: Sequence[str] = (),
    overwrite: bool = False,
    command: str,
) -> Path:
    """Train and fit what the figure lacks, print it and write it; returns its folder.

    Args:
        figure: the figure.
        folder: where figures are kept.
        seeds: how many, from 0 on.
        only: names of the parts that may be trained; all, if empty.
        overwrite: train again what is there.
        command: the line that makes it.

    Raises:
        InputError: for what the user can mend.
        Interrupted: after saving, on SIGTERM or SIGINT.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; it must be at least 1")
    path = folder / figure.name
    names = [part.name for part in figure.parts]
    if unknown := [name for name in only if name not in names]:
        raise InputError(f"--only {unknown[0]}: {figure.name} has the parts {', '.join(names)}")
    parts = [part for part in figure.parts if not part.missing and (not only or part.name in only)]
    folders = {part.name: PartFolder(part, path / "runs") for part in figure.parts}
    _check(figure, folders, [] if not overwrite else parts)

    @functools.cache
    def corpus_of(number: int) -> Corpus:
        return load_corpus(parts[number].experiment.data, parts[number].experiment.text)

    if overwrite or any(folders[part.name].jobs(seeds) for part in parts):
        for number, part in enumerate(parts):
            # A fault of the data shows before anything is trained or replaced.
            if part.experiment.data not in [other.experiment.data for other in parts[:number]]:
                corpus_of(number)
    if overwrite:
        for part in parts:
            for kind in ("runs", "baselines"):
                shutil.rmtree(path / kind / part.name, ignore_errors=True)
    jobs = {part.name: folders[part.name].jobs(seeds) for part in parts}
    say(_plan(figure, path, jobs, seeds))
    for job in (job for found in jobs.values() for job in found):
        say(f"\n{figure.name}: {job.part.name}, {_seeds(job)}")
        _train(job)
    fit_missing(fits(figure, path, seeds), parts, lambda part: corpus_of(parts.index(part)), say)
    return write(figure, path, seeds, command)


def write(figure: PaperFigure, path: Path, seeds: int, command: str) -> Path:
    """Print the figure of the runs in its folder, and write its files."""
    filled = fill(figure, path, seeds, command)
    path.mkdir(parents=True, exist_ok=True)
    (path / "figure.csv").write_text(as_csv(filled), encoding="utf-8")
    page = write_figure_page(path, filled)
    say(f"\n{as_text(filled)}\n\nfigure: {page}, {path / 'figure.csv'} and {path / 'plots'}")
    return path


def _check(figure: PaperFigure, folders: dict[str, PartFolder], replaced: Sequence[Part]) -> None:
    """Refuse what cannot be done before anything is done."""
    able = [part for part in figure.parts if not part.missing]
    for part in able:
        validate(part.experiment)
        if part not in replaced:
            folders[part.name].check()
    if not able and not any(found.sweeps() for found in folders.values()):
        reasons = "; ".join(f"{part.name}: {part.missing}" for part in figure.parts)
        raise InputError(f"{figure.name}: nothing can be run. {reasons}")


def _plan(figure: PaperFigure, path: Path, jobs: dict[str, list[Job]], seeds: int) -> str:
    """What will be trained, and what is used again."""
    lines = [f"{figure.title}\n{figure.training}; in {path}"]
    width = max(len(part.name) for part in figure.parts) + 2
    for part in figure.parts:
        settings = 1
        for values in part.over.values():
            settings *= len(values)
        if part.name not in jobs:
            words = [part.missing or "left out by --only"]
        else:
            words = [
                f"{'go on with' if job.resume else 'train'} {settings * job.seeds} models, {_seeds(job)}"
                for job in jobs[part.name]
            ]
        lines.append(f"  {part.name:<{width}}{'; '.join(words) or 'finished, used again'}")
    return "\n".join(lines)


def _seeds(job: Job) -> str:
    last = job.first + job.seeds - 1
    return f"seeds {job.first} to {last}" if job.first < last else f"seed {job.first}"


def _train(job: Job) -> None:
    over = [f"{field}={','.join(map(json.dumps, values))}" for field, values in job.part.over.items()]
    arguments = sweep.Arguments(
        job.experiment,
        over=tuple(over),
        seeds=job.seeds,
        run_dir=job.path,
        resume=job.resume,
        member_reports=not over,  # of 36 settings they take longer than the training
    )
    if not job.resume:
        # A sweep that was cut off before its sweep.json was there has trained nothing.
        shutil.rmtree(job.path, ignore_errors=True)
    try:
        sweep.run(job.part.preset, arguments)
    except Diverged as stop:
        say(f"{job.part.name}: no loss is a number at step {stop.step:,}; the figure says so")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    keep_compiled_programs()
    parsed = parse(arguments)
    words = [word for word in arguments if word != "--overwrite"]
    command = f"python -m gcnxmodal.figures {shlex.join(words)}"
    try:
        run(
            FIGURES[parsed.figure](parsed.options),
            parsed.folder,
            seeds=parsed.seeds,
            only=parsed.only,
            overwrite=parsed.overwrite,
            command=command,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        say(how_to_go_on("gcnxmodal.figures", stop.step, arguments, resume=False))
        return 128 + stop.signal
    except KeyboardInterrupt:
        print(f"stopped; what is finished is kept. To go on:\n  {command}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
