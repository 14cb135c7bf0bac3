"""What the user asks of tables and figures, and the parts that these options make of presets."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gcnxmodal.config import Experiment
from gcnxmodal.errors import InputError
from gcnxmodal.papers.table import (
    NOT_BUILT,
    Column,
    Direction,
    Part,
    Row,
    Source,
    Table,
    cells_of,
    two_directions,
)
from gcnxmodal.systems import PRESETS

OTHERS = {
    "emoji": ("emoji", "the emoji corpus"),
    "corel5k": ("Corel5k", "Corel5k"),
}
"""What --data has beside the paper's data sets: the name of its column, and of the data set."""

FLAGS = {
    "wikipedia": "root",
    "nus-wide": "nus_wide",
    "pascal": "pascal",
    "tvgraz": "tvgraz",
    "ch-wiki": "ch_wiki",
    "mirflickr": "mirflickr",
    "coco": "coco",
    "corel5k": "root",
}
"""By data set, as presets call it: the option with its folder."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What a table is made from, and how its models are trained."""

    root: Path | None = None
    """English Wikipedia: folder of the archive of Rasiwasia et al. 2010. With --data corel5k: its folder."""
    nus_wide: Path | None = None
    """NUS-WIDE: folder of the official distribution (docs/data-sets.md)."""
    mirflickr: Path | None = None
    """MIRFLICKR-25K: folder of the two archives (gch-1 to gch-3, sspe-1)."""
    coco: Path | None = None
    """COCO 2014: folder of annotations and pictures or features (gch-1, gch-2)."""
    pascal: Path | None = None
    """Pascal VOC 2007: folder of the official distribution, tags and features (docs/data-sets.md)."""
    tvgraz: Path | None = None
    """TVGraz, in the folder layout (docs/your-own-data.md; gin-1)."""
    ch_wiki: Path | None = None
    """Chinese Wikipedia, in the folder layout (gin-1)."""
    data: Literal["paper", "emoji", "corel5k"] = "paper"
    """The paper's data sets; or, where the papers have no numbers: the embedded emoji corpus (scanet-3,
    scanet-4, gin-1; gch-1 to gch-3 and sspe-1 with several labels an item), corel5k in the folder layout
    (gin-1, gch-1 to gch-3, sspe-1)."""
    image_feature: str | None = None
    """What stands where the paper has VGG-19, on English Wikipedia: cnn (the default), sift,
    efficientnet-lite0, or an .npz file with arrays train and test. GCH's and SSPE's data sets: in place of
    their presets' feature, on all of them."""
    resnet50: Path | None = None
    """An .npz file of ResNet-50 features of English Wikipedia, arrays train and test (scanet-3)."""
    variant: Literal["paper", "authors"] = "authors"
    """SCANet as in the paper's equations, or as in surviving code of its authors."""
    faithful: bool = False
    """Train as the paper does (hours and days) in place of with grid pairs (minutes)."""
    epochs: int | None = None
    """Epochs of every model; by default its preset's."""

    @property
    def corpus(self) -> str:
        """The data set of SCANet's Tables 3 and 4."""
        return "wikipedia" if self.data == "paper" else self.data


def part_of(
    preset: str,
    data: str,
    options: Options,
    *,
    experiment: Experiment | None = None,
    name: str = "",
    over: Mapping[str, Sequence[Any]] | None = None,
) -> Part:
    """A preset on a data set with the user's root, feature and epochs; named after the data set by default.

    Args:
        experiment: in place of the preset's.
    """
    adapted = _adapted(PRESETS[preset][1] if experiment is None else experiment, data, options)
    return Part(name or data, preset, adapted, over or {}, missing(data, options))


def with_feature(experiment: Experiment, feature: str) -> Experiment:
    """The experiment with other image features."""
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, image_feature=feature))


def missing(data: str, options: Options) -> str:
    """Why a data set's fixed features cannot be had; "" if they can, as far as can be seen from here."""
    if data == "emoji":
        return ""
    root = getattr(options, FLAGS[data])
    if root is None:
        return f"not run: give --{FLAGS[data].replace('_', '-')} ROOT"
    if data == "wikipedia" and not options.image_feature and not (root / "cnn_features.npz").exists():
        return "not run: no cnn_features.npz in --root; give --image-feature FILE.npz or efficientnet-lite0"
    return ""


def data_sets(
    name: str,
    options: Options,
    headings: Mapping[str, str],
    *,
    of_paper: Sequence[str] = (),
    unused: str = "",
) -> dict[str, str]:
    """The data sets of a table or figure of GCH or SSPE, and the names of their columns.

    Args:
        headings: of data sets of the paper.
        of_paper: those of them that the table or figure has; all, if not given.
        unused: what the table's rows are, so that it has no use for options of SCANet and GIN.

    Raises:
        InputError: for options that contradict each other or the table, naming the option.
    """
    for option, default in (("faithful", False), ("variant", Options.variant), ("resnet50", None)):
        if getattr(options, option) != default:
            raise InputError(f"--{option}: {name} has no use for it, {unused}; leave it out")
    if options.data == "paper":
        data = {of: headings[of] for of in of_paper or headings}
    else:
        data = {options.data: OTHERS[options.data][0]}
    useful = {FLAGS[of] for of in data if of in FLAGS}
    for flag in dict.fromkeys(FLAGS.values()):
        if getattr(options, flag) is not None and flag not in useful:
            option = f"--{flag.replace('_', '-')}"
            fix = "give --data corel5k, or leave it out" if flag == "root" else "leave it out"
            raise InputError(f"{option} is of no data set of {name} --data {options.data}; {fix}")
    if options.image_feature and options.data == "emoji":
        raise InputError("--image-feature is of data sets with a folder, but --data is emoji; leave one out")
    return data


def table_on_data(
    name: str,
    options: Options,
    *,
    title: str,
    where: str = "",
    rows: tuple[Row, ...],
    published: Mapping[str, Mapping[Direction, tuple[float, ...]]],
    sources: Mapping[tuple[str, str], Source],
    columns: tuple[Column, ...],
    parts: tuple[Part, ...],
    caption: str,
    notes: tuple[str, ...],
    slips: tuple[str, ...] = (),
    **more: Any,
) -> Table:
    """A table of GCH or SSPE: with the paper's numbers on its own data sets, without them elsewhere.

    Args:
        where: what the title says of the paper's data sets.
        rows: those with numbers of ours; the others of the paper are quoted, or left out and named.
        slips: notes that the paper's numbers need.
    """
    ours = {row.label: row for row in rows}
    others = [label for label in published if label not in ours or ours[label].method != "model"]
    quoted = [label for label in published if label not in ours]
    # Other methods in the paper's order, then those that it has not, then its system and what runs measure.
    labels = dict.fromkeys((*others, *ours))
    paper = {}
    if options.data == "paper":
        title, notes = title + where, (*notes, *slips)
        for label in published:
            numbers = two_directions(published, label)
            paper |= {(label, column.label): of for column, of in zip(columns, numbers, strict=True)}
    else:
        several = " with several labels an item" if options.data == "emoji" else ""
        title, name = f"{title}, on {OTHERS[options.data][1]}{several}", f"{name}-{options.data}"
        caption = "On this corpus the paper has no numbers."
        if quoted:
            left_out = f"{', '.join(quoted)}: not built yet, and there is no published number to quote."
            notes = (*notes, left_out)
        labels = [label for label in labels if label in ours]
    return Table(
        name=name,
        title=title,
        rows=tuple(ours.get(label) or Row(label, quoted=NOT_BUILT) for label in labels),
        columns=columns,
        cells=cells_of(sources, paper),
        parts=parts,
        caption=caption,
        training=f"trained by the presets {', '.join(part.preset for part in parts)}",
        digits=3,
        notes=notes,
        **more,
    )


def _adapted(experiment: Experiment, data: str, options: Options) -> Experiment:
    """With the user's root, feature and epochs, and without MAP on the way, which a table has no use for."""
    root = None if data == "emoji" else getattr(options, FLAGS[data])
    experiment = dataclasses.replace(
        experiment,
        data=dataclasses.replace(experiment.data, root=root),
        epochs=experiment.epochs if options.epochs is None else options.epochs,
        evaluate_every=0,
    )
    if options.image_feature and (
        data in ("wikipedia", "corel5k") or experiment.kind not in ("gin", "scanet")
    ):
        experiment = with_feature(experiment, options.image_feature)
    return experiment
