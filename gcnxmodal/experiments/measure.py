"""Measure a trained system and its yardsticks under every protocol."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gcnxmodal.baselines import BASELINES
from gcnxmodal.corpus import Corpus
from gcnxmodal.experiments.retriever import Retriever
from gcnxmodal.experiments.system import System
from gcnxmodal.retrieval.evaluate import evaluate, evaluate_scores, standard_map, standard_map_of_scores


def measure(
    system: System, params: Any, yardsticks: dict[str, dict[str, Any]] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of the system and of every yardstick.

    Args:
        yardsticks: of the same corpus, if `measure_yardsticks` has been called.

    Returns:
        results: `protocols`, `exact_pair`, `yardsticks` (results.json's), and `chance`.
        details: the curves and per-class MAP of each, for the report.
    """
    corpus = system.inputs.corpus
    model = _evaluate(system, params)
    yardsticks = measure_yardsticks(corpus) if yardsticks is None else yardsticks
    chance = _chance(corpus.labels, corpus.splits, system.experiment.seed)
    results = {
        "protocols": model["protocols"],
        "exact_pair": model["exact_pair"],
        "queries_without_relevant": model["queries_without_relevant"],
        "yardsticks": {name: found["protocols"] for name, found in yardsticks.items()},
        "chance": chance["protocols"],
    }
    return results, {"model": model, **yardsticks}


def map_of_test_items(system: System, params: Any) -> dict[str, float]:
    """MAP of the test items under `standard`: what is measured on the way."""
    corpus = system.inputs.corpus
    test = corpus.splits["test"]
    retriever = Retriever(system, params)
    if system.separable:
        return standard_map(*retriever.embed(test), corpus.labels[test])
    scores = retriever.score(*retriever.encode(test))
    return standard_map_of_scores(scores, corpus.labels[test])


def _evaluate(system: System, params: Any) -> dict[str, Any]:
    """Every protocol of the model; its scores are made pair by pair where they are no inner product."""
    corpus, retriever = system.inputs.corpus, Retriever(system, params)
    if system.separable:
        return evaluate(*retriever.embed(), corpus.labels, corpus.splits)
    texts, images = retriever.encode()
    test, train = (corpus.splits[split] for split in ("test", "train"))
    among_test = retriever.score(texts[test], images[test])
    scores = {
        "text_query": {"test": among_test, "train": retriever.score(texts[test], images[train])},
        "image_query": {"test": among_test.T, "train": retriever.score(texts[train], images[test]).T},
    }
    return evaluate_scores(scores, corpus.labels, corpus.splits)


def measure_yardsticks(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Every yardstick, fitted and evaluated on the corpus. They are not random."""
    return {name: evaluate_baseline(method(), corpus) for name, method in BASELINES.items()}


def evaluate_baseline(method: Any, corpus: Corpus) -> dict[str, Any]:
    """Fit a baseline on the training items, raw counts and features, and evaluate it like the model.

    A baseline scales its inputs itself, so a yardstick is the same whatever the model's options are.
    """
    train = corpus.splits["train"]
    features = corpus.images if corpus.images.ndim == 2 else _coarse(corpus.images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        method.fit(features[train], corpus.counts[train], corpus.labels[train])
    texts, images = method.encode_texts(corpus.counts), method.encode_images(features)
    return evaluate(texts, images, corpus.labels, corpus.splits)


def _coarse(pixels_nRR3: np.ndarray, side: int = 16) -> np.ndarray:
    """Pictures as 3 side^2 mean values, 0 to 1: what a baseline of features is given of pixels."""
    n, R = pixels_nRR3.shape[:2]
    edges = np.linspace(0, R, side, endpoint=False).astype(int)
    rows = np.add.reduceat(pixels_nRR3, edges, axis=1, dtype=np.float32)
    sums = np.add.reduceat(rows, edges, axis=2)
    size = np.diff([*edges, R])
    return (sums / (255 * size[:, None, None] * size[:, None])).reshape(n, -1)


def _chance(labels: np.ndarray, splits: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """One random ranking."""
    random = np.random.default_rng(seed)
    texts, images = (random.standard_normal((len(labels), 16)).astype(np.float32) for _ in range(2))
    return evaluate(texts, images, labels, splits)
