"""Presets of GCH: each data set by the paper's equations and with the objective of its public code.

Every number carries its source: (4.1), (4.2) are sections of Xu et al. 2019, `code` is the public code. What
the paper leaves open is a default of `hashing_config.py`.
"""

from typing import Any

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.systems.gch_config import HashingExperiment, HashingModel, HashingTrain

# Paper: 1024 in the first graph convolution (4.2), W divided by its norm (3.2), the likelihood (Eq. 3, 5, 8);
# code: 512, W divided by its largest entry, squares in place of the likelihood.
VARIANTS: dict[str, tuple[HashingModel, Any, str]] = {
    "paper": (HashingModel(fusion="frobenius", beacon_width=1024), "paper", "by its equations"),
    "official": (
        HashingModel(fusion="largest", beacon_width=512),
        "official",
        "with the objective, fusion and widths of its public code",
    ),
}

# Data, N (4.1).
_DATA: dict[str, tuple[str, DataConfig, int]] = {
    # Not in the paper: these two, and their N; nor the N of NUS-WIDE, the 1,000 tags that hashing papers use.
    "emoji": (
        "the embedded emoji corpus, several labels an item",
        DataConfig(name="emoji-multi-label", image_scale="standard"),
        2_000,
    ),
    "corel5k": (
        "Corel5k in the folder layout, 20 labels: --data.root FOLDER",
        DataConfig(name="folder", image_feature="features", image_scale="standard"),
        1_000,
    ),
    # Paper: CNN-F, trained from pictures; here a frozen EfficientNet-Lite0 (NUS-WIDE: the official bag of
    # words), because the weights of CNN-F are not always at hand. As in the paper: --data.image-feature
    # pixels --data.resolution 224 --model.image-weights imagenet-vgg-f.mat --train.image-rate 1e-4.
    "mirflickr": (
        "MIRFLICKR-25K, 24 labels",
        DataConfig(name="mirflickr", image_scale="standard"),
        1_386,
    ),
    "nus-wide": (
        "NUS-WIDE, 21 largest concepts",
        DataConfig(name="nus-wide-21", image_feature="bow", image_scale="standard"),
        1_000,
    ),
    "coco": ("COCO 2014, 80 categories", DataConfig(name="coco", image_scale="standard"), 2_000),
    "folder": (
        "your own pictures and texts: --data.root FOLDER (docs/your-own-data.md)",
        DataConfig(name="folder", image_scale="standard"),
        10_000,
    ),
}

# Paper: SGD, without a rate, an end or weights of the terms; code: Adam, its rates halved after each epoch.
# Here Adam with its rates of teacher, text and beacon; the image student ten times as fast, because it starts
# from nothing and not from ImageNet; and a slow decay, because with the code's small data sets hardly train:
# benchmarks/results/select_gch-*.json, by python -m benchmarks.select_gch gch-emoji-paper.
EPOCHS = 30
_TRAIN: dict[str, Any] = {"image_rate": 1e-3, "decay": 0.95}


def _experiment(name: str, variant: str) -> HashingExperiment:
    _, data, words = _DATA[name]
    model, objective, _ = VARIANTS[variant]
    return HashingExperiment(
        data=data,
        text=TextConfig(words=words),
        model=model,
        train=HashingTrain(objective=objective, **_TRAIN),
        epochs=EPOCHS,
        evaluate_every=5,
        checkpoint_every=5,
    )


GCH_PRESETS: dict[str, tuple[str, HashingExperiment]] = {
    f"gch-{name}-{variant}": (f"GCH on {title}, {how}", _experiment(name, variant))
    for name, (title, *_) in _DATA.items()
    for variant, (*_, how) in VARIANTS.items()
}
