"""Cross-modal (image <-> text) retrieval with graph-convolutional text encoders, in JAX.

    from gcnxmodal import Retriever, train, evaluate, load_dataset, baselines

    corpus = load_dataset("emoji")                 # or a folder
    run = train("gin-emoji", epochs=3)             # or a configuration
    retriever = Retriever.from_pretrained(run)     # a run, an export, a model folder
    retriever.search("a plate of food", k=5)         # hits: id, score, text, picture, labels, metadata

Public names are loaded when they are first used: `import gcnxmodal` itself loads neither JAX nor NumPy. What
is public, and what stable means: docs/python.md.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if os.path.expanduser("~") == "~":
    # A container's user without a home: packages that we import need the name of one, be it not there.
    os.environ["HOME"] = "/nonexistent"

if sys.argv[:1] == ["-m"] and any(word.startswith("gcnxmodal") for word in sys.orig_argv):
    # `python -m gcnxmodal.VERB`: this runs before the seconds in which the verb's modules are imported.
    def _excepthook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("stopped; the same command starts again", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = _excepthook

_PUBLIC = {
    "Corpus": "gcnxmodal.corpus",
    "Hit": "gcnxmodal.retriever",
    "InputError": "gcnxmodal.errors",
    "Retriever": "gcnxmodal.retriever",
    "baselines": "",
    "chebyshev": "",
    "evaluate": "",
    "load_dataset": "gcnxmodal.data.load",
    "presets": "gcnxmodal.systems",
    "train": "",
}
"""The module that each public name is in; a name without one is a module itself."""

__all__ = [
    "Corpus",
    "Hit",
    "InputError",
    "Retriever",
    "baselines",
    "chebyshev",
    "evaluate",
    "load_dataset",
    "presets",
    "train",
]

if TYPE_CHECKING:
    from gcnxmodal import baselines as baselines
    from gcnxmodal import chebyshev as chebyshev
    from gcnxmodal.corpus import Corpus as Corpus
    from gcnxmodal.data.load import load_dataset as load_dataset
    from gcnxmodal.errors import InputError as InputError
    from gcnxmodal.evaluation import evaluate as evaluate
    from gcnxmodal.retriever import Hit as Hit
    from gcnxmodal.retriever import Retriever as Retriever
    from gcnxmodal.systems import presets as presets
    from gcnxmodal.train import train_preset as train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gcnxmodal' has no attribute '{name}'; public are {', '.join(__all__)}")
    module = _PUBLIC[name]
    if not module:
        return importlib.import_module(f"gcnxmodal.{name}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
