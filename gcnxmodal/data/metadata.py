"""The rows of metadata.csv, .jsonl or .parquet: one dict an item, with the same fields in each."""

from __future__ import annotations

import csv
import difflib
import io
import json
from pathlib import Path
from typing import Any

from gcnxmodal.data.files import read_text
from gcnxmodal.errors import InputError

FIELDS = ("file_name", "text", "label", "labels", "split")


def find_metadata(root: Path) -> Path:
    """The one metadata file of a folder.

    Raises:
        InputError: if there is none, or more than one.
    """
    names = [f"metadata{suffix}" for suffix in READERS]
    found = [root / name for name in names if (root / name).is_file()]
    if not found:
        raise InputError(
            f"{root}: there is no {', '.join(names[:-1])} or {names[-1]} in this folder; write one: a row an "
            "item with the fields text, label (or labels), file_name, split"
        )
    if len(found) > 1:
        raise InputError(f"{found[0]}: {found[1].name} is there too; keep one of them")
    return found[0]


def read_metadata(path: Path) -> list[dict[str, Any]]:
    """The rows of a metadata file, checked for their fields, not yet for what is in them.

    Raises:
        InputError: if the file cannot be read, has no row, an unknown field, or rows with different fields.
    """
    rows = READERS[path.suffix](path)
    if not rows:
        raise InputError(f"{path}: there is no row in it; write one an item")
    fields = list(rows[0])
    for field in fields:
        if field not in FIELDS:
            meant = difflib.get_close_matches(str(field), FIELDS, 1)
            hint = f"did you mean '{meant[0]}'? " if meant else ""
            raise InputError(
                f"{path}: the field '{field}' is not known; {hint}the fields are {', '.join(FIELDS)}: rename "
                "or remove it"
            )
    if "text" not in fields:
        raise InputError(f"{path}: there is no field 'text'; add it, a text for each row")
    if ("label" in fields) == ("labels" in fields):
        raise InputError(f"{path}: give either the field 'label' (one class) or 'labels' (several)")
    for number, row in enumerate(rows, 1):
        if set(row) != set(fields):
            field = sorted(set(row) ^ set(fields))[0]
            raise InputError(
                f"{path}: row {number}: the field '{field}' is in some rows only; give every row "
                f"{', '.join(fields)}"
            )
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]]:
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    try:
        header = next(lines, [])
        if len(set(header)) < len(header):
            raise InputError(f"{path}: a field is twice in the header {','.join(header)}; rename one")
        for values in lines:
            if not values:
                continue
            if len(values) != len(header):
                raise InputError(
                    f"{path}: line {lines.line_num} has {len(values)} fields, the header has {len(header)}; "
                    'put texts with commas in "quotes"'
                )
            rows.append(dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise InputError(
            f"{path}: line {lines.line_num}: {error}; mend it, or write metadata.jsonl, which has no limits"
        ) from error
    return rows


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    rows = []
    # Not splitlines(): that also breaks at characters such as U+2028, which JSON strings may hold.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"{path}: line {number} is not JSON ({error}); write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is no JSON object; write one {{...}} a line")
        rows.append(row)
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs the package pyarrow; pip install 'gcnxmodal[parquet]', or write "
            "metadata.jsonl"
        ) from error
    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error}); write it again") from error


READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
