"""Measure a trained system and its yardsticks under every protocol."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gcnxmodal.baselines import BASELINES
from gcnxmodal.baselines.cca import CCA
from gcnxmodal.corpus import Corpus
from gcnxmodal.retrieval.evaluate_codes import ALL_PROTOCOLS, evaluate_codes, standard_map_of_codes
from gcnxmodal.retrieval.evaluate_embeddings import (
    evaluate_embeddings,
    evaluate_scores,
    standard_map,
    standard_map_of_scores,
)
from gcnxmodal.retrieval.hamming import pack_codes
from gcnxmodal.retrieval.protocols import PROTOCOLS, Protocol
from gcnxmodal.retriever import Retriever
from gcnxmodal.systems.base import System


def measure(
    system: System, params: Any, yardsticks: dict[str, dict[str, Any]] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of the system and of every yardstick.

    Args:
        yardsticks: of the same corpus, if `measure_yardsticks` has been called.

    Returns:
        results: `protocols`, `exact_pair`, `yardsticks` (results.json's), and `chance`; of codes, also
            `expected`, see `evaluate_codes`, and `cca_axes`, how many axes CCA has for its signs.
        details: the curves and per-class MAP of each, for the report.
    """
    model = _evaluate(system, params)
    yardsticks = measure_yardsticks(system) if yardsticks is None else yardsticks
    chance = _chance(system)
    results = {
        "protocols": model["protocols"],
        "exact_pair": model["exact_pair"],
        "queries_without_relevant": model["queries_without_relevant"],
        "yardsticks": {name: found["protocols"] for name, found in yardsticks.items()},
        "chance": chance["protocols"],
    }
    if system.hashes:
        of_codes = {name: found["expected"] for name, found in yardsticks.items() if "expected" in found}
        results["cca_axes"] = yardsticks["cca-sign"]["axes"]  # the other bits of its codes never differ
        results["expected"] = {"model": model["expected"], **of_codes, "chance": chance["expected"]}
    return results, {"model": model, **yardsticks}


def map_of_test_items(system: System, params: Any) -> dict[str, float]:
    """MAP of the test items under `standard`: what is measured on the way."""
    corpus = system.inputs.corpus
    test = corpus.splits["test"]
    retriever = Retriever(system, params)
    if system.hashes:
        texts, images = map(pack_codes, retriever.embed(test))
        return standard_map_of_codes(texts, images, corpus.labels[test])
    if system.separable:
        return standard_map(*retriever.embed(test), corpus.labels[test])
    scores = retriever.score(*retriever.encode(test))
    return standard_map_of_scores(scores, corpus.labels[test])


def _evaluate(system: System, params: Any) -> dict[str, Any]:
    """Every protocol of the model; its scores are made pair by pair where they are no inner product."""
    corpus, retriever = system.inputs.corpus, Retriever(system, params)
    if system.hashes:
        return evaluate_signs(*retriever.embed(), corpus)
    if system.separable:
        return evaluate_embeddings(*retriever.embed(), corpus.labels, corpus.splits)
    texts, images = retriever.encode()
    test, train = (corpus.splits[split] for split in ("test", "train"))
    among_test = retriever.score(texts[test], images[test])
    scores = {
        "text_query": {"test": among_test, "train": retriever.score(texts[test], images[train])},
        "image_query": {"test": among_test.T, "train": retriever.score(texts[train], images[test]).T},
    }
    return evaluate_scores(scores, corpus.labels, corpus.splits)


def measure_yardsticks(system: System) -> dict[str, dict[str, Any]]:
    """Every yardstick, fitted and evaluated on the system's corpus. They are not random.

    Beside codes: "cca-sign", the signs of as many canonical axes as a code has bits, and "sm", which has no
    code but real numbers, under the same protocols.
    """
    corpus = system.inputs.corpus
    if not system.hashes:
        return {name: evaluate_baseline(method(), corpus) for name, method in BASELINES.items()}
    bits = system.experiment.model.bits
    texts, images = fit_baseline(CCA(bits), corpus)
    signs = evaluate_signs(_padded(texts, bits), _padded(images, bits), corpus)
    return {
        "cca-sign": {**signs, "axes": texts.shape[1]},
        "sm": evaluate_baseline(BASELINES["sm"](), corpus, ALL_PROTOCOLS),
    }


class Items(NamedTuple):
    """What a baseline is fitted on and evaluated on where that is no corpus; the fields are those of one."""

    images: np.ndarray
    counts: Any
    labels: np.ndarray
    splits: Mapping[str, np.ndarray]
    groups: np.ndarray | None = None


def evaluate_baseline(
    method: Any, corpus: Corpus | Items, protocols: Mapping[str, Protocol] = PROTOCOLS
) -> dict[str, Any]:
    """Fit a baseline on the training items and evaluate it like the model."""
    return evaluate_embeddings(
        *fit_baseline(method, corpus), corpus.labels, corpus.splits, protocols=protocols
    )


def fit_baseline(method: Any, corpus: Corpus | Items) -> tuple[np.ndarray, np.ndarray]:
    """Texts and images of the corpus, embedded by a baseline fitted on raw counts and features of the
    training items.

    A baseline scales its inputs itself, so a yardstick is the same whatever the model's options are.
    """
    train, features = corpus.splits["train"], flat_images(corpus.images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        method.fit(features[train], corpus.counts[train], corpus.labels[train])
    return method.encode_texts(corpus.counts), method.encode_images(features)


def flat_images(images: np.ndarray) -> np.ndarray:
    """What a baseline is given of images: their features, or of pixels coarse means."""
    return images if images.ndim == 2 else _coarse(images)


def evaluate_signs(texts_nK: np.ndarray, images_nK: np.ndarray, corpus: Corpus | Items) -> dict[str, Any]:
    """Every protocol of the codes that the signs of embeddings are."""
    codes = pack_codes(texts_nK), pack_codes(images_nK)
    return evaluate_codes(*codes, corpus.labels, corpus.splits, texts_nK.shape[1])


def _padded(embedded_nD: np.ndarray, bits: int) -> np.ndarray:
    """With columns of zeros, bits that never differ, where there are fewer axes than bits."""
    return np.pad(embedded_nD, ((0, 0), (0, bits - embedded_nD.shape[1])))


def _coarse(pixels_nRR3: np.ndarray, side: int = 16) -> np.ndarray:
    """Pictures as 3 side^2 mean values, 0 to 1: what a baseline of features is given of pixels."""
    n, R = pixels_nRR3.shape[:2]
    edges = np.linspace(0, R, side, endpoint=False).astype(int)
    rows = np.add.reduceat(pixels_nRR3, edges, axis=1, dtype=np.float32)
    sums = np.add.reduceat(rows, edges, axis=2)
    size = np.diff([*edges, R])
    return (sums / (255 * size[:, None, None] * size[:, None])).reshape(n, -1)


def _chance(system: System) -> dict[str, Any]:
    """One random ranking, of random codes beside codes."""
    corpus, random = system.inputs.corpus, np.random.default_rng(system.experiment.seed)
    columns = system.experiment.model.bits if system.hashes else 16
    texts, images = (random.standard_normal((len(corpus), columns)).astype(np.float32) for _ in range(2))
    if system.hashes:
        return evaluate_signs(texts, images, corpus)
    return evaluate_embeddings(texts, images, corpus.labels, corpus.splits)
