"""Reading a user's folder: every failure names the file, what is wrong with it and what to do."""

import hashlib
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

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
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path and its rights"
        ) from error


LONGEST_LINE = 2**20  # bytes; the longest of the data sets read here, 1,000 numbers, have a few thousand


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and bytes of each line, without the blanks and the (Unix or Windows) line end after it.

    Read one at a time, so that the memory needed does not grow with the file. Lines end at newlines only:
    bytes such as 0x85, a line end to Python's text files in Latin-1, are part of a line here.

    Raises:
        InputError: if the file cannot be read or a line is longer than `LONGEST_LINE`.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(
                        f"{path}: line {number} is longer than {LONGEST_LINE:,} bytes; fetch the file again"
                    )
                yield number, line.removeprefix(b"\xef\xbb\xbf").rstrip() if number == 1 else line.rstrip()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path and its rights"
        ) from error


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
