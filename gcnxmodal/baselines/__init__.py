"""Baselines: one estimator a file, `fit(images, texts, labels)`, `encode_images`, `encode_texts`.

The score of a pair is the inner product of its embeddings.
"""

from gcnxmodal.baselines.cca import CCA
from gcnxmodal.baselines.dspe import DSPE
from gcnxmodal.baselines.mmnn import MMNN
from gcnxmodal.baselines.semantic_matching import SemanticMatching

BASELINES = {"cca": CCA, "sm": SemanticMatching}
"""The yardsticks that every run is measured beside."""

METHODS = {**BASELINES, "mmnn": MMNN, "dspe": DSPE}
"""Every method by the name that the papers' tables may ask for it; no run measures the others by itself."""
