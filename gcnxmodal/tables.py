"""Make a paper's table again: `python -m gcnxmodal.tables TABLE [--root ROOT] [--seeds N]`.

- scanet-2: SCANet on three data sets, beside CCA and other baselines (Lu et al. 2018, Table 2)

- scanet-3: text and image encoders with 0 to 3 layers of co-attention (Table 3)

- scanet-4: margin m and balance lambda (Table 4)

- gin-1: GIN on five data sets, beside CCA, SM and other baselines (Yu et al. 2018, Table 1)

- gch-1: GCH at 16, 32 and 64 bits, beside other hashing methods, CCA's signs and SM (Xu et al. 2019, Table 1
  and Figure 2)

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
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gcnxmodal.papers import TABLES, engine
from gcnxmodal.papers.options import Options

if TYPE_CHECKING:
    Name = str
else:
    Name = tyro.extras.literal_type_from_choices(list(TABLES))


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which table, from what, and where it is kept."""

    table: tyro.conf.Positional[Name]
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


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    return engine.main(
        "gcnxmodal.tables",
        Arguments,
        __doc__,
        sys.argv[1:] if arguments is None else arguments,
        lambda parsed: TABLES[parsed.table](parsed.options),
    )


if __name__ == "__main__":
    sys.exit(main())
