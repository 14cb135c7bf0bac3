"""What each part of Joint is worth: one thing changed at a time, five seeds, tested over the queries.

    python -m benchmarks.ablation emoji
    python -m benchmarks.ablation wikipedia --root DIR      # also corel5k

One member (the presets have four), and SM and CCA only in the row that says so: the rest is the preset. By
class: average `standard` MAP of the class posteriors, or of the embedding where no class head is trained. By
pair: recall@1 and recall@10 of own pairs, means of both directions, by the embedding, or by the posteriors
where no contrast is trained. Mean and deviation over the seeds. The difference of each row from the first is
tested as `benchmarks.joint` does it: over test items, of AP and of whether the own pair is among ten.

Writes benchmarks/results/ablation-CORPUS.json after every row, and goes on with it if it was stopped.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import kept_result, write_result
from benchmarks.joint import measured, paired
from gcnxmodal.config import changed
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.retrieval.metrics import exact_pair_ranks
from gcnxmodal.retriever import Retriever
from gcnxmodal.sweeps import trained_members
from gcnxmodal.systems import PRESETS, build

TOWERS = {"model.members": 1, "model.sm_texts": 0.0, "model.sm_images": 0.0, "model.cca": 0.0}

TRAINED: dict[str, dict[str, Any]] = {
    "both terms": {},
    "no contrast of pairs": {"train.pair": 0.0},
    "no class head": {"train.class_head": 0.0},
    "contrast by class beside them": {"train.class_contrast": 0.5},
    "contrast of pairs by sigmoids": {"train.pair_form": "sigmoid"},
    "linear image tower": {"model.image_hidden": 0},
    "dimension 64": {"model.dimension": 64},
    "no words left out of a text": {"train.text_dropout": 0.0},
    "word graph (gcn) before the text tower": {"model.text": "gcn"},
    "word graph of GloVe vectors": {"model.text": "gcn", "text.vectors": "glove"},
}
"""Rows that are trained, by what they change."""

MIXED = ("model.sm_texts", "model.sm_images", "model.cca")
"""Shares that the last row takes from the preset, with the towers of the first."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=("emoji", "wikipedia", "corel5k"))
    parser.add_argument("--root", type=Path, help="folder of the data set")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="fewer than the preset's, to try the script")
    arguments = parser.parse_args()
    preset = PRESETS[f"joint-{arguments.corpus}"][1]
    values = {"data.root": arguments.root, "epochs": arguments.epochs}
    preset = changed(preset, {name: value for name, value in values.items() if value is not None})
    corpus = load_corpus(preset.data, preset.text)
    name = f"ablation-{arguments.corpus}"
    settings = {"seeds": arguments.seeds, "epochs": arguments.epochs}
    rows = kept_result(name, **settings).get("rows", {})
    print(f"{len(corpus.splits['train'])} training items, {arguments.seeds} seeds", flush=True)
    shares = {share: getattr(preset.model, share.split(".")[1]) for share in MIXED}
    wanted = {**TRAINED, "SM and CCA in the score": shares}
    for row, changes in wanted.items():
        if row not in rows:
            rows[row] = {"changes": changes, **_row(preset, changes, corpus, arguments.seeds)}
            first = rows["both terms"]
            for of in ("ap", "among_ten"):
                difference = np.subtract(rows[row][of], first[of])
                rows[row][f"{of} minus first"] = paired(difference) if row != "both terms" else None
            write_result(name, {**settings, "rows": rows})
        print(row, {key: rows[row][key] for key in ("map", "recall@1", "recall@10")}, flush=True)
        print("   ", rows[row]["ap minus first"], rows[row]["among_ten minus first"], flush=True)


def _row(preset: Any, changes: dict[str, Any], corpus: Corpus, seeds: int) -> dict[str, Any]:
    shares = {name: value for name, value in changes.items() if name in MIXED}
    trained = changed(preset, {**TOWERS, **{k: v for k, v in changes.items() if k not in MIXED}})
    experiments = [dataclasses.replace(trained, seed=seed) for seed in range(seeds)]
    system = build(trained, corpus)
    members = trained_members(system, experiments, lambda text: print(f"    {text}", flush=True))
    applied = build(changed(trained, shares), corpus) if shares else system
    found = [_measured(applied, params) for _, params in members]
    scores = {name: np.array([of[name] for of in found]) for name in ("map", "recall@1", "recall@10")}
    return {
        **{n: {"mean": float(v.mean()), "std": float(v.std(ddof=1))} for n, v in scores.items()},
        "ap": np.mean([of["ap"] for of in found], axis=0).tolist(),
        "among_ten": np.mean([of["among_ten"] for of in found], axis=0).tolist(),
    }


def _measured(system: Any, params: Any) -> dict[str, Any]:
    retriever = Retriever.of_system(system, params).with_items(system.inputs)
    corpus, test, train = system.inputs.corpus, system.inputs.corpus.splits["test"], system.experiment.train
    kind = retriever.preferring("class" if train.class_head else "pair")
    pair = retriever.preferring("pair" if train.pair else "class")
    by_class = measured(kind.texts[test], kind.images[test], corpus)
    texts, images = pair.texts[test], pair.images[test]
    by_pair = measured(texts, images, corpus)
    scores = texts @ images.T
    ranks = [exact_pair_ranks(of, np.arange(len(test))) for of in (scores, scores.T)]
    return {
        "map": float(np.mean(by_class["map"])),
        "ap": by_class["ap"],
        **{name: float(np.mean(by_pair[name])) for name in ("recall@1", "recall@10")},
        "among_ten": np.mean([rank <= 10 for rank in ranks], axis=0),
    }


if __name__ == "__main__":
    main()
