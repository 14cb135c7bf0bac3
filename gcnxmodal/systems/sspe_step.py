"""SSPE's training: a batch of images and texts, neighbours and negatives drawn for each, one step of SGD.

Source: SSPE (Wu et al. 2018), Eq. 2 to 5, Algorithm 1 and Section 4.4.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from gcnxmodal.systems.feature_graph import FeatureGraph, draw_far, draw_near
from gcnxmodal.systems.semantic_graph import (
    Drawn,
    LabelGroups,
    Similarity,
    draw_connected,
    draw_unconnected,
)
from gcnxmodal.systems.sspe_loss import skip_gram_loss
from gcnxmodal.systems.sspe_model import SSPE
from gcnxmodal.training.state import Data, Step, TrainState, planned_rows

METRICS = ("loss", "semantic", "labels", "image_graph", "text_graph")
"""`loss` is the sum of Eq. 4 and 5 over a batch, or its mean; the others are means over items of one term."""

Reduction = Literal["mean", "sum"]
DecayForm = Literal["l2", "decoupled"]


class Graphs(NamedTuple):
    """What neighbours are drawn from: `Data.graphs`."""

    semantic: LabelGroups
    images: FeatureGraph
    texts: FeatureGraph


@dataclasses.dataclass(frozen=True)
class Terms:
    """What the loss is made of.

    Attributes:
        alpha1: weight of the label reconstruction.
        alpha2: weight of the feature graphs.
        similarity, sigma: of the semantic graph; see `semantic_graph.draw_connected`.
        other, same: neighbours an item on the semantic graph, of the other and of its own modality.
        near: neighbours an item on its feature graph.
        reduction: of the losses of the items of a batch.
    """

    alpha1: Any = 0.1
    alpha2: Any = 0.1
    similarity: Similarity = "cosine"
    sigma: Any = 1.0
    other: int = 6
    same: int = 2
    near: int = 8
    reduction: Reduction = "mean"


class Around(NamedTuple):
    """Neighbours and negatives of one kind."""

    near: Drawn
    far: Drawn


class Surroundings(NamedTuple):
    """All that is drawn for the items of a batch in one modality."""

    other: Around
    same: Around
    features: Around


def draw(key: Array, graphs: Graphs, images_B: Array, texts_M: Array, terms: Terms) -> list[Surroundings]:
    """Neighbours and negatives of the images and of the texts of a batch."""
    items = jnp.concatenate([images_B, texts_M])  # images and texts have the same labels: one draw for both
    B, other_k, same_k, near_k = len(images_B), terms.other, terms.same, terms.near
    ends = [4 * other_k, 4 * (other_k + same_k), 4 * (other_k + same_k) + near_k]
    words = jax.random.bits(key, (len(items), ends[-1] + near_k), jnp.uint32)
    other_words, same_words, near, far = jnp.split(words, ends, axis=1)

    def semantic(words: Array, k: int, *, same_modality: bool) -> Around:
        words_4Bk = jnp.moveaxis(words.reshape(len(items), 4, k), 1, 0)
        options = {"groups": graphs.semantic, "items_B": items, "same_modality": same_modality}
        kind = {"similarity": terms.similarity, "sigma": terms.sigma}
        return Around(
            draw_connected(words_4Bk[:2], **options, **kind), draw_unconnected(words_4Bk[2:], **options)
        )

    both = (
        semantic(other_words, other_k, same_modality=False),
        semantic(same_words, same_k, same_modality=True),
    )
    parts = []
    for graph, rows in ((graphs.images, slice(None, B)), (graphs.texts, slice(B, None))):
        on_features = Around(
            draw_near(near[rows], graph, items[rows]), draw_far(far[rows], graph, items[rows])
        )
        other, same = jax.tree.map(lambda drawn, rows=rows: drawn[rows], both)
        parts.append(Surroundings(other, same, on_features))
    return parts


def batch_loss(
    model: SSPE,
    data: Data,
    images_B: Int[Array, " B"],
    texts_M: Int[Array, " M"],
    drawn: list[Surroundings],
    terms: Terms,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Eq. 4 of the images and Eq. 5 of the texts of a batch.

    l = l_Gs + alpha1 ||g(f) - z||^2 + alpha2 l_G of the item's own features
    """
    of_images, of_texts = drawn

    def gathered(encode: Any, rows_nd: Array, own: Array, mine: Surroundings, theirs: Surroundings):
        """Embeddings of all items of a modality in this batch, each made once: own, then what was drawn."""
        wanted = [own, *(d.items for pair in (theirs.other, mine.same, mine.features) for d in pair)]
        ends = [sum(part.size for part in wanted[: place + 1]) for place in range(len(wanted) - 1)]
        flat = encode(rows_nd[jnp.concatenate([part.ravel() for part in wanted])])
        parts = jnp.split(flat, ends)
        return [part.reshape(*one.shape, flat.shape[1]) for one, part in zip(wanted, parts, strict=True)]

    images = gathered(model.encode_images, data.images_nd, images_B, of_images, of_texts)
    texts = gathered(model.encode_texts, data.texts_nT, texts_M, of_texts, of_images)

    def losses(own: list[Array], theirs: list[Array], items: Array, around: Surroundings) -> list[Array]:
        f, _, _, near_same, far_same, near, far = own

        def skip_gram(near_BkD: Array, far_BkD: Array, pair: Around) -> Array:
            return skip_gram_loss(f, near_BkD, far_BkD, pair.near.exist, pair.far.exist)

        semantic = skip_gram(theirs[1], theirs[2], around.other) + skip_gram(near_same, far_same, around.same)
        return [
            semantic,
            model.label_error(f, data.labels_nC[items]),
            skip_gram(near, far, around.features),
        ]

    of_image, of_text = (
        losses(images, texts, images_B, of_images),
        losses(texts, images, texts_M, of_texts),
    )
    semantic, labels, near = (jnp.concatenate(pair) for pair in zip(of_image, of_text, strict=True))
    each = semantic + terms.alpha1 * labels + terms.alpha2 * near
    # Paper: "the sum of image and text losses" (Algorithm 1); here the mean over the items of a batch, each
    # with the sums over its neighbours of Eq. 2 and 3: with the sum and the paper's rate of .01, embeddings
    # saturate (validation items of sspe-emoji: MAP .206, with the mean .376).
    loss = each.mean() if terms.reduction == "mean" else each.sum()
    metrics = {
        "loss": loss,
        "semantic": semantic.mean(),
        "labels": labels.mean(),
        "image_graph": of_image[2].mean(),
        "text_graph": of_text[2].mean(),
    }
    return loss, metrics


def make_sgd(rate: Any, *, momentum: Any, weight_decay: Any, form: DecayForm) -> optax.GradientTransformation:
    """SGD with momentum and weight decay on all parameters.

    Args:
        form: "l2": weight_decay x w is added to the gradient, and so to the momentum (Caffe's, PyTorch's
            and an L2 loss of 1/2 weight_decay ||w||^2); "decoupled": to the step, after the momentum.
    """
    # Paper: "weight decay 0.001", and no form; here "l2", which the word meant in 2018, and of biases too, as
    # Caffe, from which the paper has its features, does. A loss of weight_decay ||w||^2 is twice the value.
    decay, trace = optax.add_decayed_weights(weight_decay), optax.trace(decay=momentum)
    order = (decay, trace) if form == "l2" else (trace, decay)
    return optax.chain(*order, optax.scale_by_learning_rate(rate))


def make_step(
    graphdef: nnx.GraphDef, optimizer: optax.GradientTransformation, terms: Terms, *, mesh: Mesh | None = None
) -> Step:
    """One batch: `state, metrics = step(state, data, key)`.

    It takes row `state.step` (modulo the length) of the plan; neighbours and negatives are a function of
    (key, step).

    Args:
        graphdef: the model's structure, from `nnx.split(model, nnx.Param, ...)`.
        mesh: the devices, which share the rows of a batch; one device if not given.
    """

    def step(state: TrainState, data: Data, key: Array) -> tuple[TrainState, dict[str, Array]]:
        assert data.graphs is not None
        texts, images = planned_rows(state, data, mesh)
        # Paper: samples are drawn before each of the 5 passes; here with their batch, which is the same.
        drawn = draw(jax.random.fold_in(key, state.step), data.graphs, images, texts, terms)

        def objective(params: Any) -> tuple[Array, dict[str, Array]]:
            model = nnx.merge(graphdef, params, data.constants)
            return batch_loss(model, data, images, texts, drawn, terms)

        gradients, metrics = jax.grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return dataclasses.replace(state, params=params, opt_state=opt_state, step=state.step + 1), metrics

    return step
