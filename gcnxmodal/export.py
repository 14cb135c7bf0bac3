"""Write embeddings or codes and the model of a run elsewhere: `gcnxmodal export RUN --to npz`.

An export is a folder: export.json says what is in it; `stores/files.py` and `retriever.py` tell the rest.
`python -m gcnxmodal.export` is the same.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gcnxmodal.console import say, status_of
from gcnxmodal.data.cache import keep_compiled_programs
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.nearest import require_faiss
from gcnxmodal.retriever import EXPORT, SHORTLISTS, Retriever
from gcnxmodal.runs import check_writable, write_json
from gcnxmodal.stores.files import FORMATS, replacing_folder, rows_among, without_pictures, write_items

_DESCRIPTION = """Write the embeddings of a run's items (of a hashing system, their codes as packed bits) and
its model into a folder that needs neither the run nor its data set.

The folder has items.jsonl (line i: id, text, labels and splits of item i); a row an item of texts and one of
images, as the format keeps them; and model/, which makes such a row of a new text or picture:

  npz           embeddings.npz, arrays `texts` and `images` (codes.npz of a hashing system)
  safetensors   embeddings.safetensors (codes.safetensors), the same arrays
  faiss         texts.faiss and images.faiss, flat indices by inner product (codes: binary);
                pip install 'gcnxmodal[faiss]'

Then:

  gcnxmodal search RUN/export-npz --text "a smiling cat"

  >>> from gcnxmodal import Retriever
  >>> Retriever.from_pretrained("RUN/export-npz").encode_text(["a smiling cat"])

docs/export.md is a worked example."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which run, and where to."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder, as `gcnxmodal.train` made it."""
    to: Literal["npz", "faiss", "safetensors"]
    """How the rows are kept."""
    out: Path | None = None
    """The folder to make; by default export-FORMAT in the run's."""
    among: Literal["all", "train", "validation", "test", "retrieval"] = "all"
    """Which items of the corpus."""
    root: Path | None = None
    """Folder of the data set, if it has moved since."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace an export that is there."""


def run(arguments: Arguments) -> Path:
    """Do what the command line says; returns the folder written, whole or not at all.

    Raises:
        InputError: if the run cannot be read, it has no such items, the folder may not be written, or the
            package that a format needs is not installed.
    """
    if arguments.to == "faiss":
        require_faiss("--to faiss")
    out = arguments.out or arguments.run / f"export-{arguments.to}"
    check_writable(out, "export", EXPORT, "--out", overwrite=arguments.overwrite)
    retriever = Retriever.from_pretrained(arguments.run, root=arguments.root, report=say)
    about = write_export(out, retriever, to=arguments.to, among=arguments.among)
    say(f"{arguments.run}: {about['system']} after {about['checkpoint']:,} steps")
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        say(f"  {path.relative_to(out)!s:<34}{_size(path.stat().st_size):>10}")
    size = f"{about['bits']} bits" if about["rows"] == "codes" else f"{about['dimension']:,} numbers"
    say(f"{out}: texts and images of {about['items']:,} items, {about['rows']} of {size} each")
    if about["score"] == SHORTLISTS:
        say(
            "note: with two or more layers of co-attention the score depends on the pair. The inner product "
            "of these embeddings only shortlists; `gcnxmodal search` of the run itself has the full score"
        )
    if retriever.reading.text_features is None:
        say(f'search it: gcnxmodal search {out} --text "..."')
    return out


def write_export(out: Path, retriever: Retriever, *, to: str, among: str) -> dict[str, Any]:
    """Write the items of a model and the model itself, whole or not at all; returns what export.json says.

    Raises:
        InputError: if the folder cannot be written, or there are no such items.
    """
    rows = rows_among(retriever.items, among)
    if not len(rows):
        splits = dict.fromkeys(name for item in retriever.items for name in item["splits"])
        raise InputError(f"--among is {among}; this run has all, {', '.join(splits)}: choose one")
    database = retriever.embeddings(retriever.database).take(rows)
    items = without_pictures([retriever.items[row] for row in rows.tolist()])
    kept = ("format", "system", "preset", "checkpoint", "source", "commit", "rows", "score")
    width = ("bits", "layout") if database.kind == "codes" else ("dimension",)
    about = {name: retriever.about[name] for name in (*kept, *width)}
    about |= {"to": to, "among": among, "items": len(rows)}
    with replacing_folder(out) as folder:
        retriever.without_items().save_pretrained(folder / "model")
        FORMATS[to].write(folder, database.kind, {"texts": database.texts, "images": database.images})
        write_items(folder, items)
        write_json(folder / EXPORT, about)
    return about


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad arguments or data."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = tyro.cli(Arguments, prog="python -m gcnxmodal.export", description=_DESCRIPTION, args=arguments)
    keep_compiled_programs()
    return status_of(lambda: run(parsed), "gcnxmodal.export", arguments)


if __name__ == "__main__":
    sys.exit(main())
