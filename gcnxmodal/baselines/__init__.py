"""Baselines as estimators by scikit-learn's conventions: `fit(images, texts, labels)`, then embeddings.

>>> import numpy as np
>>> from gcnxmodal import baselines
>>> images, texts = np.eye(4), np.eye(4)[:, ::-1]
>>> images_nD, texts_nD = baselines.CCA(1).fit(images, texts, [0, 0, 1, 1]).transform(images, texts)
>>> images_nD.shape
(4, 1)

The score of a pair is the inner product of its embeddings. A class is imported when it is asked for, so that
only those that are networks load JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcnxmodal.baselines.coupled_regression import JFSSL, LCFS
    from gcnxmodal.baselines.hashing import CMFH, STMH, SCMOrth, SCMSeq
    from gcnxmodal.baselines.linear import (
        BLM,
        CCA,
        CCA3V,
        GMLDA,
        GMMFA,
        MLCCA,
        PLS,
        CorrelationMatching,
        MvDA,
    )
    from gcnxmodal.baselines.semantic_matching import SemanticCorrelationMatching, SemanticMatching
    from gcnxmodal.baselines.seph import SePH
    from gcnxmodal.baselines.two_branches import DCMH, DSPE, MMNN

    BASELINES: dict[str, type[Any]]
    """What every run is measured beside."""

    METHODS: dict[str, type[Any]]
    """Every method by the name that the papers' tables may ask for; no run measures the others by itself."""

    HASHING_METHODS: dict[str, type[Any]]
    """Methods that make codes, by the name that GCH's tables may ask for: the first argument is the length of
    a code, and the signs of the embeddings are its bits."""

_MODULES = {
    "coupled_regression": ("JFSSL", "LCFS"),
    "hashing": ("CMFH", "STMH", "SCMOrth", "SCMSeq"),
    "linear": ("BLM", "CCA", "CCA3V", "GMLDA", "GMMFA", "MLCCA", "PLS", "CorrelationMatching", "MvDA"),
    "semantic_matching": ("SemanticCorrelationMatching", "SemanticMatching"),
    "seph": ("SePH",),
    "two_branches": ("DCMH", "DSPE", "MMNN"),
}
_BASELINES = {"cca": "CCA", "sm": "SemanticMatching"}
_REGISTRIES = {
    "BASELINES": _BASELINES,
    "METHODS": {
        **_BASELINES,
        "cm": "CorrelationMatching",
        "scm": "SemanticCorrelationMatching",
        "pls": "PLS",
        "blm": "BLM",
        "cca-3v": "CCA3V",
        "ml-cca": "MLCCA",
        "gmlda": "GMLDA",
        "gmmfa": "GMMFA",
        "mvda": "MvDA",
        "lcfs": "LCFS",
        "jfssl": "JFSSL",
        "mmnn": "MMNN",
        "dspe": "DSPE",
    },
    "HASHING_METHODS": {
        "cmfh": "CMFH",
        "scm-orth": "SCMOrth",
        "scm-seq": "SCMSeq",
        "stmh": "STMH",
        "seph": "SePH",
        "dcmh": "DCMH",
    },
}

__all__ = ["BASELINES", "HASHING_METHODS", "METHODS"]
__all__ += ["BLM", "CCA", "CCA3V", "GMLDA", "GMMFA", "MLCCA", "PLS", "CorrelationMatching", "MvDA"]
__all__ += ["JFSSL", "LCFS", "SemanticCorrelationMatching", "SemanticMatching"]
__all__ += ["CMFH", "DCMH", "DSPE", "MMNN", "STMH", "SCMOrth", "SCMSeq", "SePH"]


def __getattr__(name: str) -> Any:
    if name in _REGISTRIES:
        value: Any = {key: globals().get(of) or __getattr__(of) for key, of in _REGISTRIES[name].items()}
    else:
        module = next((module for module, classes in _MODULES.items() if name in classes), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
