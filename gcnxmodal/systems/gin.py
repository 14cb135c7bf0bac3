"""GIN: a graph-convolutional text encoder and a linear image encoder, scored by a weighted inner product.

Yu et al. 2018, "Textual Relationship Modeling for Cross-Modal Information Retrieval". In this order: the
model, the loss, the configuration, the presets, the paper's numbers, the system
that trains. The text encoder may also be an LSTM or a CNN on word vectors (SCANet's Table 3), and pictures
may be read as pixels. SCANet (`systems/scanet.py`) puts co-attention between the two encoders.

Numbers carry their source: (3.1) and (3.2) are sections of the paper, `code` is later code of the same group.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from annotated_types import MinLen
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from gcnxmodal.config import (
    Count,
    DataConfig,
    Decay,
    Experiment,
    Fraction,
    Precision,
    Rate,
    Rule,
    TextConfig,
    Weight,
)
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError
from gcnxmodal.graph.layout import Hubs, SparseLayout
from gcnxmodal.inputs import TextInput, WordInputs, word_inputs
from gcnxmodal.nn.encoders import CNN5, CNNText, GraphText, LSTMText, WordSequence, flip_and_shift
from gcnxmodal.nn.layers import Constant, Features, half_squares, linear, unit
from gcnxmodal.nn.losses import pairwise_similarity_loss
from gcnxmodal.systems.base import ORDER, PAIRS, Model, Sizes, System, register, training_arrays, with_values
from gcnxmodal.training import sampling, sharding
from gcnxmodal.training.state import Data, Step, TrainState, init_state, make_adam, make_step

METRICS = ("loss", "mean_match", "mean_other")

ScoreActivation = Literal["none", "relu", "sigmoid"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda scores: scores,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
}


class Explanation(NamedTuple):
    """Why B aligned pairs score as they do.

    Attributes:
        scores: as they rank.
        words: gradient times input of the score, for each entry of the text as it is given: each word of the
            vocabulary, or each place of the text.
        text_attention, image_attention: p_T and p_I of each layer of co-attention.
    """

    scores: Float[Array, " B"]
    words: Float[Array, "B T"]
    text_attention: Float[Array, "A B D"]
    image_attention: Float[Array, "A B D"]


def gradient_times_input(
    text: Any, texts_BT: Array, score: Callable[[Array], tuple[Array, Array]]
) -> tuple[Float[Array, " B"], Array, Float[Array, "B T"]]:
    """Scores of aligned pairs, and what each word adds to them; see `GIN.explain`.

    Args:
        text: the text encoder.
        score: from encoded texts to the scores and the text features that they are of.

    Returns:
        scores, text features, words: gradient times input of the score, for each entry of the text.
    """
    inputs, read = texts_BT, text
    if isinstance(text, WordSequence):
        inputs, read = text.look_up(texts_BT), partial(text.read, there_BL=texts_BT >= 0)

    def from_inputs(inputs: Array) -> tuple[Array, tuple[Array, Array]]:
        scores_B, texts_BD = score(read(inputs))
        return jnp.sum(scores_B), (scores_B, texts_BD)

    gradient, (scores_B, texts_BD) = jax.grad(from_inputs, has_aux=True)(inputs)
    words_BT = gradient * inputs
    return scores_B, texts_BD, words_BT.sum(axis=-1) if words_BT.ndim == 3 else words_BT


class GIN(Model):
    """Two encoders to R^D and a score of the product.

        f_t = W_t text(T) + b_t                                       in R^D     Section 2.1, Eq. 5-7
        f_i = W_i image(I) + b_i                                      in R^D     Section 2.2, Eq. 8
        score(T, I) = activation(w . dropout(f_t * f_i) + b)                     Section 2.3

    In the paper text(T) is two Chebyshev graph convolutions of the word counts, each with a ReLU, all
    vertices in a row (`GraphText`), and image(I) is a fixed feature (it kept one layer).

    Args:
        text: a module from the rows of a text to [B, text.width].
        image: a module from the rows of an image to [B, image.width].
        dimension, dropout, score_activation, precision: see `GINModel`; retrieval leaves the activation out.
        normalise: take relu(f) / ||relu(f)|| for f_t and f_i, so that the score is a weighted cosine.
        mesh: the devices that train it, for which its text encoder is written by hand; None to apply it.
    """

    def __init__(
        self,
        text: Any,
        image: Any,
        *,
        dimension: int = 1024,
        dropout: float = 0.2,
        normalise: bool = False,
        score_activation: ScoreActivation = "none",
        precision: Precision = "float32",
        mesh: Mesh | None = None,
        rngs: nnx.Rngs,
    ):
        self.text, self.image = text, image
        self.text_head = linear(text.width, dimension, precision, rngs)
        self.image_head = linear(image.width, dimension, precision, rngs)
        self.score_head = linear(dimension, 1, "float32", rngs)
        self.dropout = dropout
        self.normalise = normalise
        self.score_activation = score_activation
        self.mesh = mesh

    def encode_texts(self, texts_BT: Array) -> Float[Array, "B D"]:
        """Text features f_t."""
        # Of the other text encoders, whose features are few, the compiler works out what lies where.
        if self.mesh is not None and isinstance(self.text, GraphText):
            return self.scaled(self._text_features_on(self.mesh, texts_BT))
        return self.scaled(self.text_head(self.text(texts_BT)))

    def encode_images(self, images_Bd: Array) -> Float[Array, "B D"]:
        """Image features f_i."""
        return self.scaled(self.image_head(self.image(images_Bd)))

    def score_pairs(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"], key: Array | None = None
    ) -> Float[Array, " B"]:
        """Scores of B aligned pairs; with a key, dropout is on."""
        # Paper: "inner product layer" and a fully connected layer; here the element-wise product that all
        # surviving code uses, because an inner product would leave the layer a single number.
        product_BD = texts_BD * images_BD
        if key is not None:
            product_BD = product_BD * self.keep(key, product_BD.shape)
        return self.activated(self.score_head(product_BD)[:, 0])

    def score_grid(
        self, texts_QD: Float[Array, "Q D"], images_MD: Float[Array, "M D"], key: Array | None = None
    ) -> Float[Array, "Q M"]:
        """Scores of every text with every image; with a key, dropout is on."""
        weighted_QD = self.fold_texts(texts_QD)
        if key is not None:
            # Paper: a mask a pair; here a mask a text, shared by the images it meets, because Q M masks of
            # D entries would cost more than the rest of the step.
            weighted_QD = weighted_QD * self.keep(key, weighted_QD.shape)
        images_MD = self.fold_images(images_MD)
        scores_QM = jnp.matmul(weighted_QD, images_MD.T, precision=jax.lax.Precision.HIGHEST)
        return self.activated(scores_QM + self.score_bias())

    def fold_texts(self, texts_QD: Float[Array, "Q D"]) -> Float[Array, "Q D"]:
        """w * f_t: with the score's weights folded into the texts, ranking is by inner product."""
        return texts_QD * self.score_head.kernel[:, 0]

    def score_aligned(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"]
    ) -> Float[Array, " B"]:
        """Scores of B aligned pairs as they rank: without bias and activation."""
        return jnp.sum(texts_BD * images_BD * self.score_head.kernel[:, 0], axis=-1)

    def score_all_pairs(
        self, texts_QD: Float[Array, "Q D"], images_MD: Float[Array, "M D"]
    ) -> Float[Array, "Q M"]:
        """Scores of every text with every image as they rank: without bias and activation."""
        folded_QD, folded_MD = self.fold_texts(texts_QD), self.fold_images(images_MD)
        return jnp.matmul(folded_QD, folded_MD.T, precision=jax.lax.Precision.HIGHEST)

    def explain(self, texts_BT: Array, images_Bd: Array) -> Explanation:
        """Scores of aligned pairs, and what they come from.

            word t: x_t . d score / d x_t

        with x_t the (weighted) count of a word, or the vector of the word at a place. Where the text encoder
        is homogeneous and has no bias these add up to the score; else they tell what moves it.

        Source: gradient times input, Shrikumar et al. 2017, Section 2.
        """
        images_BD = self.encode_images(images_Bd)

        def score(encoded_BV: Array) -> tuple[Array, Array]:
            texts_BD = self.scaled(self.text_head(encoded_BV))
            return self.score_aligned(texts_BD, images_BD), texts_BD

        scores_B, texts_BD, words_BT = gradient_times_input(self.text, texts_BT, score)
        return Explanation(scores_B, words_BT, *self.attended(texts_BD, images_BD))

    def attended(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"]
    ) -> tuple[Float[Array, "A B D"], Float[Array, "A B D"]]:
        """What each layer of co-attention attends to, of texts and images: GIN has no such layer."""
        none = jnp.zeros((0, *images_BD.shape))
        return none, none

    def penalty(self) -> Float[Array, ""]:
        """Sum of 1/2 ||.||^2 over weights and biases of both heads and the score, not of the encoders."""
        # Paper: "regularisation .005"; here, as the code, not on the graph filters, and so on no encoder's
        # own weights: an LSTM's or a convolution's are left out too.
        return half_squares(self.text_head, self.image_head, self.score_head)

    def scaled(self, features_BD: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """The features as they are scored: cut and at unit length, if so asked."""
        if not self.normalise:
            return features_BD
        return unit(jax.nn.relu(features_BD))

    def activated(self, scores: Array) -> Array:
        """The activation on scores."""
        return ACTIVATIONS[self.score_activation](scores)

    def score_bias(self) -> Float[Array, " 1"]:
        """b of the score."""
        return self.score_head.bias.get_value()  # pyright: ignore[reportOptionalMemberAccess]

    def keep(self, key: Array, shape: tuple[int, ...]) -> Array:
        """A mask of dropout, which keeps the mean."""
        # Paper: "dropout ratio of 0.2"; the code's keep_prob is 0.8: kept entries are scaled by 1 / 0.8.
        return jax.random.bernoulli(key, 1 - self.dropout, shape) / (1 - self.dropout)

    def _text_features_on(self, mesh: Mesh, texts_BT: Float[Array, "B N"]) -> Float[Array, "B D"]:
        """W_t text(T) + b_t written for each device of a mesh: the same numbers."""
        encoder = nnx.Dict(text=self.text, text_head=self.text_head)
        graphdef, params, constants = nnx.split(encoder, nnx.Param, ...)

        def on_device(params: Any, constants: Any, texts_bT: Array, all_rows: Callable) -> Array:
            encoder = nnx.merge(graphdef, params, constants)
            multiply = encoder.text_head.dot_general
            encoder.text_head.dot_general = lambda x, *more, **options: multiply(
                all_rows(x), *more, **options
            )
            return encoder.text_head(encoder.text(texts_bT))

        # A device has some columns; the length of a row, if it is scaled, is that of all.
        return sharding.over_mesh(on_device, mesh, params, constants, texts_BT)


def loss(
    model: GIN,
    texts_BT: Array,
    images_Md: Array,
    match: Bool[Array, "..."],
    key: Array,
    *,
    margin: Any = 0.6,
    balance: Any = 0.35,
    l2: Any = 0.005,
    augment: bool = False,
    **layers: Any,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The training objective: the pairwise similarity loss of a batch, plus L2 on the dense layers.

    `match` of shape [B] scores B aligned pairs; of shape [B, M], every text with every image.

    Args:
        augment: pictures are flipped and shifted at random.
        layers: what the scores and the penalty of the model take beside; nothing for GIN.

    Returns:
        The objective, and the metrics `loss` (without L2), `mean_match`, `mean_other`.

    Source: GIN Eq. 9; SCANet (Lu et al. 2018) Eq. 10.
    """
    if augment:
        key, picture_key = jax.random.split(key)
        images_Md = flip_and_shift(picture_key, images_Md)
    texts_BD, images_MD = model.encode_texts(texts_BT), model.encode_images(images_Md)
    score = model.score_pairs if match.ndim == 1 else model.score_grid
    scores = score(texts_BD, images_MD, key, **layers)
    value, metrics = pairwise_similarity_loss(scores, match, margin=margin, balance=balance)
    return value + l2 * model.penalty(**layers), {"loss": value, **metrics}


@dataclasses.dataclass(frozen=True)
class GINModel:
    """Both encoders, and the score. What the paper leaves open is a default here."""

    text: Literal["gcn", "lstm", "cnn"] = "gcn"
    """The text encoder: gcn, graph convolutions; lstm; cnn, Kim's of windows of 3, 4 and 5 words."""
    # code: one filter in each of two layers, K = 3 orders
    filters: Annotated[tuple[Count, ...], MinLen(1), "one or more numbers >= 1"] = (1, 1)
    """Filters of each graph convolution (text encoder gcn)."""
    order: Count = 3
    """K: Chebyshev orders (text encoder gcn)."""
    hidden: Count = 256
    """Size of the state of the text encoder lstm."""
    dimension: Count = 1024
    """D: size of both embeddings."""
    dropout: Fraction = 0.2  # (3.2)
    """Probability that an entry of the product of the embeddings is dropped."""
    score_activation: ScoreActivation = "none"
    """On the score, in the loss: SCANet's text has a sigmoid, its code all three. It changes no ranking."""
    normalise: bool = False
    """Embeddings without their negative entries, at unit length: the score is a weighted cosine (ours)."""
    precision: Precision = "float32"
    """Of the products of the dense layers. tf32: as GPUs do by default; bfloat16: operands rounded, float32
    sums (convolutions: the platform's default). Weights, scores and losses are float32 in all of them."""


@dataclasses.dataclass(frozen=True)
class GINTrain:
    """Pairs, loss and optimizer; the numbers are those of (3.2)."""

    pairing: Literal["balanced", "uniform", "grid"] = "balanced"
    """balanced: class-balanced pairs (surviving code); uniform: random pairs (paper); grid: every text of a
    batch with every image of it (ours)."""
    positives: Count = 40_000
    """Matching pairs an epoch (not for grid)."""
    negatives: Count = 40_000
    """Non-matching pairs an epoch (not for grid)."""
    resample: bool = False
    """Draw the pairs afresh each epoch instead of once."""
    batch: Count = 200
    """Pairs a step (not for grid)."""
    grid_texts: Count = 100
    """Texts a step, for grid."""
    grid_images: Count = 100
    """Images a step, for grid."""
    augment: bool = False
    """Mirror and move pictures at random in training; for pixels."""
    learning_rate: Rate = 1e-3
    """Adam's."""
    decay: Decay = 1.0
    """The learning rate is multiplied by this after each epoch (0.95 in surviving code)."""
    first_moment: Literal["float32", "bfloat16"] = "float32"
    """Of Adam's mean of gradients: bfloat16 saves one of the 7 floats a parameter that an update moves."""
    margin: Weight = 0.6
    """m of the loss."""
    balance: Weight = 0.35
    """lambda of the loss."""
    l2: Weight = 0.005
    """Weight of 1/2 ||.||^2 over heads, co-attention and score; the encoders themselves have none."""


@dataclasses.dataclass(frozen=True)
class GINExperiment(Experiment):
    """One run of GIN."""

    kind: ClassVar[str] = "gin"
    arguments: ClassVar[tuple[str, ...]] = (
        *("train.margin", "train.balance", "train.l2", "train.learning_rate", "train.decay"),
    )

    model: GINModel = GINModel()
    train: GINTrain = GINTrain()

    def relations(self) -> dict[str, Rule]:
        augment = self.train.augment
        return {
            "train.augment": (
                augment,
                not augment or self.data.image_feature == "pixels",
                "left out unless --data.image-feature is pixels",
            )
        }


# (3.2) k = 8, 50 epochs, batch 200, Adam and the rest are the defaults. D is 1,024 for the two Wikipedias and
# TVGraz, 500 for NUS-WIDE, 256 for Pascal; N is of (3.1).
GIN_PRESETS: dict[str, tuple[str, GINExperiment]] = {
    "gin-emoji": (
        "GIN on the embedded emoji corpus: nothing to download",
        GINExperiment(
            data=DataConfig(name="emoji"),
            # Not in the paper: N is the 2,000 most common words of the training texts; D as Pascal.
            text=TextConfig(words=2_000),
            model=GINModel(dimension=256),
            epochs=10,
        ),
    ),
    "gin-emoji-tuned": (
        "our options in place of the paper's, chosen on a validation split of the training items",
        # python -m benchmarks.select_gin gin-emoji --epochs 60 --every 6
        GINExperiment(
            data=DataConfig(name="emoji"),
            text=TextConfig(words=2_000),
            model=GINModel(filters=(4, 4), dimension=256, normalise=True),
            train=GINTrain(pairing="grid", l2=1e-4),
            epochs=42,
            evaluate_every=6,
            checkpoint_every=6,
        ),
    ),
    "gin-wikipedia": (
        "GIN on English Wikipedia (Eng-Wiki): 2,173 / 693 pairs, 10 classes",
        GINExperiment(
            # Paper: VGG-19 fc7, 4,096-d (3.1); here `cnn`, a published 128-d feature, because the images of
            # the official archive are not always at hand; use --data.image-feature FILE.npz for your own.
            data=DataConfig(name="wikipedia", image_feature="cnn"),
            text=TextConfig(words=10_055),  # (3.1)
        ),
    ),
    "gin-wikipedia-tuned": (
        "our options in place of the paper's, chosen on a validation split of the training items",
        # python -m benchmarks.select_gin gin-wikipedia --root ROOT --epochs 20 --every 2
        GINExperiment(
            data=DataConfig(name="wikipedia", image_feature="cnn"),
            text=TextConfig(words=10_055, weighting="log1p"),
            model=GINModel(filters=(4, 4), dimension=256, normalise=True),
            train=GINTrain(pairing="grid", grid_images=400, l2=3e-4),
            epochs=8,
        ),
    ),
    "gin-nus-wide": (
        "GIN on NUS-WIDE, 10 largest classes, 500-d bag of features: 40,000 / 1,000 pairs",
        GINExperiment(
            data=DataConfig(name="nus-wide", image_feature="bow"),
            text=TextConfig(words=5_018),
            model=GINModel(dimension=500),
        ),
    ),
    "gin-pascal": (
        "GIN on Pascal VOC 2007, images of one class, your tags.txt and features.npz (Gist 512-d)",
        GINExperiment(
            data=DataConfig(name="pascal-voc", image_feature="features"),
            text=TextConfig(words=598),
            model=GINModel(dimension=256),
        ),
    ),
    "gin-tvgraz": (
        "GIN on TVGraz, texts of more than 10 words, VGG-19 4,096-d (generic folder layout)",
        GINExperiment(data=DataConfig(name="folder", image_feature="features"), text=TextConfig(words=8_172)),
    ),
    "gin-ch-wiki": (
        "GIN on Chinese Wikipedia, segmented texts, VGG-19 4,096-d (generic folder layout)",
        GINExperiment(
            data=DataConfig(name="folder", image_feature="features"),
            # Paper: segmenter not named; here jieba's, because it is the common one.
            text=TextConfig(words=9_613, segmenter="jieba"),
        ),
    ),
    "gin-corel5k": (
        "GIN on Corel5k in the folder layout, 20 labels: --data.root FOLDER",
        GINExperiment(
            # Not in the paper: N and D as for SSPE and GIN on small data sets.
            data=DataConfig(name="folder", image_feature="features"),
            text=TextConfig(words=1_000),
            model=GINModel(dimension=256),
        ),
    ),
    "gin-folder": (
        "GIN on your own pictures and texts: --data.root FOLDER (docs/your-own-data.md)",
        GINExperiment(
            data=DataConfig(name="folder", image_scale="standard"),
            text=TextConfig(weighting="log1p", segmenter="auto"),
            model=GINModel(dimension=256),
            train=GINTrain(pairing="grid", l2=0.0),
        ),
    ),
}

# GIN Table 1, "GIN" rows: text query, image query, average.
GIN_TABLE_1: dict[str, dict[str, float]] = {
    name: {"text_query": text, "image_query": image, "average": average}
    for name, (text, image, average) in {
        "gin-wikipedia": (0.7672, 0.4526, 0.6099),
        "gin-nus-wide": (0.5418, 0.5236, 0.5327),
        "gin-pascal": (0.4515, 0.3170, 0.3842),
        "gin-tvgraz": (0.7196, 0.8188, 0.7692),
        "gin-ch-wiki": (0.3847, 0.3343, 0.3595),
    }.items()
}


@register(GIN_PRESETS)
@dataclasses.dataclass(frozen=True)
class GINSystem(System):
    """GIN trained on pairs that match and pairs that do not; see `System`."""

    experiment_type: ClassVar[type[Experiment]] = GINExperiment
    unit: ClassVar[Literal["pairs", "items", "draws"]] = "pairs"
    within_items: ClassVar[Mapping[str, int]] = {"grid_texts": 0, "grid_images": 0}
    model_type: ClassVar[Callable[..., GIN]] = GIN

    inputs: WordInputs
    experiment: GINExperiment

    @classmethod
    def title(cls, experiment: GINExperiment) -> str:
        return "GIN"

    @classmethod
    def text_input(cls, experiment: GINExperiment) -> TextInput:
        return "counts" if experiment.model.text == "gcn" else "words"

    @classmethod
    def make_model(
        cls,
        experiment: GINExperiment,
        sizes: Sizes,
        constants: nnx.State,
        rngs: nnx.Rngs,
        mesh: Mesh | None = None,
    ) -> GIN:
        config = experiment.model
        text = text_encoder(config, constants, rngs)
        image = image_encoder(sizes, config.precision, rngs)
        return cls.model_type(
            text,
            image,
            dimension=config.dimension,
            dropout=config.dropout,
            normalise=config.normalise,
            score_activation=config.score_activation,
            precision=config.precision,
            mesh=mesh,
            rngs=rngs,
            **cls.layers_of(config),
        )

    @classmethod
    def layers_of(cls, config: Any) -> dict[str, Any]:
        """What the model takes beside: nothing for GIN."""
        return {}

    @classmethod
    def constants_from(cls, arrays: Mapping[str, np.ndarray]) -> nnx.State:
        return saved_word_constants(arrays)

    @classmethod
    def published_row(cls, preset: str, experiment: Any) -> dict[str, Any] | None:
        row = GIN_TABLE_1.get(preset.removesuffix("-tuned"))
        return {**row, "source": "GIN (Yu et al. 2018), Table 1"} if row else None

    @classmethod
    def reads(cls, kind: str, values: Mapping[str, Any]) -> bool:
        # Until version 0.1.0 GIN and SCANet were one kind, "pairs"; GIN has no layer of co-attention.
        layers = values.get("model", {}).get("attention_layers", 0)
        return kind == "pairs" and not layers

    @classmethod
    def fitting(cls, train: Any, items: int, mesh: Mesh) -> Any:
        return super().fitting(train, items, mesh) if train.pairing == "grid" else train

    @classmethod
    def build(cls, experiment: Any, corpus: Corpus, mesh: Mesh) -> "GINSystem":
        inputs = word_inputs(corpus, experiment.data, experiment.text, cls.text_input(experiment))
        on_host = training_arrays(inputs, mesh)
        items = len(on_host[-1])
        train = cls.fitting(experiment.train, items, mesh)
        if train.pairing == "grid":
            steps = items // train.grid_texts
        else:
            if not corpus.labelled:
                raise InputError(
                    f"--train.pairing is {train.pairing}, which draws pairs by class, but "
                    f"{corpus.provenance.get('source')} has no labels; choose --train.pairing grid"
                )
            steps = (train.positives + train.negatives) // train.batch
            if steps == 0:
                raise InputError(
                    f"train.batch {train.batch} exceeds the {train.positives + train.negatives} pairs of an "
                    "epoch"
                )
        groups: Any = corpus.group_ids[corpus.splits["train"]]
        data = sharding.replicate(Data(*on_host, constants=word_constants(inputs), groups_n=groups), mesh)
        return cls(inputs, experiment, steps, data, mesh)

    @classmethod
    def mesh_for(cls, experiment: Any, model_parallel: int | None) -> Mesh:
        train = experiment.train
        if train.pairing == "grid":
            rows = {"train.grid-texts": train.grid_texts, "train.grid-images": train.grid_images}
        else:
            rows = {"train.batch": train.batch}
        # Of the other text encoders, and of pixels, there are rows to share and hardly a parameter to split.
        heads_first = experiment.model.text == "gcn" and experiment.data.image_feature != "pixels"
        return sharding.make_mesh(
            model_parallel,
            dimension=experiment.model.dimension,
            rows=rows,
            most_on_model=sharding.MOST_ON_MODEL if heads_first else 1,
        )

    @property
    def per_step(self) -> int:
        train = self.fitted
        return train.batch if train.pairing != "grid" else train.grid_texts * train.grid_images

    @property
    def constants(self) -> nnx.State:
        return word_constants(self.inputs)

    def _fresh_state(self) -> TrainState:
        params = nnx.state(self._new_model(), nnx.Param)
        return init_state(params, self._optimizer(self.experiment.train), METRICS)

    def plan(self, epoch: int) -> sampling.Plan:
        train = self.fitted
        order = jax.random.fold_in(self._local_key(ORDER), epoch)
        if train.pairing == "grid":
            items = len(self._labels)
            paired = not self.inputs.corpus.labelled
            plan = sampling.plan_grid(order, items, train.grid_texts, train.grid_images, paired)
        else:
            pairs = jax.random.fold_in(self._local_key(PAIRS), epoch if train.resample else 0)
            plan = sampling.plan_pairs(order, *self._draw(pairs), batch=train.batch)
        return sharding.replicate(plan, self.mesh)

    def _draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        train = self.experiment.train
        if train.pairing == "uniform":
            return _uniform(key, jnp.asarray(self._labels), train.positives, train.negatives)
        members = sampling.class_members(self._labels)
        return _balanced(key, members, len(self._labels), train.positives, train.negatives)

    def step(self, values: Mapping[str, Any] | None = None) -> Step:
        train: GINTrain = with_values(self.experiment.train, values)
        objective = partial(
            loss,
            margin=train.margin,
            balance=train.balance,
            l2=train.l2,
            augment=train.augment,
            **self._layers_used(values),
        )
        made_of = self.experiment, self.sizes, self.constants
        model = nnx.eval_shape(lambda: self.make_model(*made_of, nnx.Rngs(0), self.mesh))
        graphdef = nnx.split(model, nnx.Param, ...)[0]
        grid = self.experiment.train.pairing == "grid"
        return make_step(graphdef, self._optimizer(train), objective, grid=grid, mesh=self.mesh)

    def _layers_used(self, values: Mapping[str, Any] | None) -> dict[str, Any]:
        """What `loss` takes beside, of the values in place of the experiment's: nothing for GIN."""
        return {}

    def _optimizer(self, train: GINTrain) -> optax.GradientTransformation:
        return make_adam(
            train.learning_rate,
            decay=train.decay,
            decay_steps=self.steps_per_epoch,
            first_moment=train.first_moment,
        )

    def _read_beside(self) -> tuple[np.ndarray, ...]:
        return () if self.experiment.model.text == "gcn" else (self.inputs.vectors,)


_balanced = jax.jit(sampling.balanced_pairs, static_argnums=(2, 3, 4))
_uniform = jax.jit(sampling.uniform_pairs, static_argnums=(2, 3))


def text_encoder(config: Any, constants: Any, rngs: nnx.Rngs) -> Any:
    """The text encoder of a configuration with the fields of `GINModel`, on the word graph or vectors."""
    (held,) = constants["text"].values()
    return {
        "gcn": lambda: GraphText(held.get_value(), config.filters, config.order, rngs=rngs),
        "lstm": lambda: LSTMText(held.get_value(), config.hidden, precision=config.precision, rngs=rngs),
        "cnn": lambda: CNNText(held.get_value(), precision=config.precision, rngs=rngs),
    }[config.text]()


def image_encoder(sizes: Sizes, precision: Precision, rngs: nnx.Rngs) -> Any:
    """CNN-5 of pixels; features as they are."""
    if len(sizes.image) == 3:
        return CNN5(sizes.image[0], precision=precision, rngs=rngs)
    return Features(*sizes.image)


def word_constants(inputs: WordInputs) -> nnx.State:
    """The word graph, or of the text encoders that read words in order their vectors."""
    if inputs.layout is not None:
        return _constants(graph=inputs.layout)
    return _constants(vectors=jnp.asarray(inputs.vectors))


def saved_word_constants(arrays: Mapping[str, np.ndarray]) -> nnx.State:
    """`word_constants` from the arrays of a saved model, see `System.constants_from`."""
    if "text.vectors" in arrays:
        return _constants(vectors=jnp.asarray(arrays["text.vectors"]))
    return _constants(graph=_layout(arrays, "text.graph."))


def _constants(**held: Any) -> nnx.State:
    return nnx.State({"text": {name: Constant(value) for name, value in held.items()}})


def _layout(arrays: Mapping[str, np.ndarray], prefix: str) -> SparseLayout:
    """A layout whose leaves have these names, after `prefix`."""
    levels = itertools.takewhile(lambda level: f"{prefix}hubs.{level}.rows" in arrays, itertools.count())
    fields = [field.name for field in dataclasses.fields(Hubs)]
    hubs = [{name: jnp.asarray(arrays[f"{prefix}hubs.{n}.{name}"]) for name in fields} for n in levels]
    mirrored = f"{prefix}transpose."
    return SparseLayout(
        **{name: jnp.asarray(arrays[prefix + name]) for name in ("diagonal", "neighbours", "weights")},
        hubs=tuple(Hubs(**level) for level in hubs),
        transpose=_layout(arrays, mirrored) if f"{mirrored}diagonal" in arrays else None,
    )
