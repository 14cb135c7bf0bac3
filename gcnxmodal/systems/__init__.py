"""The systems: each is read in one module or package here, which registers itself with its presets.

To delete a system, delete its module (and its tests, and its page of tables under `papers/`).
"""

import importlib
import pkgutil

from gcnxmodal.systems.base import PRESETS, SYSTEMS, System, build, experiment_from, mesh_for, presets

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["PRESETS", "SYSTEMS", "System", "build", "experiment_from", "mesh_for", "presets"]
