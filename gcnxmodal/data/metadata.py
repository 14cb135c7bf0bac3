"""What a user's folder says of its items, in any of its layouts, as rows with known fields.

metadata.csv | .tsv | .json | .jsonl | .parquet
                                   a row an item, see `FIELDS`; other fields are the user's own and kept
train/, test/                      each with a metadata file of its own, in place of the field split
captions.txt | captions.csv        `image,caption`, several rows a picture: Flickr8k's and Flickr30k's layout
results.csv                        `image_name| comment_number| comment`: Flickr30k's own
state.json | dataset_dict.json     a data set that the Hugging Face library `datasets` saved to disk
*.parquet, data/*.parquet          its shards, with the bytes of the pictures in them
"""

import csv
import difflib
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gcnxmodal.data.cache import cached_file
from gcnxmodal.data.files import (
    check_promise,
    fingerprint,
    is_inside,
    parse_json,
    read_bytes,
    read_text,
    refused,
)
from gcnxmodal.errors import InputError

FIELDS = ("file_name", "text", "texts", "label", "labels", "split", "group")
CAPTIONS = ("captions.txt", "captions.csv", "results.csv")
SAVED = ("dataset_dict.json", "state.json")
_FLICKR_LISTS = {"train": "trainImages", "val": "devImages", "test": "testImages"}
_FLICKR_FOLDERS = ("Images", "images", "Flicker8k_Dataset", "flickr30k_images")
PARTS = ("train", "val", "test")
_PART_NAMES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}
_PART_NAMES |= {name: name for name in PARTS}
_BETWEEN = {",": "commas", ";": "semicolons", "\t": "tabs"}
_IMAGE_NAMES, _CAPTION_NAMES = ("image", "image_name"), ("caption", "comment")


class FieldNames(NamedTuple):
    """Fields that the user names, by `--data.text-field` and its like; None where they are found."""

    text: str | None = None
    picture: str | None = None
    label: str | None = None
    split: str | None = None


class _Kind(NamedTuple):
    """Something that a field may say, under its own names or, where these are missing, one of the others."""

    option: str
    own: tuple[str, ...]
    others: tuple[str, ...] = ()
    choose: str = ""


_KINDS = {
    "text": _Kind(
        "text", ("text", "texts"), ("caption", "captions", "title", "description"), "'text' or 'texts'"
    ),
    "file_name": _Kind("picture", ("file_name",), ("image", "file", "path", "filename")),
    "label": _Kind("label", ("label", "labels"), choose="'label' (one class) or 'labels' (several)"),
    "split": _Kind("split", ("split",)),
}


class _Source:
    """How the user's text files are read, and what was done to them, in sentences."""

    def __init__(self, encoding: str | None = None):
        self.encoding = encoding
        self.notes: list[str] = []

    def text(self, path: Path) -> str:
        """The whole of a text file: UTF-8, UTF-16 that says so, or in the encoding that the user names."""
        if self.encoding is None:
            content = read_bytes(path)
            if content.startswith((b"\xff\xfe", b"\xfe\xff")):
                self.notes.append(f"{path}: read as UTF-16")
                return self._decoded(content, "utf-16", path)
            try:
                return read_text(path)
            except InputError as error:
                likely = _likely_encoding(content)
                raise InputError(f"{error}, or if it is {likely}, add --data.encoding {likely}") from error
        return self._decoded(read_bytes(path), self.encoding, path)

    def _decoded(self, content: bytes, encoding: str, path: Path) -> str:
        try:
            return content.decode(encoding).removeprefix("\ufeff")
        except LookupError as error:
            raise InputError(
                f"--data.encoding is '{encoding}', which Python does not know; write one such as cp1252"
            ) from error
        except ValueError as error:
            raise InputError(
                f"{path}: is not {encoding} ({error}); mend it, or name another --data.encoding"
            ) from error


def _likely_encoding(content: bytes) -> str:
    """Of text that is not UTF-8: GBK has its bytes above 127 in pairs, the western languages one by one.

    >>> _likely_encoding("café crème".encode("cp1252")), _likely_encoding("红色的鱼".encode("gbk"))
    ('cp1252', 'gb18030')
    """
    high = sum(byte > 127 for byte in content)
    pairs = sum(len(run) // 2 * 2 for run in re.findall(rb"[\xa1-\xfe]{2,}", content))
    try:
        content.decode("gb18030")
    except UnicodeDecodeError:
        return "cp1252"
    return "gb18030" if pairs > 0.7 * high else "cp1252"


class Rows(NamedTuple):
    """The rows of a folder.

    Attributes:
        source: the file they come from.
        files: all files that decide them.
        rows: of each, by field: `text`, a list of texts; `file_name`; `label` or `labels`; `split`; `group`;
            where the folder has them; and `metadata`, the user's own fields (JSON values).
        noted: what was read otherwise than written: fields under other names, a table with semicolons.
    """

    source: Path
    files: list[Path]
    rows: list[dict[str, Any]]
    noted: Sequence[str] = ()


def find_source(root: Path) -> Path | None:
    """The file by which a folder says what its items are, or the first of its parts; None if it has none.

    Raises:
        InputError: if there is more than one metadata file.
    """
    files = [path for suffix in _READERS if (path := root / f"metadata{suffix}").is_file()]
    if len(files) > 1:
        raise InputError(f"{files[0]}: {files[1].name} is there too; keep one of them")
    others = [root / name for name in (*SAVED, *CAPTIONS) if (root / name).is_file()]
    return next(iter([*files, *others, *_shards(root), *_parts_of(root).values()]), None)


def _parts_of(root: Path) -> dict[Path, Path]:
    """Sub-folders that are the parts of a split, with their metadata, as of Hugging Face's image folders."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and split_name(path.name) in PARTS]
    sources = {path: source for path in folders if (source := find_source(path)) is not None}
    return sources if len(sources) > 1 else {}


def split_name(name: str) -> str:
    """A part of a split by the name that it has here.

    >>> split_name("Test"), split_name("validation"), split_name("queries")
    ('test', 'val', 'queries')
    """
    name = name.strip()
    return _PART_NAMES.get(name.lower(), name)


def read_rows(
    root: Path, cache_dir: Path, names: FieldNames | None = None, encoding: str | None = None
) -> Rows:
    """The rows of a folder, checked for their fields, not yet for what is in them (but for texts).

    Raises:
        InputError: if there is no file to read, or it cannot be read, has no row, a field that looks like a
            misspelt one, rows without a field that others have, or a text without a letter or digit.
    """
    source = find_source(root)
    if source is None:
        *most, last = (f"metadata{suffix}" for suffix in _READERS)
        raise InputError(
            f"{root}: there is no {', '.join(most)} or {last} in this folder; write one: a row an item with "
            "the fields text, file_name, and if there are any label (or labels) and split"
        )
    if source.parent in (parts := _parts_of(root)):
        return _joined(root, {part: read_rows(part, cache_dir, names, encoding) for part in parts})
    text = _Source(encoding)
    if source.name in CAPTIONS:
        rows, files = _read_captions(root, source, text)
    elif source.name in SAVED or source in _shards(root):
        rows, files = _read_datasets(root, source, cache_dir)
    else:
        rows, files = _READERS[source.suffix](source, text), [source]
    if not rows:
        raise InputError(f"{source}: there is no row in it; write one an item")
    fields = list(dict.fromkeys(field for row in rows for field in row))
    columns, noted = _columns(fields, source, names or FieldNames())
    _check_fields(rows, fields, columns, source)
    known = [_known(row, columns, number, source) for number, row in enumerate(rows, 1)]
    return Rows(source, files, known, [*text.notes, *filter(None, [noted])])


def _joined(root: Path, parts: Mapping[Path, Rows]) -> Rows:
    """The rows of the parts of a split as those of one table."""
    source = root / f"{{{','.join(part.name for part in parts)}}}" / next(iter(parts.values())).source.name
    rows = []
    for folder, part in parts.items():
        for row in part.rows:
            known = {"split": folder.name, **row}
            if isinstance(name := known.get("file_name"), str) and is_inside(name):
                known["file_name"] = f"{folder.name}/{name}"
            rows.append(known)
    if len({frozenset(row) for row in rows}) > 1:
        raise InputError(f"{source}: the parts have different fields; give them the same")
    noted = [f"{source}: the split is that of the folders"]
    noted += [note for of in parts.values() for note in of.noted]
    return Rows(source, [file for of in parts.values() for file in of.files], rows, noted)


def _columns(fields: Sequence[str], source: Path, names: FieldNames) -> tuple[dict[str, str], str]:
    """Which field says what, and a sentence on those that were found under other names."""
    columns: dict[str, str] = {}
    noted = []
    for kind, (option, own, others, choose) in _KINDS.items():
        if (given := getattr(names, option)) is not None:
            if given not in fields:
                raise InputError(
                    f"--data.{option}-field is '{given}', but {source} has no such field, only "
                    f"{', '.join(map(str, fields))}; name one of them"
                )
            columns[kind] = given
            continue
        there = [field for field in own if field in fields]
        if len(there) > 1:
            raise InputError(f"{source}: give either the field {choose}")
        if not there and (there := [field for field in others if field in fields]):
            if len(there) > 1:
                might = " and ".join(map(repr, there))
                raise InputError(
                    f"{source}: there is no field '{own[0]}', and {might} might each be it; name one by "
                    f"--data.{option}-field"
                )
            noted.append(f"{option}s from '{there[0]}'")
        if there:
            columns[kind] = there[0]
    if "group" in fields:
        columns["group"] = "group"
    return columns, f"{source}: {', '.join(noted)}" if noted else ""


def _check_fields(
    rows: Sequence[Mapping[str, Any]], fields: Sequence[str], columns: Mapping[str, str], source: Path
) -> None:
    kind_of = {name: kind for kind, of in _KINDS.items() for name in of.own} | {"group": "group"}
    for field in fields:
        meant = difflib.get_close_matches(str(field), FIELDS, 1, 0.75)
        if field not in columns.values() and meant and kind_of[meant[0]] not in columns:
            raise InputError(
                f"{source}: the field '{field}' is not known; did you mean '{meant[0]}'? the fields are "
                f"{', '.join(FIELDS)}: rename or remove it"
            )
    for number, row in enumerate(rows, 1):
        for field in columns.values():
            if field not in row:
                raise InputError(
                    f"{source}: row {number}: the field '{field}' is in some rows only; give every row "
                    f"{', '.join(columns.values())}"
                )


def _known(row: Mapping[str, Any], columns: Mapping[str, str], number: int, source: Path) -> dict[str, Any]:
    """A row by its known fields, the others as metadata."""
    for name, value in row.items():
        try:
            json.dumps({str(name): plain(value)}, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise InputError(
                f"{source}: row {number}: the field {name!a} is no text: it has {half}, half of a "
                "character; write it anew, or remove the row"
            ) from error
    known: dict[str, Any] = {kind: row[field] for kind, field in columns.items()}
    if "text" in known:
        known["text"] = _texts(known["text"], f"{source}: row {number}: the field '{columns['text']}'")
    if "label" in known and (columns["label"] == "labels" or isinstance(known["label"], list)):
        known["labels"] = known.pop("label")
    own = {name: plain(value) for name, value in row.items() if name not in columns.values()}
    return {**known, "metadata": own}


def _texts(value: Any, where: str) -> list[str]:
    if isinstance(value, list) and (not value or not all(isinstance(text, str) for text in value)):
        raise InputError(f"{where} is {value!r}; write a list of texts, at least one")
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{where} is {value!r}; write a text, in quotes")
        if not has_word(text):
            fix = "write words, or remove the row"
            raise InputError(f"{where} is {text!r}, without a letter or digit; {fix}")
    return texts


def has_word(text: str) -> bool:
    """Whether there is a letter or digit in a text."""
    return any(letter.isalnum() for letter in text)


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers that are none as null, what else there is as text.

    >>> plain({"price": float("nan"), "tags": ("a", 1), "of": b"x"})
    {'price': None, 'tags': ['a', 1], 'of': "b'x'"}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [plain(of) for of in value]
    return str(value)


def _read_csv(path: Path, source: _Source) -> list[dict[str, Any]]:
    content = source.text(path)
    first = content.partition("\n")[0]
    # A header without a comma has one field, or others between them.
    between = "\t" if path.suffix == ".tsv" else next((c for c in ",;\t" if c in first), ",")
    if between != "," and path.suffix != ".tsv":
        source.notes.append(f"{path}: fields are between {_BETWEEN[between]}")
    lines = csv.reader(io.StringIO(content, newline=""), strict=True, delimiter=between)
    rows: list[dict[str, Any]] = []
    limit = csv.field_size_limit(len(content) + 1)
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
                    f'put texts with {_BETWEEN[between]} in "quotes"'
                )
            rows.append(dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise InputError(
            f"{path}: line {lines.line_num}: {error}; mend it, or write metadata.jsonl"
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _read_json(path: Path, source: _Source) -> list[dict[str, Any]]:
    rows = parse_json(source.text(path), f"{path}:", "write a list of objects, one an item")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: is no list of objects; write [{{...}}, ...], one an item")
    return rows


def _read_jsonl(path: Path, source: _Source) -> list[dict[str, Any]]:
    rows = []
    # Not splitlines(): that also breaks at characters such as U+2028, which JSON strings may hold.
    for number, line in enumerate(source.text(path).split("\n"), 1):
        if not line.strip():
            continue
        row = parse_json(line, f"{path}: line {number}", "write one object a line")
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is no JSON object; write one {{...}} a line")
        rows.append(row)
    return rows


def _read_parquet(path: Path, _: _Source) -> list[dict[str, Any]]:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs the package pyarrow; pip install 'gcnxmodal[parquet]', or write "
            "metadata.jsonl"
        ) from error
    with refused(path, "cannot be read as Parquet", "write it again"):
        return parquet_table(path).to_pylist()


_OF_VALUE = 64  # bytes that a value of a table takes as an object of Python, about
_AT_ONCE = 256  # rows that are read before their size is looked at


def parquet_table(path: Path) -> Any:
    """The table of a Parquet file.

    Raises:
        InputError: if it would need far more memory than its size: a constant column of any length has none.
        Exception: any, if it is damaged.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        values = sum(of.column(number).num_values for of in groups for number in range(of.num_columns))
        check_promise(path, _OF_VALUE * values, f"a table of {values:,} values")
        batches, size = [], 0
        for batch in file.iter_batches(_AT_ONCE):
            batches.append(batch)
            size += batch.nbytes
            check_promise(path, size, "its table")
        return pyarrow.Table.from_batches(batches, file.schema_arrow)


_READERS: dict[str, Callable[[Path, _Source], list[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def _read_captions(root: Path, path: Path, source: _Source) -> tuple[list[dict[str, Any]], list[Path]]:
    """A row a picture of a list of captions, with all its captions, and its split where a list says it."""
    lines = (_read_bars if path.name == "results.csv" else _read_csv)(path, source)
    fields = list(lines[0]) if lines else []
    image, caption = (
        next((field for field in fields if field in names), None) for names in (_IMAGE_NAMES, _CAPTION_NAMES)
    )
    if image is None or caption is None:
        if not lines:
            return [], [path]
        raise InputError(
            f"{path}: its header is {','.join(fields)}; expected image,caption, or name the file metadata.csv"
        )
    lists = {
        part: found
        for part, name in _FLICKR_LISTS.items()
        for found in sorted(root.glob(f"*.{name}.txt"))[:1]
    }
    listed = {name: part for part, of in lists.items() for name in read_text(of).split()}
    folder = next((name for name in _FLICKR_FOLDERS if (root / name).is_dir()), None)
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        name, text = str(line.pop(image)).strip(), str(line.pop(caption)).strip()
        if not is_inside(name):
            raise InputError(f"{path}: row {number}: the field '{image}' is '{name}'; expected a file's name")
        if listed and name not in listed:
            continue  # as the 91 pictures of Flickr8k that are on none of its lists
        row = rows.setdefault(name, {"file_name": f"{folder}/{name}" if folder else name, "texts": []})
        if listed:
            row["split"] = listed[name]
        if has_word(text):  # a caption of Flickr30k is a full stop
            row["texts"].append(text)
        for field, value in line.items():
            if field != "comment_number" and row.setdefault(field, value) != value:
                raise InputError(
                    f"{path}: row {number}: the field '{field}' of '{name}' is '{value}', and '{row[field]}' "
                    "before; give a picture's captions the same"
                )
    return list(rows.values()), [path, *lists.values()]


def _read_bars(path: Path, source: _Source) -> list[dict[str, Any]]:
    """Flickr30k's file: three fields between bars, without quotes; one line of it lacks a bar."""
    header, *lines = source.text(path).splitlines() or [""]
    fields = [field.strip() for field in header.split("|")]
    rows = []
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        name, *rest = (part.strip() for part in line.split("|", 2))
        if len(rest) == 1 and (match := re.fullmatch(r"(\d+)\s+(.*)", rest[0])):
            rest = list(match.groups())
        if len(rest) + 1 != len(fields):
            raise InputError(f"{path}: line {number} is '{line[:80]}'; expected {header}")
        rows.append(dict(zip(fields, [name, *rest], strict=True)))
    return rows


def _shards(root: Path) -> list[Path]:
    """Parquet files of a data set of Hugging Face's library, in the folder or its `data`."""
    beside = sorted(path for path in root.glob("*.parquet") if path.stem != "metadata")
    return beside or sorted(root.glob("data/*.parquet"))


def _read_datasets(root: Path, source: Path, cache_dir: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """The rows of a data set of Hugging Face's library; bytes of pictures are written to the cache once.

    Classes come by their names. The split is that of the data set's parts, unless it has such a field.
    """
    files = sorted(path for path in root.rglob("*") if path.suffix in (".arrow", ".parquet", ".json"))
    named = json.dumps([str(root.resolve()), fingerprint(files)])
    folder = cache_dir / "datasets" / hashlib.sha256(named.encode()).hexdigest()[:16]

    def make() -> bytes:
        rows = _rows_of_parts(_parts(root, source), folder / "pictures", source)
        return "".join(json.dumps(row) + "\n" for row in rows).encode()

    def complete(kept: Path) -> bool:
        rows = _read_jsonl(kept, _Source())
        values = (str(value) for row in rows for value in row.values())
        written = filter(re.compile(r"/.*/pictures/[0-9a-f]{32}\.\w+").fullmatch, values)
        return bool(rows) and all(os.path.isfile(file) and os.path.getsize(file) for file in written)

    return _read_jsonl(cached_file(folder / "rows.jsonl", make, complete, "rows"), _Source()), files


def _parts(root: Path, source: Path) -> dict[str, Any]:
    """Its `datasets.Dataset`s by split."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            f"{source}: reading it needs the package datasets; pip install 'gcnxmodal[datasets]', or write "
            "metadata.jsonl"
        ) from error
    with refused(source, "cannot be read by datasets", "save it again"):
        if source.name in SAVED:
            loaded = datasets.load_from_disk(str(root))
            return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
        parts: dict[str, list[Any]] = {}
        for path in _shards(root):
            # The library's own names: train-00000-of-00002.parquet.
            name = re.sub(r"(-\d{5}-of-\d{5}.*)?$", "", path.stem, count=1)
            table = datasets.table.InMemoryTable(parquet_table(path))
            parts.setdefault(name, []).append(datasets.Dataset(table))
        return {name: datasets.concatenate_datasets(shards) for name, shards in parts.items()}


def _rows_of_parts(parts: Mapping[str, Any], folder: Path, source: Path) -> Iterable[dict[str, Any]]:
    import datasets  # pyright: ignore[reportMissingImports]

    for part, data in parts.items():
        pictures = [name for name, kind in data.features.items() if isinstance(kind, datasets.Image)]
        kinds = data.features.items()
        classes = {name: kind for name, kind in kinds if isinstance(kind, datasets.ClassLabel)}
        for name in pictures:
            data = data.cast_column(name, datasets.Image(decode=False))
        for number, row in enumerate(data, 1):
            for name in pictures:
                row[name] = _picture_file(row[name], folder, f"{source}: row {number} of '{part}', '{name}'")
            for name, kind in classes.items():
                known = row[name] is not None and row[name] >= 0  # -1: the library's unlabelled
                row[name] = kind.int2str(row[name]) if known else None
            if len(pictures) == 1 and "file_name" not in row:
                row["file_name"] = row.pop(pictures[0])
            if part and len(parts) > 1:
                row.setdefault("split", part)
            yield plain(row)


def _picture_file(value: Any, folder: Path, where: str) -> str:
    """Where the bytes of a picture lie, after writing them."""
    content = value.get("bytes") if isinstance(value, Mapping) else None
    path = value.get("path") if isinstance(value, Mapping) else None
    if content is None:
        if path is None:
            raise InputError(f"{where}: there is no picture; remove the row")
        return str(path)
    suffix = Path(path).suffix.lower() if path else ".png"
    file = folder / f"{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
    return str(cached_file(file, lambda: content, lambda file: file.read_bytes() == content, "a picture"))
