"""Binary codes from the principal axes of each modality: what the hashing methods share."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from gcnxmodal.baselines.features import SOLVER_THREADS, Features, check_training_set
from gcnxmodal.baselines.principal_axes import principal_axes
from gcnxmodal.errors import InputError


class HashCodes(BaseEstimator, abc.ABC):
    """Principal components of images P [n, p] and of texts Q [n, q], then K numbers an item: signs are bits.

    Features are centred and of unit length first, and only the axes that keep `ENERGY` of the variance are
    used, as in the other baselines (SSPE, Section 4.4), `axes` at the most; all in float64.

    Attributes:
        bits: K, of a code.
        axes: principal axes of a modality, at the most; None for as many as `ENERGY` takes.
        space: values of hyper-parameters worth trying on validation items.
    """

    # Paper: centred features as they are; here their principal axes, 128 at the most by default, because few
    # serve CMFH, which does not look at the labels, and all cost time. SCM loses by them: see its `space`.
    ENERGY = 0.95
    space: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    bits: int
    axes: int | None

    def fit(self, images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> Self:
        """Fit on training items.

        Args:
            images, texts: [n, d] and [n, N], dense or CSR; N and d may exceed n.

        Raises:
            InputError: if bits < 1, an option is out of its range, rows do not match, a feature is not
                finite, all rows of a modality are equal, or for what a method says.
        """
        check_bits(self.bits)
        if self.axes is not None:
            check_range("axes", self.axes, 1)
        self._check_options()
        check_training_set(images, texts, labels)
        with threadpool_limits(SOLVER_THREADS):
            self._image_axes = principal_axes(images, self.ENERGY, True, "images", self.axes)
            self._text_axes = principal_axes(texts, self.ENERGY, True, "texts", self.axes)
            self._learn(self._image_axes.project(images), self._text_axes.project(texts), np.asarray(labels))
        return self

    def encode_images(self, images: Features) -> Float[np.ndarray, "n K"]:
        """Float32 rows; a bit is one where a number is positive."""
        return np.asarray(self._image_numbers(self._image_axes.project(images)), np.float32)

    def encode_texts(self, texts: Features) -> Float[np.ndarray, "n K"]:
        """Float32 rows; a bit is one where a number is positive."""
        return np.asarray(self._text_numbers(self._text_axes.project(texts)), np.float32)

    def _check_options(self) -> None:
        """Raise InputError for an option of the method that is out of its range."""

    @abc.abstractmethod
    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        """Learn from centred principal components; their covariances are diagonal."""

    @abc.abstractmethod
    def _image_numbers(self, P: np.ndarray) -> Float[np.ndarray, "n K"]:
        """What the bits of images are the signs of."""

    @abc.abstractmethod
    def _text_numbers(self, Q: np.ndarray) -> Float[np.ndarray, "n K"]:
        """What the bits of texts are the signs of."""


class LinearCodes(HashCodes):
    """Codes that are the signs of one linear map a modality.

    Attributes:
        image_map_, text_map_: [p, K] and [q, K], from principal components.
    """

    image_map_: np.ndarray
    text_map_: np.ndarray

    def _image_numbers(self, P: np.ndarray) -> Float[np.ndarray, "n K"]:
        return P @ self.image_map_

    def _text_numbers(self, Q: np.ndarray) -> Float[np.ndarray, "n K"]:
        return Q @ self.text_map_


def check_bits(bits: int) -> None:
    """Raise InputError unless a code has a bit."""
    if bits < 1:
        raise InputError(f"bits: {bits}; a code needs at least one")


def check_range(
    name: str, value: float, least: float, most: float = math.inf, *, open_ends: bool = False
) -> None:
    """Raise InputError, naming it, for a value that is not finite or not from `least` to `most`.

    With `open_ends` the ends themselves are refused too.

    >>> check_range("mu", 0.0, 0, open_ends=True)
    Traceback (most recent call last):
    ...
    gcnxmodal.errors.InputError: mu is 0.0; it must be finite and above 0
    """
    inside = least < value < most if open_ends else least <= value <= most
    if math.isfinite(value) and inside:
        return
    if most < math.inf:
        bounds = f"between {least} and {most}{', both excluded' if open_ends else ''}"
    else:
        bounds = f"finite and {f'above {least}' if open_ends else f'{least} or more'}"
    raise InputError(f"{name} is {value}; it must be {bounds}")


def unit_labels(labels_nC: Bool[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """Label vectors of length 1, whose inner products are cosines; without a label, zero."""
    return np.asarray(normalize(np.asarray(labels_nC, np.float64)))
