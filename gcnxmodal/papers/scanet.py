"""SCANet's tables (Lu et al. 2018): Tables 2, 3 and 4."""

import dataclasses
from pathlib import Path

from gcnxmodal.config import Experiment
from gcnxmodal.papers.gin import (
    PROTOCOL,
    comparable,
    compared,
    folder_name,
    refuse_contradictions,
    row_of,
    training,
)
from gcnxmodal.papers.options import Options, missing, part_of, with_feature
from gcnxmodal.papers.table import Column, Part, Row, Source, Table, Triple, cells_of
from gcnxmodal.systems.scanet import SCANET_TABLE_2

SCANET_COLUMNS = ("wikipedia", "nus-wide", "pascal")
"""Data sets of the columns of SCANet's Table 2, as the presets call them."""

# SCANet Table 2: Eng-Wiki, NUS-WIDE, Pascal VOC.
SCANET_2: dict[str, tuple[Triple | None, Triple | None, Triple | None]] = {
    "SCM": ((0.23, 0.28, 0.26), None, None),
    "TCM": ((0.29, 0.23, 0.26), None, None),
    "CCA": ((0.19, 0.22, 0.20), (0.27, 0.29, 0.28), (0.22, 0.27, 0.24)),
    "LCFS": ((0.20, 0.27, 0.24), (0.34, 0.47, 0.41), (0.27, 0.34, 0.31)),
    "MvDA": ((0.23, 0.30, 0.26), None, None),
    "LGCFL": ((0.32, 0.38, 0.35), (0.39, 0.50, 0.44), None),
    "ml-CCA": ((0.29, 0.35, 0.32), (0.39, 0.47, 0.43), None),
    "GMLDA": ((0.29, 0.32, 0.30), (0.24, 0.31, 0.28), None),
    "GMMFA": ((0.30, 0.32, 0.31), (0.23, 0.31, 0.27), None),
    "AUSL": ((0.33, 0.40, 0.37), (0.41, 0.57, 0.49), None),
    "JFSSL": ((0.41, 0.47, 0.44), (0.38, 0.40, 0.39), (0.28, 0.36, 0.32)),
    "SCANet": (SCANET_TABLE_2["wikipedia"], SCANET_TABLE_2["nus-wide"], SCANET_TABLE_2["pascal"]),
}

# SCANet Table 3: text features, image features; 0, 1, 2 and 3 layers of co-attention.
SCANET_3: dict[tuple[str, str], tuple[Triple, Triple, Triple, Triple]] = {
    ("LSTM", "VGG-19"): ((0.62, 0.42, 0.52), (0.64, 0.44, 0.54), (0.63, 0.43, 0.53), (0.60, 0.42, 0.51)),
    ("CNN", "VGG-19"): ((0.36, 0.30, 0.33), (0.37, 0.31, 0.34), (0.41, 0.33, 0.37), (0.35, 0.29, 0.32)),
    ("GCN", "VGG-19"): ((0.75, 0.43, 0.59), (0.76, 0.45, 0.61), (0.81, 0.46, 0.63), (0.72, 0.46, 0.59)),
    ("GCN", "ResNet-50"): ((0.66, 0.39, 0.53), (0.69, 0.41, 0.56), (0.71, 0.43, 0.57), (0.70, 0.40, 0.55)),
    ("GCN", "CNN-5"): ((0.28, 0.27, 0.28), (0.31, 0.28, 0.30), (0.33, 0.28, 0.31), (0.30, 0.26, 0.28)),
}

# SCANet Table 4: m, lambda.
SCANET_4: dict[tuple[float, float], Triple] = {
    (0.5, 0.35): (0.622, 0.463, 0.543),
    (0.6, 0.35): (0.808, 0.460, 0.634),
    (0.7, 0.35): (0.643, 0.473, 0.558),
    (0.6, 0.30): (0.795, 0.450, 0.623),
    (0.6, 0.40): (0.791, 0.452, 0.621),
}

MARGINS, BALANCES = (0.5, 0.6, 0.7), (0.30, 0.35, 0.40)

_SM = "SM is not in the paper's table: two classifiers without a common space, to see a system beside."


def scanet_2(options: Options) -> Table:
    """SCANet, CCA and the other methods on three data sets; two layers."""
    refuse_contradictions("scanet-2", options)
    data: dict[str, str] = dict(zip(("Eng-Wiki", "NUS-WIDE", "Pascal VOC"), SCANET_COLUMNS, strict=True))
    parts = tuple(_part(name, options) for name in data.values())
    own = Row("SCANet", "model", own=True)
    rows = tuple(own if label == own.label else row_of(label) for label in (*SCANET_2, "SM"))
    columns, sources, features = compared(own, [row for row in rows if row is not own], data, options)
    paper = {
        (row, column): numbers
        for row, triples in SCANET_2.items()
        for column, numbers in zip(data, triples, strict=True)
        if numbers is not None
    }
    return Table(
        name=folder_name("scanet-2", options),
        title="SCANet (Lu et al. 2018), Table 2: MAP on three data sets",
        kinds=("method", "data set"),
        rows=rows,
        columns=columns,
        cells=cells_of(sources, paper),
        parts=parts,
        caption=f"{comparable(options)} {PROTOCOL}{features}",
        training=_training(options, parts[0].preset),
        notes=(_SM,),
    )


def scanet_3(options: Options) -> Table:
    """Five pairs of encoders with 0, 1, 2 and 3 layers of co-attention."""
    refuse_contradictions("scanet-3", options)
    base = _part(options.corpus, options)
    over = {"model.attention_layers": [0, 1, 2, 3]}
    columns = tuple(Column(f"A = {layers}") for layers in over["model.attention_layers"])
    rows, parts, sources, paper = [], [], {}, {}
    for (text, image), triples in SCANET_3.items():
        model = dataclasses.replace(base.experiment.model, text=text.lower(), attention_layers=0)
        experiment = dataclasses.replace(base.experiment, model=model)
        if image == "VGG-19":
            row, part = _fixed_features(text, experiment, options), text.lower()
            lacking = missing(options.corpus, options)
        else:
            row, part = Row(f"{text} + {image}", "model"), f"{text}-{image.replace('-', '')}".lower()
            feature, lacking = _image_side(image, options)
            experiment = with_feature(experiment, feature)
        rows.append(row)
        parts.append(Part(part, base.preset, experiment, over, lacking))
        for layers, column in enumerate(columns):
            sources[row.label, column.label] = Source(part, {"model.attention_layers": layers})
            if options.data == "paper":
                paper[row.label, column.label] = triples[layers]
    return Table(
        name=folder_name("scanet-3", options),
        title=f"SCANet (Lu et al. 2018), Table 3: encoders and layers of co-attention{_where(options)}",
        kinds=("encoders", "layers of co-attention"),
        rows=tuple(rows),
        columns=columns,
        cells=cells_of(sources, paper),
        parts=tuple(parts),
        caption=f"{comparable(options)} {PROTOCOL + '.' if paper else ''}".strip(),
        training=_training(options, base.preset),
        plot="layers",
    )


def scanet_4(options: Options) -> Table:
    """Margin and balance: nine settings, five of them published."""
    refuse_contradictions("scanet-4", options)
    base = _part(options.corpus, options)
    rows = {m: f"m = {m:.1f}" for m in MARGINS}
    columns = {b: f"lambda = {b:.2f}" for b in BALANCES}
    published = SCANET_4 if options.data == "paper" else {}
    sources = {
        (rows[m], columns[b]): Source("grid", {"train.margin": m, "train.balance": b})
        for m in MARGINS
        for b in BALANCES
    }
    return Table(
        name=folder_name("scanet-4", options),
        title=f"SCANet (Lu et al. 2018), Table 4: margin m and balance lambda{_where(options)}",
        kinds=("m", "lambda"),
        rows=tuple(Row(label, "model") for label in rows.values()),
        columns=tuple(map(Column, columns.values())),
        cells=cells_of(sources, {(rows[m], columns[b]): numbers for (m, b), numbers in published.items()}),
        parts=(
            dataclasses.replace(base, name="grid", over={"train.margin": MARGINS, "train.balance": BALANCES}),
        ),
        caption=f"{comparable(options)} {PROTOCOL + '.' if published else ''}".strip(),
        training=_training(options, base.preset),
        digits=3,
        notes=(
            "The paper chose m and lambda by these numbers, on the test items, and so does this table: they "
            "show how much the two matter, not what either is worth on items unseen.",
            "The gradient of the loss does not depend on m until the mean scores of matching and other pairs "
            "are m apart: rows of one column that are equal have not come so far.",
            "The paper's text says m from .4 to .6 and averages from .47 to .63; its table has neither.",
        ),
        plot="heat",
    )


def _part(data: str, options: Options) -> Part:
    """SCANet on a data set."""
    return part_of(f"scanet-{data}-{options.variant}{'' if options.faithful else '-grid'}", data, options)


def _fixed_features(text: str, experiment: Experiment, options: Options) -> Row:
    """The row of a text encoder with fixed image features: ours may be others than the paper's VGG-19."""
    name = experiment.data.image_feature
    feature = "EfficientNet" if name == "efficientnet-lite0" else Path(name).name
    if options.data == "emoji":
        return Row(f"{text} + {feature}", "model")
    paper = f"{text} + VGG-19"
    return Row(f"{paper} (here {feature})", "model", in_paper=paper, in_plots=f"{text} + {feature}")


def _image_side(image: str, options: Options) -> tuple[str, str]:
    """What stands for ResNet-50 or CNN-5, and why it cannot be had ("" if it can)."""
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


def _where(options: Options) -> str:
    return ", on English Wikipedia" if options.data == "paper" else ", on the emoji corpus"


def _training(options: Options, preset: str) -> str:
    words = {"paper": "its equations have it", "authors": "its surviving code has it"}
    return training(options, preset, f", SCANet as {words[options.variant]}")


TABLES = {"scanet-2": scanet_2, "scanet-3": scanet_3, "scanet-4": scanet_4}
