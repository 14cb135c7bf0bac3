"""Measure a trained system and its yardsticks under every protocol."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gcnxmodal.baselines import BASELINES
from gcnxmodal.corpus import Corpus
from gcnxmodal.experiments.system import System
from gcnxmodal.retrieval.evaluate import evaluate, standard_map


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
    model = evaluate(*system.embed(params), corpus.labels, corpus.splits)
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
    return standard_map(*system.embed(params, test), corpus.labels[test])


def measure_yardsticks(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Every yardstick, fitted and evaluated on the corpus. They are not random."""
    return {name: evaluate_baseline(method(), corpus) for name, method in BASELINES.items()}


def evaluate_baseline(method: Any, corpus: Corpus) -> dict[str, Any]:
    """Fit a baseline on the training items, raw counts and features, and evaluate it like the model.

    A baseline scales its inputs itself, so a yardstick is the same whatever the model's options are.
    """
    train = corpus.splits["train"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        method.fit(corpus.images[train], corpus.counts[train], corpus.labels[train])
    texts, images = method.encode_texts(corpus.counts), method.encode_images(corpus.images)
    return evaluate(texts, images, corpus.labels, corpus.splits)


def _chance(labels: np.ndarray, splits: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """One random ranking."""
    random = np.random.default_rng(seed)
    texts, images = (random.standard_normal((len(labels), 16)).astype(np.float32) for _ in range(2))
    return evaluate(texts, images, labels, splits)
