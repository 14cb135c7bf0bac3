"""Baselines: one estimator a file, `fit(images, texts, labels)`, `encode_images`, `encode_texts`.

The score of a pair is the inner product of its embeddings.
"""

from gcnxmodal.baselines.blm import BLM
from gcnxmodal.baselines.cca import CCA
from gcnxmodal.baselines.cca_3v import CCA3V
from gcnxmodal.baselines.cmfh import CMFH
from gcnxmodal.baselines.dcmh import DCMH
from gcnxmodal.baselines.dspe import DSPE
from gcnxmodal.baselines.generalized_multiview import GMLDA, GMMFA
from gcnxmodal.baselines.jfssl import JFSSL
from gcnxmodal.baselines.lcfs import LCFS
from gcnxmodal.baselines.ml_cca import MLCCA
from gcnxmodal.baselines.mmnn import MMNN
from gcnxmodal.baselines.mvda import MvDA
from gcnxmodal.baselines.pls import PLS
from gcnxmodal.baselines.scm_hash import SCMOrth, SCMSeq
from gcnxmodal.baselines.semantic_correlation_matching import CorrelationMatching, SemanticCorrelationMatching
from gcnxmodal.baselines.semantic_matching import SemanticMatching
from gcnxmodal.baselines.seph import SePH
from gcnxmodal.baselines.stmh import STMH

BASELINES = {"cca": CCA, "sm": SemanticMatching}
"""The yardsticks that every run is measured beside."""

METHODS = {
    **BASELINES,
    "cm": CorrelationMatching,
    "scm": SemanticCorrelationMatching,
    "pls": PLS,
    "blm": BLM,
    "cca-3v": CCA3V,
    "ml-cca": MLCCA,
    "gmlda": GMLDA,
    "gmmfa": GMMFA,
    "mvda": MvDA,
    "lcfs": LCFS,
    "jfssl": JFSSL,
    "mmnn": MMNN,
    "dspe": DSPE,
}
"""Every method by the name that the papers' tables may ask for it; no run measures the others by itself."""

HASHING_METHODS = {
    "cmfh": CMFH,
    "scm-orth": SCMOrth,
    "scm-seq": SCMSeq,
    "stmh": STMH,
    "seph": SePH,
    "dcmh": DCMH,
}
"""Methods that make codes, by the name that GCH's tables may ask for: the first argument is the length of a
code, and the signs of the embeddings are its bits."""
