"""Compiled programs are kept on disk, so that the next run of the same shapes starts without compiling."""

import os
import uuid

import jax

from gcnxmodal.data.cache import cache_dir


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in the cache's folder `xla`, if it can be written.

    Whoever has set `$JAX_COMPILATION_CACHE_DIR` (or the configuration in JAX) is left alone. Turned off by
    `JAX_ENABLE_COMPILATION_CACHE=false`. The programs are the same as without: the key is the program itself,
    with the versions and the device it was compiled for.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return
    folder = cache_dir() / "xla"
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        os.unlink(probe)
    except OSError:  # JAX would warn of every program that it cannot keep
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
