"""SM's classifiers inside of Joint: what two logistic regressions know better stays known.

SM (semantic matching) is a hard yardstick by class: its classifier of texts ranks better than the text
tower's, while the image tower's ranks better than its classifier of images.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gcnxmodal.baselines.base import mean_of, unit_rows
from gcnxmodal.baselines.semantic_matching import HELD_OUT, select_classifier
from gcnxmodal.holdout import validation_items
from gcnxmodal.nn.layers import PRECISIONS, Constant, unit


class Classifier(nnx.Module):
    """Class posteriors by logistic regression, fitted before training begins and not trained.

        p_SM(c | x) = softmax_c(W^T z + b),   z = (s * x - mean) / ||s * x - mean||

    or, where items have several labels, the sigmoid of each class.

    Args:
        arrays: s and mean [d], W [d, C], b [C] and whether items have several labels, as `fitted` gives them.
    """

    def __init__(self, arrays: Mapping[str, Constant]):
        self.scale, self.mean = arrays["scale"], arrays["mean"]
        self.weights, self.bias = arrays["weights"], arrays["bias"]
        self.several = arrays["several"]

    def __call__(self, x_Bd: Float[Array, "B d"]) -> Float[Array, "B C"]:
        z_Bd = unit(x_Bd * self.scale.get_value() - self.mean.get_value())
        weights_dC = self.weights.get_value()
        logits_BC = jnp.matmul(z_Bd, weights_dC, precision=PRECISIONS["float32"]) + self.bias.get_value()
        return jnp.where(self.several.get_value(), jax.nn.sigmoid(logits_BC), jax.nn.softmax(logits_BC))


def fitted(
    features: Any,
    scales: list[Float[np.ndarray, " d"]],
    labels_nC: Bool[np.ndarray, "n C"],
    groups_n: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The arrays of a `Classifier` of training items.

    Args:
        features: [n, d], sparse or dense; sparse ones are not centred.
        scales: what the features may be multiplied by; that of least log-loss on held-out items is taken,
            as SM chooses its regularisation.
    """
    held_n = validation_items(labels_nC, HELD_OUT, groups=groups_n)
    found = []
    for scale_d in scales:
        scaled = features @ sp.diags_array(scale_d) if sp.issparse(features) else features * scale_d
        mean_d = np.zeros(features.shape[1]) if sp.issparse(features) else mean_of(scaled)
        classifier, loss = select_classifier(unit_rows(scaled, mean_d), labels_nC, held_n)
        found.append((loss, len(found), scale_d, mean_d, classifier))
    _, _, scale_d, mean_d, classifier = min(found)
    weights_dC, bias_C = classifier.linear(features.shape[1])
    arrays = {"scale": scale_d, "mean": mean_d, "weights": weights_dC, "bias": bias_C}
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    return {**single, "several": np.array(not classifier.one_label)}
