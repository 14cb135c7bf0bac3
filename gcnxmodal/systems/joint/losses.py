"""The loss: contrast of instances, contrast by class, class heads, and the words of a text that are kept."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gcnxmodal.nn.encoders import WordSequence
from gcnxmodal.nn.layers import unit
from gcnxmodal.systems.joint.config import JointTrain
from gcnxmodal.systems.joint.model import Joint

METRICS = ("loss", "pair", "class_contrast", "class_head", "scale")
MOST_SCALE = 100.0  # of the cosines; CLIP's limit
MOST_WORDS = 8  # of a text that stands for a typed query
CHUNK = 1024  # texts whose scores with a whole batch are held at a time, in the sigmoid form


def loss(
    model: Joint,
    texts_BT: Array,
    images_Bd: Array,
    labels_BC: Bool[Array, "B C"],
    groups_B: Int[Array, " B"],
    key: Array,
    train: JointTrain,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The training objective of a batch of B pairs, a mean over the members:

        w_pair * contrast of instances + w_contrast * contrast by class + w_head * class head

    A term of weight zero is not computed; without labels only the first is there.

    Returns:
        The objective, and its terms by name, with the scale of the cosines.
    """
    text_key, image_key = jax.random.split(key)
    if not isinstance(model.text, WordSequence):
        texts_BT = some_words(text_key, texts_BT, train.text_dropout, train.short)
    text_units_BMD, text_logits_BMC = model.read_texts(model.text(texts_BT))
    dropout = train.image_dropout, train.hidden_dropout
    image_units_BMD, image_logits_BMC = model.read_images(images_Bd, image_key, dropout)
    units = text_units_BMD.swapaxes(0, 1), image_units_BMD.swapaxes(0, 1)
    # CLIP, Section 2.5: the learnt scale is clipped, "to prevent scaling the logits by more than 100".
    scale_M = jnp.minimum(jnp.exp(model.log_scale.get_value()), MOST_SCALE)
    terms = {name: jnp.zeros(()) for name in METRICS[1:-1]}
    if _used(train.pair):
        if train.pair_form == "softmax":
            each = jax.vmap(partial(softmax_contrast, groups_B=groups_B))(*units, scale_M)
        else:
            bias_M = model.score_bias.get_value()
            each = jax.vmap(partial(sigmoid_contrast, groups_B=groups_B))(*units, scale_M, bias_M)
        terms["pair"] = each.mean()
    if model.classes and _used(train.class_contrast):
        overlap_BB = label_overlap(labels_BC)
        each = jax.vmap(partial(class_contrast, overlap_BB=overlap_BB))(*units, scale_M)
        terms["class_contrast"] = each.mean()
    if model.classes and _used(train.class_head):
        terms["class_head"] = cross_entropy(text_logits_BMC, labels_BC) + cross_entropy(
            image_logits_BMC, labels_BC
        )
    value = sum((getattr(train, name) * term for name, term in terms.items()), start=jnp.zeros(()))
    return value, {"loss": value, **terms, "scale": scale_M.mean()}


def _used(weight: Any) -> bool:
    """Whether a term is there: not if its weight is zero and no argument of a sweep."""
    return isinstance(weight, jax.Array) or weight > 0


def some_words(key: Array, texts_BN: Float[Array, "B N"], dropout: Any, short: Any) -> Float[Array, "B N"]:
    """Each word of a text kept with probability 1 - `dropout`; of a share `short` of the texts, 1 to 8 words.
    Dense features of texts are dropped alike; `short` is 0 for these.

    Whole texts are what a model is trained on, and two words are what people type. So a text sometimes stands
    as it would be typed: it keeps each of its n words with probability k / n, k uniform in 1..8. A text never
    loses its last word.
    """
    word_key, short_key, length_key = jax.random.split(key, 3)
    B = len(texts_BN)
    draws_BN = jnp.where(texts_BN != 0, jax.random.uniform(word_key, texts_BN.shape), jnp.inf)
    words_B = jnp.sum(texts_BN != 0, axis=1)
    wanted_B = jax.random.randint(length_key, (B,), 1, MOST_WORDS + 1)
    is_short_B = jax.random.bernoulli(short_key, short, (B,))
    rate_B = jnp.where(is_short_B, wanted_B / jnp.maximum(words_B, 1), 1 - dropout)
    kept_BN = draws_BN <= jnp.maximum(rate_B, draws_BN.min(axis=1))[:, None]
    return jnp.where(kept_BN, texts_BN, 0)


def softmax_contrast(
    texts_BD: Float[Array, "B D"],
    images_BD: Float[Array, "B D"],
    scale: Float[Array, ""],
    groups_B: Int[Array, " B"],
) -> Float[Array, ""]:
    """Each text tells its own image from the others of the batch, and each image its own text.

        - 1/2 mean_b (log softmax_j(scale t_b . i_j)[b] + log softmax_j(scale t_j . i_b)[b])

    Others of its group are left out of the softmax: they are no negatives.

    Source: InfoNCE, van den Oord et al. 2018, Eq. 4; its symmetric form, Radford et al. 2021 (CLIP), Fig. 3.
    """
    scores_BB = scale * _products(texts_BD, images_BD)
    own_BB = jnp.eye(len(groups_B), dtype=bool)
    others_BB = (groups_B[:, None] == groups_B) & ~own_BB
    scores_BB = jnp.where(others_BB, -jnp.inf, scores_BB)
    own_B = jnp.diagonal(scores_BB)
    both = jax.nn.logsumexp(scores_BB, axis=1) + jax.nn.logsumexp(scores_BB, axis=0)
    return jnp.mean(0.5 * both - own_B)


def sigmoid_contrast(
    texts_BD: Float[Array, "B D"],
    images_BD: Float[Array, "B D"],
    scale: Float[Array, ""],
    bias: Float[Array, ""],
    groups_B: Int[Array, " B"],
    chunk: int = CHUNK,
) -> Float[Array, ""]:
    """Each pair of the batch is judged by itself: is it one?

        - 1/B sum_bj log sigmoid(z_bj (scale t_b . i_j + bias)),    z_bj = 1 within a group, else -1

    It needs no sum over a row, so the texts come `chunk` at a time: [chunk, B] scores are held, not [B, B].

    Source: Zhai et al. 2023 (SigLIP), Section 3.2 and Algorithm 1. There z is 1 on the diagonal only.
    """

    def part(texts_bD: Array, groups_b: Array) -> Array:
        scores_bB = scale * _products(texts_bD, images_BD) + bias
        sign_bB = jnp.where(groups_b[:, None] == groups_B, 1.0, -1.0)
        return jnp.sum(jax.nn.softplus(-sign_bB * scores_bB))

    B = len(groups_B)
    if chunk >= B or B % chunk:
        return part(texts_BD, groups_B) / B
    chunks = texts_BD.reshape(-1, chunk, texts_BD.shape[1]), groups_B.reshape(-1, chunk)
    return jnp.sum(jax.lax.map(lambda rows: jax.checkpoint(part)(*rows), chunks)) / B


def class_contrast(
    texts_BD: Float[Array, "B D"],
    images_BD: Float[Array, "B D"],
    scale: Float[Array, ""],
    overlap_BB: Float[Array, "B B"],
) -> Float[Array, ""]:
    """Each text tells the images of its classes from the others, and each image the texts.

        - 1/2 mean_b (sum_j q_bj log softmax_j(scale t_b . i_j) + the same of images)
        q_bj = w_bj / sum_j w_bj

    with w the overlap of the labels; of one label each w is 0 or 1 and this is the loss of the source, over
    both modalities.

    Source: Khosla et al. 2020, Eq. 2 (the sum outside of the logarithm).
    """
    scores_BB = scale * _products(texts_BD, images_BD)

    def one_way(scores_BB: Array) -> Array:
        share_BB = overlap_BB / jnp.maximum(overlap_BB.sum(axis=1, keepdims=True), 1e-12)
        return -jnp.sum(share_BB * jax.nn.log_softmax(scores_BB, axis=1), axis=1)

    return jnp.mean(0.5 * (one_way(scores_BB) + one_way(scores_BB.T)))


def label_overlap(labels_BC: Bool[Array, "B C"]) -> Float[Array, "B B"]:
    """Cosine of the label vectors of every two items: 1 for the same labels, 0 for none in common."""
    units_BC = unit(labels_BC.astype(jnp.float32))
    return _products(units_BC, units_BC)


def cross_entropy(logits_BMC: Float[Array, "B M C"], labels_BC: Bool[Array, "B C"]) -> Float[Array, ""]:
    """- mean over items and members of sum_c y_c log softmax_c(logits), y = labels / their number.

    An item without a label counts nothing.
    """
    wanted_BC = labels_BC / jnp.maximum(labels_BC.sum(axis=1, keepdims=True), 1)
    logs_BC = jax.nn.log_softmax(logits_BMC, axis=-1).mean(axis=1)
    return -jnp.mean(jnp.sum(wanted_BC * logs_BC, axis=1))


def _products(a_BD: Array, b_BD: Array) -> Array:
    return jnp.matmul(a_BD, b_BD.T, precision=jax.lax.Precision.HIGHEST)
