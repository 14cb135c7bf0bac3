"""Search with a trained run: `gcnxmodal search RUN --text "a sentence"`, or `--picture FILE`.

A text finds images, a picture finds texts, among the items that the run was made of. Where the score depends
on the pair (SCANet with two layers or more) a shortlist by inner product is ranked anew by the full score.

With --interactive one process answers many: each line of standard input is a text, or `@FILE` a picture; an
empty line stands after each answer.

RUN may also be an export of a run (`gcnxmodal export`) or a folder that `Retriever.save_pretrained` wrote.
The data set is not needed. `python -m gcnxmodal.search` is the same.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnxmodal.console import say, status_of
from gcnxmodal.data.cache import keep_compiled_programs
from gcnxmodal.errors import InputError
from gcnxmodal.report.values import excerpt
from gcnxmodal.retriever import SHORTLISTS, Hit, Retriever


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which run to search, and for what."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder, as `gcnxmodal train` made it, or an export's or a model's."""
    text: str | None = None
    """Find images for this text."""
    picture: Path | None = None
    """Find texts for this picture; for runs whose image features are made from pictures."""
    interactive: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Answer each line of standard input, until it ends."""
    k: int = 10
    """How many to show."""
    shortlist: int = 100
    """How many are scored pair by pair, where that is needed."""
    among: Literal["all", "train", "validation", "test", "retrieval"] = "all"
    """Which items of the corpus are searched."""
    prefer: Literal["pair", "class"] | None = None
    """Of a run of `joint` with labels: what to look for, the item that belongs to the query or items of its
    kind. By default both, as the run mixes them."""
    weights: Path | None = None
    """With --picture: the weights of the network that made the run's features, as `gcnxmodal.features` had
    them; those of efficientnet-lite0 come with a package."""
    root: Path | None = None
    """Folder of the data set, if it has moved: for a run that was stopped, or is of an older version."""


def run(arguments: Arguments) -> list[Hit]:
    """The best items, best first, of the last question; printed too.

    Raises:
        InputError: if the run or export cannot be read, not one of text, picture and interactive is given,
            the text holds no word of the vocabulary, or the run's image features cannot be made from a
            picture.
    """
    if (arguments.text is not None) + (arguments.picture is not None) + arguments.interactive != 1:
        raise InputError("give one of --text, --picture and --interactive")
    for option in ("k", "shortlist"):
        if getattr(arguments, option) < 1:
            raise InputError(f"--{option} is {getattr(arguments, option)}; it must be at least 1")
    retriever = Retriever.from_pretrained(arguments.run, root=arguments.root, report=say)
    retriever.weights = arguments.weights
    if retriever.model.bits is not None:
        say(f"score: {retriever.model.bits} bits - 2 x Hamming distance")
    elif retriever.about["score"] == SHORTLISTS and retriever.database.kind == "embeddings":
        say("note: scores are those that shortlist; search the run itself for the full ones")
    if not arguments.interactive:
        return _answer(retriever, arguments, arguments.text, arguments.picture)
    hits: list[Hit] = []
    if sys.stdin.isatty():
        say("a text a line, or @FILE for a picture; Ctrl-D ends")
    for line in sys.stdin:
        asked = line.strip().encode(errors="replace").decode()
        if not asked:
            continue
        picture = Path(asked[1:]).expanduser() if asked.startswith("@") else None
        try:
            hits = _answer(retriever, arguments, None if picture else asked, picture)
        except InputError as error:  # of one question; the next may be better
            say(f"error: {error}")
        say("")
    return hits


def _answer(retriever: Retriever, arguments: Arguments, text: str | None, picture: Path | None) -> list[Hit]:
    """What is found for one question; printed too."""
    for word, read_as in retriever.words_read(text or "").items():
        say(f"'{word}' is not among the run's words; read as {', '.join(read_as)}")
    hits = retriever.search(
        text,
        image=picture,
        k=arguments.k,
        among=arguments.among,
        shortlist=arguments.shortlist,
        prefer=arguments.prefer,
    )
    for rank, hit in enumerate(hits, 1):
        labels = f"{', '.join(hit.labels):<24}  " if retriever.about["class_names"] else ""
        found = f"{hit.picture or hit.id}  {excerpt(hit.text, 60)}{_own(hit)}"
        say(f"{rank:>3}  {hit.score:>10.4g}  {labels}{found}")
    return hits


def _own(hit: Hit) -> str:
    """The fields of the user's own that a hit has."""
    own = {name: value for name, value in hit.metadata.items() if name not in ("row", "splits")}
    return f"  ({excerpt(', '.join(f'{name}: {value}' for name, value in own.items()), 80)})" if own else ""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad arguments or data."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = tyro.cli(Arguments, prog="python -m gcnxmodal.search", description=__doc__, args=arguments)
    keep_compiled_programs()
    return status_of(lambda: run(parsed), "gcnxmodal.search", arguments)


if __name__ == "__main__":
    sys.exit(main())
