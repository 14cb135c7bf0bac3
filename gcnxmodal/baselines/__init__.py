"""Yardsticks: one estimator a file, `fit(images, texts, labels)`, `encode_images`, `encode_texts`."""

from gcnxmodal.baselines.cca import CCA
from gcnxmodal.baselines.semantic_matching import SemanticMatching

BASELINES = {"cca": CCA, "sm": SemanticMatching}
