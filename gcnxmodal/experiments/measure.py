"""Measure a trained system and its yardsticks under every protocol."""

import importlib.metadata
import platform
import subprocess
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gcnxmodal import __version__
from gcnxmodal.baselines import BASELINES
from gcnxmodal.corpus import Corpus
from gcnxmodal.experiments.system import System
from gcnxmodal.retrieval.evaluate import evaluate


def measure(system: System, params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of the system and of every yardstick.

    Returns:
        results: `protocols`, `exact_pair`, `yardsticks` (results.json's), and `chance`.
        details: the curves and per-class MAP of each, for the report.
    """
    corpus = system.inputs.corpus
    model = evaluate(*system.embed(params), corpus.labels, corpus.splits)
    yardsticks = {name: evaluate_baseline(method(), corpus) for name, method in BASELINES.items()}
    chance = _chance(corpus.labels, corpus.splits, system.experiment.seed)
    results = {
        "protocols": model["protocols"],
        "exact_pair": model["exact_pair"],
        "queries_without_relevant": model["queries_without_relevant"],
        "yardsticks": {name: found["protocols"] for name, found in yardsticks.items()},
        "chance": chance["protocols"],
    }
    return results, {"model": model, **yardsticks}


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


def environment() -> dict[str, Any]:
    """Device, commit and versions: what a number needs beside it."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")
    return {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "commit": _commit(),
        "versions": {
            "gcnxmodal": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def _commit() -> str:
    """Commit of the checkout the package lies in, '+' if it was changed; the version where there is none."""
    folder = Path(__file__).parents[2]
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"v{__version__}"
    return found if (folder / ".git").exists() else f"v{__version__}"
