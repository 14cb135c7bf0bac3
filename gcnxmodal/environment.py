"""Where a number comes from: device, code, versions and date, without which it means nothing."""

import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from gcnxmodal import __version__

PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn"),
    *("torch", "torch_geometric", "dgl", "torchmetrics", "numba", "faiss-cpu"),  # the benchmarks' peers
)


def environment() -> dict[str, Any]:
    """What stands beside every result: in a run's results.json, and in a benchmark's.

    Returns:
        JSON values. device: count and name, "1 x AMD EPYC" or "8 x NVIDIA H100"; platform: "cpu", "gpu" or
        "tpu"; cores this process may use; load: runnable processes over the last minute; allocator: glibc's
        settings; commit; versions {package: version}, of what is installed; date, UTC.
    """
    device = jax.devices()[0]
    name = processor() if device.platform == "cpu" else device.device_kind
    return {
        "device": f"{jax.device_count()} x {name}",
        "platform": device.platform,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "allocator": os.environ.get("GLIBC_TUNABLES", "default"),
        "commit": commit(Path(__file__).parents[1]),
        "versions": {"gcnxmodal": __version__, "python": platform.python_version(), **_installed()},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def commit(folder: Path) -> str:
    """Commit of the checkout `folder`, '+' if a tracked file was changed; the version where there is none.

    The results of benchmarks do not count: those that one call writes do not change what the next measures.

    A package installed into some other project's repository is not that project's commit: `folder` itself
    must be the checkout.
    """
    git: Any = functools.partial(subprocess.run, capture_output=True, text=True, cwd=folder)
    if (folder / ".git").exists():
        try:
            name = git(["git", "rev-parse", "--short=12", "HEAD"], check=True).stdout.strip()
            same = git(["git", "diff", "--quiet", "HEAD", "--", ".", ":!benchmarks/results"])
            return name if same.returncode == 0 else f"{name}+"
        except (OSError, subprocess.CalledProcessError):  # no git, or no commit yet
            pass
    return f"v{__version__}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name; where the system does not say, its architecture."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _installed() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
