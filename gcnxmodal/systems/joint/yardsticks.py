"""SM and CCA inside of Joint: what two linear methods know better stays known.

They are hard yardsticks. SM's classifier of texts ranks better by class than the text tower's, while the
image tower's ranks better than its classifier of images. CCA finds own pairs more often where items are few.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gcnxmodal.holdout import validation_items
from gcnxmodal.nn.layers import PRECISIONS, Constant, unit

Side = Literal["texts", "images"]
SIDES: tuple[Side, Side] = ("texts", "images")
GIVES: dict[str, Literal["posterior", "unit"]] = {
    "texts_by_sm": "posterior",
    "images_by_sm": "posterior",
    "texts_by_cca": "unit",
    "images_by_cca": "unit",
}
"""What the model calls its maps, and what each gives."""

ARRAYS = ("scale", "mean", "weights", "bias", "several")


class Linear(nnx.Module):
    """One linear map of a yardstick, fitted before training begins and not trained.

        y = W^T z + b,   z = (s * x - mean) / ||s * x - mean||

    Args:
        arrays: s and mean [d], W [d, E], b [E], and whether items have several labels.
        gives: what is made of y. "posterior": softmax(y), or of several labels the sigmoid of each; "unit":
            y / ||y||.
    """

    def __init__(self, arrays: Mapping[str, Constant], gives: Literal["posterior", "unit"]):
        self.scale, self.mean, self.weights, self.bias, self.several = (arrays[name] for name in ARRAYS)
        self.gives = gives

    def __call__(self, x_Bd: Float[Array, "B d"]) -> Float[Array, "B E"]:
        z_Bd = unit(x_Bd * self.scale.get_value() - self.mean.get_value())
        y_BE = jnp.matmul(z_Bd, self.weights.get_value(), precision=PRECISIONS["float32"])
        y_BE += self.bias.get_value()
        if self.gives == "unit":
            return unit(y_BE)
        return jnp.where(self.several.get_value(), jax.nn.sigmoid(y_BE), jax.nn.softmax(y_BE))


def sm_arrays(
    features: Any,
    scales: list[Float[np.ndarray, " d"]],
    labels_nC: Bool[np.ndarray, "n C"],
    groups_n: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The arrays of SM's classifier of training items.

    Args:
        features: [n, d], sparse or dense; sparse ones are not centred.
        scales: what the features may be multiplied by; that of least log-loss on held-out items is taken,
            as SM chooses its regularisation.
    """
    # Imported where it is fitted: a query needs no scikit-learn.
    from threadpoolctl import threadpool_limits

    from gcnxmodal.baselines.base import SOLVER_THREADS, unit_rows
    from gcnxmodal.baselines.semantic_matching import HELD_OUT, select_classifier

    held_n = validation_items(labels_nC, HELD_OUT, groups=groups_n)
    found = []
    for scale_d in scales:
        scaled, mean_d = _scaled(features, scale_d)
        with threadpool_limits(SOLVER_THREADS):
            classifier, loss = select_classifier(unit_rows(scaled, mean_d), labels_nC, held_n)
        found.append((loss, len(found), scale_d, mean_d, classifier))
    _, _, scale_d, mean_d, classifier = min(found)
    return _single(scale_d, mean_d, *classifier.linear(features.shape[1]), several=not classifier.one_label)


def cca_arrays(
    images: Float[np.ndarray, "n d"],
    texts: Any,
    scale_N: Float[np.ndarray, " N"],
    labels_nC: Bool[np.ndarray, "n C"],
) -> dict[Side, dict[str, np.ndarray]]:
    """The arrays of CCA's two maps, of texts that are multiplied by `scale_N`."""
    from gcnxmodal.baselines import CCA

    image_scale_d = np.ones(images.shape[1])
    (images, image_mean_d), (texts, text_mean_N) = _scaled(images, image_scale_d), _scaled(texts, scale_N)
    cca = CCA().fit(images, texts, labels_nC)
    return {
        "images": _single(image_scale_d, image_mean_d, *cca.linear("images")),
        "texts": _single(scale_N, text_mean_N, *cca.linear("texts")),
    }


def _scaled(features: Any, scale_d: np.ndarray) -> tuple[Any, np.ndarray]:
    """Features times their scale, and what they are centred by: sparse ones by nothing."""
    if sp.issparse(features):
        return sp.csr_array(features @ sp.diags_array(scale_d)), np.zeros(features.shape[1])
    return features * scale_d, np.asarray(np.mean(features * scale_d, axis=0, dtype=np.float64))


def _single(*arrays: np.ndarray, several: bool = False) -> dict[str, np.ndarray]:
    single = (np.asarray(array, np.float32) for array in arrays)
    return dict(zip(ARRAYS, (*single, np.array(several)), strict=True))
