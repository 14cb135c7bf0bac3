"""Measure a trained system and its baselines under every protocol, and write what a run ends with.

That is results.json, curves.json, the model with its items, and the report.
"""

import functools
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gcnxmodal import stopping
from gcnxmodal.baselines import BASELINES, CCA
from gcnxmodal.baselines.base import Items, fit
from gcnxmodal.config import experiment_dict
from gcnxmodal.corpus import Corpus, Pairs
from gcnxmodal.environment import environment
from gcnxmodal.errors import InputError
from gcnxmodal.report.gallery import (
    Gallery,
    Reasons,
    build_gallery,
    choose_queries,
    describe_attention,
    heaviest_words,
    item_of,
)
from gcnxmodal.report.kept import kept_beside
from gcnxmodal.report.page import write_report
from gcnxmodal.retrieval.database import Codes, Embeddings
from gcnxmodal.retrieval.evaluate import ALL_PROTOCOLS, evaluate_embeddings
from gcnxmodal.retrieval.hamming import pack_codes
from gcnxmodal.retrieval.metrics import PAIR_MEASURE, by_measure, headline_scores
from gcnxmodal.retrieval.protocols import PROTOCOLS, Protocol
from gcnxmodal.retrieval.queries import Queries
from gcnxmodal.retriever import Retriever, save_run_model
from gcnxmodal.runs import RunFolder, command_line, write_json
from gcnxmodal.systems import System
from gcnxmodal.training.state import TrainState

REASONS = 3  # queries of the gallery whose own pairs are explained

NEED_LABELS = ("sm",)
"""Baselines of every run that a corpus without labels cannot have."""


def evaluate(retriever: Retriever, corpus: Corpus) -> dict[str, Any]:
    """Every protocol of a trained model on the test items of a corpus.

    The corpus may be that of the training or another one with images of the same kind; its texts are read by
    the vocabulary of the model, and its classes may be others.

    Returns:
        protocols: {protocol: {"text_query", "image_query", "average"}}, MAP (of a corpus without labels
        none); exact_pair: where the own pairs of a query come; curves and per_class; of binary codes also
        hash lookup, precision@N and the MAP that is expected if ties come in random order.

    Raises:
        InputError: if the images are not those that the model takes.

    >>> from gcnxmodal import Retriever, evaluate, load_dataset
    >>> corpus = load_dataset("emoji")  # doctest: +SKIP
    >>> results = evaluate(Retriever.from_pretrained("runs/gin-emoji-seed0"), corpus)  # doctest: +SKIP
    >>> results["protocols"]["standard"]["text_query"]  # doctest: +SKIP
    0.513
    """
    return retriever.encode_corpus(corpus).evaluate(corpus.labels, corpus.splits, corpus.pairs)


def finish(
    system: System,
    params: Any,
    folder: RunFolder,
    preset: str,
    step: int,
    trained: int,
    compile_seconds: float | None = None,
    baselines: dict[str, dict[str, Any]] | None = None,
    *,
    report: bool = True,
) -> dict[str, Any]:
    """Measure, write everything that a run ends with, and return the results.

    Args:
        system: the system of the run.
        params: its trained parameters, after `step` steps.
        folder: where the run lies.
        preset: name of the preset, for titles and the published row.
        trained: steps that the run was trained, the best epoch's or more.
        compile_seconds: of this session's training; None if it did not train.
        baselines: as `measure` takes them.
        report: whether to write report.html, which takes most of the time.
    """
    started = time.perf_counter()
    corpus, experiment = system.inputs.corpus, system.experiment
    retriever = Retriever.of_system(system, params, preset, step).with_items(system.inputs)
    results, details = measure(system, retriever, baselines)
    epochs = folder.epochs_of(trained // system.steps_per_epoch, experiment.patience)
    history = folder.history(epochs)
    results |= {
        "preset": preset,
        "seed": experiment.seed,
        "epochs": epochs,
        "step": step,
        "seconds": {
            "compile": compile_seconds,
            "train": sum(line["seconds"] for line in history),
            "evaluate": time.perf_counter() - started,
        },
        **stopping.chosen_epoch(experiment, corpus, history, step),
        **({} if (choice := folder.choice()) is None else {"tuning": choice}),
        **({"kept": kept} if (kept := kept_beside(corpus, experiment.kind)) else {}),
        "provenance": corpus.provenance,
        "items": {name: len(rows) for name, rows in corpus.splits.items()},
        "graph": system.inputs.graph_report,
        **environment(),
    }
    # Before the results, which say that a member of a sweep is finished.
    save_run_model(folder, retriever)
    scopes = {name: {"scope": kept_scope(of["curves"])} for name, of in details.items()}
    write_json(folder.curves, kept_curves(details) or scopes, indent=None)
    write_json(folder.results, results)
    if not report:
        return results
    queries = choose_queries(corpus, experiment.seed)
    write_report(
        folder.path,
        title=preset,
        system=system.title(experiment),
        results=results,
        details=details,
        history=history,
        class_names=corpus.class_names,
        gallery=_gallery(system, retriever, queries),
        reasons=_reasons(system, retriever, queries[:REASONS]),
        paper_row=system.published_row(preset, experiment),
        config={"preset": preset, **experiment_dict(experiment)},
        command=command_line(preset, experiment),
        date=time.strftime("%Y-%m-%d"),
    )
    return results


def measure(
    system: System, retriever: Retriever, baselines: dict[str, dict[str, Any]] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of a model whose items are those of the system, and of every baseline.

    Args:
        baselines: of the same corpus, if `measure_baselines` has been called.

    Returns:
        results: `protocols`, `exact_pair`, `yardsticks` (the baselines, as results.json calls them), and
            `chance`: of both MAP by protocol, or without labels the measures of exact pairs in its place, and
            there; `left_out`, why there is no baseline of these names; `queries`, of the model and a baseline
            what typed queries find, see `Queries.measure`; of codes, also `expected`, see `evaluate_codes`,
            and `cca_axes`, how many axes CCA has for its signs; of a model whose score has parts,
            `preferences`, the same measures by each part alone.
        details: the curves and per-class MAP of each, for the report.
    """
    # What is ranked is not changed by a choice of the epoch, and the baselines train on all training items.
    corpus, bits = system.inputs.corpus.without_validation(), retriever.model.bits
    model = retriever.database.evaluate(corpus.labels, corpus.splits, corpus.pairs)
    baselines = measure_baselines(corpus, bits) if baselines is None else baselines
    left_out = {name: of["left_out"] for name, of in baselines.items() if "left_out" in of}
    baselines = {name: of for name, of in baselines.items() if name not in left_out}
    chance = _chance(corpus, system.experiment.seed, bits)
    results = {
        **{name: model[name] for name in ("protocols", "exact_pair", "queries_without_relevant")},
        "yardsticks": {name: headline_scores(of) for name, of in baselines.items()},
        "chance": headline_scores(chance),
        "queries": {
            "model": _typed_queries(retriever, corpus),
            **{name: of["queries"] for name, of in baselines.items() if "queries" in of},
        },
    }
    if retriever.model.preferences:
        results["preferences"] = {
            prefer: {name: found[name] for name in ("protocols", "exact_pair")}
            for prefer in retriever.model.preferences
            for found in [retriever.preferring(prefer).evaluate(corpus.labels, corpus.splits, corpus.pairs)]
        }
        results["yardstick_pairs"] = {name: of["exact_pair"] for name, of in baselines.items()}
    if "caption_protocols" in model:
        results["caption_protocols"] = model["caption_protocols"]
    if left_out:
        results["left_out"] = left_out
    if corpus.labelled and bits is not None:
        of_codes = {name: of["expected"] for name, of in baselines.items() if "expected" in of}
        if "cca-sign" in baselines:
            results["cca_axes"] = baselines["cca-sign"]["axes"]  # the other bits of its codes never differ
        results["expected"] = {"model": model["expected"], **of_codes, "chance": chance["expected"]}
    return results, {"model": model, **baselines}


def draw_queries(corpus: Corpus) -> Queries:
    """Queries as people type them, of the test texts of a corpus."""
    return Queries.draw(corpus.counts, corpus.vocabulary.words, corpus.splits["test"], corpus.pairs)


def _typed_queries(retriever: Retriever, corpus: Corpus) -> dict[str, dict[str, float]]:
    """What typed queries find among the items of a retriever; empty of a model that reads no words."""
    queries, database = draw_queries(corpus), retriever.database
    if not len(queries) or retriever.reading.text_features is not None:
        return {}
    short = retriever.encode_words(queries.words_S)
    return queries.measure_rows(database.texts[queries.whole_W], short, database, corpus.labels, corpus.pairs)


def epoch_line(
    system: System, epoch: int, state: TrainState, metrics: dict[str, Any], seconds: float, models: int = 1
) -> dict[str, Any]:
    """The line of metrics of one of so many models that were trained together in these seconds."""
    rate = system.steps_per_epoch * system.per_step * models / seconds
    line = {"epoch": epoch + 1, "step": int(state.step), **metrics, "seconds": seconds / models}
    return {**line, f"{system.unit}_per_second": rate}


def measured_on_the_way(system: System, params: Any) -> dict[str, dict[str, float]]:
    """What a line of metrics says of the test items: MAP under `standard`, or without labels recall@10.

    Of a run that chooses its epoch it says nothing of the test items, but how good the held-out ones are by
    the measure of the choice.
    """
    corpus, experiment = system.inputs.corpus, system.experiment
    if experiment.stop == "best":
        measure = stopping.measure_of(experiment, corpus)
        return {stopping.HELD_OUT: _scores(system, params, stopping.HELD_OUT, measure)}
    measure = "standard" if corpus.labelled else PAIR_MEASURE
    return {measure: _scores(system, params, "test", measure)}


def map_of_test_items(system: System, params: Any) -> dict[str, float]:
    """MAP of the test items under `standard`."""
    return _scores(system, params, "test", "standard")


def _scores(system: System, params: Any, split: str, measure: str) -> dict[str, float]:
    """Of the items of a split among each other, MAP under `standard` or recall@10 of own pairs."""
    corpus, rows = system.inputs.corpus, system.inputs.corpus.splits[split]
    # Without `about`, which nothing here reads: it asks for the commit, and this runs after every epoch.
    retriever = Retriever({}, system.applied_model, params, system.constants, system.inputs.reading)
    items = retriever.encode_items(system.inputs, rows)
    if measure == "standard":
        return items.standard_map(corpus.labels[rows])
    pairs = None if corpus.pairs is None else corpus.pairs.take(rows)
    return by_measure(items.exact_pairs(pairs))[measure]


def measure_baselines(corpus: Corpus, bits: int | None = None) -> dict[str, dict[str, Any]]:
    """Every baseline, fitted and evaluated on the corpus: without labels, those that do not need them. They
    are not random, and train on all training items, those too that are held out to choose an epoch.

    Args:
        bits: of a system of binary codes. Beside it stand "cca-sign", the signs of as many canonical axes as
            a code has bits, and "sm", which has no code but real numbers, under the same protocols.
    """
    corpus = corpus.without_validation()
    left_out = () if corpus.labelled else NEED_LABELS
    queries = draw_queries(corpus)

    def measured(method: Any, protocols: Mapping[str, Protocol] = PROTOCOLS) -> dict[str, Any]:
        texts, images = fit_baseline(method, corpus)
        found = evaluate_embeddings(
            texts, images, corpus.labels, corpus.splits, protocols=protocols, pairs=corpus.pairs
        )
        return {**found, "queries": typed(method, Embeddings(texts, images))}

    def typed(method: Any, database: Any, of_texts: Callable = np.asarray) -> dict[str, dict[str, float]]:
        if not len(queries):
            return {}
        short = of_texts(method.encode_texts(corpus.vocabulary.counts_of(queries.words_S)))
        whole = database.texts[queries.whole_W]
        return queries.measure_rows(whole, short, database, corpus.labels, corpus.pairs)

    def signs() -> dict[str, Any]:
        assert bits is not None
        method = CCA(bits)
        embedded = fit_baseline(method, corpus)
        axes = embedded[0].shape[1]

        def codes_of(x_nD: np.ndarray) -> np.ndarray:
            # Columns of zeros, bits that never differ, where there are fewer axes than bits.
            return pack_codes(np.pad(x_nD, ((0, 0), (0, bits - axes))))

        database = Codes(codes_of(embedded[0]), codes_of(embedded[1]), bits)
        found = database.evaluate(corpus.labels, corpus.splits, corpus.pairs)
        return {**found, "axes": axes, "queries": typed(method, database, codes_of)}

    if bits is None:
        asked = {name: functools.partial(measured, method()) for name, method in BASELINES.items()}
    else:
        asked = {"cca-sign": signs, "sm": lambda: measured(BASELINES["sm"](), ALL_PROTOCOLS)}
    found: dict[str, dict[str, Any]] = {}
    for name, measurement in asked.items():
        if name in left_out:
            found[name] = {"left_out": f"{name.upper()} needs class labels"}
            continue
        try:
            found[name] = measurement()
        except (InputError, np.linalg.LinAlgError) as error:  # such as features that are all equal
            found[name] = {"left_out": f"{name.upper()} cannot be fitted ({error})"}
    return found


def evaluate_baseline(
    method: Any, corpus: Corpus | Items, protocols: Mapping[str, Protocol] = PROTOCOLS
) -> dict[str, Any]:
    """Fit a baseline on the training items and evaluate it like the model."""
    embedded = fit_baseline(method, corpus)
    return evaluate_embeddings(
        *embedded, corpus.labels, corpus.splits, protocols=protocols, pairs=_pairs_of(corpus)
    )


def fit_baseline(method: Any, corpus: Corpus | Items) -> tuple[np.ndarray, np.ndarray]:
    """Texts and images of the corpus, embedded by a baseline fitted on raw counts and features of the
    training items.

    A baseline scales its inputs itself, so it is the same as a baseline whatever the model's options are.
    """
    train, features = corpus.splits["train"], flat_images(corpus.images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        groups = None if corpus.groups is None else np.asarray(corpus.groups)[train]
        fit(method, Items(features[train], corpus.counts[train], corpus.labels[train], groups=groups))
    return method.encode_texts(corpus.counts), method.encode_images(features)


def flat_images(images: np.ndarray, side: int = 16) -> np.ndarray:
    """What a baseline is given of images: their features, or of pixels 3 side^2 mean values, 0 to 1."""
    if images.ndim == 2:
        return images
    n, R = images.shape[:2]
    edges = np.linspace(0, R, side, endpoint=False).astype(int)
    rows = np.add.reduceat(images, edges, axis=1, dtype=np.float32)
    sums = np.add.reduceat(rows, edges, axis=2)
    size = np.diff([*edges, R])
    return (sums / (255 * size[:, None, None] * size[:, None])).reshape(n, -1)


def evaluate_signs(texts_nK: np.ndarray, images_nK: np.ndarray, corpus: Corpus | Items) -> dict[str, Any]:
    """Every protocol of the codes that the signs of embeddings are."""
    return Codes.of_signs(texts_nK, images_nK).evaluate(corpus.labels, corpus.splits, _pairs_of(corpus))


def _pairs_of(corpus: Corpus | Items) -> Pairs | None:
    return corpus.pairs if isinstance(corpus, Corpus) else None


def _chance(corpus: Corpus, seed: int, bits: int | None) -> dict[str, Any]:
    """One random ranking, of random codes beside codes."""
    random = np.random.default_rng(seed)
    size = (len(corpus), 16 if bits is None else bits)
    rows = [random.standard_normal(size).astype(np.float32) for _ in range(2)]
    database = Embeddings(*rows) if bits is None else Codes.of_signs(*rows)
    return database.evaluate(corpus.labels, corpus.splits, corpus.pairs)


def kept_curves(details: Mapping[str, Any]) -> dict[str, Any]:
    """Hash lookup and precision@N of each system that has codes: what `curves.json` holds.

    Numbers have five decimals, enough to draw, for there are thousands.
    """
    kinds = ("lookup", "precision_at")
    return {
        system: {kind: _rounded(measured[kind]) for kind in kinds}
        for system, measured in details.items()
        if all(kind in measured for kind in kinds)
    }


def kept_scope(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Precision among the first n items by direction, at enough n to draw it: the first 50, then 100 more."""
    scopes = {}
    for direction, curve in curves.items():
        n = np.array(curve["scope"])
        drawn = np.flatnonzero(n <= 50)
        if n[-1] > 50:
            far = np.searchsorted(n, np.geomspace(50, n[-1], 101)[1:].round())
            drawn = np.unique([*drawn, *far])
        precision = [curve["precision_at_scope"][place] for place in drawn]
        scopes[direction] = _rounded({"n": n[drawn].tolist(), "precision": precision})
    return scopes


def _rounded(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _rounded(value) for name, value in tree.items()}
    return [round(value, 5) if isinstance(value, float) else value for value in tree]


def _gallery(system: System, retriever: Retriever, queries: np.ndarray) -> Gallery:
    """What a few test items bring back among all test items."""
    corpus = system.inputs.corpus
    test = corpus.splits["test"]
    images = texts = test
    if corpus.pairs is not None:  # each different picture and text once
        of_test = corpus.pairs.take(test)
        images, texts = test[of_test.first_rows("image")], test[of_test.first_rows("text")]
    asked = retriever.database.take(queries)
    images_found, _ = retriever.database.take(images).search(asked.texts, 8, by="text")
    texts_found, _ = retriever.database.take(texts).search(asked.images, 8, by="image")
    return build_gallery(corpus, queries, images[images_found], texts[texts_found])


def _reasons(system: System, retriever: Retriever, rows: np.ndarray) -> list[Reasons]:
    """Why the pairs of these rows score as they do, of a model that can tell."""
    corpus, texts = system.inputs.corpus, system.inputs.texts
    explanation = retriever.explain(system.inputs, rows)
    if explanation is None:
        return []
    attention_by_side = {"text": explanation.text_attention, "image": explanation.image_attention}
    reasons = []
    for number, row in enumerate(rows):
        # Of counts the words that are there; of a sequence every place that is filled.
        places = np.flatnonzero(texts[row] >= 0) if isinstance(texts, np.ndarray) else texts[[row]].indices
        words = texts[row][places] if isinstance(texts, np.ndarray) else places
        attention = [
            describe_attention(f"layer {layer + 1}, from the {side}", np.asarray(weights[layer, number]))
            for layer in range(len(explanation.text_attention))
            for side, weights in attention_by_side.items()
        ]
        spelt, values = [corpus.vocabulary.words[w] for w in words], np.asarray(explanation.words[number])
        score, heaviest = float(explanation.scores[number]), heaviest_words(spelt, values[places])
        reasons.append(Reasons(item_of(corpus, row), score, heaviest, tuple(attention)))
    return reasons
