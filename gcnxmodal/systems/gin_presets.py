"""Presets of GIN: one for each data set of its Table 1, for the embedded `emoji` corpus, and tuned ones.

Every number carries its source: (3.1) and (3.2) are sections of Yu et al. 2018, `code` is later code of the
same group. What the paper leaves open is a default of `config.py`.
"""

from gcnxmodal.config import DataConfig, Experiment, TextConfig
from gcnxmodal.systems.pair_config import ModelConfig, PairExperiment, TrainConfig

# (3.2) k = 8, batch 200, 50 epochs, dropout .2, Adam 1e-3, regularisation .005, m .6, lambda .35, about
# 40,000 positive and 40,000 negative pairs; (code) K = 3 orders, one filter in each of two layers: these are
# the defaults of `config.py`.

GIN_PRESETS: dict[str, tuple[str, Experiment]] = {
    "gin-emoji": (
        "GIN on the embedded emoji corpus: nothing to download",
        PairExperiment(
            data=DataConfig(name="emoji"),
            # Not in the paper: N is the 2,000 most common words of the training texts; D as Pascal.
            text=TextConfig(words=2_000),
            model=ModelConfig(dimension=256),
            epochs=10,
        ),
    ),
    "gin-emoji-tuned": (
        "our options in place of the paper's, chosen on a validation split of the training items",
        # python -m benchmarks.select_gin gin-emoji --epochs 60 --every 6
        PairExperiment(
            data=DataConfig(name="emoji"),
            text=TextConfig(words=2_000),
            model=ModelConfig(filters=(4, 4), dimension=256, normalise=True),
            train=TrainConfig(pairing="grid", l2=1e-4),
            epochs=42,
            evaluate_every=6,
            checkpoint_every=6,
        ),
    ),
    "gin-wikipedia": (
        "GIN on English Wikipedia (Eng-Wiki): 2,173 / 693 pairs, 10 classes",
        PairExperiment(
            # Paper: VGG-19 fc7, 4,096-d (3.1); here `cnn`, a published 128-d feature, because the images of
            # the official archive are not always at hand; use --data.image-feature FILE.npz for your own.
            data=DataConfig(name="wikipedia", image_feature="cnn"),
            text=TextConfig(words=10_055),  # (3.1)
            model=ModelConfig(dimension=1024),  # (3.2)
        ),
    ),
    "gin-wikipedia-tuned": (
        "our options in place of the paper's, chosen on a validation split of the training items",
        # python -m benchmarks.select_gin gin-wikipedia --root ROOT --epochs 20 --every 2
        PairExperiment(
            data=DataConfig(name="wikipedia", image_feature="cnn"),
            text=TextConfig(words=10_055, weighting="log1p"),
            model=ModelConfig(filters=(4, 4), dimension=256, normalise=True),
            train=TrainConfig(pairing="grid", grid_images=400, l2=3e-4),
            epochs=8,
        ),
    ),
    "gin-nus-wide": (
        "GIN on NUS-WIDE, 10 largest classes, 500-d bag of features: 40,000 / 1,000 pairs",
        PairExperiment(
            data=DataConfig(name="nus-wide", image_feature="bow"),
            text=TextConfig(words=5_018),  # (3.1)
            model=ModelConfig(dimension=500),  # (3.2)
        ),
    ),
    "gin-pascal": (
        "GIN on Pascal VOC 2007, images of one class, your tags.txt and features.npz (Gist 512-d)",
        PairExperiment(
            data=DataConfig(name="pascal-voc", image_feature="features"),
            text=TextConfig(words=598),  # (3.1)
            model=ModelConfig(dimension=256),  # (3.2)
        ),
    ),
    "gin-tvgraz": (
        "GIN on TVGraz, texts of more than 10 words, VGG-19 4,096-d (generic folder layout)",
        PairExperiment(
            data=DataConfig(name="folder", image_feature="features"),
            text=TextConfig(words=8_172),  # (3.1)
            model=ModelConfig(dimension=1024),  # (3.2)
        ),
    ),
    "gin-ch-wiki": (
        "GIN on Chinese Wikipedia, segmented texts, VGG-19 4,096-d (generic folder layout)",
        PairExperiment(
            data=DataConfig(name="folder", image_feature="features"),
            # Paper: segmenter not named; here jieba's, because it is the common one.
            text=TextConfig(words=9_613, segmenter="jieba"),  # (3.1)
            model=ModelConfig(dimension=1024),  # (3.2)
        ),
    ),
    "gin-corel5k": (
        "GIN on Corel5k in the folder layout, 20 labels: --data.root FOLDER",
        PairExperiment(
            # Not in the paper: N and D as for SSPE and GIN on small data sets.
            data=DataConfig(name="folder", image_feature="features"),
            text=TextConfig(words=1_000),
            model=ModelConfig(dimension=256),
        ),
    ),
    "gin-folder": (
        "GIN on your own pictures and texts: --data.root FOLDER (docs/your-own-data.md)",
        PairExperiment(
            data=DataConfig(name="folder", image_scale="standard"),
            text=TextConfig(weighting="log1p"),
            model=ModelConfig(dimension=256),
            train=TrainConfig(pairing="grid", l2=0.0),
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
