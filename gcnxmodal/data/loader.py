"""The steps that every loader shares: from the items that it has chosen to a Corpus, cached."""

import contextlib
import dataclasses
import hashlib
import json
import os
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gcnxmodal.corpus import Corpus
from gcnxmodal.data.arrays import made_with
from gcnxmodal.data.cache import cached_corpus, corpus_path
from gcnxmodal.data.files import from_root, require_file
from gcnxmodal.data.picture_features import broken_pictures, images_from, resolution_for
from gcnxmodal.data.pictures import BrokenPictures
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer, Vocabulary


class Shared(typing.TypedDict):
    """Arguments of every loader that it only passes on to `load_items`."""

    words: int
    """Size of the vocabulary: the most common words of the training texts."""
    tokenizer: Tokenizer
    cache_dir: Path
    skip_broken: typing.NotRequired[bool]
    """Go on without the items whose pictures cannot be read."""


@dataclasses.dataclass(frozen=True)
class Items:
    """The n items that a loader has chosen, in order, and read but for their images.

    Attributes:
        pictures: the picture files; None where one is missing, which is possible only with `features`.
        features: returns float32 [n, d] or uint8 [n, R, R, 3]; None where they are made from `pictures`.
        groups: n names; items of one name belong together, and must lie on one side of the split.
        provenance: what is worth telling of the choice (JSON values).
        text_features: dense features of the texts, if there are any.
        metadata: n times what the user says of an item besides (JSON values), if anything.
    """

    texts: Sequence[str]
    labels: Bool[np.ndarray, "n C"]
    class_names: Sequence[str]
    splits: dict[str, Int[np.ndarray, " rows"]]
    pictures: Sequence[Path] | None
    features: Callable[[], np.ndarray] | None
    groups: Sequence[str] | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    text_features: Float[np.ndarray, "n e"] | None = None
    metadata: Sequence[Mapping[str, Any]] | None = None

    def without(self, pictures: Collection[Path]) -> "Items":
        """Those that are not of these pictures, with the classes that they have."""
        assert self.pictures is not None
        stays = np.array([picture not in pictures for picture in self.pictures])
        rows = np.flatnonzero(stays)
        new_row = np.cumsum(stays) - 1
        labels = self.labels[rows]
        used = np.flatnonzero(labels.any(axis=0))

        def chosen(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows.tolist()]

        return dataclasses.replace(
            self,
            texts=chosen(self.texts),
            labels=labels[:, used],
            class_names=[self.class_names[number] for number in used.tolist()],
            splits={name: new_row[of[stays[of]]] for name, of in self.splits.items()},
            pictures=chosen(self.pictures),
            groups=chosen(self.groups),
            text_features=None if self.text_features is None else self.text_features[rows],
            metadata=chosen(self.metadata),
        )


class ImageSource(typing.NamedTuple):
    """What the images of a corpus are made of: pictures, or else arrays."""

    image_feature: str
    """As the user calls it."""
    resolution: int | None
    """Side in pixels of images that are made from pictures; None for others."""
    file: Path | None
    """Of features; None for pictures."""

    def files(self, pictures: Sequence[Path] | None = None) -> list[Path]:
        """The files that the images depend on, `pictures` being those there are."""
        return [self.file] if self.file else list(pictures or [])


def load_items(
    loader: str,
    read: Callable[[], Items],
    images: ImageSource,
    options: dict[str, Any],
    sources: Any,
    about: dict[str, Any],
    *,
    root: Path | None,
    words: int,
    tokenizer: Tokenizer,
    cache_dir: Path,
    skip_broken: bool = False,
) -> Corpus:
    """The corpus of what `read` returns, from the cache if it was made before.

    Args:
        loader: its name, in that of the cached file.
        read: is called only if the corpus is not in the cache.
        options: the loader's own (JSON values).
        sources: what identifies the data read, such as the `fingerprint` of the files.
        about: opens the provenance; at least `source` and `licence` (JSON values).

    Raises:
        InputError: as `read` and `assemble` do, or if a picture cannot be read and is not to be skipped.
    """
    if skip_broken and images.resolution is None:
        raise InputError(
            f"--data.skip-broken is set, but --data.image-feature {images.image_feature} is not made from "
            "pictures here; leave it out"
        )
    described = {
        **({} if root is None else {"root": os.path.abspath(root)}),
        "words": words,
        "tokenizer": dataclasses.asdict(tokenizer),
        "image_feature": images.image_feature,
        "resolution": images.resolution,
        **({"skip_broken": True} if skip_broken else {}),
        **options,
    }

    def make() -> Corpus:
        items = read()
        made = images.file and made_with(images.file)
        made, left_out = {"made_with": made} if made else {}, {}
        if skip_broken and items.pictures and (broken := broken_pictures(items.pictures, cache_dir)):
            if len(broken.faults) == len(set(items.pictures)):
                raise broken
            items = items.without(broken.faults)
            left_out = {"left_out": str(broken).rpartition("\n")[0] or str(broken).rpartition("; ")[0]}

        def from_pictures() -> np.ndarray:
            assert items.pictures is not None
            assert images.resolution is not None
            with offering_to_skip():
                return images_from(
                    items.pictures, images.image_feature, images.resolution, cache_dir=cache_dir
                )

        return assemble(
            items,
            items.features or from_pictures,
            words=words,
            tokenizer=tokenizer,
            provenance={**about, "options": described, **items.provenance, **left_out, **made},
        )

    corpus = cached_corpus(corpus_path(cache_dir, loader, described, sources), make)
    if "left_out" in corpus.provenance:
        print(f"going on without the items of broken pictures: {corpus.provenance['left_out']}")
    return corpus


@contextlib.contextmanager
def offering_to_skip() -> Iterator[None]:
    """Where pictures are found broken, name the option that goes on without them."""
    try:
        yield
    except BrokenPictures as broken:
        raise InputError(f"{broken}, or go on without them by --data.skip-broken") from broken


def image_source(
    root: Path,
    image_feature: str,
    resolution: int | None,
    loader: str,
    fix: str,
    named: Mapping[str, str] = types.MappingProxyType({"features": "features.npz"}),
) -> ImageSource:
    """What the images are made of, as `--data.image-feature` and `--data.resolution` say.

    Args:
        resolution: the one asked for, if any.
        fix: says how to get the file.
        named: files in `root` by the values of `--data.image-feature` that stand for them; other values are
            those of FROM_PICTURES, and paths of `.npz` files, see `from_root`.

    Raises:
        InputError: for another value, in which `loader` is named, a missing file, or a resolution of it.
    """
    if (side := resolution_for(image_feature, resolution)) is not None:
        return ImageSource(image_feature, side, None)
    if image_feature in named:
        return ImageSource(image_feature, None, require_file(root / named[image_feature], fix))
    if not image_feature.endswith(".npz"):
        known = ", ".join(f"'{value}' ({file})" for value, file in named.items())
        raise InputError(
            f"--data.image-feature is '{image_feature}'; {loader} has {known}, 'efficientnet-lite0', "
            "'pixels' or the path of an .npz file"
        )
    return ImageSource(image_feature, None, require_file(from_root(root, image_feature), fix))


def pictures_of(paths: Sequence[Path], needed: bool = False, fix: str = "") -> Sequence[Path] | None:
    """`paths` if all of them are files, else None; if `needed`, an InputError that names the one missing."""
    if needed:
        for path in paths:
            require_file(path, fix)
    return paths if needed or all(path.is_file() for path in paths) else None


def assemble(
    items: Items,
    images: Callable[[], np.ndarray],
    *,
    words: int,
    tokenizer: Tokenizer,
    provenance: dict[str, Any],
) -> Corpus:
    """A validated corpus whose vocabulary is the `words` most common words of the training texts.

    Args:
        images: called once all else is found good, in place of `items.features`.
        provenance: JSON values, in place of the items'; `source` opens every error message. A `hash` is
            added: of the `items` (texts, labels, splits) and of the `images` (bit for bit, so it may differ
            between machines that computed the features themselves).

    Raises:
        InputError: if the training texts hold no word, or Corpus refuses the result.
    """
    texts, groups = items.texts, items.groups
    try:
        # The only place where a vocabulary is fitted for a corpus: nothing but training texts goes in.
        vocabulary = Vocabulary.fit([texts[int(row)] for row in items.splits["train"]], words, tokenizer)
    except InputError as error:
        raise InputError(f"{provenance['source']}: {error}") from error
    described = Corpus(
        images=np.empty((len(texts), 0), np.float32),
        counts=vocabulary.counts(texts),
        labels=items.labels,
        class_names=tuple(items.class_names),
        splits=items.splits,
        vocabulary=vocabulary,
        provenance=provenance,
        texts=tuple(texts),
        pictures=None if items.pictures is None else tuple(map(str, items.pictures)),
        groups=None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1],
        text_features=items.text_features,
        metadata=None if items.metadata is None else tuple(items.metadata),
    )
    features = images()
    hashes = {"items": hash_items(described), "images": _hash_images(features)}
    return dataclasses.replace(described, images=features, provenance={**provenance, "hash": hashes})


def _hash_images(features: np.ndarray) -> str:
    # Not `tobytes`, which copies: pixels may be many gigabytes.
    return hashlib.sha256(np.ascontiguousarray(features).reshape(-1).view(np.uint8).data).hexdigest()


def hash_items(corpus: Corpus) -> str:
    """Of texts, labels and splits."""
    splits = {name: rows.tolist() for name, rows in corpus.splits.items()}
    described = json.dumps([corpus.texts, corpus.class_names, splits], sort_keys=True)
    digest = hashlib.sha256(described.encode() + corpus.labels.tobytes())
    if not corpus.labelled:
        digest.update(corpus.group_ids.tobytes())
    if corpus.text_features is not None:
        digest.update(corpus.text_features.tobytes())
    return digest.hexdigest()
