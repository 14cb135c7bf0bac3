"""What a paper's table is, and what it is trained from: the user's options, and the experiments that they
make of presets.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gcnxmodal.baselines import BASELINES, METHODS
from gcnxmodal.config import Experiment
from gcnxmodal.errors import InputError
from gcnxmodal.papers.published import Published
from gcnxmodal.retrieval.protocols import PROTOCOLS
from gcnxmodal.systems import PRESETS

NOT_BUILT = "quoted only: this baseline is not built yet"
OF_RUNS = ("model", "chance", "cca-sign", *BASELINES)
"""What every run measures by itself."""


OTHERS = {
    "emoji": ("emoji", "the emoji corpus"),
    "corel5k": ("Corel5k", "Corel5k"),
}
"""What --data has beside the paper's data sets: the name of its column, and of the data set."""


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


@dataclasses.dataclass(frozen=True)
class Part:
    """What is trained as one sweep.

    Attributes:
        name: of its folder, and what `--only` calls it.
        over: fields and their values.
        missing: why it cannot be run; "" if it can.
    """

    name: str
    preset: str
    experiment: Experiment
    over: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    missing: str = ""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where our number of a cell is: a part, the setting of its members, and whose number it is.

    Attributes:
        system: "model", "chance", a yardstick that every run measures on its data ("cca", "sm"; beside codes
            "cca-sign"); or a name of `METHODS` or `HASHING_METHODS`, which the table measures itself.
        fixed: values of such a method that its table decides. With any, the table measures yardsticks too;
            with `bits`, the method is of `HASHING_METHODS`.
        official: on the official features of Wikipedia in place of those that the part's models read.
        label: of its files, where a part has the method more than once.
    """

    part: str
    setting: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    system: str = "model"
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    official: bool = False
    label: str = ""

    @property
    def of_runs(self) -> bool:
        """Whether runs measure it: what they do not, the table does."""
        return self.system in OF_RUNS and not self.fixed and not self.official


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of a paper, and how it is made again.

    Attributes:
        name: of its folder.
        kinds: what rows and columns are, such as "encoders" and "co-attention layers".
        paper: the published numbers, by row and column.
        ours: where ours come from; a cell that is not here is quoted only.
        quoted: by row, why it is quoted only.
        digits: of the published numbers.
        caption: what the published numbers may be compared with.
        notes: slips of the paper, and the like.
        plot: which plots go with it.
        shown: the protocols that stand beside the paper's numbers.
        protocols: those of the CSV file.
        drawn: columns whose curves the plots show, and what these call them.
        own: rows of the paper's system, which the plots draw first.
    """

    name: str
    title: str
    kinds: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    paper: Mapping[tuple[str, str], Published]
    ours: Mapping[tuple[str, str], Source]
    parts: tuple[Part, ...]
    caption: str
    training: str
    quoted: Mapping[str, str] = dataclasses.field(default_factory=dict)
    digits: int = 2
    notes: tuple[str, ...] = ()
    plot: Literal["layers", "heat", "codes", ""] = ""
    shown: tuple[str, ...] = ("authors", "standard")
    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    drawn: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def sources(self) -> list[Source]:
        """Of all of our numbers."""
        return list(self.ours.values())

    own: tuple[str, ...] = ()


def scanet(data: str, options: Options) -> tuple[str, Experiment]:
    """Preset and experiment of SCANet on a data set."""
    preset = f"scanet-{data}-{options.variant}{'' if options.faithful else '-grid'}"
    return preset, adapted(PRESETS[preset][1], data, options)


def gin(data: str, options: Options) -> tuple[str, Experiment]:
    """Preset and experiment of GIN on a data set."""
    preset = f"gin-{data}"
    if not options.faithful and f"{preset}-tuned" in PRESETS:
        preset += "-tuned"
    experiment = PRESETS[preset][1]
    if not options.faithful and not preset.endswith("-tuned"):
        # What was chosen on English Wikipedia's validation items serves the others as well.
        tuned = PRESETS["gin-wikipedia-tuned"][1]
        text = dataclasses.replace(experiment.text, weighting=tuned.text.weighting)
        experiment = dataclasses.replace(
            experiment, text=text, model=tuned.model, train=tuned.train, epochs=tuned.epochs
        )
    return preset, adapted(experiment, data, options)


def sspe(data: str, options: Options) -> tuple[str, Experiment]:
    """Preset and experiment of SSPE on a data set."""
    preset = f"sspe-{data}"
    return preset, adapted(PRESETS[preset][1], data, options)


def adapted(experiment: Experiment, data: str, options: Options) -> Experiment:
    """With the user's root, feature and epochs, and without MAP on the way, which a table has no use for."""
    root = None if data == "emoji" else getattr(options, FLAGS[data])
    experiment = dataclasses.replace(
        experiment,
        data=dataclasses.replace(experiment.data, root=root),
        epochs=experiment.epochs if options.epochs is None else options.epochs,
        evaluate_every=0,
    )
    if options.image_feature and (data in ("wikipedia", "corel5k") or experiment.kind != "pairs"):
        experiment = with_feature(experiment, options.image_feature)
    return experiment


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


def beside(rows: Iterable[str], named: Mapping[str, str]) -> dict[tuple[str, str], Source]:
    """The rows that are baselines of ours, in each column; `named` has the part of a column."""
    return {
        (row, column): Source(part, system=row.lower())
        for row in rows
        if row.lower() in METHODS
        for column, part in named.items()
    }


def check_folders(table: str, options: Options, data: Iterable[str]) -> None:
    """Refuse folders of data sets that the table or figure has not.

    Raises:
        InputError: naming the option.
    """
    useful = {FLAGS[name] for name in data if name in FLAGS}
    for flag in dict.fromkeys(FLAGS.values()):
        if getattr(options, flag) is not None and flag not in useful:
            option = f"--{flag.replace('_', '-')}"
            fix = "give --data corel5k, or leave it out" if flag == "root" else "leave it out"
            raise InputError(f"{option} is of no data set of {table} --data {options.data}; {fix}")
    if options.image_feature and options.data == "emoji":
        raise InputError("--image-feature is of data sets with a folder, but --data is emoji; leave one out")


def check_unused(table: str, options: Options, why: str) -> None:
    """Refuse what only SCANet's and GIN's tables have a use for.

    Raises:
        InputError: naming the option; `why` says what the table's rows are.
    """
    for name, default in (("faithful", False), ("variant", Options.variant), ("resnet50", None)):
        if getattr(options, name) != default:
            raise InputError(f"--{name}: {table} has no use for it, {why}; leave it out")


def trained(preset: str, experiment: Experiment, name: str, options: Options) -> Part:
    """The part that is named after its data set, with nothing swept."""
    return Part(name, preset, experiment, missing=missing(name, options))


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


def image_side(image: str, options: Options) -> tuple[str, str]:
    """What stands for ResNet-50 or CNN-5 of SCANet's Table 3, and why it cannot be had ("" if it can)."""
    pixels = image == "CNN-5"
    feature = "pixels" if pixels else str(options.resnet50 or "resnet50")
    if options.data == "emoji":
        return feature, "" if pixels else "not run: the emoji corpus comes without ResNet-50 features"
    if options.root is None:
        return feature, missing("wikipedia", options)
    if pixels and not (options.root / "images").is_dir():
        return feature, "not run: no images/ in --root; the official archive has the pictures"
    if not pixels and options.resnet50 is None:
        return feature, "not run: give --resnet50 FILE.npz, features of the archive's pictures"
    return feature, ""


def with_feature(experiment: Experiment, feature: str) -> Experiment:
    """The experiment with other image features."""
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, image_feature=feature))
