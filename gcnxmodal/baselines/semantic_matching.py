"""Semantic matching: compare the class posteriors of two classifiers, one a modality (SM and SCM)."""

import dataclasses
from dataclasses import KW_ONLY
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from gcnxmodal.baselines.base import (
    Baseline,
    Count,
    Features,
    Groups,
    NonNegative,
    Share,
    Side,
    mean_of,
    unit_rows,
)
from gcnxmodal.baselines.linear import MAX_AXES, CorrelationMatching
from gcnxmodal.holdout import validation_items

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Inverse regularisation C of the logistic regressions that are tried."""

HELD_OUT = 0.2
"""Share of the groups of every class that are held out to choose the strength by."""


@dataclasses.dataclass(eq=False, repr=False)
class SemanticMatching(Baseline):
    """SM of Rasiwasia et al. 2010: an item's embedding is its class posterior.

    Features are centred (dense ones) and scaled to unit length; one multinomial logistic regression a
    modality (one a class where items have several labels), with the C of least log-loss on a held-out fifth
    of the training items, refitted on all of them. Nothing is random.

    Args:
        score: of two posteriors p and q. "inner product": the probability that both items are of one class,
            if given their features they are independent. Where an item has one label it ranks as the centred
            correlation (p - mean p)^T (q - mean q) = p^T q - 1 / C does, which code of the paper's authors
            has (`cent_corr`), not divided by the lengths of either. Or "cosine".
    """

    # Paper: several distances of posteriors and correlations; here the inner product unless the cosine is
    # asked for. On Wikipedia's official features they give .225 / .306 and .222 / .261 (text / image query).
    _: KW_ONLY
    score: Literal["inner product", "cosine"] = "inner product"

    def _fit(self, images: Features, texts: Features, labels_nC: np.ndarray, groups: Groups | None) -> None:
        self._mean: dict[Side, np.ndarray] = {"images": mean_of(images), "texts": mean_of(texts)}
        # The items held out to choose a strength by are the same for both modalities.
        held_n = validation_items(labels_nC, HELD_OUT, groups=groups)
        self._classifier: dict[Side, Classifier] = {
            "images": select_classifier(unit_rows(images, self._mean["images"]), labels_nC, held_n)[0],
            "texts": select_classifier(unit_rows(texts, self._mean["texts"]), labels_nC, held_n)[0],
        }

    def _encode(self, features: Features, side: Side) -> Float[np.ndarray, "n C"]:
        posterior_nC = self.posteriors(features, side)
        return np.asarray(normalize(posterior_nC)) if self.score == "cosine" else posterior_nC

    def posteriors(self, features: Features, side: Side) -> Float[np.ndarray, "n C"]:
        """The probability of each class."""
        prepared = unit_rows(self._checked(features, side), self._mean[side])
        return self._classifier[side].posterior(prepared)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Logistic regressions and the classes that each speaks for; the others keep their frequency."""

    frequency_C: np.ndarray
    one_label: bool
    models: tuple[tuple[LogisticRegression, np.ndarray], ...]

    @classmethod
    def fit(cls, features: Features, labels_nC: Bool[np.ndarray, "n C"], strength: float) -> "Classifier":
        def regression(target: np.ndarray) -> LogisticRegression:
            return LogisticRegression(C=strength, max_iter=1000).fit(features, target)

        frequency_C, one_label = labels_nC.mean(axis=0), _one_label(labels_nC)
        if one_label:
            learnable = np.flatnonzero(frequency_C)
            targets = [(labels_nC.argmax(axis=1), learnable)] if len(learnable) > 1 else []
        else:
            learnable = np.flatnonzero((frequency_C > 0) & (frequency_C < 1))
            targets = [(labels_nC[:, c], np.array([c])) for c in learnable]
        return cls(
            frequency_C, one_label, tuple((regression(target), classes) for target, classes in targets)
        )

    def posterior(self, features: Features) -> Float[np.ndarray, "n C"]:
        posterior_nC = np.tile(self.frequency_C, (features.shape[0], 1))
        for model, classes in self.models:
            # A class among many is binary: its probability is the last column.
            posterior_nC[:, classes] = model.predict_proba(features)[:, -len(classes) :]
        return posterior_nC

    def linear(self, width: int) -> tuple[Float[np.ndarray, "d C"], Float[np.ndarray, " C"]]:
        """W and b whose softmax - where items have several labels, sigmoid - of W^T x + b is `posterior`.

        A class that was not learnt has zeros and the logarithm (the log-odds) of its frequency.
        """
        p_C = np.clip(self.frequency_C, 1e-12, 1 - 1e-12)
        weights_dC = np.zeros((width, len(p_C)))
        bias_C = np.log(p_C) if self.one_label else np.log(p_C) - np.log1p(-p_C)
        for model, classes in self.models:
            # Of two classes there is one column, the log-odds of the second.
            W, b = model.coef_.T, model.intercept_
            none = np.zeros((width, len(classes) - W.shape[1]))
            weights_dC[:, classes] = np.hstack([none, W])
            bias_C[classes] = np.hstack([none[0], b])
        return weights_dC, bias_C


def select_classifier(
    features: Features, labels_nC: Bool[np.ndarray, "n C"], held_n: Bool[np.ndarray, " n"]
) -> tuple[Classifier, float]:
    """A classifier of all items, with the C that predicts the held-out ones best when fitted on the rest.

    Returns:
        The classifier, and its log-loss on the held-out items; 0 if there are none.
    """
    if not held_n.any():
        return Classifier.fit(features, labels_nC, strength=1.0), 0.0

    def loss(strength: float) -> float:
        classifier = Classifier.fit(features[~held_n], labels_nC[~held_n], strength)
        return _log_loss(classifier.posterior(features[held_n]), labels_nC[held_n])

    losses = {strength: loss(strength) for strength in STRENGTHS}
    best = min(losses, key=losses.__getitem__)
    return Classifier.fit(features, labels_nC, best), losses[best]


def _log_loss(posterior_nC: Float[np.ndarray, "n C"], labels_nC: Bool[np.ndarray, "n C"]) -> float:
    """Mean over items of -log p(its class); where items have several labels, of the sum over classes of
    -log p(what the class is), present or absent."""
    p_nC = np.clip(posterior_nC, 1e-12, 1 - 1e-12)
    absent_nC = np.zeros_like(p_nC) if _one_label(labels_nC) else np.log1p(-p_nC)
    return -float(np.mean(np.sum(np.where(labels_nC, np.log(p_nC), absent_nC), axis=1)))


def _one_label(labels_nC: Bool[np.ndarray, "n C"]) -> bool:
    return bool((labels_nC.sum(axis=1) == 1).all())


@dataclasses.dataclass(eq=False, repr=False)
class SemanticCorrelationMatching(Baseline):
    """SCM of Rasiwasia et al. 2010: `SemanticMatching` on the canonical components that CM finds.

    An item's embedding is its class posterior there, and the inner product of two the score: the probability
    that both are of one class, if given their features they are independent. (With several labels: how many
    they are expected to share.)

    Args:
        components: canonical axes kept; None for all, because the classifiers weigh them.
        ridge: added to the variances, as in `CCA`.
        energy, unit_length, axes: see `LinearSpace`.
    """

    space: ClassVar = {"components": (5, 10, 20, None), "ridge": (1e-3, 1e-2, 1e-1)}

    # Paper: distances of posteriors and their normalised correlation; here the inner product, because it
    # ranks better: .224 / .306 against .221 / .289 for the correlation (text / image query, a fifth of
    # Wikipedia's training items held out, official features).
    components: Count | None = None
    _: KW_ONLY
    energy: Share = 0.95
    ridge: NonNegative = 3e-3
    unit_length: bool = True
    axes: Count | None = MAX_AXES

    def _fit(self, images: Features, texts: Features, labels_nC: np.ndarray, groups: Groups | None) -> None:
        self.correlation_ = CorrelationMatching(**self.get_params()).fit(images, texts, labels_nC)
        components = self.correlation_.transform(images, texts)
        self.semantic_ = SemanticMatching().fit(*components, labels_nC, groups)

    def _encode(self, features: Features, side: Side) -> Float[np.ndarray, "n C"]:
        return self.semantic_.posteriors(self.correlation_.encode(features, side), side)
