"""Bags of visual words: how often each of 500 typical SIFT descriptors occurs in a picture.

The picture feature of GIN and SCANet on NUS-WIDE (BoF-500); the method is that of Csurka et al. 2004, "Visual
Categorization with Bags of Keypoints", on the key points and descriptors of Lowe 2004 ("Distinctive Image
Features from Scale-Invariant Keypoints"), by OpenCV.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances_argmin
from tqdm import tqdm

from gcnxmodal.data.cache import cached_arrays
from gcnxmodal.data.files import file_digest
from gcnxmodal.data.picture_features import cached_features, code_of, hash_of
from gcnxmodal.data.pictures import open_picture
from gcnxmodal.errors import InputError

WORDS = 500
# NUS-WIDE's authors publish counts, not their pictures' sizes, sampling or codebook; these are ours.
LONGER_SIDE = 640  # pixels; larger pictures are scaled down, so that their number of key points is bounded
KEY_POINTS = 1000  # the strongest of a picture
CODEBOOK_PICTURES, CODEBOOK_DESCRIPTORS = 2000, 100  # at most so many training pictures, and of each


def bags_of_words(
    pictures: Sequence[Path], codebook_WD: Float32[np.ndarray, "W 128"], *, cache_dir: Path
) -> Float[np.ndarray, "n W"]:
    """The share of each word among the descriptors of each picture file, float32, in the order given.

    A row sums to 1; that of a picture without a key point is 0. Cached in parts, see `cached_features`.

    Raises:
        InputError: if there is no picture, one cannot be read, or OpenCV is not installed.
    """
    require_opencv()
    with ThreadPoolExecutor() as pool:

        def encode(files: Sequence[Path]) -> Iterator[np.ndarray]:
            for descriptors in pool.map(sift, files):
                yield histogram(descriptors, codebook_WD)[None]

        return cached_features(
            pictures,
            len(codebook_WD),
            name="bof",
            key=[hashlib.sha256(codebook_WD.tobytes()).hexdigest(), *_code()],
            cache_dir=cache_dir,
            pool=pool,
            make_encode=lambda: encode,
        )


def fit_codebook(
    training_pictures: Sequence[Path], *, cache_dir: Path, words: int = WORDS, seed: int = 0
) -> Float32[np.ndarray, "W 128"]:
    """The centres of `words` clusters of descriptors of training pictures: mini-batch k-means, seeded.

    From at most 100 descriptors of each of at most 2,000 pictures, drawn by `seed`. Cached under the
    contents of those pictures.

    Raises:
        InputError: if a picture cannot be read, all together have fewer descriptors than `words`, or OpenCV
            is not installed.
    """
    require_opencv()
    random = np.random.default_rng(seed)
    count = min(CODEBOOK_PICTURES, len(training_pictures))
    drawn = sorted(random.choice(len(training_pictures), count, replace=False))
    pictures = [training_pictures[row] for row in drawn]

    def make() -> dict[str, np.ndarray]:
        descriptors = _sample(pictures, random, pool)
        if len(descriptors) < words:
            raise InputError(
                f"{training_pictures[0].parent}: {count} training pictures have {len(descriptors)} SIFT "
                f"descriptors, too few for {words} visual words; give more pictures, or another backbone"
            )
        options: dict[str, Any] = {"batch_size": 4096, "n_init": 1, "random_state": seed}
        model = MiniBatchKMeans(words, **options).fit(descriptors)
        return {"codebook": np.asarray(model.cluster_centers_, np.float32)}

    with ThreadPoolExecutor() as pool:
        key = [words, seed, list(pool.map(file_digest, pictures)), *_code()]
        path = cache_dir / "features" / f"bof-codebook-{hash_of(key)[:16]}.npz"
        return cached_arrays(path, make, {"codebook": (words, 128)}, "visual words")["codebook"]


def sift(picture: Path) -> Float32[np.ndarray, "n 128"]:
    """The SIFT descriptors at a picture's strongest key points (Lowe 2004), entries of 0..255.

    Raises:
        InputError: if the file is missing, damaged or no picture, or OpenCV is not installed.
    """
    image = open_picture(picture).convert("L")
    image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.BILINEAR)
    detector = require_opencv().SIFT_create(nfeatures=KEY_POINTS)
    _, descriptors = detector.detectAndCompute(np.asarray(image), None)
    return np.empty((0, 128), np.float32) if descriptors is None else descriptors


def histogram(
    descriptors: Float32[np.ndarray, "n 128"], codebook_WD: Float32[np.ndarray, "W 128"]
) -> Float32[np.ndarray, " W"]:
    """The share of the descriptors whose nearest word, by Euclidean distance, is each one.

    >>> histogram(np.eye(4, 128, dtype=np.float32), np.eye(2, 128, dtype=np.float32)).tolist()
    [0.75, 0.25]
    """
    if not len(descriptors):
        return np.zeros(len(codebook_WD), np.float32)
    nearest = pairwise_distances_argmin(descriptors, codebook_WD)
    return (np.bincount(nearest, minlength=len(codebook_WD)) / len(descriptors)).astype(np.float32)


def require_opencv() -> Any:
    """The module cv2. Raises InputError if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "bof: SIFT needs the package opencv-python-headless; pip install 'gcnxmodal[descriptors]'"
        ) from error
    return cv2


def _sample(
    pictures: Sequence[Path], random: np.random.Generator, pool: Executor
) -> Float32[np.ndarray, "n 128"]:
    """Up to 100 descriptors of each picture."""
    sampled = [np.empty((0, 128), np.float32)]
    described = pool.map(sift, pictures)
    for descriptors in tqdm(described, "SIFT for the codebook", len(pictures), unit="picture", disable=None):
        count = min(CODEBOOK_DESCRIPTORS, len(descriptors))
        sampled.append(descriptors[random.choice(len(descriptors), count, replace=False)])
    return np.concatenate(sampled)


def _code() -> list[str]:
    """What descriptors depend on besides the pictures."""
    return [require_opencv().__version__, *code_of(__file__)]
