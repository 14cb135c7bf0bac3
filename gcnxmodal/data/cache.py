"""What took long to make is kept on disk, and is never half there.

Files are written beside their place and moved there when they are whole, so a killed run or a full disk
leaves the old file or none. A file that cannot be read is made again. A cache that cannot be written costs
the next run time, not this one. Both are said as warnings.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

import gcnxmodal
from gcnxmodal.corpus import Corpus

_log = logging.getLogger(__name__)
_Cached = TypeVar("_Cached")
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def cache_dir() -> Path:
    """$GCNXMODAL_CACHE, else $XDG_CACHE_HOME/gcnxmodal, else ~/.cache/gcnxmodal."""
    if own := os.environ.get("GCNXMODAL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gcnxmodal"


def cached_arrays(
    path: Path,
    make: Callable[[], dict[str, np.ndarray]],
    shapes: Mapping[str, tuple[int, ...] | None],
    what: str,
) -> dict[str, np.ndarray]:
    """The arrays of the `.npz` file at `path`; if it is not there or damaged, `make` them and save them.

    Args:
        path: in `cache_dir()`; its name must change with everything that decides the arrays.
        make: returns the arrays by their names.
        shapes: the names, each with the shape that the array must have; None: any.
        what: the arrays are, for the warnings: "word vectors".
    """
    arrays = load_arrays(path, shapes, what)
    if arrays is None:
        arrays = make()
        save_arrays(path, arrays, what)
    return arrays


def load_arrays(
    path: Path, shapes: Mapping[str, tuple[int, ...] | None], what: str
) -> dict[str, np.ndarray] | None:
    """The arrays that `save_arrays` has saved, or None; arguments as for `cached_arrays`."""

    def read(path: Path) -> dict[str, np.ndarray]:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in shapes}
        for name, shape in shapes.items():
            if shape not in (None, arrays[name].shape):
                raise ValueError(f"'{name}' is {list(arrays[name].shape)}")
        return arrays

    return _read(path, read, what)


def save_arrays(path: Path, arrays: dict[str, np.ndarray], what: str) -> None:
    """Keep arrays for `load_arrays`; a warning where that cannot be done."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    _write(path, write, what)


def cached_corpus(path: Path, make: Callable[[], Corpus]) -> Corpus:
    """The corpus saved at `path`; if there is none, or it is damaged, `make` it and save it."""
    corpus = _read(path, Corpus.load, "a corpus")
    if corpus is None:
        corpus = make()
        _write(path, corpus.save, "a corpus")
    return corpus


def corpus_path(cache_dir: Path, loader: str, options: dict[str, Any], sources: Any) -> Path:
    """Where the corpus that `loader` makes of these options and sources is cached.

    Args:
        options: all the values that shape the corpus (JSON values).
        sources: what identifies the data read: package versions, or names, sizes and times of files.
    """
    key = json.dumps([loader, options, sources, _loader_code()], sort_keys=True)
    return cache_dir / "corpora" / f"{loader}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


@functools.cache
def _loader_code() -> str:
    """A hash of the code that makes corpora: one that has changed must not be answered from the cache."""
    package = Path(gcnxmodal.__file__).parent
    files = [package / "corpus.py", package / "holdout.py"]
    files += [package / "nn" / f"{name}.py" for name in ("picture_encoders", "weights", "torch_weights")]
    files += sorted([*package.glob("data/*.py"), *package.glob("text/*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _read(path: Path, read: Callable[[Path], _Cached], what: str) -> _Cached | None:
    if not path.exists():
        return None
    try:
        return read(path)
    except _DAMAGED as error:
        _log.warning("%s: this cached file of %s is damaged (%s); making it again", path, what, error)
        return None


def _write(path: Path, write: Callable[[Path], None], what: str) -> None:
    try:
        with replacing(path) as temporary:
            write(temporary)
    except OSError as error:
        _log.warning(
            "%s: %s could not be cached (%s); $GCNXMODAL_CACHE may name another folder", path, what, error
        )


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` which takes its place when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
