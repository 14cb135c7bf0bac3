"""Features of many pictures, made and cached in parts: a run that was stopped goes on where it was."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from gcnxmodal.data import pictures as decoding
from gcnxmodal.data.cache import load_arrays, save_arrays
from gcnxmodal.data.files import file_digest
from gcnxmodal.data.pictures import open_picture
from gcnxmodal.errors import InputError

PART = 128  # pictures; what a stopped run loses at most: two minutes of VGG-19 on two cores

Encode = Callable[[Sequence[Path]], Iterator[np.ndarray]]


def cached_features(
    pictures: Sequence[Path],
    columns: int,
    *,
    name: str,
    key: Any,
    cache_dir: Path,
    pool: Executor,
    make_encode: Callable[[], Encode],
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

    Raises:
        InputError: if there is no picture, one cannot be read, or its features are not finite. Every missing
            picture is decoded once before the first is encoded, so that none is found broken hours later.
    """
    if not pictures:
        raise InputError("pictures: there is none to encode; give at least one file")
    digests = list(pool.map(file_digest, pictures))
    parts = [slice(start, start + PART) for start in range(0, len(pictures), PART)]
    paths = [cache_dir / "features" / f"{name}-{hash_of([key, digests[part]])[:16]}.npz" for part in parts]
    features = np.empty((len(pictures), columns), np.float32)
    missing = []
    for part, path in zip(parts, paths, strict=True):
        arrays = load_arrays(path, {"features": features[part].shape}, "features")
        if arrays is None:
            missing.append((part, path))
        else:
            features[part] = arrays["features"]
    if not missing:
        return features
    encode = make_encode()
    unseen = [picture for part, _ in missing for picture in pictures[part]]
    for _ in tqdm(
        pool.map(open_picture, unseen), "checking pictures", len(unseen), unit="picture", disable=None
    ):
        pass
    done = len(pictures) - len(unseen)
    with tqdm(
        desc=f"{name} features", total=len(pictures), initial=done, unit="picture", disable=None
    ) as bar:
        for part, path in missing:
            row = part.start
            for piece in encode(pictures[part]):
                features[row : row + len(piece)] = piece
                row += len(piece)
                bar.update(len(piece))
            _require_finite(features[part], pictures[part], name)
            save_arrays(path, {"features": features[part]}, "features")
    return features


def hash_of(value: Any) -> str:
    """The SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def code_of(*files: str | None) -> list[str]:
    """The digests of files of code, of this one and of the one that decodes pictures: a part of a `key`."""
    return [file_digest(Path(str(file))) for file in (*files, __file__, decoding.__file__)]


def _require_finite(features: np.ndarray, pictures: Sequence[Path], name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise InputError(
            f"{pictures[bad[0]]}: its {name} features are not finite; the weights are damaged or of another "
            "network: fetch them again"
        )
