"""What stands for an item's picture and is made from its file: a network's features, or the pixels.

Features of many pictures are made and cached in parts: a run that was stopped goes on where it was.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, UInt8
from tqdm import tqdm

from gcnxmodal.data import pictures as decoding
from gcnxmodal.data.cache import load_arrays, save_arrays
from gcnxmodal.data.files import file_digest, require_file
from gcnxmodal.data.pictures import BrokenPictures, centre_square, imagenet_crop, of_each, open_picture
from gcnxmodal.errors import InputError
from gcnxmodal.nn import picture_encoders, torch_weights, weights
from gcnxmodal.nn.picture_encoders import VGG, EfficientNetLite0, PictureEncoder, ResNet

FROM_PICTURES = {"efficientnet-lite0": 224, "pixels": 64}
"""Values of `--data.image-feature` that are made from pictures, and the resolution if none is asked for."""


def resolution_for(image_feature: str, asked: int | None) -> int | None:
    """The resolution asked for or the default; None for what is not made from pictures.

    Raises:
        InputError: if one is asked for where there are no pictures to see.
    """
    if image_feature in FROM_PICTURES:
        return asked or FROM_PICTURES[image_feature]
    if asked is not None:
        raise InputError(
            f"--data.resolution is {asked}, but --data.image-feature {image_feature} is not made from "
            f"pictures here; leave it out, or choose {' or '.join(FROM_PICTURES)}"
        )
    return None


def images_from(
    pictures: Sequence[Path], image_feature: str, resolution: int, *, cache_dir: Path
) -> np.ndarray:
    """The picture files as a Corpus takes them, in the order given.

    Returns:
        float32 [n, d] features, or uint8 [n, R, R, 3] pixels as `centre_square` gives them.

    Raises:
        InputError: if there is no picture, one cannot be read, or the resolution does not suit.
    """
    if image_feature != "pixels":
        return picture_features(pictures, resolution, cache_dir=cache_dir)
    if not pictures:
        raise InputError("pictures: there is none to read; give at least one file")
    with ThreadPoolExecutor() as pool:
        square = functools.partial(centre_square, resolution=resolution)
        return np.stack(of_each(square, pictures, pool, "reading pictures", cache_dir))


def broken_pictures(pictures: Sequence[Path], cache_dir: Path) -> BrokenPictures | None:
    """Those that cannot be read, if there are any."""
    with ThreadPoolExecutor() as pool:
        try:
            of_each(_check, list(dict.fromkeys(pictures)), pool, "checking pictures", cache_dir)
        except BrokenPictures as broken:
            return broken
    return None


def _check(picture: Path) -> None:
    open_picture(picture)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A pre-trained network and what it is shown."""

    network: type[PictureEncoder]
    decode: Callable[[Path, int], UInt8[np.ndarray, "R R 3"]]
    """Pixels of a picture file at a resolution."""
    smallest: int
    largest: int | None
    """Sides of the square the network can see, in pixels."""
    published: str | None = None
    """Where the user gets the weights; None where a package brings them."""


_TORCHVISION = "of torchvision's pre-trained models (docs/picture-features.md)"
BACKBONES = {
    # The smallest sides are the networks' total stride.
    "efficientnet-lite0": Backbone(EfficientNetLite0, centre_square, 32, None),
    "vgg19": Backbone(VGG, imagenet_crop, 224, 224, f"vgg19-dcbb9e9d.pth {_TORCHVISION}"),
    "resnet50": Backbone(ResNet, imagenet_crop, 32, None, f"resnet50-0676ba61.pth {_TORCHVISION}"),
}


def picture_features(
    pictures: Sequence[Path],
    resolution: int,
    *,
    cache_dir: Path,
    backbone: str = "efficientnet-lite0",
    weights_file: Path | None = None,
    batch: int = 32,
) -> Float[np.ndarray, "n d"]:
    """The feature of each picture file, float32, in the order given.

    The result is cached under the contents of the files, the resolution, the weights and the code, in parts;
    see `cached_features`.

    Args:
        resolution: side of the square the network sees, in pixels.
        backbone: one of BACKBONES.
        weights_file: its weights; by default those that a package brings.
        batch: pictures per call of the network; the last batch is padded, so it is compiled once.

    Raises:
        InputError: if there is no picture, a picture or the weights cannot be read, or the resolution is not
            one of the network's. Every picture is decoded once before the network starts.
    """
    chosen = BACKBONES[backbone]
    if resolution < chosen.smallest or (chosen.largest is not None and resolution > chosen.largest):
        needs = f"{'exactly' if chosen.smallest == chosen.largest else 'at least'} {chosen.smallest}"
        raise InputError(f"resolution is {resolution} pixels; {backbone} needs {needs}")
    file = require_weights(backbone, weights_file)
    modules = (picture_encoders, weights, torch_weights)
    code = code_of(*(module.__file__ for module in modules))
    with ThreadPoolExecutor() as pool:
        size = min(batch, PART, len(pictures))
        return cached_features(
            pictures,
            chosen.network.FEATURES,
            name=f"{backbone}-{resolution}",
            key=[resolution, file_digest(file), *code],
            cache_dir=cache_dir,
            pool=pool,
            make_encode=lambda: _encoder(chosen, file, resolution, size, pool),
        )


def require_weights(backbone: str, weights_file: Path | None) -> Path:
    """The file of the network's weights.

    Raises:
        InputError: if it is not there, or none is given and no package brings it.
    """
    published = BACKBONES[backbone].published
    if weights_file is not None:
        return require_file(weights_file, f"name {published or 'the weights of ' + backbone}")
    if published is not None:
        raise InputError(f"--weights is not set; {backbone} needs {published}")
    return EfficientNetLite0.weights_path()


def _encoder(
    backbone: Backbone, weights_file: Path, resolution: int, batch: int, pool: Executor
) -> Callable[[Sequence[Path]], Iterator[np.ndarray]]:
    """A function from pictures to their features, in pieces of `batch` rows."""
    graph, weights = nnx.split(backbone.network.load_pretrained(weights_file))

    @jax.jit
    def network(weights: nnx.State, pixels_BRR3: jax.Array) -> jax.Array:
        return nnx.merge(graph, weights)(backbone.network.normalise(pixels_BRR3))

    def dispatch(files: Sequence[Path]) -> jax.Array:
        pixels_BRR3 = np.zeros((batch, resolution, resolution, 3), np.uint8)
        for row, picture in enumerate(pool.map(backbone.decode, files, [resolution] * len(files))):
            pixels_BRR3[row] = picture
        return network(weights, pixels_BRR3)[: len(files)]

    def encode(files: Sequence[Path]) -> Iterator[np.ndarray]:
        running = None
        for start in range(0, len(files), batch):
            following = dispatch(files[start : start + batch])
            # Wait for the batch before, so that the device works while the next pictures are decoded.
            if running is not None:
                yield np.asarray(running)
            running = following
        yield np.asarray(running)

    return encode


# --- Features of any kind, cached in parts ---

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
        InputError: if there is no picture, or features are not finite.
        BrokenPictures: of all that cannot be read. Every missing picture is decoded once before the first is
            encoded, so that none is found broken hours later.
    """
    if not pictures:
        raise InputError("pictures: there is none to encode; give at least one file")
    digests = of_each(file_digest, pictures, pool, "", cache_dir)
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
    of_each(_check, unseen, pool, "checking pictures", cache_dir)
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
            save_arrays(path, {"features": features[part]})
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
