"""The configuration of Joint, and its presets."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MinLen

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

Portion = Annotated[float, Ge(0), Le(1)]


@dataclasses.dataclass(frozen=True)
class JointModel:
    """Both towers, and how their two scores are mixed."""

    text: Literal["gcn", "linear", "lstm", "cnn", "features"] = "gcn"
    """The text encoder: gcn, graph convolutions; linear, of the weighted counts themselves; lstm; cnn;
    features, linear, of dense features of the texts in place of words (docs/your-own-data.md)."""
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
    sm_texts: Portion = 0.0
    """a: the share of SM's classifier of texts in their class posterior, which is then no longer only that
    of the text tower. 0: no such classifier is fitted."""
    sm_images: Portion = 0.0
    """The same of images, of features only."""
    cca: Portion = 0.0
    """b: the share of CCA's cosine in the score of a pair, beside the towers'. 0: CCA is not fitted."""
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
    """Probability that a word of a text, or a dense feature of it, is left out of a step (text encoders gcn,
    linear and features)."""
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
    tune: Literal["on", "off"] = "off"
    """Choose epochs, dropout, weight decay and the shares of the score on held-out training items first, but
    not what the command line changes: see `gcnxmodal/tuning.py`."""

    def relations(self) -> dict[str, Rule]:
        weights = self.train.pair, self.train.class_contrast, self.train.class_head
        text = self.model.text
        dense = text == "features"
        linear = dense or text in ("gcn", "linear")
        needs = "0 with a text encoder that reads words in order"
        return {
            "train.pair": (self.train.pair, any(weights), "above 0 if the other terms are 0"),
            "model.sm-texts": (self.model.sm_texts, linear or not self.model.sm_texts, needs),
            "model.cca": (self.model.cca, linear or not self.model.cca, needs),
            "model.text": (
                text,
                not dense or self.data.image_feature == "features",
                "another text encoder, such as linear, unless --data.image-feature is features, whose "
                "features.npz holds dense features of the texts as the array 'texts'",
            ),
            "train.short": (
                self.train.short,
                not dense or not self.train.short,
                "0 with --model.text features, which has no words that could be left out",
            ),
        }


# --- Presets ---


# Chosen on a fifth of the training items held out (three folds of emoji, two of the others), by the average
# `standard` MAP of the classes. The text tower is linear: .626 on emoji with the word graph, .634 without it.
# Half of SM's classifier of texts: .631 to .651 on emoji, .464 to .472 on Wikipedia, .339 to .350 on Corel5k.
_LINEAR = JointModel(text="linear", text_temperature=0.5, image_temperature=2.0, sm_texts=0.5, cca=0.2)
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
            model=dataclasses.replace(_LINEAR, dimension=128, direct_classes="both", image_temperature=1.0),
            train=dataclasses.replace(_TRAIN, hidden_dropout=0.6, weight_decay=0.3),
            epochs=40,
        ),
    ),
    "joint-corel5k": (
        "our own system on Corel5k in the folder layout, 20 labels: --data.root FOLDER",
        JointExperiment(
            data=DataConfig(name="folder", image_feature="features"),
            text=dataclasses.replace(_TEXT, words=1_000),
            model=dataclasses.replace(
                _LINEAR, dimension=128, text_temperature=1.0, image_temperature=1.0, sm_images=0.3
            ),
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
            tune="on",
            epochs=60,
        ),
    ),
}
