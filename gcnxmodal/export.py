"""Take what a run has learnt elsewhere: `python -m gcnxmodal.export RUN --to {npz,faiss,safetensors}`."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnxmodal.compilation import keep_compiled_programs
from gcnxmodal.console import say, status_of
from gcnxmodal.encoder import SHORTLISTS
from gcnxmodal.finished_run import restore
from gcnxmodal.retrieval.nearest import require_faiss
from gcnxmodal.stores.export import check_free, rows_among, write_export

_DESCRIPTION = """Write the embeddings of a run's items (of a hashing system, their codes as packed bits) and
its encoders into a folder that needs neither the run nor its data set.

The folder has items.jsonl (line i: id, text, labels and splits of item i); a row an item of texts and one of
images, as the format keeps them; and encoder/, which makes such a row of a new text or picture:

  npz           embeddings.npz, arrays `texts` and `images` (codes.npz of a hashing system)
  safetensors   embeddings.safetensors (codes.safetensors), the same arrays
  faiss         texts.faiss and images.faiss, flat indices by inner product (codes: binary);
                pip install 'gcnxmodal[faiss]'

Then:

  python -m gcnxmodal.search RUN/export-npz --text "a smiling cat"

  >>> from gcnxmodal.stores.export import Export
  >>> Export.load(Path("RUN/export-npz")).encoder.encode_texts(["a smiling cat"])

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
    among: Literal["all", "train", "test", "retrieval"] = "all"
    """Which items of the corpus."""
    root: Path | None = None
    """Folder of the data set, if it has moved since."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace an export that is there."""


def run(arguments: Arguments) -> Path:
    """Do what the command line says; returns the folder written, whole or not at all.

    Raises:
        InputError: if the run cannot be restored, the corpus has no such items, the folder may not be
            written, or the package that a format needs is not installed.
    """
    if arguments.to == "faiss":
        require_faiss("--to faiss")
    out = arguments.out or arguments.run / f"export-{arguments.to}"
    check_free(out, overwrite=arguments.overwrite)
    run = restore(arguments.run, arguments.root, say)
    items = len(rows_among(run.system.inputs.corpus, arguments.among))
    say(f"{arguments.run}: {run.system.title} after {run.step:,} steps; encoding {items:,} items")
    about = write_export(out, run, to=arguments.to, among=arguments.among, overwrite=arguments.overwrite)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        say(f"  {path.relative_to(out)!s:<34}{_size(path.stat().st_size):>10}")
    size = f"{about['bits']} bits" if about["rows"] == "codes" else f"{about['dimension']:,} numbers"
    say(f"{out}: texts and images of {items:,} items, {about['rows']} of {size} each")
    if about["score"] == SHORTLISTS:
        say(
            "note: with two or more layers of co-attention the score depends on the pair. The inner product "
            "of these embeddings only shortlists; gcnxmodal.search of the run itself has the full score"
        )
    say(f'ask it: python -m gcnxmodal.search {out} --text "..."')
    return out


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad arguments or data."""
    parsed = tyro.cli(Arguments, prog="python -m gcnxmodal.export", description=_DESCRIPTION, args=arguments)
    keep_compiled_programs()
    return status_of(lambda: run(parsed))


if __name__ == "__main__":
    sys.exit(main())
