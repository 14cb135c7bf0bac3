"""What took long to make is kept on disk, and is never half there.

Files are written beside their place and moved there when they are whole, so a killed run or a full disk
leaves the old file or none. A file that cannot be read is made again, and this is said. A cache that cannot
be written costs the next run time, not this one, and this is said once.
"""

import atexit
import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

import gcnxmodal
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import writing

ROOM = 2**26
"""Bytes that must be free for compiled programs: a run's hundred take a few MB, a large model's more."""

_log = logging.getLogger(__name__)
_Cached = TypeVar("_Cached")


_unwritable: set[Path] = set()
"""Folders of the cache that could not be written: not tried again by this process."""


PARTIAL = re.compile(r"\..+\.[0-9a-f]{32}")
"""Names of what is being written, and of what a killed process leaves."""


def partial_name(path: Path) -> Path:
    """A name beside `path` that no other process has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def cache_dir() -> Path:
    """$GCNXMODAL_CACHE, else $XDG_CACHE_HOME/gcnxmodal, else ~/.cache/gcnxmodal."""
    if own := os.environ.get("GCNXMODAL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gcnxmodal"


@functools.cache
def _scratch() -> Path:
    """A folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="gcnxmodal-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _give_up(folder: Path, error: Exception) -> None:
    """Do not write there again; said of the first such folder."""
    _log.log(
        logging.DEBUG if _unwritable else logging.WARNING,
        "%s: the cache cannot be written (%s), so the next run will make again what this one does; make "
        "room, or let $GCNXMODAL_CACHE name another folder",
        *(folder, getattr(error, "strerror", None) or error),
    )
    _unwritable.add(folder)


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
        save_arrays(path, arrays)
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


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Keep arrays for `load_arrays`, if the cache can be written."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    _write(path, write)


def cached_corpus(path: Path, make: Callable[[], Corpus]) -> Corpus:
    """The corpus saved at `path`; if there is none, or it is damaged, `make` it and save it."""
    corpus = _read(path, Corpus.load, "a corpus")
    if corpus is None:
        corpus = make()
        if not any(map(_is_scratch, corpus.pictures or ())):
            _write(path, corpus.save)
    return corpus


def cached_file(path: Path, make: Callable[[], bytes], valid: Callable[[Path], Any], what: str) -> Path:
    """The file at `path`; if it is not there or damaged, `make` its content and save it.

    Args:
        valid: reads the file, and raises OSError or ValueError, or returns False, if it is damaged.
        what: is in the file, for the warnings.

    Returns:
        `path`; where that cannot be written, a file in a folder that goes with this process.

    Raises:
        InputError: if that cannot be written either.
    """

    def checked(path: Path) -> Path:
        if valid(path) is False:
            raise ValueError("its content has changed")
        return path

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    if (file := _read(path, checked, what)) is not None:
        return file
    content = make()
    if _write(path, write):
        return path
    own = _scratch() / path.parent.name / path.name
    fix = f"nor can {path}: make room, or let $GCNXMODAL_CACHE name another folder"
    with writing(own, fix), replacing(own) as temporary:
        write(temporary)
    return own


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


def in_cache(path: str, cache_dir: Path) -> bool:
    """Whether it is a path that `cached_file` may have returned."""
    return Path(path).is_relative_to(cache_dir) or _is_scratch(path)


def _is_scratch(path: str) -> bool:
    return _scratch.cache_info().currsize > 0 and path.startswith(f"{_scratch()}{os.sep}")


def _read(path: Path, read: Callable[[Path], _Cached], what: str) -> _Cached | None:
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # NumPy, zipfile and zlib raise nearly anything for damaged bytes
        _log.warning("%s: this cached file of %s is damaged (%s); making it again", path, what, error)
        return None


def _write(path: Path, write: Callable[[Path], None]) -> bool:
    """Whether it could be written."""
    if path.parent in _unwritable:
        return False
    try:
        if path.is_dir():
            path.rmdir()  # which it is only if it is empty
        with replacing(path) as temporary:
            write(temporary)
    except (OSError, ValueError, RuntimeError) as error:
        _give_up(path.parent, error)
        return False
    return True


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` which takes its place when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises InputError if it cannot be written; what was there stays."""
    with writing(path), replacing(path) as temporary:
        temporary.write_bytes(content)


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
        if (free := shutil.disk_usage(folder).free) < ROOM:
            raise OSError(f"{free:,} bytes are free of the {ROOM:,} that it needs")
        for program in folder.glob("*-cache"):
            if not program.stat().st_size:  # cut off by a full disk, and JAX would never write it anew
                program.unlink()
    except OSError as error:
        _give_up(folder, error)
        return
    # It would say so of each of a run's hundred programs. What it cannot read it compiles.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX keeps what took a second to compile. But of a run's hundred programs most take less, and all of them
    # together longer than the training step.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
