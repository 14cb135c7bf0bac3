"""MMNN: coupled siamese networks with contrastive losses across and within the modalities."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gcnxmodal.baselines.features import Features
from gcnxmodal.baselines.two_branches import TwoBranches, distances, mean_where, squared_distances


class MMNN(TwoBranches):
    """Multimodal similarity-preserving networks (Masci et al., PAMI 2014), real-valued as in SSPE's tables.

    Minimises L(f, g) + alpha (L(f, f) + L(g, g)) over two branches, with L of `contrastive_loss`. The score
    is minus the squared Euclidean distance. Its last two columns make that the inner product that ranks:

        text [sqrt(2) g, -||g||^2, 1] . image [sqrt(2) f, 1, -||f||^2]  =  -||g - f||^2

    Args:
        margin: how far apart unlike items are pushed.
        alpha: weight of each within-modality loss.
        widths: of the layers; the last is the dimension of the space.
        steps, batch, learning_rate, weight_decay: of SGD, see `TwoBranches`.
        seed: of the weights and the batches.

    Margin and rate were chosen once, on a held-out fifth of Wikipedia's training items. The paper's constants
    could not be checked; the form of the loss agrees with an independent implementation.
    """

    space: ClassVar = {"margin": (1.0, 3.0), "alpha": (0.1, 0.3)}

    def __init__(
        self,
        *,
        margin: float = 3.0,
        alpha: float = 0.3,
        widths: tuple[int, ...] = (64, 32),
        steps: int = 2000,
        batch: int = 64,
        learning_rate: float = 0.1,
        weight_decay: float = 1e-3,
        seed: int = 0,
    ) -> None:
        # Paper: signs of the outputs, a hash code; here the outputs, because SSPE's table ignores the step.
        self.margin = margin
        self.alpha = alpha
        self.widths = widths
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed

    def encode_images(self, images: Features) -> Float[np.ndarray, "n D+2"]:
        """Float32 rows whose inner product with those of texts is minus the squared distance."""
        f_nD = self._image_outputs(images)
        return _with_norms(f_nD, np.ones(len(f_nD)), -np.sum(f_nD**2, axis=1))

    def encode_texts(self, texts: Features) -> Float[np.ndarray, "n D+2"]:
        """Float32 rows whose inner product with those of images is minus the squared distance."""
        g_nD = self._text_outputs(texts)
        return _with_norms(g_nD, -np.sum(g_nD**2, axis=1), np.ones(len(g_nD)))

    def _loss(self) -> tuple[Callable, dict[str, float]]:
        return mmnn_loss, {"margin": self.margin, "alpha": self.alpha}


def mmnn_loss(
    images_BD: Float[Array, "B D"],
    texts_BD: Float[Array, "B D"],
    alike_BB: Bool[Array, "B B"],
    other_BB: Bool[Array, "B B"],
    *,
    margin: float,
    alpha: float,
) -> Float[Array, ""]:
    """L(f, g) + alpha (L(f, f) + L(g, g)); within a modality no item is paired with itself."""
    across = contrastive_loss(images_BD, texts_BD, alike_BB, jnp.ones_like(other_BB), margin)
    within = (contrastive_loss(x, x, alike_BB, other_BB, margin) for x in (images_BD, texts_BD))
    return across + alpha * sum(within)


def contrastive_loss(
    a_BD: Float[Array, "B D"],
    b_BD: Float[Array, "B D"],
    alike_BB: Bool[Array, "B B"],
    counts_BB: Bool[Array, "B B"],
    margin: float,
) -> Float[Array, ""]:
    """1/2 mean over alike pairs of d^2 + 1/2 mean over unlike pairs of max(0, margin - d)^2, d = ||a - b||.

    Args:
        alike_BB: pairs that share a label.
        counts_BB: pairs that count at all.

    >>> a, b = jnp.array([[0.0], [0.0]]), jnp.array([[0.5], [1.0]])
    >>> alike = jnp.eye(2, dtype=bool)  # alike: d = .5 and 1; unlike: 1 and .5, margin 2
    >>> float(contrastive_loss(a, b, alike, jnp.ones((2, 2), bool), 2.0))  # (.25 + 1) / 4 + (1 + 2.25) / 4
    1.125
    """
    # Paper: sums over pairs drawn beforehand; here means over all pairs of a batch, of alike and of unlike
    # ones apart, because alike pairs are few where there are many classes.
    together = mean_where(squared_distances(a_BD, b_BD), alike_BB & counts_BB)
    hinge_BB = jnp.maximum(margin - distances(a_BD, b_BD), 0.0)
    return 0.5 * together + 0.5 * mean_where(hinge_BB**2, ~alike_BB & counts_BB)


def _with_norms(x_nD: np.ndarray, first_n: np.ndarray, second_n: np.ndarray) -> Float[np.ndarray, "n D+2"]:
    return np.column_stack([np.sqrt(2) * x_nD, first_n, second_n]).astype(np.float32)
