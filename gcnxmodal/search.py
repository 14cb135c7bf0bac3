"""Ask a trained run: `python -m gcnxmodal.search RUN --text "a sentence"`, or `--picture FILE`.

A text finds images of the run's corpus, a picture finds texts. Where the score depends on the pair (SCANet
with two layers or more) a shortlist by inner product is ranked anew by the full score.
"""

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from gcnxmodal.compilation import keep_compiled_programs
from gcnxmodal.console import say, status_of
from gcnxmodal.data.cache import cache_dir
from gcnxmodal.data.from_pictures import FROM_PICTURES, images_from
from gcnxmodal.data.raster import rasterise
from gcnxmodal.errors import InputError
from gcnxmodal.experiments.finished_run import FinishedRun, restore
from gcnxmodal.experiments.retriever import Retriever
from gcnxmodal.report.values import excerpt


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which run to ask, and what."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder, as `gcnxmodal.train` made it."""
    text: str | None = None
    """Find images for this text."""
    picture: Path | None = None
    """Find texts for this picture; for runs whose image features are made from pictures."""
    k: int = 10
    """How many to show."""
    shortlist: int = 100
    """How many are scored pair by pair, where that is needed."""
    among: Literal["all", "train", "test"] = "all"
    """Which items of the corpus are searched."""
    root: Path | None = None
    """Folder of the data set, if it has moved since."""


@dataclasses.dataclass(frozen=True)
class Found:
    """An item that was found: its row in the corpus and its score."""

    row: int
    score: float


def run(arguments: Arguments) -> list[Found]:
    """The best items, best first; printed too.

    Raises:
        InputError: if the run cannot be restored, not one of text and picture is given, the text holds no
            word of the vocabulary, or the run's image features cannot be made from a picture.
    """
    if (arguments.text is None) == (arguments.picture is None):
        raise InputError("give one of --text and --picture")
    for option in ("k", "shortlist"):
        if getattr(arguments, option) < 1:
            raise InputError(f"--{option} is {getattr(arguments, option)}; it must be at least 1")
    run = restore(arguments.run, arguments.root, say)
    corpus, retriever = run.system.inputs.corpus, Retriever(run.system, run.params)
    rows = np.arange(len(corpus)) if arguments.among == "all" else corpus.splits[arguments.among]
    if arguments.picture is None:
        features = retriever.encode_new_text(arguments.text or ""), retriever.encode_images(rows)
        by = "text"
    else:
        asked = retriever.encode_new_image(_image(run, arguments.picture))
        features, by = (retriever.encode_texts(rows), asked), "image"
    indices, scores = retriever.search(features, arguments.k, by=by, shortlist=arguments.shortlist)
    found = [Found(int(rows[i]), float(s)) for i, s in zip(indices[0], scores[0], strict=True)]
    for rank, one in enumerate(found, 1):
        classes = ", ".join(corpus.class_names[c] for c in np.flatnonzero(corpus.labels[one.row]))
        picture = corpus.pictures[one.row] if corpus.pictures else f"item {one.row}"
        say(f"{rank:>3}  {one.score:>10.4g}  {classes:<24}  {picture}  {excerpt(corpus.texts[one.row], 60)}")
    return found


def _image(run: FinishedRun, picture: Path) -> np.ndarray:
    """What stands for a picture in the corpus of this run, [1, ...], before it is scaled."""
    feature = run.system.experiment.data.image_feature
    if feature not in FROM_PICTURES:
        raise InputError(
            f"{run.folder.path}: its images are '{feature}', which is not made from a picture here; only "
            f"runs with {' or '.join(FROM_PICTURES)} can be asked with --picture"
        )
    resolution = run.system.inputs.corpus.provenance["options"]["resolution"]
    with tempfile.TemporaryDirectory() as folder:
        if picture.suffix == ".svg":  # as the emoji corpus has them
            [picture] = rasterise([picture], resolution, Path(folder), progress=False)
        return images_from([picture], feature, resolution, cache_dir=cache_dir())


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad arguments or data."""
    parsed = tyro.cli(Arguments, prog="python -m gcnxmodal.search", description=__doc__, args=arguments)
    keep_compiled_programs()
    return status_of(lambda: run(parsed))


if __name__ == "__main__":
    sys.exit(main())
