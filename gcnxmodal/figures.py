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
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from gcnxmodal.papers import FIGURES, engine
from gcnxmodal.papers.options import Options

if TYPE_CHECKING:
    Name = str
else:
    Name = tyro.extras.literal_type_from_choices(list(FIGURES))


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which figure, from what, and where it is kept."""

    figure: tyro.conf.Positional[Name]
    """The figure."""
    seeds: int = 5
    """How many seeds each model is trained with, from 0 on."""
    folder: Path = Path("runs/figures")
    """Where figures and their runs are kept, a folder a figure."""
    only: tuple[str, ...] = ()
    """Train these parts only: data sets (emoji, corel5k, pascal, mirflickr, nus-wide), of sspe-7 with the
    number of neighbours (emoji-8). What the others have is shown."""
    overwrite: bool = False
    """Train again what is there."""

    # The options that figures have a use for, of `Options`.
    data: Literal["paper", "emoji", "corel5k"] = "paper"
    """The data sets that the paper has in the figure; or the embedded emoji corpus (several labels an item,
    nothing to download), or Corel5k in the folder layout."""
    root: Path | None = None
    """Corel5k: its folder (docs/your-own-data.md)."""
    pascal: Path | None = None
    """Pascal VOC 2007: folder of the official distribution, tags and features (docs/data-sets.md)."""
    mirflickr: Path | None = None
    """MIRFLICKR-25K: folder of the two archives."""
    nus_wide: Path | None = None
    """NUS-WIDE: folder of the official distribution (sspe-4)."""
    image_feature: str | None = None
    """In place of the presets' image feature, on all data sets but emoji (docs/data-sets.md)."""
    epochs: int | None = None
    """Epochs of every model; by default its preset's."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    names = ("data", "root", "pascal", "mirflickr", "nus_wide", "image_feature", "epochs")
    return engine.main(
        "gcnxmodal.figures",
        Arguments,
        __doc__,
        sys.argv[1:] if arguments is None else arguments,
        lambda parsed: FIGURES[parsed.figure](Options(**{name: getattr(parsed, name) for name in names})),
    )


if __name__ == "__main__":
    sys.exit(main())
