"""Compiled programs are kept on disk, so that the next run of the same shapes starts without compiling."""

import os
import uuid

import jax

from gcnxmodal.data.cache import cache_dir


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in the cache's folder `xla`, if that can be written.

    Whoever has set `$JAX_COMPILATION_CACHE_DIR` (or JAX's configuration) is left alone;
    `JAX_ENABLE_COMPILATION_CACHE=false` turns it off. The key of a program is the program itself, with the
    versions and the device it is for, so a run has the same bits as without. The folder only grows, by about
    a megabyte for each shape that is trained; it may be deleted at any time.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return
    folder = cache_dir() / "xla"
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError:  # JAX would warn of every program that it cannot keep
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX keeps what took a second to compile. But of a run's hundred programs most take less, and all of them
    # together longer than the training step.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
