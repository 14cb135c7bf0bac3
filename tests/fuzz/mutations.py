"""Damage to a file: bytes, numbers in text, members of an archive, values of JSON, or all of it at once."""

import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

_NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_WORDS = (
    *(b"-1", b"0", b"1", b"2", b"9" * 12, b"9" * 20, b"9" * 5000, b"1e400", b"nan", b"-inf", b"0.5"),
    *(b"True", b"", b" ", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xd9\xa1", b"\xc2\xb2", b"\xef\xbb\xbf"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**12, 10**30, 1e300, float("nan"), "", "x", "\ud800", "../../etc/passwd"),
    *([], [None], {}, {"": None}, [[[[[]]]]]),
)
_WHOLE = (
    *(b"", b"null", b"[]", b"{}", b"3", b'"x"', b"[[]]", b"[" * 100_000, b'{"a":' * 100_000, b"\x00" * 1000),
    *(b"\xff" * 1000, b"\n\n\n", b"PK\x03\x04", b"<a>" * 100_000, b"9" * 5000, b"\r" * 100, b"\xef\xbb\xbf"),
)


def damage(path: Path, draw: random.Random) -> str:
    """Damage a file in one of many ways; returns which."""
    content = path.read_bytes()
    kinds = [_bytes] * 4 + [_numbers] * 2 + [_words, _cut, _whole, _folder]
    if content[:2] == b"PK":
        kinds += [_member] * 12
    if path.suffix in (".json", ".jsonl"):
        kinds += [_json] * 12
    if content[:4] == b"\x89PNG":
        kinds += [_png] * 6
    kind = draw.choice(kinds)
    changed = kind(content, draw)
    if changed is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(changed)
    return kind.__name__.strip("_")


def _bytes(content: bytes, draw: random.Random) -> bytes:
    """Some bytes are others; more often near the beginning, where headers are."""
    changed = bytearray(content)
    near = draw.choice((64, 512, len(content)))
    for _ in range(draw.choice((1, 1, 2, 8, 32))):
        if changed:
            changed[draw.randrange(min(len(changed), near))] = draw.randrange(256)
    return bytes(changed)


def _numbers(content: bytes, draw: random.Random) -> bytes:
    """A binary number at some place is one at which programs fail."""
    form = draw.choice("<>") + draw.choice("BHIQ")
    size = struct.calcsize(form)
    if len(content) <= size:
        return content[:-1]
    at = draw.randrange(min(len(content) - size, draw.choice((128, 1024, len(content)))))
    number = struct.pack(form, draw.choice(_NUMBERS) % 256**size)
    return content[:at] + number + content[at + size :]


def _words(content: bytes, draw: random.Random) -> bytes:
    """A number or word in text is another."""
    places = list(re.finditer(rb"[0-9.]+|[A-Za-z_]+", content[: 2**16]))
    if not places:
        return content + draw.choice(_WORDS)
    place = draw.choice(places)
    return content[: place.start()] + draw.choice(_WORDS) + content[place.end() :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    """A piece is missing, there twice, or elsewhere."""
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    piece = content[start:end]
    return draw.choice(
        (content[:start], content[:start] + content[end:], content[:end] + piece + content[end:], piece)
    )


def _whole(content: bytes, draw: random.Random) -> bytes:
    return draw.choice(_WHOLE)


def _folder(content: bytes, draw: random.Random) -> None:
    """A folder lies where the file was."""


def _member(content: bytes, draw: random.Random) -> bytes:
    """A member of a zip archive is damaged and the archive made anew, with a right checksum."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error):
        return _bytes(content, draw)
    hit = draw.randrange(len(members))
    changed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(changed, "w") as archive:
        warnings.simplefilter("ignore")  # of a member that is there twice
        for number, (info, data) in enumerate(members):
            kind = draw.choice((_bytes, _numbers, _words, _words, _cut, _whole, None))
            if number != hit:
                archive.writestr(info, data)
            elif kind is not None:
                archive.writestr(info, kind(data, draw))
    return changed.getvalue()


def _json(content: bytes, draw: random.Random) -> bytes:
    """A value of JSON is another, or a field is missing."""
    lines = content.decode().splitlines()
    whole = len(lines) == 1 or not _is_json(lines[0])
    number = draw.randrange(len(lines))
    value = json.loads(content if whole else lines[number])
    holder, parent, key = {"": value}, None, None
    parent, key = holder, ""
    while isinstance(parent[key], dict | list) and parent[key] and draw.random() < 0.8:
        parent = parent[key]
        key = draw.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    if draw.random() < 0.3 and parent is not holder:
        del parent[key]
    else:
        parent[key] = draw.choice(_VALUES)
    text = json.dumps(holder[""])
    return text.encode() if whole else "\n".join([*lines[:number], text, *lines[number + 1 :]]).encode()


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _png(content: bytes, draw: random.Random) -> bytes:
    """A chunk of a PNG is damaged, with a right checksum."""
    at, chunks = 8, []
    while at + 12 <= len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    hit = draw.randrange(len(chunks))
    changed = content[:8]
    for number, (name, data) in enumerate(chunks):
        if number == hit:
            data = draw.choice((_bytes, _numbers, _cut))(data, draw)
        changed += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return changed
