"""Make a paper's table again: `python -m gcnxmodal.tables TABLE [--root ROOT] [--seeds N]`.

- scanet-2: SCANet on three data sets, beside CCA and other baselines (Lu et al. 2018, Table 2)

- scanet-3: text and image encoders with 0 to 3 layers of co-attention (Table 3)

- scanet-4: margin m and balance lambda (Table 4)

- gin-1: GIN on five data sets, beside CCA, SM and other baselines (Yu et al. 2018, Table 1)

- gch-1: GCH at 16, 32 and 64 bits, beside CCA's signs and SM (Xu et al. 2019, Table 1 and Figure 2)

- gch-2: GCH without its graph convolutions (Table 2)

- gch-3: GCH against CMHH (Table 3)

- sspe-1: SSPE on three data sets, beside CCA, PLS, GMLDA, MMNN, ml-CCA and DSPE (Wu et al. 2018, Table 1)

What a table needs and has not yet is trained, each row as one vmapped program over its columns and seeds (of
GCH: a program a length of code; of GIN and SSPE: one a data set). Baselines that no run measures are fitted
once, the random ones once a seed, with hyper-parameters chosen on a part of the training items. What is
finished is used again, so the same line goes on after a stop, and more --seeds train the new ones only. The
table, with the paper's numbers beside ours, is printed and written as table.md, .csv and .html.
Without the paper's data: gin-1, gch-1 to gch-3 and sspe-1 take --data emoji or --data corel5k --root DIR,
scanet-3 and scanet-4 --data emoji.
"""

import dataclasses
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
from gcnxmodal.errors import InputError
from gcnxmodal.experiments.config import validate
from gcnxmodal.experiments.corpora import load_corpus
from gcnxmodal.experiments.pair_config import PairExperiment
from gcnxmodal.experiments.paper_tables import TABLES
from gcnxmodal.experiments.table_baselines import BaselineFolder, Measurement, measure
from gcnxmodal.experiments.table_parts import Options, PaperTable, Part
from gcnxmodal.experiments.table_runs import Job, PartFolder, fill
from gcnxmodal.report.paper_table import as_csv, as_markdown, as_text
from gcnxmodal.report.paper_table_page import write_table_page
from gcnxmodal.training.loop import Diverged, Interrupted


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which table, from what, and where it is kept."""

    table: tyro.conf.Positional[
        Literal["scanet-2", "scanet-3", "scanet-4", "gin-1", "gch-1", "gch-2", "gch-3", "sspe-1"]
    ]
    """The table."""
    options: Annotated[Options, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Options)
    seeds: int = 5
    """How many seeds each model is trained with, from 0 on."""
    folder: Path = Path("runs/tables")
    """Where tables and their runs are kept, a folder a table."""
    only: tuple[str, ...] = ()
    """Train these parts only: rows of scanet-3 (lstm, cnn, gcn, gcn-resnet50, gcn-cnn5), data sets of
    scanet-2, gin-1 and sspe-1 (wikipedia, nus-wide, pascal and so on), data sets and variants of gch-1 to
    gch-3 (emoji-paper, emoji-official, mirflickr-paper and so on), with their baselines. What the others have
    is shown."""
    overwrite: bool = False
    """Train and measure again what is there."""


def parse(arguments: list[str]) -> Arguments:
    """Arguments of a command line."""
    return tyro.cli(
        Arguments,
        prog="python -m gcnxmodal.tables",
        description=__doc__,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def run(
    table: PaperTable,
    folder: Path,
    *,
    seeds: int,
    only: Sequence[str] = (),
    overwrite: bool = False,
    command: str,
) -> Path:
    """Train what the table lacks, print it and write it; returns its folder.

    Args:
        table: the table.
        folder: where tables are kept.
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
    path = folder / table.name
    names = [part.name for part in table.parts]
    if unknown := [name for name in only if name not in names]:
        raise InputError(f"--only {unknown[0]}: {table.name} has the parts {', '.join(names)}")
    parts = [part for part in table.parts if not part.missing and (not only or part.name in only)]
    _check(table, path, parts, overwrite, seeds)
    baselines = BaselineFolder(table, path / "baselines")
    for part in parts:
        if overwrite or PartFolder(part, path / "runs").jobs(seeds) or baselines.missing(part, seeds):
            # A fault of the data shows before anything is trained or replaced.
            load_corpus(part.experiment.data, part.experiment.text)
    if overwrite:
        for part in parts:
            shutil.rmtree(path / "runs" / part.name, ignore_errors=True)
            baselines.remove(part)
    jobs = {part.name: PartFolder(part, path / "runs").jobs(seeds) for part in parts}
    measurements = {part.name: baselines.missing(part, seeds) for part in parts}
    say(_plan(table, path, jobs, measurements, seeds))
    for job in (job for found in jobs.values() for job in found):
        say(f"\n{table.name}: {job.part.name}, {_seeds(job.first, job.first + job.seeds - 1)}")
        _run(job)
    for name, found in measurements.items():
        if found:
            say(f"\n{table.name}: baselines of {name}")
            measure(found, say)
    return write(table, path, seeds, command)


def write(table: PaperTable, path: Path, seeds: int, command: str) -> Path:
    """Print the table of the runs and baselines in its folder, and write its files."""
    filled = fill(table, path, seeds, command)
    path.mkdir(parents=True, exist_ok=True)
    (path / "table.md").write_text(as_markdown(filled), encoding="utf-8")
    (path / "table.csv").write_text(as_csv(filled), encoding="utf-8")
    page = write_table_page(path, filled)
    say(f"\n{as_text(filled)}\n\ntable: {page}, {path / 'table.md'} and {path / 'table.csv'}")
    return path


def _check(table: PaperTable, path: Path, parts: Sequence[Part], overwrite: bool, seeds: int) -> None:
    """Refuse what cannot be done before anything is done."""
    for part in table.parts:
        if part.missing:
            continue
        validate(part.experiment)
        if not (overwrite and part in parts):
            PartFolder(part, path / "runs").check()
            BaselineFolder(table, path / "baselines").check(part, seeds)
    if not parts and not any(PartFolder(part, path / "runs").sweeps() for part in table.parts):
        reasons = "; ".join(f"{part.name}: {part.missing}" for part in table.parts if part.missing)
        raise InputError(f"{table.name}: nothing can be run. {reasons}")


def _plan(
    table: PaperTable,
    path: Path,
    jobs: dict[str, list[Job]],
    measurements: dict[str, list[Measurement]],
    seeds: int,
) -> str:
    """What will be trained and measured, and what is used again."""
    lines = [f"{table.title}\n{table.training}; in {path}"]
    models = pairs = 0
    width = max(len(part.name) for part in table.parts) + 2
    for part in table.parts:
        settings = 1
        for values in part.over.values():
            settings *= len(values)
        found = PartFolder(part, path / "runs").sweeps()
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


def _run(job: Job) -> None:
    over = [f"{field}={','.join(map(json.dumps, values))}" for field, values in job.part.over.items()]
    arguments = sweep.Arguments(
        job.experiment, over=tuple(over), seeds=job.seeds, run_dir=job.path, resume=job.resume
    )
    if not job.resume:
        # A sweep that was cut off before its sweep.json was there has trained nothing.
        shutil.rmtree(job.path, ignore_errors=True)
    try:
        sweep.run(job.part.preset, arguments)
    except Diverged as stop:
        say(
            f"{job.part.name}: no member has a loss that is a number at step {stop.step:,}; the table says so"
        )


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    keep_compiled_programs()
    parsed = parse(arguments)
    words = [word for word in arguments if word != "--overwrite"]
    command = f"python -m gcnxmodal.tables {shlex.join(words)}"
    try:
        run(
            TABLES[parsed.table](parsed.options),
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
        say(how_to_go_on("gcnxmodal.tables", stop.step, arguments, resume=False))
        return 128 + stop.signal
    except KeyboardInterrupt:
        print(f"stopped; what is finished is kept. To go on:\n  {command}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
