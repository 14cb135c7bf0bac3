"""The papers' tables and figures, made again; only the entry points `tables` and `figures` import it.

A module of a paper lists its own in `TABLES` and `FIGURES`, by name: what the user's options make.
"""

import importlib
import pkgutil
from collections.abc import Callable

from gcnxmodal.papers.options import Options
from gcnxmodal.papers.table import Figure, Table

_MODULES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]

TABLES: dict[str, Callable[[Options], Table]] = {
    name: make for module in _MODULES for name, make in getattr(module, "TABLES", {}).items()
}
FIGURES: dict[str, Callable[[Options], Figure]] = {
    name: make for module in _MODULES for name, make in getattr(module, "FIGURES", {}).items()
}
