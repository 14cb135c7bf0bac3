"""SCANet: stacked co-attention between the two encoders of GIN.

Lu et al. 2018, "Fine-Grained Correlation Learning with Stacked Co-attention Networks for Cross-Modal
Information Retrieval". In this order: a layer of co-attention, the model, the configuration, the presets, the
system. What it shares with GIN - encoders, loss, pairs, training - is in `systems/gin.py`.

Numbers carry their source: (4.1) to (4.5) are sections of the paper, `code` is surviving code of the same
group.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.config import DataConfig, Experiment, Precision, TextConfig, WholeNumber
from gcnxmodal.nn.layers import half_squares, linear
from gcnxmodal.systems.base import register
from gcnxmodal.systems.gin import GIN, GINExperiment, GINModel, GINSystem, GINTrain

AttentionScale = Literal["none", "half-d"]


class CoAttention(nnx.Module):
    """One layer of co-attention on features f_T, f_I in R^D.

        h_T = relu(W_T f_T + b_T),   p_T = softmax(h_T);   the same for I
        f_T <- p_I * f_T,            f_I <- p_T * f_I      (element-wise)

    Source: SCANet Section 3.3, Eq. 4-9 (a tilde is missing in Eq. 8 and 9).

    Args:
        dimension: D.
        scale: what p is multiplied by: "none", nothing (the equations); "half-d", D/2 (surviving code).
        relu: whether h passes a ReLU (the equations) or not (surviving code).
        precision: of the two products.
    """

    def __init__(
        self,
        dimension: int,
        *,
        scale: AttentionScale = "none",
        relu: bool = True,
        precision: Precision = "float32",
        rngs: nnx.Rngs,
    ):
        self.text_attention = linear(dimension, dimension, precision, rngs)
        self.image_attention = linear(dimension, dimension, precision, rngs)
        # Paper: a softmax, whose D entries sum to 1, so that a layer shrinks features about D-fold; the code
        # multiplies it by D/2.
        self.scale = dimension / 2 if scale == "half-d" else 1.0
        self.relu = relu

    def __call__(
        self, texts: Float[Array, "*Q D"], images: Float[Array, "*M D"]
    ) -> tuple[Float[Array, "... D"], Float[Array, "... D"]]:
        """The updated features of both; arguments broadcast.

        For every text with every image give [Q, 1, D] and [1, M, D]: the products of a first layer are then
        computed once a text and once an image, and only its results are [Q, M, D].
        """
        p_T, p_I = self.attend_texts(texts), self.attend_images(images)
        return p_I * texts, p_T * images

    def attend_texts(self, texts: Float[Array, "*Q D"]) -> Float[Array, "*Q D"]:
        """p_T: the weights that a text gives to the features of its image."""
        return self._distribution(self.text_attention, texts)

    def attend_images(self, images: Float[Array, "*M D"]) -> Float[Array, "*M D"]:
        """p_I: the weights that an image gives to the features of its text."""
        return self._distribution(self.image_attention, images)

    def _distribution(self, layer: nnx.Linear, features: Array) -> Array:
        h = layer(features.reshape(-1, features.shape[-1])).reshape(features.shape)
        h = jax.nn.relu(h) if self.relu else h
        return self.scale * jax.nn.softmax(h, axis=-1)


Used = Array | int | None
"""How many of a model's layers are used, its first ones; None: all. It may be traced: then models of
different depth are one program, which computes all layers."""


def stack(
    layers: nnx.List, texts: Float[Array, "*Q D"], images: Float[Array, "*M D"], used: Used = None
) -> tuple[Array, Array]:
    """The features after all layers, or after the first `used` of them."""
    for number, layer in enumerate(layers):
        updated = layer(texts, images)
        if used is not None:
            before = texts, images
            updated = tuple(
                jnp.where(number < used, new, old) for new, old in zip(updated, before, strict=True)
            )
        texts, images = updated
    return texts, images


class SCANet(GIN):
    """`GIN` whose features pass A layers of co-attention before they are scored.

        (f_T, f_I) -> co-attention 1 ... A -> score(T, I) = activation(w . dropout(f_T * f_I) + b)

    Without layers it is GIN. With one, the score is still an inner product of a function of the text and one
    of the image. From two on the attention depends on the pair.

    Source: SCANet Section 3 and Figure 2.

    Args:
        text, image: the encoders, as `GIN` takes them.
        layers: A.
        attention_scale, attention_relu: as `CoAttention` takes them.
        options: as `GIN` takes them.
    """

    def __init__(
        self,
        text: Any,
        image: Any,
        *,
        layers: int = 2,
        attention_scale: AttentionScale = "none",
        attention_relu: bool = True,
        dimension: int = 1024,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        super().__init__(text, image, dimension=dimension, rngs=rngs, **options)
        precision = options.get("precision", "float32")
        self.attention = nnx.List(
            [
                CoAttention(
                    dimension, scale=attention_scale, relu=attention_relu, precision=precision, rngs=rngs
                )
                for _ in range(layers)
            ]
        )

    @property
    def separable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the score is an inner product of `fold_texts` and `fold_images`."""
        return len(self.attention) < 2

    def score_pairs(
        self,
        texts_BD: Float[Array, "B D"],
        images_BD: Float[Array, "B D"],
        key: Array | None = None,
        used: Used = None,
    ) -> Float[Array, " B"]:
        """Scores of B aligned pairs; with a key, dropout is on."""
        return super().score_pairs(*stack(self.attention, texts_BD, images_BD, used), key)

    def score_grid(
        self,
        texts_QD: Float[Array, "Q D"],
        images_MD: Float[Array, "M D"],
        key: Array | None = None,
        used: Used = None,
    ) -> Float[Array, "Q M"]:
        """Scores of every text with every image; with a key, dropout is on."""
        if self.separable and used is None:
            return super().score_grid(texts_QD, images_MD, key)
        weight_D = self.score_head.kernel[:, 0]
        if key is not None:
            # As for GIN, a mask a text.
            weight_D = (weight_D * self.keep(key, texts_QD.shape))[:, None, :]
        texts_QMD, images_QMD = stack(self.attention, texts_QD[:, None], images_MD[None], used)
        return self.activated(jnp.sum(weight_D * texts_QMD * images_QMD, axis=-1) + self.score_bias())

    def fold_texts(self, texts_QD: Float[Array, "Q D"]) -> Float[Array, "Q D"]:
        """w * p_T * f_T, with p_T of the first layer.

        The product of one layer is p_I * f_T * p_T * f_I, which regroups into a text's and an image's part.
        With more layers it is what the score would be without them: good enough to shortlist by.
        """
        folded_QD = super().fold_texts(texts_QD)
        return folded_QD * self.attention[0].attend_texts(texts_QD) if self.attention else folded_QD

    def fold_images(self, images_MD: Float[Array, "M D"]) -> Float[Array, "M D"]:
        """p_I * f_I, with p_I of the first layer."""
        return self.attention[0].attend_images(images_MD) * images_MD if self.attention else images_MD

    def score_aligned(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"]
    ) -> Float[Array, " B"]:
        """Scores of B aligned pairs as they rank: without bias and activation."""
        return super().score_aligned(*stack(self.attention, texts_BD, images_BD))

    def score_all_pairs(
        self, texts_QD: Float[Array, "Q D"], images_MD: Float[Array, "M D"]
    ) -> Float[Array, "Q M"]:
        """Scores of every text with every image as they rank: without bias and activation.

        Of A >= 2 layers: Q M (A - 1) 4 D^2 operations; the products of the first layer are made once a text
        and once an image. A text at a time meets all images, so that an intermediate is [M, D], and lies in
        the cache of a CPU.
        """
        if self.separable:
            return super().score_all_pairs(texts_QD, images_MD)
        first, *rest = self.attention
        folded_QD, folded_MD = self.fold_texts(texts_QD), self.fold_images(images_MD)
        p_QD, p_MD = first.attend_texts(texts_QD), first.attend_images(images_MD)

        def one(text: tuple[Array, Array, Array]) -> Array:
            text_D, p_D, folded_D = text
            texts_MD, images_mD = p_MD * text_D, p_D * images_MD
            product_MD = folded_D * folded_MD
            for number, layer in enumerate(rest):
                p_T, p_I = layer.attend_texts(texts_MD), layer.attend_images(images_mD)
                product_MD = product_MD * p_T * p_I
                if number + 1 < len(rest):
                    texts_MD, images_mD = p_I * texts_MD, p_T * images_mD
            return jnp.sum(product_MD, axis=-1)

        return jax.lax.map(one, (texts_QD, p_QD, folded_QD))

    def attended(
        self, texts_BD: Float[Array, "B D"], images_BD: Float[Array, "B D"]
    ) -> tuple[Float[Array, "A B D"], Float[Array, "A B D"]]:
        """p_T and p_I of each layer."""
        p_T, p_I = [], []
        for layer in self.attention:
            p_T.append(layer.attend_texts(texts_BD))
            p_I.append(layer.attend_images(images_BD))
            texts_BD, images_BD = layer(texts_BD, images_BD)
        return (jnp.stack(p_T), jnp.stack(p_I)) if p_T else super().attended(texts_BD, images_BD)

    def penalty(self, used: Used = None) -> Float[Array, ""]:
        """`GIN.penalty`, and the same of the co-attention layers in use."""
        value = super().penalty()
        for number, layer in enumerate(self.attention):
            squares = half_squares(layer)
            value += squares if used is None else jnp.where(number < used, squares, 0.0)
        return value


@dataclasses.dataclass(frozen=True)
class SCANetModel(GINModel):
    """GIN's encoders and score, with co-attention between them."""

    attention_layers: WholeNumber = 2  # (4.4)
    """A: layers of co-attention; with 0 it is GIN."""
    attention_scale: AttentionScale = "none"
    """What an attention distribution is multiplied by: none, nothing (SCANet's equations); half-d, D/2
    (surviving code)."""
    attention_relu: bool = True
    """A ReLU before the softmax of attention (SCANet's equations; surviving code has none)."""


@dataclasses.dataclass(frozen=True)
class SCANetExperiment(GINExperiment):
    """One run of SCANet."""

    kind: ClassVar[str] = "scanet"
    # A program has the co-attention layers of the deepest member, and a member uses its own first ones.
    arguments: ClassVar[tuple[str, ...]] = (*GINExperiment.arguments, "model.attention_layers")

    model: SCANetModel = SCANetModel()


# Pairs are balanced in all of them, as in GIN's presets.
# Paper: "we randomly select matched and non-matched pairs" (4.1); here class-balanced (surviving code) for
# both variants, so that they differ in the model alone; --train.pairing uniform is the sentence.
# Paper: softmax of a ReLU (Eq. 4-5) and a sigmoid on the score (3.4); the code multiplies the softmax by D/2,
# has no ReLU before it, and a score without activation (in other files, a ReLU or a sigmoid).
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "paper": (
        "by its equations",
        {"attention_scale": "none", "attention_relu": True, "score_activation": "sigmoid"},
    ),
    "authors": (
        "as the surviving code has it",
        {"attention_scale": "half-d", "attention_relu": False, "score_activation": "none"},
    ),
}

# Data, N (Table 1), D (4.2).
_DATA: dict[str, tuple[str, DataConfig, int, int]] = {
    # Not in the paper: N and D as for GIN on this corpus.
    "emoji": ("the embedded emoji corpus", DataConfig(name="emoji"), 2_000, 256),
    # Paper: VGG-19 features; here `cnn`, as for GIN: the archive's images are not always at hand.
    "wikipedia": (
        "English Wikipedia (Eng-Wiki)",
        DataConfig(name="wikipedia", image_feature="cnn"),
        10_055,
        1024,
    ),
    "nus-wide": (
        "NUS-WIDE, 10 largest classes",
        DataConfig(name="nus-wide", image_feature="bow"),
        5_018,
        500,
    ),
    "pascal": (
        "Pascal VOC 2007, single-object images",
        DataConfig(name="pascal-voc", image_feature="features"),
        598,
        256,
    ),
    "folder": (
        "your own pictures and texts: --data.root FOLDER (docs/your-own-data.md)",
        DataConfig(name="folder", image_scale="standard"),
        10_055,
        256,
    ),
}

# (4.2) 80 epochs, batch 256, Adam 1e-4; dropout .2, regularisation .005, m .6, lambda .35 and 40,000 positive
# and negative pairs (4.1) are GIN's defaults.
_TRAIN = GINTrain(batch=256, learning_rate=1e-4)
EPOCHS = 80


def _experiment(name: str, variant: str) -> SCANetExperiment:
    _, data, words, dimension = _DATA[name]
    return SCANetExperiment(
        data=data,
        text=TextConfig(words=words, segmenter="auto" if name == "folder" else "none"),
        model=SCANetModel(dimension=dimension, **VARIANTS[variant][1]),
        train=_TRAIN,
        epochs=EPOCHS,
        evaluate_every=10,  # it scores every pair: not after each of so many epochs
    )


def with_grid_pairs(experiment: SCANetExperiment) -> SCANetExperiment:
    """The same model trained with every pair of a batch: in minutes where the paper took hours.

    Not in the paper: grid pairs, logarithms of the counts, D of 256; for an LSTM 60 words and a state of 64;
    rate and L2 chosen on a validation fifth of Wikipedia's training items (benchmarks/README.md).
    """
    return dataclasses.replace(
        experiment,
        text=dataclasses.replace(experiment.text, weighting="log1p", length=60),
        model=dataclasses.replace(experiment.model, dimension=256, hidden=64),
        train=dataclasses.replace(
            experiment.train, pairing="grid", grid_texts=64, grid_images=64, learning_rate=1e-3, l2=1e-3
        ),
        epochs=8,
        evaluate_every=4,
    )


SCANET_PRESETS: dict[str, tuple[str, SCANetExperiment]] = {}
for _name, (_title, *_) in _DATA.items():
    for _variant, (_how, _) in VARIANTS.items():
        _made = _experiment(_name, _variant)
        SCANET_PRESETS[f"scanet-{_name}-{_variant}"] = (f"SCANet on {_title}, {_how}", _made)
        SCANET_PRESETS[f"scanet-{_name}-{_variant}-grid"] = (
            f"the same, {_how}, trained with grid pairs",
            with_grid_pairs(_made),
        )
# The form to take for data of one's own: by the paper's equations it stays near chance.
SCANET_PRESETS["scanet-folder"] = (
    f"SCANet on {_DATA['folder'][0]}, as the surviving code has it, by grid pairs",
    SCANET_PRESETS["scanet-folder-authors-grid"][1],
)

# SCANet Table 2, "SCANet" row: text query, image query, average.
SCANET_TABLE_2: dict[str, tuple[float, float, float]] = {
    "wikipedia": (0.81, 0.46, 0.63),
    "nus-wide": (0.58, 0.52, 0.55),
    "pascal": (0.48, 0.34, 0.41),
}


@register(SCANET_PRESETS)
@dataclasses.dataclass(frozen=True)
class SCANetSystem(GINSystem):
    """GIN's system with co-attention; see `System`."""

    experiment_type: ClassVar[type[Experiment]] = SCANetExperiment
    model_type: ClassVar[Callable[..., GIN]] = SCANet

    experiment: SCANetExperiment

    @classmethod
    def title(cls, experiment: Any) -> str:
        return "SCANet" if experiment.model.attention_layers else "GIN"

    @classmethod
    def layers_of(cls, config: SCANetModel) -> dict[str, Any]:
        return {
            "layers": config.attention_layers,
            "attention_scale": config.attention_scale,
            "attention_relu": config.attention_relu,
        }

    @classmethod
    def published_row(cls, preset: str, experiment: Any) -> dict[str, Any] | None:
        for name, (text, image, average) in SCANET_TABLE_2.items():
            if preset.startswith(f"scanet-{name}-"):
                values = {"text_query": text, "image_query": image, "average": average}
                return {**values, "source": "SCANet (Lu et al. 2018), Table 2"}
        return None

    @classmethod
    def reads(cls, kind: str, values: Mapping[str, Any]) -> bool:
        layers = values.get("model", {}).get("attention_layers", 0)
        return kind == "pairs" and layers > 0

    def covering(self, experiments: Sequence[Any]) -> "SCANetSystem":
        layers = max(experiment.model.attention_layers for experiment in experiments)
        model = dataclasses.replace(self.experiment.model, attention_layers=layers)
        return dataclasses.replace(self, experiment=dataclasses.replace(self.experiment, model=model))

    def _layers_used(self, values: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"used": (values or {}).get("model.attention_layers")}  # all, if not given
