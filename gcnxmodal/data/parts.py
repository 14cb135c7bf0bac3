"""Features of many pictures, made and kept in parts: a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from gcnxmodal.data.cache import replacing
from gcnxmodal.data.pictures import open_picture
from gcnxmodal.errors import InputError

_log = logging.getLogger(__name__)

PART = 128  # pictures; what a stopped run loses at most: two minutes of VGG-19 on two cores

Encode = Callable[[Sequence[Path]], Iterator[np.ndarray]]


def in_parts(
    pictures: Sequence[Path],
    columns: int,
    *,
    name: str,
    key: Any,
    cache_dir: Path,
    pool: Executor,
    make_encode: Callable[[], Encode],
    progress: bool = True,
) -> Float[np.ndarray, "n columns"]:
    """A row of float32 features for each picture, in the order given.

    Each part of up to 128 pictures is cached, when whole, under the contents of its files and `key`, so equal
    pictures are encoded once wherever they lie.

    Args:
        columns: features of a picture.
        name: of the features, the start of the cached files' names.
        key: all else that the features depend on (JSON values): sizes, digests of weights and code.
        pool: decodes the pictures.
        make_encode: called once, if a part is missing; returns a function from the pictures of a part to
            their features, in pieces of some rows.
        progress: show bars, where there is a terminal.

    Raises:
        InputError: if there is no picture, one cannot be read, or its features are not finite. Every missing
            picture is decoded once before the first is encoded, so that none is found broken hours later.
    """
    if not pictures:
        raise InputError("pictures: there is none to encode; give at least one file")
    silent = None if progress else True  # None: a bar only where there is a terminal
    digests = list(pool.map(digest, pictures))
    parts = [slice(start, start + PART) for start in range(0, len(pictures), PART)]
    paths = [cache_dir / "features" / f"{name}-{hash_of([key, digests[part]])[:16]}.npy" for part in parts]
    features = np.empty((len(pictures), columns), np.float32)
    missing = []
    for part, path in zip(parts, paths, strict=True):
        kept = load_rows(path, features[part].shape)
        if kept is None:
            missing.append((part, path))
        else:
            features[part] = kept
    if not missing:
        return features
    encode = make_encode()
    unseen = [picture for part, _ in missing for picture in pictures[part]]
    for _ in tqdm(
        pool.map(open_picture, unseen), "checking pictures", len(unseen), unit="picture", disable=silent
    ):
        pass
    done = len(pictures) - len(unseen)
    with tqdm(
        desc=f"{name} features", total=len(pictures), initial=done, unit="picture", disable=silent
    ) as bar:
        for part, path in missing:
            row = part.start
            for piece in encode(pictures[part]):
                features[row : row + len(piece)] = piece
                row += len(piece)
                bar.update(len(piece))
            _require_finite(features[part], pictures[part], name)
            save_rows(path, features[part])
    return features


def digest(file: Path) -> str:
    """The SHA-256 of a file's contents."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); restore the file or drop its row"
        ) from error


def hash_of(value: Any) -> str:
    """The SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _require_finite(features: np.ndarray, pictures: Sequence[Path], name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise InputError(
            f"{pictures[bad[0]]}: its {name} features are not finite; the weights are damaged or of another "
            "network: fetch them again"
        )


def load_rows(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The cached features; None, and a warning if the file is damaged, where there are none."""
    if not path.exists():
        return None
    try:
        features = np.load(path, allow_pickle=False)
        if features.shape == shape and features.dtype == np.float32:
            return features
        problem = f"{features.dtype} {list(features.shape)}"
    except (OSError, ValueError, EOFError) as error:
        problem = str(error)
    _log.warning("%s: these cached features are damaged (%s); making them again", path, problem)
    return None


def save_rows(path: Path, features: np.ndarray) -> None:
    """Keep the features; a cache that cannot be written costs the next run time, not this one."""
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    except OSError as error:
        _log.warning(
            "%s: the features could not be cached (%s); $GCNXMODAL_CACHE may name another folder", path, error
        )
