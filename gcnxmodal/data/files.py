"""Reading a user's folder: every failure names the file, what is wrong with it and what to do."""

import contextlib
import hashlib
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

import pydantic

from gcnxmodal.errors import InputError


def require_folder(root: Path | None, contents: str, option: str = "--data.root") -> Path:
    """`root`, which the user names by `option`, if it is a folder with something in it.

    Raises:
        InputError: if it is not given, missing, no folder, or empty; `contents` says what belongs in it.
    """
    if root is None:
        raise InputError(f"{option} is not set; name the folder with {contents}")
    if not root.exists():
        raise InputError(f"{root}: there is no such folder; {option} must name the folder with {contents}")
    if not root.is_dir():
        raise InputError(f"{root}: this is not a folder; {option} must name the folder with {contents}")
    if next(root.iterdir(), None) is None:
        raise InputError(f"{root}: this folder is empty; {option} must name the folder with {contents}")
    return root


def require_file(path: Path, fix: str) -> Path:
    """`path` if it is a file that may be read; otherwise an InputError that names it and how to mend it."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; {fix}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: you may not read this file; change its rights")
    return path


def from_root(root: Path, name: str) -> Path:
    """A path that the user names: as it is, if it is there, or from `root`."""
    path = Path(name)
    return path if path.exists() else root / path


def is_inside(name: str) -> bool:
    """Whether a path that a file names stays in its folder."""
    return bool(name) and not PurePath(name).is_absolute() and ".." not in PurePath(name).parts


def read_text(path: Path) -> str:
    """The whole of a UTF-8 file (with or without a byte order mark).

    Raises:
        InputError: if it cannot be read, or a byte of it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, line = error.object[error.start], error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: byte {error.start} (0x{byte:02x}, line {line}) is not UTF-8; save the file as UTF-8"
        ) from error


def read_bytes(path: Path) -> bytes:
    """The whole of a file; an InputError if it cannot be read."""
    with readable(path):
        return path.read_bytes()


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """What the system says against reading a file, as an InputError that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the path and its rights"
        ) from error


@contextlib.contextmanager
def refused(path: Path, what: str, fix: str) -> Iterator[None]:
    """Whatever a parser raises for a damaged file, as an InputError that says what cannot be done with it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # parsers raise far more than they say
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: {what} ({why}); {fix}") from error


ALWAYS, INFLATED = 2**28, 400


def check_promise(path: Path, promised: int, what: str, times: int = INFLATED) -> None:
    """Refuse a file that promises far more than it holds, before memory is taken for it.

    Deflate makes a matrix of zeros and few ones, such as tags, up to 280 times smaller, and constants 1,000
    times. So 256 MB are always read, and beyond them `times` the size of the file.

    Raises:
        InputError: if `promised` bytes are more.
    """
    size = path.stat().st_size
    if promised > max(ALWAYS, times * size):
        raise InputError(
            f"{path}: {what} would take {promised:,} bytes of memory, but the file has {size:,}; fetch it "
            "again or, if that is right, save it without compression"
        )


class Schema(pydantic.BaseModel, strict=True):
    """The fields of a JSON file of ours that are read, with their types; a file may have others too."""


def read_json(path: Path, schema: type[pydantic.BaseModel], fix: str) -> Any:
    """What a JSON file says, as it is there, if it is what `schema` describes.

    Raises:
        InputError: if it cannot be read, is not JSON, or lacks a field or has another type of value in one.
    """
    return _checked(parse_json(read_text(path), f"{path}:", fix), schema, str(path), fix)


def read_json_lines(path: Path, schema: type[pydantic.BaseModel], fix: str) -> list[Any]:
    """The same of a file with a JSON value a line."""
    # Not splitlines(): that also breaks at characters such as U+2028, which JSON strings may hold.
    lines = read_text(path).removesuffix("\n").split("\n")
    wheres = (f"{path}: line {number}" for number in range(1, len(lines) + 1))
    return [
        _checked(parse_json(line, where, fix), schema, where, fix)
        for line, where in zip(lines, wheres, strict=True)
        if line
    ]


def parse_json(text: str | bytes, where: str, fix: str, **options: Any) -> Any:
    """`json.loads`, with all faults an InputError: numbers of 5,000 digits and brackets without end too."""
    try:
        return json.loads(text, **options)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); {fix}") from error


def _checked(value: Any, schema: type[pydantic.BaseModel], where: str, fix: str) -> Any:
    try:
        schema.model_validate(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = f": the field '{'.'.join(map(str, first['loc']))}'" if first["loc"] else ""
        raise InputError(f"{where}{field}: {first['msg']}; {fix}") from error
    return value


LONGEST_LINE = 2**20  # bytes; the longest of the data sets read here, 1,000 numbers, have a few thousand


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and bytes of each line, without the blanks and the (Unix or Windows) line end after it.

    Read one at a time, so that the memory needed does not grow with the file. Lines end at newlines only:
    bytes such as 0x85, a line end to Python's text files in Latin-1, are part of a line here.

    Raises:
        InputError: if the file cannot be read or a line is longer than `LONGEST_LINE`.
    """
    with readable(path), path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), 1):
            if len(line) > LONGEST_LINE:
                raise InputError(
                    f"{path}: line {number} is longer than {LONGEST_LINE:,} bytes; fetch the file again"
                )
            yield number, line.removeprefix(b"\xef\xbb\xbf").rstrip() if number == 1 else line.rstrip()


def read_xml(path: Path) -> ElementTree.Element:
    """The root element of a small XML file in UTF-8.

    Raises:
        InputError: if it cannot be read, is not well-formed, or has a document type definition.
    """
    content = read_text(path)
    # A document type may define entities that grow without bound or name other files; no document has one.
    if "<!DOCTYPE" in content:
        raise InputError(
            f"{path}: has a document type definition, which is never read; remove <!DOCTYPE ...>"
        )
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise InputError(
            f"{path}: is not well-formed XML ({error}); mend that line, or fetch it again"
        ) from error


def whole_number(text: str | bytes) -> int | None:
    """The number that up to 18 digits are; None of anything else. int() fails at more than 4,300 digits."""
    word = text if isinstance(text, str) else text.decode("latin-1")
    return int(word) if len(word) <= 18 and word.isascii() and word.isdecimal() else None


def decode(line: bytes) -> str:
    """UTF-8, as files of tags should be; else Latin-1, which every byte string is."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def file_digest(file: Path) -> str:
    """The SHA-256 of a file's contents; an InputError if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); restore the file or drop its row"
        ) from error


def fingerprint(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change (ns) of each file: equal as long as nobody has written to them."""
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path in sorted(paths) for stat in [path.stat()]]
