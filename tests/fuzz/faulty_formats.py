"""Readers that do what no reader may, for the test of the fuzzer; each reads what it wrote itself."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from formats import Format

from gcnxmodal.errors import InputError

CONTENT = b"abc" * 100


def _die(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _swallow(folder: Path) -> None:
    try:
        np.empty(2**31, np.uint8)
    except MemoryError as error:
        raise InputError("damaged") from error


def _turn(folder: Path) -> None:
    while True:
        pass


def _format(read: Callable[[Path], Any]) -> Format:
    def read_damaged(folder: Path) -> None:
        path = folder / "a"
        if not path.is_file() or path.read_bytes() != CONTENT:
            read(folder)

    return Format(lambda folder: (folder / "a").write_bytes(CONTENT), read_damaged)


FORMATS = {
    "raises": _format(lambda folder: {}["x"]),
    "dies": _format(_die),
    "takes memory": _format(_swallow),
    "takes time": _format(_turn),
}
