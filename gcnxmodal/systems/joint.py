"""Joint: our own system. Two towers learn at once which text belongs to which picture, and their classes.

It is meant for use: it learns from pairs without labels, and with labels one model answers both questions
that people put to a retriever - "find the picture of this text" and "find pictures of its kind". In this
order: the model, the loss, the configuration, the presets, the system that trains.

The towers are GIN's (`systems/gin.py`): a text encoder on the word graph, an image encoder on features or
pixels. What is learnt with them comes from elsewhere, and each source stands where it is used.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from annotated_types import MinLen
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from gcnxmodal.config import (
    Count,
    DataConfig,
    Experiment,
    Fraction,
    Precision,
    Rate,
    Rule,
    TextConfig,
    Weight,
    WholeNumber,
)
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.inputs import TextInput, WordInputs, read_inputs, word_inputs
from gcnxmodal.nn.encoders import GraphText, WordSequence
from gcnxmodal.nn.layers import PRECISIONS, Features, linear, unit
from gcnxmodal.systems.base import ORDER, Model, Sizes, System, register, training_arrays, with_values
from gcnxmodal.systems.gin import (
    Explanation,
    gradient_times_input,
    image_encoder,
    saved_word_constants,
    text_encoder,
    word_constants,
)
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import (
    Data,
    Step,
    TrainState,
    average_of,
    averaged,
    init_state,
    make_gradient_step,
    planned_rows,
)

METRICS = ("loss", "pair", "class_contrast", "class_head", "scale")
MOST_SCALE = 100.0  # of the cosines; CLIP's limit
MOST_WORDS = 8  # of a text that stands for a typed query
# Lengths of an encoded text as its embedding and its classes read it: they decide how fast these learn.
TEXT_LENGTH = 2.0
CLASS_LENGTH = 4.0
CHUNK = 1024  # texts whose scores with a whole batch are held at a time, in the sigmoid form


# --- Model ---


class Joint(Model):
    """Two towers of M members each, with unit embeddings and class posteriors.

        t = text(T) / ||text(T)||                       the text encoder, at unit length
        i = sqrt(d) image(I) / ||image(I)||             the image encoder, at root mean square 1
        j_m = relu(H_m i + h_m)                         a hidden layer of the image tower, of member m
        u_m = W_m t + b_m,   v_m = W'_m j_m + b'_m      in R^D
        p_m(c | T) = softmax_c(V_m u_m + U t + a_m),   p_m(c | I) = softmax_c(V_m v_m + U_m j_m + a'_m)
        p(c | T) ~ (mean_m p_m(c | T))^(1 / temperature),   p(c | I) alike with its own temperature

    Both towers share the class vectors V_m, and may read them directly too (U t, U_m j_m). An
    embedding is the M unit vectors of a text or an image beside its mean posterior, so that the score of a
    pair is an inner product:

        score(T, I) = (1 - s) mean_m cos(u_m, v_m) + s sum_c p(c | T) p(c | I)

    with s the share of the classes. The second sum is the probability that both have one class, if the
    posteriors are right. Without labels there is no second part and s = 0.

    Args:
        text, image: encoders from rows to [B, width].
        classes: C; 0 without labels.
        config: see `JointModel`.
    """

    def __init__(self, text: Any, image: Any, classes: int, config: "JointModel", *, rngs: nnx.Rngs):
        M, D, H = config.members, config.dimension, config.image_hidden
        self.text, self.image = text, image
        self.members, self.dimension, self.classes = M, D, classes
        self.class_share = config.class_share if classes else 0.0
        self.text_temperature, self.image_temperature = config.text_temperature, config.image_temperature
        self.precision = config.precision
        self.text_head = linear(text.width, M * D, config.precision, rngs)
        self.text_classes = nnx.Param(jnp.zeros((text.width, classes)))
        self.image_hidden = linear(image.width, M * H, config.precision, rngs) if H else None
        glorot = nnx.initializers.glorot_uniform(batch_axis=0)
        self.image_kernel = nnx.Param(glorot(rngs.params(), (M, H or image.width, D)))
        self.image_bias = nnx.Param(jnp.zeros((M, D)))
        both = config.direct_classes == "both"
        self.image_classes = nnx.Param(jnp.zeros((M, H or image.width, classes))) if both else None
        self.class_vectors = nnx.Param(0.1 * jax.random.normal(rngs.params(), (M, D, classes)))
        self.text_class_bias = nnx.Param(jnp.zeros((1, M, classes)))
        self.image_class_bias = nnx.Param(jnp.zeros((1, M, classes)))
        # Both start as SigLIP's (Section 3.2). CLIP's scale starts at 1 / .07.
        self.log_scale = nnx.Param(jnp.full(M, math.log(10.0)))
        self.score_bias = nnx.Param(jnp.full(M, -10.0))

    def encode_texts(self, texts_BT: Array) -> Float[Array, "B E"]:
        """M unit vectors and the mean posterior, E = M D + C."""
        return self._text_embedding(self.text(texts_BT))

    def encode_images(self, images_Bd: Array) -> Float[Array, "B E"]:
        """See `encode_texts`."""
        return self._beside(*self.read_images(images_Bd), self.image_temperature)

    def fold_texts(self, texts_QE: Float[Array, "Q E"]) -> Float[Array, "Q E"]:
        """Each part times the root of its weight in the score."""
        pair, share = self.members * self.dimension, self.class_share
        parts = jnp.sqrt((1 - share) / self.members), jnp.sqrt(share)
        return jnp.concatenate([texts_QE[:, :pair] * parts[0], texts_QE[:, pair:] * parts[1]], axis=1)

    def fold_images(self, images_ME: Float[Array, "M E"]) -> Float[Array, "M E"]:
        """See `fold_texts`."""
        return self.fold_texts(images_ME)

    @property
    def preferences(self) -> dict[str, slice]:
        """ "pair": which text belongs to which picture; "class": which are of one kind."""
        pair = self.members * self.dimension
        return {"pair": slice(0, pair), "class": slice(pair, None)} if self.classes else {}

    def explain(self, texts_BT: Array, images_Bd: Array) -> Explanation:
        """Scores of aligned pairs and what each word adds, gradient times input; see `GIN.explain`."""
        images_BE = self.fold_images(self.encode_images(images_Bd))

        def score(encoded_BV: Array) -> tuple[Array, Array]:
            texts_BE = self.fold_texts(self._text_embedding(encoded_BV))
            return jnp.sum(texts_BE * images_BE, axis=-1), texts_BE

        scores_B, _, words_BT = gradient_times_input(self.text, texts_BT, score)
        none = jnp.zeros((0, *images_BE.shape))
        return Explanation(scores_B, words_BT, none, none)

    def read_texts(self, encoded_BV: Float[Array, "B V"]) -> tuple[Array, Array]:
        """Unit vectors [B, M, D] and class logits [B, M, C] of encoded texts."""
        t_BV = unit(encoded_BV)
        u_BMD = self.text_head(TEXT_LENGTH * t_BV).reshape(-1, self.members, self.dimension)
        units_BMD, logits_BMC = self._read(u_BMD, self.text_class_bias)
        direct_BC = jnp.matmul(
            CLASS_LENGTH * t_BV, self.text_classes.get_value(), precision=PRECISIONS[self.precision]
        )
        return units_BMD, logits_BMC + direct_BC[:, None]

    def read_images(
        self, images_Bd: Array, key: Array | None = None, dropout: tuple[Any, Any] = (0.0, 0.0)
    ) -> tuple[Array, Array]:
        """Unit vectors [B, M, D] and class logits [B, M, C] of images; with a key, dropout is on.

        Args:
            dropout: of the encoded image and of the hidden layer.
        """
        x_Bd = self.image(images_Bd)
        x_Bd = unit(x_Bd) * math.sqrt(x_Bd.shape[1])
        keys = (None, None) if key is None else jax.random.split(key)
        x_Bd = _dropped(keys[0], x_Bd, dropout[0])
        if self.image_hidden is None:
            x_BMH = jnp.broadcast_to(x_Bd[:, None], (len(x_Bd), self.members, x_Bd.shape[1]))
        else:
            x_BMH = jax.nn.relu(self.image_hidden(x_Bd)).reshape(len(x_Bd), self.members, -1)
            x_BMH = _dropped(keys[1], x_BMH, dropout[1])
        v_BMD = self._members("bmh,mhd->bmd", x_BMH, self.image_kernel) + self.image_bias.get_value()
        units_BMD, logits_BMC = self._read(v_BMD, self.image_class_bias)
        if self.image_classes is None:
            return units_BMD, logits_BMC
        return units_BMD, logits_BMC + self._members("bmh,mhc->bmc", x_BMH, self.image_classes)

    def _read(self, x_BMD: Array, bias: nnx.Param) -> tuple[Array, Array]:
        logits_BMC = self._members("bmd,mdc->bmc", x_BMD, self.class_vectors) + bias.get_value()
        return unit(x_BMD), logits_BMC

    def _members(self, which: str, x: Array, weights: nnx.Param) -> Array:
        return jnp.einsum(which, x, weights.get_value(), precision=PRECISIONS[self.precision])

    def _text_embedding(self, encoded_BV: Array) -> Float[Array, "B E"]:
        return self._beside(*self.read_texts(encoded_BV), self.text_temperature)

    def _beside(self, units_BMD: Array, logits_BMC: Array, temperature: float) -> Float[Array, "B E"]:
        posterior_BC = jax.nn.softmax(logits_BMC, axis=-1).mean(axis=1)
        posterior_BC = jax.nn.softmax(jnp.log(jnp.maximum(posterior_BC, 1e-9)) / temperature, axis=-1)
        return jnp.concatenate([units_BMD.reshape(len(units_BMD), -1), posterior_BC], axis=1)


def _dropped(key: Array | None, x: Array, rate: Any) -> Array:
    """Entries at zero with probability `rate`, the others scaled to keep the mean; without a key, x."""
    return x if key is None else x * jax.random.bernoulli(key, 1 - rate, x.shape) / (1 - rate)


# --- Loss ---


def loss(
    model: Joint,
    texts_BT: Array,
    images_Bd: Array,
    labels_BC: Bool[Array, "B C"],
    groups_B: Int[Array, " B"],
    key: Array,
    train: "JointTrain",
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


# --- Configuration ---


@dataclasses.dataclass(frozen=True)
class JointModel:
    """Both towers, and how their two scores are mixed."""

    text: Literal["gcn", "linear", "lstm", "cnn"] = "gcn"
    """The text encoder: gcn, graph convolutions; linear, of the weighted counts themselves; lstm; cnn."""
    filters: Annotated[tuple[Count, ...], MinLen(1), "one or more numbers >= 1"] = (1,)
    """Filters of each graph convolution (text encoder gcn)."""
    order: Count = 3
    """K: Chebyshev orders (text encoder gcn)."""
    hidden: Count = 256
    """Size of the state of the text encoder lstm."""
    image_hidden: WholeNumber = 256
    """Units of the hidden layer of the image tower, of each member; 0: the tower is linear."""
    dimension: Count = 256
    """D: size of an embedding, of each member."""
    members: Count = 4
    """M: how many towers of other first weights are trained side by side and averaged."""
    class_share: Fraction = 0.5
    """s: the share of the class score in the score of a pair; 0 without labels."""
    direct_classes: Literal["text", "both"] = "text"
    """Which towers read their classes also directly (U t, U_m j_m), and not by the shared vectors alone."""
    text_temperature: Rate = 1.0
    """T of the exponent 1 / T of texts' class posteriors: below 1 sharper, above 1 flatter; not trained."""
    image_temperature: Rate = 1.0
    """The same of images, whose posteriors are too sure on few training items."""
    precision: Precision = "float32"
    """Of the products of the dense layers, see GIN's."""


@dataclasses.dataclass(frozen=True)
class JointTrain:
    """Batches, the terms of the loss with their weights, dropout and optimizer."""

    batch: Count = 512
    """Pairs a step, about: an epoch is cut into as many batches of one size as come closest."""
    pair: Weight = 1.0
    """Weight of the contrast of instances."""
    pair_form: Literal["softmax", "sigmoid"] = "softmax"
    """Its form. softmax: InfoNCE; sigmoid: each pair by itself, for batches of many thousands."""
    class_contrast: Weight = 0.0
    """Weight of the contrast by class; with labels."""
    class_head: Weight = 1.0
    """Weight of the class head's cross-entropy; with labels."""
    text_dropout: Fraction = 0.3
    """Probability that a word of a text is left out of a step (text encoders gcn and linear)."""
    short: Fraction = 0.0
    """Share of the texts that keep 1 to 8 words in a step, as people type them."""
    image_dropout: Fraction = 0.2
    """Probability that an image feature is left out of a step."""
    hidden_dropout: Fraction = 0.3
    """Probability that a hidden unit of the image tower is left out of a step."""
    learning_rate: Rate = 3e-3
    """AdamW's largest; it rises for the first tenth of all steps and falls by a half cosine."""
    warmup: Fraction = 0.1
    """Share of the steps in which the learning rate rises."""
    weight_decay: Weight = 0.01
    """AdamW's, of arrays with more than one axis: matrices, and what each member has a row of."""
    clip: Rate = 1.0
    """Largest norm of a gradient."""
    average: Fraction = 0.0
    """Decay of the running average of the weights that is measured and saved, such as .99; 0: no average."""


_TEXT = TextConfig(weighting="tfidf", mapped_words=50_000)


@dataclasses.dataclass(frozen=True)
class JointExperiment(Experiment):
    """One run of Joint."""

    kind: ClassVar[str] = "joint"
    arguments: ClassVar[tuple[str, ...]] = (
        *("train.pair", "train.class_contrast", "train.class_head", "train.text_dropout", "train.short"),
        *("train.image_dropout", "train.hidden_dropout", "train.learning_rate", "train.weight_decay"),
    )

    text: TextConfig = _TEXT
    model: JointModel = JointModel()
    train: JointTrain = JointTrain()

    def relations(self) -> dict[str, Rule]:
        weights = self.train.pair, self.train.class_contrast, self.train.class_head
        return {"train.pair": (self.train.pair, any(weights), "above 0 if the other terms are 0")}


# --- Presets ---


# Chosen on a fifth of the training items held out (two folds of emoji, one of the others). The text tower is
# linear: with the word graph the average `standard` MAP of the classes was .626 on emoji, without it .634.
_LINEAR = JointModel(text="linear", text_temperature=0.5, image_temperature=2.0)
_TRAIN = JointTrain(text_dropout=0.5, hidden_dropout=0.5, weight_decay=1.0)

JOINT_PRESETS: dict[str, tuple[str, JointExperiment]] = {
    "joint-emoji": (
        "our own system on the embedded emoji corpus: nothing to download",
        JointExperiment(
            data=DataConfig(name="emoji"),
            text=dataclasses.replace(_TEXT, words=2_000),
            model=_LINEAR,
            train=_TRAIN,
            epochs=60,
        ),
    ),
    "joint-wikipedia": (
        "our own system on English Wikipedia (Eng-Wiki), `cnn` features",
        JointExperiment(
            data=DataConfig(name="wikipedia", image_feature="cnn"),
            model=dataclasses.replace(_LINEAR, dimension=128, direct_classes="both", image_temperature=1.5),
            train=dataclasses.replace(_TRAIN, hidden_dropout=0.6, weight_decay=0.3),
            epochs=40,
        ),
    ),
    "joint-corel5k": (
        "our own system on Corel5k in the folder layout, 20 labels: --data.root FOLDER",
        JointExperiment(
            data=DataConfig(name="folder", image_feature="features"),
            text=dataclasses.replace(_TEXT, words=1_000),
            model=dataclasses.replace(_LINEAR, dimension=128, text_temperature=1.0, image_temperature=1.0),
            train=dataclasses.replace(_TRAIN, text_dropout=0.3, weight_decay=0.3),
            epochs=60,
        ),
    ),
    "joint-folder": (
        "our own system on your own pictures and texts, with or without labels: --data.root FOLDER",
        JointExperiment(
            data=DataConfig(name="folder"),
            text=dataclasses.replace(_TEXT, segmenter="auto"),
            model=_LINEAR,
            train=_TRAIN,
            epochs=60,
        ),
    ),
}


# --- System ---


@register(JOINT_PRESETS)
@dataclasses.dataclass(frozen=True)
class JointSystem(System):
    """Joint in training; see `System`."""

    experiment_type: ClassVar[type[Experiment]] = JointExperiment
    unit: ClassVar[Literal["pairs", "items", "draws"]] = "items"

    experiment: JointExperiment

    @classmethod
    def title(cls, experiment: JointExperiment) -> str:
        return "Joint"

    @classmethod
    def text_input(cls, experiment: JointExperiment) -> TextInput:
        return "counts" if experiment.model.text in ("gcn", "linear") else "words"

    @classmethod
    def make_model(
        cls, experiment: JointExperiment, sizes: Sizes, constants: nnx.State, rngs: nnx.Rngs
    ) -> Joint:
        config = experiment.model
        linear_text = config.text == "linear"
        text: Any = Features(sizes.words) if linear_text else text_encoder(config, constants, rngs)
        if config.text == "gcn":
            _start_as_identity(text)
        image = image_encoder(sizes, config.precision, rngs)
        return Joint(text, image, sizes.classes, config, rngs=rngs)

    @classmethod
    def constants_from(cls, arrays: Mapping[str, np.ndarray]) -> nnx.State:
        named = any(name.startswith("text.") for name in arrays)
        return saved_word_constants(arrays) if named else nnx.State({})

    @classmethod
    def build(cls, experiment: JointExperiment, corpus: Corpus, mesh: Mesh) -> "JointSystem":
        read = read_inputs if experiment.model.text == "linear" else word_inputs
        inputs = read(corpus, experiment.data, experiment.text, cls.text_input(experiment))
        on_host = training_arrays(inputs)
        groups: Any = corpus.group_ids[corpus.splits["train"]]
        if len(np.unique(groups)) < 2:
            raise InputError(
                f"{corpus.provenance.get('source')}: all training items are of one group, so none is told "
                "from another; give pictures of at least two"
            )
        data = Data(*on_host, constants=_constants_of(inputs), groups_n=groups)
        steps = max(1, round(len(groups) / experiment.train.batch))
        return cls(inputs, experiment, steps, sharding.replicate(data, mesh), mesh)

    @property
    def per_step(self) -> int:
        devices = self.mesh.size
        return max(len(self._labels) // self.steps_per_epoch // devices * devices, 1)

    @property
    def constants(self) -> nnx.State:
        return _constants_of(self.inputs)

    def fingerprint(self) -> dict[str, str]:
        # The learning rate of a step depends on how many there are.
        parts = super().fingerprint()
        about = {**json.loads(parts["model"]), "epochs": self.experiment.epochs}
        return {**parts, "model": json.dumps(about, sort_keys=True)}

    def trained(self, state: TrainState) -> Any:
        return average_of(state) if self.experiment.train.average else state.params

    def _fresh_state(self) -> TrainState:
        params = nnx.state(self._new_model(), nnx.Param)
        return init_state(params, self._optimizer(self.experiment.train), METRICS)

    def plan(self, epoch: int) -> sampling.Plan:
        order = jax.random.fold_in(self._local_key(ORDER), epoch)
        plan = sampling.plan_items(order, len(self._labels), self.per_step)
        rows = plan.texts[: self.steps_per_epoch]
        return sharding.replicate(sampling.Plan(rows, rows), self.mesh)

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        train: JointTrain = with_values(self.experiment.train, values)

        def read_items(state: TrainState, data: Data, key: Array) -> tuple[Any, ...]:
            rows, _ = planned_rows(state, data, self.mesh)
            dropout = jax.random.fold_in(key, state.step)
            read: Any = data.texts_nT, data.images_nd, data.labels_nC, data.groups_n
            return *(array[rows] for array in read), dropout

        graphdef = nnx.split(self.applied_model, nnx.Param, ...)[0]
        return make_gradient_step(graphdef, self._optimizer(train), partial(loss, train=train), read_items)

    def _optimizer(self, train: JointTrain) -> optax.GradientTransformation:
        steps = self.experiment.epochs * self.steps_per_epoch
        rising = max(1.0, self.experiment.train.warmup * steps)

        def rate(step: Any) -> Array:
            falling = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum((step + 1) / steps, 1.0)))
            return train.learning_rate * jnp.minimum((step + 1) / rising, falling)

        def matrices(params: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

        optimizer = optax.chain(
            optax.clip_by_global_norm(train.clip),
            optax.adamw(rate, weight_decay=train.weight_decay, mask=matrices),
        )
        return averaged(optimizer, train.average) if train.average else optimizer


def _constants_of(inputs: Any) -> nnx.State:
    return word_constants(inputs) if isinstance(inputs, WordInputs) else nnx.State({})


def _start_as_identity(text: GraphText) -> None:
    """Make the filters let the counts through as they are, so that the graph is learnt from there."""
    for convolution in text.convolutions:
        theta_KFF = convolution.theta.get_value()
        convolution.theta.set_value(theta_KFF.at[1:].multiply(0.1).at[0].set(1 / theta_KFF.shape[1]))
