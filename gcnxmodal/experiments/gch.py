"""Presets of GCH: each data set by the paper's equations and as its public code.

Every number carries its source: (4.1), (4.2) are sections of Xu et al. 2019, `code` is the public code. What
the paper leaves open is a default of `hashing_config.py`.
"""

from typing import Any

from gcnxmodal.experiments.config import DataConfig, TextConfig
from gcnxmodal.experiments.hashing_config import HashingExperiment, HashingModel, HashingTrain

VARIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "paper": ({"fusion": "frobenius", "beacon_width": 1024}, "by its equations"),
    "official": ({"fusion": "largest", "beacon_width": 512}, "as its public code has it"),
}

_DATA: dict[str, tuple[str, DataConfig, int]] = {
    "emoji": (
        "the embedded emoji corpus with several labels an item",
        DataConfig(name="emoji-multi-label"),
        2_000,
    ),
    "corel5k": (
        "Corel5k in the folder layout: 3,595 / 406 pairs, 20 labels",
        DataConfig(name="folder", image_feature="features"),
        1_000,
    ),
}


def _experiment(name: str, variant: str) -> HashingExperiment:
    _, data, words = _DATA[name]
    model, _ = VARIANTS[variant]
    return HashingExperiment(
        data=data,
        text=TextConfig(words=words),
        model=HashingModel(**model),
        train=HashingTrain(objective="paper" if variant == "paper" else "official"),
    )


GCH_PRESETS: dict[str, tuple[str, HashingExperiment]] = {
    f"gch-{name}-{variant}": (f"GCH on {title}, {how}", _experiment(name, variant))
    for name, (title, *_) in _DATA.items()
    for variant, (_, how) in VARIANTS.items()
}
