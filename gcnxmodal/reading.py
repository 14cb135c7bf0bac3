"""From new texts and images to what the paths read: the statistics of a corpus, without the corpus."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from gcnxmodal.data.cache import cache_dir
from gcnxmodal.data.picture_features import FROM_PICTURES, images_from
from gcnxmodal.data.pictures import rasterise
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Vocabulary, weighted

COUNTED = ("gcn", "counts")
"""Text paths that read counts; the others read words in order."""


@dataclasses.dataclass(frozen=True)
class TextReader:
    """Texts to what a text path reads of them; see `inputs.Inputs.texts`.

    Attributes:
        vocabulary: the words, in the order of the graph if there is one.
        weighting: of the counts; None for words in order.
        idf: what "tfidf" takes from the training texts.
        length: words in order that are read of a text.
        width: words that a row has room for, the most of a text of the corpus; longer texts make more.
    """

    vocabulary: Vocabulary
    weighting: str | None
    idf: Float[np.ndarray, " N"] | None
    length: int
    width: int

    def __call__(self, texts: Sequence[str]) -> sp.csr_array | np.ndarray:
        """The rows of some texts.

        Raises:
            InputError: if a text has no word of the vocabulary.
        """
        counts = self.vocabulary.counts(texts)
        empty = np.flatnonzero(np.diff(counts.indptr) == 0)
        if len(empty):
            where = f" (text {empty[0]} of {len(texts):,})" if len(texts) > 1 else ""
            raise InputError(
                f"'{texts[empty[0]]}'{where}: none of its words is among the {len(self.vocabulary):,} of the "
                "run; use other words"
            )
        if self.weighting is not None:
            return weighted(counts, self.weighting, self.idf)
        return word_numbers(self.vocabulary, texts, self.length, self.width)


@dataclasses.dataclass(frozen=True)
class ImageScaler:
    """(images - mean) / divisor, by statistics of the training items; without them, images as they are."""

    mean: Float[np.ndarray, " d"] | None = None
    divisor: Float[np.ndarray, "..."] | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The scaled images [n, ...]."""
        return images if self.mean is None else (images - self.mean) / self.divisor


class Reading(NamedTuple):
    """How texts, and images as a corpus has them, are read."""

    texts: TextReader
    images: ImageScaler


def word_numbers(
    vocabulary: Vocabulary, texts: Sequence[str], length: int, width: int = 0
) -> Int[np.ndarray, "n L"]:
    """The first `length` words of each text by number, int32, filled up with -1 to at least `width`."""
    rows = [row[:length] for row in vocabulary.sequences(texts)]
    words = np.full((len(rows), max(width, *map(len, rows))), -1, np.int32)
    for number, row in enumerate(rows):
        words[number, : len(row)] = row
    return words


def read_pictures(
    pictures: Sequence[Path], image_feature: str, resolution: int | None, source: str
) -> np.ndarray:
    """Picture files as a corpus has them: features or pixels, [n, ...], before they are scaled.

    Raises:
        InputError: if this image feature is not made from pictures here, or one cannot be read; `source`
            names the run.
    """
    if image_feature not in FROM_PICTURES or resolution is None:
        raise InputError(
            f"{source}: its images are '{image_feature}', which is not made from a picture here; only "
            f"those with {' or '.join(FROM_PICTURES)} can be asked with a picture"
        )
    with tempfile.TemporaryDirectory() as folder:
        files = list(pictures)
        for number, picture in enumerate(files):
            if picture.suffix == ".svg":  # as the emoji corpus has them; two may have one name
                own = Path(folder) / str(number)
                [files[number]] = rasterise([picture], resolution, own, progress=False)
        return images_from(files, image_feature, resolution, cache_dir=cache_dir())
