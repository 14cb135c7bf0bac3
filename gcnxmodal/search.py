"""Ask a trained run: `python -m gcnxmodal.search RUN --text "a sentence"`, or `--picture FILE`.

A text finds images of the run's corpus, a picture finds texts. Where the score depends on the pair (SCANet
with two layers or more) a shortlist by inner product is ranked anew by the full score.

An export of the run (`gcnxmodal.export`) can be asked too, without the run and its data set.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from gcnxmodal.compilation import keep_compiled_programs
from gcnxmodal.console import say, status_of
from gcnxmodal.encoder import SHORTLISTS
from gcnxmodal.errors import InputError
from gcnxmodal.finished_run import restore
from gcnxmodal.reading import read_pictures
from gcnxmodal.report.values import excerpt
from gcnxmodal.retriever import Retriever
from gcnxmodal.stores.export import Export, describe_items, is_export, rows_among


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which run to ask, and what."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder, as `gcnxmodal.train` made it, or an export's."""
    text: str | None = None
    """Find images for this text."""
    picture: Path | None = None
    """Find texts for this picture; for runs whose image features are made from pictures."""
    k: int = 10
    """How many to show."""
    shortlist: int = 100
    """How many are scored pair by pair, where that is needed."""
    among: Literal["all", "train", "test", "retrieval"] = "all"
    """Which items of the corpus are searched."""
    root: Path | None = None
    """Folder of the data set, if it has moved since."""


@dataclasses.dataclass(frozen=True)
class Found:
    """An item that was found: its row in the corpus and its score."""

    row: int
    score: float


_OF_CODES = "score: {bits} bits - 2 x Hamming distance"


def run(arguments: Arguments) -> list[Found]:
    """The best items, best first; printed too.

    Raises:
        InputError: if the run or export cannot be read, not one of text and picture is given, the text holds
            no word of the vocabulary, or the run's image features cannot be made from a picture.
    """
    if (arguments.text is None) == (arguments.picture is None):
        raise InputError("give one of --text and --picture")
    for option in ("k", "shortlist"):
        if getattr(arguments, option) < 1:
            raise InputError(f"--{option} is {getattr(arguments, option)}; it must be at least 1")
    found = _ask_export(arguments) if is_export(arguments.run) else _ask_run(arguments)
    for rank, (one, item) in enumerate(found, 1):
        classes = ", ".join(item["labels"])
        text = excerpt(item["text"], 60)
        say(f"{rank:>3}  {one.score:>10.4g}  {classes:<24}  {item['picture']}  {text}")
    return [one for one, _ in found]


def _ask_run(arguments: Arguments) -> list[tuple[Found, dict[str, Any]]]:
    run = restore(arguments.run, arguments.root, say)
    system, retriever = run.system, Retriever(run.system, run.params)
    corpus = system.inputs.corpus
    rows = rows_among(corpus, arguments.among)
    if arguments.picture is None:
        features = retriever.encode_new_text(arguments.text or ""), retriever.encode_images(rows)
        by = "text"
    else:
        feature = system.experiment.data.image_feature
        resolution = corpus.provenance.get("options", {}).get("resolution")
        image = read_pictures([arguments.picture], feature, resolution, str(run.folder.path))
        features, by = (retriever.encode_texts(rows), retriever.encode_new_image(image)), "image"
    if system.hashes:
        say(_OF_CODES.format(bits=system.experiment.model.bits))
    indices, scores = retriever.search(features, arguments.k, by=by, shortlist=arguments.shortlist)
    found = [Found(int(rows[i]), float(s)) for i, s in zip(indices[0], scores[0], strict=True)]
    items = describe_items(corpus, np.array([one.row for one in found], int))
    for item in items:
        item["picture"] = corpus.pictures[item["row"]] if corpus.pictures else f"item {item['row']}"
    return list(zip(found, items, strict=True))


def _ask_export(arguments: Arguments) -> list[tuple[Found, dict[str, Any]]]:
    if arguments.root is not None:
        raise InputError(f"--root is {arguments.root}, but an export needs no data set; leave it out")
    export = Export.load(arguments.run)
    rows = np.flatnonzero([arguments.among in ("all", *item["splits"]) for item in export.items])
    if not len(rows):
        raise InputError(f"{arguments.run}: has no item of --among {arguments.among}; leave it out")
    if export.about["score"] == SHORTLISTS:
        say("note: scores are those that shortlist; ask the run for the full ones")
    if "bits" in export.about:
        say(_OF_CODES.format(bits=export.about["bits"]))
    if arguments.picture is None:
        query, by = export.encoder.encode_texts([arguments.text or ""], batch=1), "text"
    else:
        query, by = export.encoder.encode_images([arguments.picture], batch=1), "image"
    indices, scores = export.search(query, arguments.k, by=by, rows=rows)
    items = [export.items[index] | {"picture": export.items[index]["id"]} for index in indices[0]]
    found = [Found(item["row"], float(score)) for item, score in zip(items, scores[0], strict=True)]
    return list(zip(found, items, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad arguments or data."""
    parsed = tyro.cli(Arguments, prog="python -m gcnxmodal.search", description=__doc__, args=arguments)
    keep_compiled_programs()
    return status_of(lambda: run(parsed))


if __name__ == "__main__":
    sys.exit(main())
