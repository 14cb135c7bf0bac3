"""What every baseline is: an estimator of images and texts by the conventions of scikit-learn."""

import abc
import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, Union

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from gcnxmodal.errors import InputError

Features = Any
"""Float [n, d]: dense, or sparse by SciPy, which is never filled."""

Side = Literal["images", "texts"]
"""A modality: which of the two a value of a method is for."""

Groups = Sequence[int] | Sequence[str] | np.ndarray
"""[n] numbers or names, as in `Corpus.groups`: items of one group are variants of one picture."""

SOLVER_THREADS = 1
"""Threads of the linear algebra in `fit`. Its many small products make BLAS threads wait for each other by
spinning: beside other work, two of them took ten times (CCA) and thirty times (SM) the seconds of one."""


class Items(NamedTuple):
    """What a baseline reads of items: some of the fields of a `Corpus`, under the same names."""

    images: Features
    counts: Features
    labels: np.ndarray
    splits: Mapping[str, np.ndarray] = types.MappingProxyType({})
    groups: Groups | None = None


def fit(method: Any, items: Items) -> Any:
    """The method fitted on all these items; it is given groups only where they have some."""
    groups = {} if items.groups is None else {"groups": items.groups}
    return method.fit(items.images, items.counts, items.labels, **groups)


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers from `least` to `most`, the ends too unless they are open."""

    least: float
    most: float = math.inf
    open_least: bool = False
    open_most: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.least if self.open_least else value >= self.least
        below = value < self.most if self.open_most else value <= self.most
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        words = f"above {self.least}" if self.open_least else f"{self.least} or more"
        if self.most < math.inf:
            words += f" and {'below' if self.open_most else 'at most'} {self.most}"
        return words


Count = Annotated[int, Range(1)]
Seed = Annotated[int, Range(0)]
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, open_least=True)]
Share = Annotated[float, Range(0, 1, open_least=True)]
OpenShare = Annotated[float, Range(0, 1, open_least=True, open_most=True)]


@dataclasses.dataclass(eq=False, repr=False)
class Baseline(BaseEstimator, abc.ABC):
    """An estimator that embeds images and texts in one space, where the inner product is the score of a pair.

    A method is a dataclass whose fields are its hyper-parameters, so that scikit-learn's `get_params`,
    `set_params` and `clone` work; the type of a field says which values it takes, and `fit` checks them.

    Attributes:
        space: values of hyper-parameters worth trying on validation items.
        n_features_in_: columns of the images that it was fitted on.
        n_words_in_: columns of the texts that it was fitted on.
        classes_: what each column of the label matrix stands for: the sorted class labels, if one an item was
            given, else 0 to C - 1.
    """

    space: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def fit(self, images: Features, texts: Features, labels: Any, groups: Groups | None = None) -> Self:
        """Fit on training items.

        Args:
            images, texts: [n, d] and [n, N], dense or sparse; N and d may exceed n.
            labels: bool or 0/1 [n, C], a column a class; or [n], the class of each item, a number or a name.
            groups: [n]. Methods that hold items out to choose a value keep those of a group together; the
                others do not look at them. None: each item is its own.

        Raises:
            InputError: if a hyper-parameter is out of its range, rows do not match, a feature is not finite,
                all rows of a modality are equal, or for what a method says.
        """
        check_parameters(self)
        images, texts = as_matrix(images), as_matrix(texts)
        labels_nC, classes = label_matrix(labels)
        check_training_set(images, texts, labels_nC)
        with threadpool_limits(SOLVER_THREADS):
            self._fit(images, texts, labels_nC, groups)
        self.classes_ = classes
        self.n_features_in_, self.n_words_in_ = images.shape[1], texts.shape[1]
        return self

    def encode(self, features: Features, side: Side) -> Float[np.ndarray, "n D"]:
        """Embeddings of images or texts, float32; what they are the class says.

        Raises:
            NotFittedError: before `fit`.
            InputError: if the features have another width than those that were fitted, or are not finite.
        """
        return np.asarray(self._encode(self._checked(features, side), side), np.float32)

    def encode_images(self, images: Features) -> Float[np.ndarray, "n D"]:
        """`encode` of images."""
        return self.encode(images, "images")

    def encode_texts(self, texts: Features) -> Float[np.ndarray, "n D"]:
        """`encode` of texts."""
        return self.encode(texts, "texts")

    def transform(
        self, images: Features, texts: Features
    ) -> tuple[Float[np.ndarray, "n D"], Float[np.ndarray, "m D"]]:
        """`encode_images` and `encode_texts`."""
        return self.encode_images(images), self.encode_texts(texts)

    @abc.abstractmethod
    def _fit(self, images: Features, texts: Features, labels_nC: np.ndarray, groups: Groups | None) -> None:
        """Learn from training items that have been checked."""

    @abc.abstractmethod
    def _encode(self, features: Features, side: Side) -> np.ndarray:
        """Embeddings of features that have been checked."""

    def _checked(self, features: Features, side: Side) -> Features:
        check_is_fitted(self)
        features = as_matrix(features)
        width = self.n_features_in_ if side == "images" else self.n_words_in_
        if len(features.shape) != 2 or features.shape[1] != width:
            fix = "extract them as those" if side == "images" else "count the words of the same vocabulary"
            raise InputError(
                f"{side}: features are {list(features.shape)}, but {type(self).__name__} was fitted on "
                f"{width} columns; {fix}"
            )
        if not np.isfinite(features.data if sp.issparse(features) else features).all():
            raise InputError(f"{side}: a feature is NaN or infinite; extract the features again")
        return features


def check_parameters(method: Baseline) -> None:
    """Refuse a hyper-parameter that its type does not allow.

    Raises:
        InputError: naming the method, the parameter, its value and what it may be.
    """
    for name, hint in _parameter_types(type(method)).items():
        if not _allows(hint, value := getattr(method, name)):
            raise InputError(f"{type(method).__name__}: {name} is {value!r}; it must be {_words(hint)}")


@functools.cache
def _parameter_types(method: type[Baseline]) -> dict[str, Any]:
    hints = typing.get_type_hints(method, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(method)}


def _allows(hint: Any, value: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_allows(part, value) for part in parts)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if origin is tuple:
        several = isinstance(value, tuple | list) and len(value) > 0
        return several and all(_allows(parts[0], part) for part in value)
    if origin is Annotated:
        kind = numbers.Integral if parts[0] is int else numbers.Real
        return isinstance(value, kind) and not isinstance(value, bool) and value in parts[1]
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return ", or ".join(map(_words, parts))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple:
        return f"a tuple, each {_words(parts[0])}"
    if origin is Annotated:
        return f"a {'whole' if parts[0] is int else 'finite'} number, {parts[1]}"
    return {bool: "True or False", types.NoneType: "None"}[hint]


def label_matrix(labels: Any) -> tuple[Bool[np.ndarray, "n C"], np.ndarray]:
    """Labels as a matrix, a column a class, and what its columns stand for.

    >>> matrix, classes = label_matrix([7, 3, 7])
    >>> classes.tolist(), matrix.astype(int).tolist()
    ([3, 7], [[0, 1], [1, 0], [0, 1]])

    Raises:
        InputError: if they are neither [n, C] of 0 and 1 nor [n] numbers or names of classes.
    """
    labels = np.asarray(labels)
    if labels.ndim == 1 and labels.dtype.kind in "biuUS":
        classes, class_n = np.unique(labels, return_inverse=True)
        return class_n[:, None] == np.arange(len(classes)), classes
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all():
        return labels.astype(bool), np.arange(labels.shape[1])
    raise InputError(
        f"labels: {labels.dtype} {list(labels.shape)}; the baselines take [n] whole numbers or names, one "
        "class an item, or [n, C] of 0 and 1, a column a class"
    )


def check_training_set(images: Features, texts: Features, labels: Bool[np.ndarray, "n C"]) -> None:
    """Raise InputError unless images and texts are finite matrices that match the labels, and n >= 2."""
    for name, features in (("images", images), ("texts", texts)):
        if len(features.shape) != 2 or features.shape[0] != len(labels):
            raise InputError(
                f"{name}: features are {list(features.shape)} and there are {len(labels)} labels; "
                "the baselines take [n, d] features, a row an item"
            )
        if not np.isfinite(features.data if sp.issparse(features) else features).all():
            raise InputError(f"{name}: a training feature is NaN or infinite; extract the features again")
    if len(labels) < 2:
        raise InputError(f"labels: {len(labels)} training items; a baseline needs at least two")


def as_matrix(features: Any) -> Features:
    """A NumPy array, or CSR of what is sparse."""
    return features.tocsr() if sp.issparse(features) else np.asarray(features)


def mean_of(features: Features) -> Float[np.ndarray, " d"]:
    """The mean row, in float64."""
    return np.asarray(features.mean(axis=0, dtype=np.float64)).ravel()


def equal_rows(name: str) -> InputError:
    """The error for a modality whose training items have all the same features."""
    return InputError(
        f"{name}: all training items have the same features; a common space needs some that differ"
    )


def unit_vectors(x_nD: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    """Embeddings scaled to length 1, in float32, so that inner products are cosines; zero rows stay zero."""
    return np.asarray(normalize(x_nD), np.float32)


def unit_rows(features: Features, mean: Float[np.ndarray, " d"]) -> Features:
    """Mean-centred and of unit length (SSPE, Section 4.4), in float64; zero rows stay zero, and so do those
    that are as small as rounding leaves them."""
    if sp.issparse(features):
        # Paper: mean-centred; here sparse features are not, because that would fill them.
        return normalize(sp.csr_array(features, dtype=np.float64))
    features = np.asarray(features, np.float64)
    size_n1 = np.maximum(np.abs(features).max(axis=1, keepdims=True), np.abs(mean).max())
    # `normalize` takes rows shorter than 2e-15 for zero. A power of two changes no other bit.
    return normalize(np.ldexp(features - mean, -np.frexp(size_n1)[1]))
