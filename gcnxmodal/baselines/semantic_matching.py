"""Semantic matching: compare the class posteriors of two classifiers, one a modality."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from gcnxmodal.baselines.features import SOLVER_THREADS, Features, check_training_set, mean_of, unit_rows

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Inverse regularisation C of the logistic regressions that are tried."""


class SemanticMatching(BaseEstimator):
    """SM of Rasiwasia et al. 2010: an item's embedding is its class posterior.

    Features are centred (dense ones) and scaled to unit length; one multinomial logistic regression a
    modality (one a class where items have several labels), with the C of least log-loss on a held-out fifth
    of the training items, refitted on all of them. Nothing is random.

    Args:
        score: of two posteriors p and q. "cosine", or "inner product": the probability that both items are of
            one class, if given their features they are independent. Where an item has one label it ranks as
            the centred correlation (p - mean p)^T (q - mean q) = p^T q - 1 / C does, which code of the
            paper's authors has (`cent_corr`), not divided by the lengths of either.
    """

    space: ClassVar = {}

    # Paper: several distances of posteriors and correlations; here cosine unless the inner product is asked
    # for. On Wikipedia's official features they give .222 / .261 and .225 / .306 (text / image query).

    def __init__(self, *, score: Literal["cosine", "inner product"] = "cosine") -> None:
        self.score = score

    def fit(self, images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> SemanticMatching:
        """Fit on training items.

        Args:
            images, texts: [n, d] and [n, N], dense or CSR; N and d may exceed n.

        Raises:
            InputError: if rows do not match or a feature is not finite.
        """
        check_training_set(images, texts, labels)
        self._image_mean, self._text_mean = mean_of(images), mean_of(texts)
        with threadpool_limits(SOLVER_THREADS):
            self._image_model = _select(unit_rows(images, self._image_mean), labels)
            self._text_model = _select(unit_rows(texts, self._text_mean), labels)
        return self

    def encode_images(self, images: Features) -> Float[np.ndarray, "n C"]:
        """Class posteriors, float32; scaled to unit length unless the score is the inner product."""
        return self._embed(self.image_posteriors(images))

    def encode_texts(self, texts: Features) -> Float[np.ndarray, "n C"]:
        """Class posteriors, float32; scaled to unit length unless the score is the inner product."""
        return self._embed(self.text_posteriors(texts))

    def image_posteriors(self, images: Features) -> Float[np.ndarray, "n C"]:
        """The probability of each class."""
        return self._image_model.posterior(unit_rows(images, self._image_mean))

    def text_posteriors(self, texts: Features) -> Float[np.ndarray, "n C"]:
        """The probability of each class."""
        return self._text_model.posterior(unit_rows(texts, self._text_mean))

    def _embed(self, posterior_nC: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        cosine = self.score == "cosine"
        return np.asarray(normalize(posterior_nC) if cosine else posterior_nC, np.float32)


@dataclasses.dataclass(frozen=True)
class _Classifier:
    """Logistic regressions and the classes that each speaks for; the others keep their frequency."""

    frequency_C: np.ndarray
    models: tuple[tuple[LogisticRegression, np.ndarray], ...]

    @classmethod
    def fit(cls, features: Features, labels_nC: Bool[np.ndarray, "n C"], strength: float) -> _Classifier:
        def regression(target: np.ndarray) -> LogisticRegression:
            return LogisticRegression(C=strength, max_iter=1000).fit(features, target)

        frequency_C = labels_nC.mean(axis=0)
        if _one_label(labels_nC):
            learnable = np.flatnonzero(frequency_C)
            targets = [(labels_nC.argmax(axis=1), learnable)] if len(learnable) > 1 else []
        else:
            learnable = np.flatnonzero((frequency_C > 0) & (frequency_C < 1))
            targets = [(labels_nC[:, c], np.array([c])) for c in learnable]
        return cls(frequency_C, tuple((regression(target), classes) for target, classes in targets))

    def posterior(self, features: Features) -> Float[np.ndarray, "n C"]:
        posterior_nC = np.tile(self.frequency_C, (features.shape[0], 1))
        for model, classes in self.models:
            # A class among many is binary: its probability is the last column.
            posterior_nC[:, classes] = model.predict_proba(features)[:, -len(classes) :]
        return posterior_nC


def _select(features: Features, labels_nC: Bool[np.ndarray, "n C"]) -> _Classifier:
    """A classifier of all items, with the C that predicts a held-out fifth best when fitted on the rest."""
    held_n = _held_out(labels_nC)
    if not held_n.any():
        return _Classifier.fit(features, labels_nC, strength=1.0)

    def loss(strength: float) -> float:
        classifier = _Classifier.fit(features[~held_n], labels_nC[~held_n], strength)
        return _log_loss(classifier.posterior(features[held_n]), labels_nC[held_n])

    return _Classifier.fit(features, labels_nC, min(STRENGTHS, key=loss))


def _log_loss(posterior_nC: Float[np.ndarray, "n C"], labels_nC: Bool[np.ndarray, "n C"]) -> float:
    """Mean over items of -log p(its class); where items have several labels, of the sum over classes of
    -log p(what the class is), present or absent."""
    p_nC = np.clip(posterior_nC, 1e-12, 1 - 1e-12)
    absent_nC = np.zeros_like(p_nC) if _one_label(labels_nC) else np.log1p(-p_nC)
    return -float(np.mean(np.sum(np.where(labels_nC, np.log(p_nC), absent_nC), axis=1)))


def _held_out(labels_nC: Bool[np.ndarray, "n C"]) -> Bool[np.ndarray, " n"]:
    """Every fifth item of each class, or of all where items have several labels."""
    if not _one_label(labels_nC):
        return np.arange(len(labels_nC)) % 5 == 4
    place_n = np.cumsum(labels_nC, axis=0)[labels_nC]  # an item's number within its class, from 1
    return place_n % 5 == 0


def _one_label(labels_nC: Bool[np.ndarray, "n C"]) -> bool:
    return bool((labels_nC.sum(axis=1) == 1).all())
