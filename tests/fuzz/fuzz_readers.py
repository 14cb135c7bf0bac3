"""Damage valid files of every format and read them: `python tests/fuzz/fuzz_readers.py --times 20`.

A reader may return or raise InputError, within 10 seconds of processor time and 1 GB of memory. All else is
a fault: another exception, a memory error that was taken for a damaged file, a process that dies. Damage
number n of a format is a function of the seed, the format and n: `--only FORMAT --number n` repeats it.

A child process does the reading, one file after another, so that imports are paid once. Its journal says
where it was when it died; it is started again behind that place.
"""

import argparse
import collections
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/fuzz")]

GATE = 0.4  # of the `times` of every format: about a minute
SECONDS = 10  # of the processor
MOST_SECONDS = 120  # of the clock: on a busy machine, or a reader that sleeps
MEMORY = 2**30  # bytes beyond those before
ENDS = {
    signal.SIGPROF: f"more than {SECONDS} s of the processor",
    signal.SIGALRM: f"more than {MOST_SECONDS} s",
}
"""What it is that a signal ends."""

Task = tuple[str, int]
"""A format and the number of a damage to it."""


class Fault(NamedTuple):
    format: str
    number: int
    damage: str
    what: str
    where: str = ""


def find_faults(
    tasks: Sequence[Task], seed: int, folder: Path, module: str = "formats"
) -> tuple[list[Fault], int]:
    """Read damaged files in a child process; returns the faults and how many files were refused.

    Args:
        folder: an empty one to work in.
        module: where the table FORMATS is.
    """
    journal, log = folder / "journal", folder / "log"
    journal.touch()
    faults: list[Fault] = []
    refused = 0
    left = list(tasks)
    paths = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/fuzz"), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    while left:
        (folder / "tasks").write_text(json.dumps(left))
        journal.write_text("")
        command = [sys.executable, __file__, "--child", str(folder), "--seed", str(seed), "--module", module]
        with log.open("w") as stream:
            code = subprocess.run(command, env=environment, stdout=stream, stderr=stream).returncode
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        done = [line for line in lines if "number" in line]
        faults += [Fault(**line["fault"]) for line in lines if "fault" in line]
        refused += sum("refused" in line for line in lines)
        if code == 0:
            break
        if code > 0 or not done:
            raise RuntimeError(f"the child of the fuzzer failed:\n{log.read_text()[-4000:]}")
        what = ENDS.get(-code, f"the process died of {signal.Signals(-code).name}")
        faults.append(Fault(done[-1]["format"], done[-1]["number"], done[-1]["damage"], what))
        left = left[left.index((done[-1]["format"], done[-1]["number"])) + 1 :]
    return faults, refused


def _child(folder: Path, seed: int, module: str) -> None:
    formats = __import__(module).FORMATS
    from mutations import damage

    from gcnxmodal.errors import InputError

    with (folder / "journal").open("a", buffering=1) as journal:

        def note(**line: Any) -> None:
            journal.write(json.dumps(line) + "\n")

        for name, number in json.loads((folder / "tasks").read_text()):
            valid, attempt = folder / name, folder / "attempt"
            shutil.rmtree(attempt, ignore_errors=True)  # of a child that died
            if not valid.exists():
                (valid / "data").mkdir(parents=True)
                formats[name].write(valid / "data")
                shutil.copytree(valid / "data", attempt / "data")
                formats[name].read(attempt / "data")
                shutil.rmtree(attempt)
            shutil.copytree(valid / "data", attempt / "data")
            draw = random.Random(f"{seed} {name} {number}")
            files = sorted(path for path in (attempt / "data").glob(formats[name].files) if path.is_file())
            path = draw.choice(files)
            how = f"{damage(path, draw)} of {path.relative_to(attempt / 'data')}"
            note(format=name, number=number, damage=how)
            try:
                _limited(formats[name].read, attempt / "data")
            except InputError as error:
                note(refused=True)
                if _out_of_memory(error):
                    what = f"more than {MEMORY:,} bytes, refused by {error}"
                    note(fault=Fault(name, number, how, what[:300])._asdict())
            except Exception as error:
                what = f"{type(error).__name__}: {error}"[:200]
                note(fault=Fault(name, number, how, what, _place(error))._asdict())
            shutil.rmtree(attempt)


def _limited(read: Callable[[Path], Any], folder: Path) -> None:
    """Read under the limits; who exceeds that of time is ended by the system, wherever it is."""
    status = Path("/proc/self/status").read_text()
    used = 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmData")))
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(MOST_SECONDS)
    try:
        read(folder)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it comes from, is of memory."""
    while error is not None:
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place(error: BaseException) -> str:
    """The last line of the package that it came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/gcnxmodal/" in f.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def tasks_of(formats: Mapping[str, Any], times: float = 1, only: Sequence[str] = ()) -> list[Task]:
    """Every format so many times as often as its own `times` say."""
    return [
        (name, number)
        for name in formats
        if not only or name in only
        for number in range(max(1, round(formats[name].times * times)))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=float, default=GATE, help=f"how many files; the gate has {GATE}")
    parser.add_argument("--only", nargs="*", default=[], metavar="FORMAT", help="these formats only")
    parser.add_argument("--number", type=int, help="this damage only")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--module", default="formats", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        _child(arguments.child, arguments.seed, arguments.module)
        return 0
    from formats import FORMATS

    if unknown := set(arguments.only) - FORMATS.keys():
        parser.error(f"no format {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    tasks = tasks_of(FORMATS, arguments.times, arguments.only)
    if arguments.number is not None:
        tasks = [(name, arguments.number) for name in arguments.only]
    with tempfile.TemporaryDirectory() as folder:
        faults, refused = find_faults(tasks, arguments.seed, Path(folder))
    kinds = collections.defaultdict(list)
    for fault in faults:
        kinds[fault.format, fault.what[:60], fault.where].append(fault)
    for alike in kinds.values():
        print(f"{len(alike):>4} like {' | '.join(map(str, alike[0]))}")
    print(f"{len(tasks):,} damaged files: {refused:,} refused, {len(faults):,} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
