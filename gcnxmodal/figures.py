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
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnxmodal.compilation import keep_compiled_programs
from gcnxmodal.console import say
from gcnxmodal.papers.figure_page import write_figure_page
from gcnxmodal.papers.figure_parts import Options, PaperFigure
from gcnxmodal.papers.figure_runs import fill
from gcnxmodal.papers.figure_text import as_csv, as_text
from gcnxmodal.papers.paper_figures import FIGURES
from gcnxmodal.papers.remake import complete, exit_code


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
    path = complete(
        figure,
        folder,
        seeds=seeds,
        only=only,
        overwrite=overwrite,
        # Reports of 36 settings take longer than the training.
        reports=lambda part: not part.over,
    )
    return write(figure, path, seeds, command)


def write(figure: PaperFigure, path: Path, seeds: int, command: str) -> Path:
    """Print the figure of the runs in its folder, and write its files."""
    filled = fill(figure, path, seeds, command)
    path.mkdir(parents=True, exist_ok=True)
    (path / "figure.csv").write_text(as_csv(filled), encoding="utf-8")
    page = write_figure_page(path, filled)
    say(f"\n{as_text(filled)}\n\nfigure: {page}, {path / 'figure.csv'} and {path / 'plots'}")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    keep_compiled_programs()
    parsed = parse(arguments)
    words = [word for word in arguments if word != "--overwrite"]
    command = f"python -m gcnxmodal.figures {shlex.join(words)}"

    def make() -> Path:
        return run(
            FIGURES[parsed.figure](parsed.options),
            parsed.folder,
            seeds=parsed.seeds,
            only=parsed.only,
            overwrite=parsed.overwrite,
            command=command,
        )

    return exit_code("gcnxmodal.figures", arguments, command, make)


if __name__ == "__main__":
    sys.exit(main())
