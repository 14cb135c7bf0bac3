"""What a user can mend, and what a user stops."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path


class InputError(ValueError):
    """Bad input from the user.

    The message names the file, the field and the fix, in that order. Entry points print it without a
    traceback and exit with status 2, before anything is computed or written.

    >>> from gcnxmodal import InputError, load_dataset
    >>> try:
    ...     load_dataset("emoji", wrods=2_000)
    ... except InputError as error:
    ...     "wrods" in str(error)
    True
    """


@contextlib.contextmanager
def writing(path: Path, fix: str = "make room, or name another folder") -> Iterator[None]:
    """Turn a full disk, or a folder that cannot be written, into an `InputError` that names `path`.

    >>> with writing(Path("run/results.json")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    gcnxmodal.errors.InputError: run/results.json: cannot be written (No space left on device); make room, \
or name another folder
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {fix}") from error


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C's, such as SIGTERM, outside of training."""

    def __init__(self, signal: int):
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


@contextlib.contextmanager
def saying(what: Callable[[], str]) -> Iterator[None]:
    """Note on a stop in this block what is saved by then, such as "saved at step 36"."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(what())
        raise
