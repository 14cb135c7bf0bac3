"""Is `--tune on` worth it where nobody has tuned? Part of a data set, as joint-folder chooses for it.

    python -m benchmarks.tuned emoji --items 150 --no-labels
    python -m benchmarks.tuned wikipedia --root DIR --items 2000
    python -m benchmarks.tuned folder --root my-data

Of each draw of `--items` training items: CCA and SM, joint-folder as it is (`--tune off`) and as it chooses
for these items, on at most 500 of the data set's test items. By class: average `standard` MAP, Joint asked
for the class; by pair: recall@10 of own pairs, Joint asked for the pair; means of both directions.

Writes benchmarks/results/tuned-NAME-ITEMS.json after every draw, and goes on with it if it was stopped.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import kept_result, write_result
from benchmarks.joint import measured
from gcnxmodal import tuning
from gcnxmodal.baselines import CCA, SemanticMatching
from gcnxmodal.config import changed
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.evaluation import fit_baseline
from gcnxmodal.retrieval.evaluate import pairs_of_embeddings
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import as_chosen
from gcnxmodal.sweeps import trained_members
from gcnxmodal.systems import PRESETS, build
from gcnxmodal.text.vocabulary import Vocabulary

MOST_TESTED = 500


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="a data set that has a preset of Joint, as emoji; or folder")
    parser.add_argument("--root", type=Path, help="folder of the data set")
    parser.add_argument("--items", type=int, help="training items of a draw; all, if not given")
    parser.add_argument("--no-labels", action="store_true", help="leave the classes out")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="so many, in place of the choice: to try the script")
    arguments = parser.parse_args()
    own, preset = PRESETS[f"joint-{arguments.name}"][1], PRESETS["joint-folder"][1]
    text = dataclasses.replace(preset.text, words=own.text.words)
    preset = dataclasses.replace(preset, data=own.data, text=text)
    if arguments.root is not None:
        preset = changed(preset, {"data.root": arguments.root})
    wanted = preset if arguments.epochs is None else changed(preset, {"epochs": arguments.epochs})
    whole = load_corpus(preset.data, preset.text)
    name = f"tuned-{arguments.name}-{arguments.items or 'all'}{'-no-labels' * arguments.no_labels}"
    settings = {"epochs": arguments.epochs}
    draws = kept_result(name, **settings).get("draws", [])
    for draw in range(len(draws), arguments.draws):
        corpus = _drawn(whole, arguments.items, draw, labels=not arguments.no_labels)
        draws.append(_measured_draw(preset, wanted, corpus, draw))
        print(f"draw {draw}:", json.dumps(draws[-1]), flush=True)
        write_result(name, {**settings, "draws": draws, "summary": _summary(draws)})
    for system, values in _summary(draws).items():
        print(f"{system:<12}", values)


def _drawn(corpus: Corpus, items: int | None, seed: int, *, labels: bool) -> Corpus:
    """So many of the training items, with the vocabulary of these; at most `MOST_TESTED` test items."""
    random = np.random.default_rng(seed)
    train, test = (random.permutation(corpus.splits[name]) for name in ("train", "test"))
    splits = {"train": np.sort(train[:items]), "test": np.sort(test[:MOST_TESTED])}
    read = [corpus.texts[row] for row in splits["train"]]
    vocabulary = Vocabulary.fit(read, len(corpus.vocabulary), corpus.vocabulary.tokenizer)
    counts = vocabulary.counts(corpus.texts)
    corpus = dataclasses.replace(corpus, splits=splits, vocabulary=vocabulary, counts=counts)
    if labels:
        return corpus
    return dataclasses.replace(corpus, labels=np.zeros((len(corpus), 0), bool), class_names=())


def _measured_draw(preset: Any, wanted: Any, corpus: Corpus, seed: int) -> dict[str, Any]:
    test, found = corpus.splits["test"], {}
    for name, method in {"cca": CCA(), **({"sm": SemanticMatching()} if corpus.labelled else {})}.items():
        texts, images = (np.asarray(rows, np.float32)[test] for rows in fit_baseline(method, corpus))
        found[name] = _scores(texts, images, corpus)
    start = time.perf_counter()
    choice = tuning.choose(preset, wanted, corpus)
    seconds = time.perf_counter() - start
    for name, experiment in {
        "untuned": changed(wanted, {"tune": "off"}),
        "tuned": as_chosen(wanted, choice),
    }.items():
        start = time.perf_counter()
        found[name] = _trained(dataclasses.replace(experiment, seed=seed), corpus)
        found[name]["seconds"] = time.perf_counter() - start
    found["tuned"] |= {"seconds of tuning": seconds, "chosen": choice["chosen"], "held out": choice["found"]}
    return found


def _trained(experiment: Any, corpus: Corpus) -> dict[str, Any]:
    system, test = build(experiment, corpus), corpus.splits["test"]
    [(member, params)] = trained_members(system, [experiment], lambda text: None)
    retriever = Retriever({}, member.applied_model, params, member.constants, system.inputs.reading)
    items, parts = retriever.encode_items(system.inputs, test), member.applied_model.preferences
    pair, kind = parts.get("pair", slice(None)), parts.get("class", slice(None))
    scores = _scores(items.texts[:, pair], items.images[:, pair], corpus)
    if corpus.labelled:
        scores["map"] = _scores(items.texts[:, kind], items.images[:, kind], corpus)["map"]
    return scores


def _scores(texts: np.ndarray, images: np.ndarray, corpus: Corpus) -> dict[str, float]:
    """Of the test items' rows: recall@10 of own pairs, and of labelled items the average MAP."""
    if corpus.labelled:
        found = measured(texts, images, corpus)
        return {name: float(np.mean(found[name])) for name in ("map", "recall@10")}
    pairs = pairs_of_embeddings(texts, images, corpus.pairs and corpus.pairs.take(corpus.splits["test"]))
    return {"recall@10": float(np.mean([pairs[way]["recall@10"] for way in ("text_query", "image_query")]))}


def _summary(draws: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Means and deviations over the draws."""
    summary = {}
    for system in draws[0]:
        names = [name for name, value in draws[0][system].items() if isinstance(value, float)]
        values = {name: [draw[system][name] for draw in draws] for name in names}
        summary[system] = {
            name: {"mean": float(np.mean(of)), "std": float(np.std(of, ddof=len(of) > 1))}
            for name, of in values.items()
        }
    return summary


if __name__ == "__main__":
    main()
