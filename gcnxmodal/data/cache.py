"""What took long to make is kept on disk, and is never half there.

Files are written beside their place and moved there when they are whole, so a killed run or a full disk
leaves the old file or none. A file that cannot be read is made again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gcnxmodal
from gcnxmodal.corpus import Corpus

_log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """$GCNXMODAL_CACHE, else $XDG_CACHE_HOME/gcnxmodal, else ~/.cache/gcnxmodal."""
    if own := os.environ.get("GCNXMODAL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gcnxmodal"


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
    networks = (package / "nn" / f"{name}.py" for name in ("picture_encoders", "weights", "torch_weights"))
    files = [package / "corpus.py", *networks]
    files += sorted([*package.glob("data/*.py"), *package.glob("text/*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def cached(path: Path, make: Callable[[], Corpus]) -> Corpus:
    """The corpus saved at `path`; if there is none, or it is damaged (said so), `make` it and save it.

    A cache that cannot be written costs the next run time, not this one: it is said, and the corpus returned.
    """
    if path.exists():
        try:
            return Corpus.load(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            _log.warning("%s: this cached corpus is damaged (%s); making it again", path, error)
    corpus = make()
    try:
        with replacing(path) as temporary:
            corpus.save(temporary)
    except OSError as error:
        _log.warning(
            "%s: the corpus could not be cached (%s); $GCNXMODAL_CACHE may name another folder", path, error
        )
    return corpus


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
