"""Kill runs at random moments, resume them, and compare what they end with to a run that was never stopped.

    python tests/kills/kill_and_resume.py [--kills 50] [--seed 0] [--only gin sweep ...] [--keep FOLDER]

A chain starts a run in a process of its own, sends it SIGKILL or SIGTERM, resumes it, and so on, until it is
let go to its end. A kill comes at any moment of the run's life, or so long after one of its phases has begun:
imports and data; compiling, which ends with the first line of metrics; training; a checkpoint being written;
evaluation; the report. Some chains begin with --overwrite of a finished run. Equal must be: the files that
are there, the model folder bit by bit, results.json but for dates and seconds, metrics.jsonl but for
seconds, curves.json, and table.csv but for the commit. The last result is in `last_result.json`.

Where the kill is not to come while Python imports, the process is a fork of this one, which has imported the
package but not used JAX: half of a small run's time goes into imports.
"""

import argparse
import collections
import contextlib
import csv
import dataclasses
import datetime
import functools
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from small_folder import write_folder  # noqa: E402

LAST_RESULT = Path(__file__).with_name("last_result.json")
LIMIT = 900
"""Seconds after which a process hangs."""

PHASES = ("start", "compile", "training", "checkpoint", "evaluation", "report")
SHARE_OF_ANY, SHARE_OF_TERM, SHARE_OF_OVERWRITE, CHANCE_OF_ANOTHER = 0.2, 0.2, 0.2, 0.7
VARYING = re.compile(r"date|time|seconds|\w+_per_second|compile|load|commit")
"""Fields of JSON, and a column of tables, that are of the moment, the machine and the working tree."""

_FOLDER = ["--data.image-feature", "features", "--text.words", "40"]
_GRAPH = [*_FOLDER, "--text.neighbours", "4"]
_GRID = ["--train.grid-texts", "10", "--train.grid-images", "10"]
_GIN = ["gin-folder", *_GRAPH, *_GRID, "--model.dimension", "8", "--epochs", "6"]
_JOINT = [
    *("joint-folder", *_GRAPH, "--model.text", "linear", "--model.members", "1", "--model.dimension", "8"),
    *("--train.batch", "40", "--epochs", "6", "--stop", "best", "--patience", "3"),
]
SYSTEMS = {
    "gin": _GIN,
    "scanet": [
        *("scanet-emoji-authors-grid", "--data.name", "folder", *_GRAPH, *_GRID, "--model.dimension", "8"),
        *("--model.attention-layers", "1", "--epochs", "4", "--train.l2", "0"),
    ],
    "gch": [
        *("gch-emoji-paper", "--data.name", "folder", *_FOLDER, "--model.bits", "16", "--model.width", "16"),
        *("--model.beacon-width", "8", "--train.batch", "20", "--epochs", "6", "--evaluate-every", "2"),
        *("--checkpoint-every", "2"),
    ],
    "sspe": [
        *("sspe-folder", *_FOLDER, "--model.hidden", "16", "--model.dimension", "8", "--epochs", "6"),
        *("--evaluate-every", "2", "--checkpoint-every", "2"),
    ],
    "joint": _JOINT,
    "sweep": [*_JOINT, "--seeds", "2", "--no-member-reports"],
}
SUBJECTS = (*SYSTEMS, "table")


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is run: a system, a sweep or a table, on made-up data.

    Attributes:
        brief: without baselines and pages, which take most of a small run's time.
    """

    name: str
    data: Path
    brief: bool = False

    @property
    def mark(self) -> str:
        """The file by which it is known that something has begun."""
        return {"sweep": "sweep.json", "table": "gin-1-corel5k/runs"}.get(self.name, "config.json")

    def words(self, run_dir: Path, *flags: str) -> list[str]:
        """What `run_words` takes."""
        kind = "brief" if self.brief else "whole"
        if self.name == "table":
            return [kind, "table", str(self.data), str(run_dir), *flags]
        module = "sweep" if self.name == "sweep" else "train"
        where = ["--data.root", str(self.data), "--run-dir", str(run_dir)]
        return [kind, f"gcnxmodal.{module}", *SYSTEMS[self.name], *where, *flags]

    @property
    def title(self) -> str:
        return f"{self.name}, without baselines and pages" if self.brief else self.name

    @property
    def goes_on(self) -> list[str]:
        """What goes on with it: a table does so by itself."""
        return [] if self.name == "table" else ["--resume"]


class _Fork:
    """A fork of this process that runs the words; the methods are those of `subprocess.Popen`."""

    def __init__(self, words: list[str], output: int):
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.dup2(output, 1)
                os.dup2(output, 2)
                status = run_words(words)
            except SystemExit as stop:
                status = int(stop.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Process:
    """A run in a process of its own, and the phase it is in.

    Args:
        imports: whether it is a new Python, not a fork of this one.
    """

    def __init__(self, words: list[str], folder: Path, subject: Subject, *, imports: bool = False):
        self.folder, self.subject = folder, subject
        self._output = folder.with_name(f"{folder.name}.txt")
        with self._output.open("w") as output:
            if imports:
                command = [sys.executable, __file__, "--as-child", *words]
                self.process = subprocess.Popen(command, stdout=output, stderr=output, cwd=TESTS.parent)
            else:
                self.process = _Fork(words, output.fileno())
        self.started = time.monotonic()

    def said(self) -> str:
        return self._output.read_text()

    def ended(self) -> bool:
        if time.monotonic() - self.started > LIMIT:
            self.process.kill()
            raise Fault(f"hung for {LIMIT} s")
        return self.process.poll() is not None

    def wait(self) -> int:
        while not self.ended():
            time.sleep(0.02)
        assert self.process.returncode is not None
        return self.process.returncode

    def phase(self, lines: int, results: int) -> str:
        """The phase now, of a run that ends with so many lines of metrics and files of results."""
        if not (self.folder / self.subject.mark).exists():
            return "start"
        written = _counts(self.folder)
        if written["results.json"] >= results:
            return "report"
        if written["checkpoint-tmp"]:
            return "checkpoint"
        written = written["metrics.jsonl"]
        return "compile" if not written else "training" if written < lines else "evaluation"


class Fault(Exception):
    """What should not be."""


@dataclasses.dataclass
class Reference:
    """A run that was never stopped.

    Attributes:
        lasts: seconds of each phase.
    """

    folder: Path
    seconds: float
    lines: int
    results: int
    lasts: dict[str, float]


def make_reference(subject: Subject, folder: Path) -> Reference:
    """Run to the end, watched."""
    process = Process(subject.words(folder), folder, subject)
    seen: list[tuple[float, bool, dict[str, int]]] = []
    while not process.ended():
        begun = (folder / subject.mark).exists()
        seen.append((time.monotonic() - process.started, begun, _counts(folder)))
        time.sleep(0.05)
    if process.process.returncode:
        raise Fault(f"the reference ended with {process.process.returncode}: {process.said()[-2000:]}")
    seconds, last = time.monotonic() - process.started, _counts(folder)
    lasts: dict[str, float] = dict.fromkeys(PHASES, 0.0)
    times = [at for at, _, _ in seen] + [seconds]
    for (at, begun, now), after in zip(seen, times[1:], strict=True):
        if not begun:
            phase = "start"
        elif now["results.json"] >= last["results.json"]:
            phase = "report"
        elif now["metrics.jsonl"] >= last["metrics.jsonl"]:
            phase = "evaluation"
        else:
            phase = "training" if now["metrics.jsonl"] else "compile"
        lasts[phase] += after - at
    lasts["checkpoint"] = 0.05
    return Reference(folder, seconds, last["metrics.jsonl"], last["results.json"], lasts)


def run_chain(
    subject: Subject, reference: Reference, folder: Path, draw: random.Random, kills: int
) -> Iterator[dict[str, str]]:
    """Kill and resume at most so many times, then let it end, and compare; yields each kill.

    Raises:
        Fault: for a refusal that does not help, a traceback, or an end that differs.
    """
    flags: list[str] = []
    if subject.name != "table" and draw.random() < SHARE_OF_OVERWRITE:
        shutil.copytree(reference.folder, folder)
        flags = ["--overwrite"]
    begin, more = flags, True
    while True:
        overwriting = flags == ["--overwrite"]
        plan = _draw_kill(reference, draw, at_any_moment=overwriting) if kills and more else None
        imports = plan is not None and plan.wanted in ("any", "start")
        process = Process(subject.words(folder, *flags), folder, subject, imports=imports)
        if plan is not None:
            kill = _kill(process, reference, plan)
            if kill is not None:
                kills -= 1
                more = draw.random() < CHANCE_OF_ANOTHER
                yield kill | ({"phase": "overwriting"} if overwriting else {})
        status = process.wait()
        said = process.said()
        if "Traceback" in said:
            raise Fault(f"a traceback: {said[-3000:]}")
        if status == 2 and flags == ["--resume"] and "to resume; leave out --resume" in said:
            flags = begin
        elif status in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM):
            # One who has overwritten and does not know how far it came may do so again.
            again = begin == ["--overwrite"] and draw.random() < 0.5
            flags = begin if again else subject.goes_on
        elif status == 0:
            break
        else:
            raise Fault(f"{' '.join(flags) or 'begun'}: status {status}: {said[-1500:]}")
    if differences := compare(reference.folder, folder):
        raise Fault(f"the end differs: {'; '.join(differences)}")


class Plan(NamedTuple):
    """A kill by this signal, so many seconds after the phase has begun, or the process if it is "any"."""

    number: int
    wanted: str
    delay: float


def _draw_kill(reference: Reference, draw: random.Random, *, at_any_moment: bool) -> Plan:
    number = signal.SIGTERM if draw.random() < SHARE_OF_TERM else signal.SIGKILL
    if at_any_moment or draw.random() < SHARE_OF_ANY:
        return Plan(number, "any", draw.uniform(0, reference.seconds))
    wanted = draw.choice(PHASES)
    return Plan(number, wanted, draw.uniform(0, reference.lasts[wanted]))


def _kill(process: Process, reference: Reference, plan: Plan) -> dict[str, str] | None:
    """Kill as planned; None if it ended before."""
    number, wanted, delay = plan

    def come(phase: str) -> bool:
        later = PHASES[PHASES.index(wanted) + 1 :] if wanted != "any" else ()
        return wanted == "any" or phase == wanted or phase in later

    while not come(process.phase(reference.lines, reference.results)):
        if process.ended():
            return None
        time.sleep(0.004 if wanted == "checkpoint" else 0.02)
    moment = time.monotonic() + delay
    while time.monotonic() < moment:
        if process.ended():
            return None
        time.sleep(min(0.02, max(0.0, moment - time.monotonic())))
    phase = process.phase(reference.lines, reference.results)
    process.process.send_signal(number)
    if process.wait() == 0:
        return None
    return {"signal": signal.Signals(number).name, "phase": phase}


def compare(expected: Path, found: Path) -> list[str]:
    """What differs between the folders of two runs that should have ended alike."""
    files, others = _files(expected), _files(found)
    differences = [f"{name} is not there" for name in sorted(files - others)]
    differences += [f"{name} is left over" for name in sorted(others - files)]
    for name in sorted(files & others):
        as_read = next((read for pattern, read in _READ if re.search(pattern, name)), None)
        if as_read is not None and (of := as_read(expected / name)) != (now := as_read(found / name)):
            differences.append(f"{name}: {_first_difference(of, now)}")
    return differences


def _files(folder: Path) -> set[str]:
    """The files of a run but for checkpoints, of which a signal may leave others, and TensorBoard's."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if not re.search(r"(^|/)(checkpoints|tensorboard)/", name)}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(of) for name, of in value.items() if not VARYING.fullmatch(name)}
    return [_timeless(of) for of in value] if isinstance(value, list) else value


_READ: tuple[tuple[str, Callable[[Path], Any]], ...] = (
    (r"metrics\.jsonl$", lambda path: [_timeless(json.loads(line)) for line in path.open()]),
    (r"(results|config|sweep|model|curves)\.json$", lambda path: _timeless(json.loads(path.read_text()))),
    (r"baselines/.*\.json$", lambda path: _timeless(json.loads(path.read_text()))),
    (r"(^|/)model/", Path.read_bytes),
    (r"table\.csv$", lambda path: [_timeless(row) for row in csv.DictReader(path.open())]),
    (r"\.(html|md|png)$", lambda path: path.stat().st_size > 0),
)


def _first_difference(expected: Any, found: Any, at: str = "") -> str:
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        pairs = [(name, expected[name], found[name]) for name in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = list(zip(range(len(expected)), expected, found, strict=True))
    else:
        return f"{at or 'all'} is {str(found)[:200]}, not {str(expected)[:200]}"
    return next(_first_difference(a, b, f"{at}.{name}") for name, a, b in pairs if a != b)


def _counts(folder: Path) -> dict[str, int]:
    """How many lines of metrics, files of results and unfinished checkpoints there are."""
    counts = {"metrics.jsonl": 0, "results.json": 0, "checkpoint-tmp": 0}
    for at, _, names in os.walk(folder):
        counts["checkpoint-tmp"] += "checkpoint-tmp" in at
        counts["results.json"] += "results.json" in names
        if "metrics.jsonl" in names:
            with contextlib.suppress(FileNotFoundError):  # replaced just now
                counts["metrics.jsonl"] += (Path(at) / "metrics.jsonl").read_bytes().count(b"\n")
    return counts


def find_faults(
    names: Sequence[str],
    kills: int,
    seed: int,
    folder: Path,
    *,
    brief: bool = False,
    report: Callable[[str], None] = print,
    keep: Callable[[str, list, list], None] = lambda *_: None,
) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """The kills that were made, and the faults that were found.

    Args:
        names: of `SUBJECTS`; they take turns.
        folder: for data and runs.
        brief: as of `Subject`.
        keep: called after each chain, with what of kills and faults is of its title.
    """
    draw, data = random.Random(seed), write_folder(folder / "data", items=120)
    _import_all()
    references: dict[str, Reference] = {}
    made: list[dict[str, str]] = []
    faults: list[dict[str, Any]] = []
    chain = 0
    while len(made) < kills and len(faults) < 10:
        name = names[chain % len(names)]
        subject, run_dir = Subject(name, data, brief), folder / f"{chain}-{name}"
        if name not in references:
            references[name] = make_reference(subject, folder / f"reference-{name}")
            report(f"{name}: {references[name].seconds:.0f} s")
        before = len(made)
        try:
            for kill in run_chain(subject, references[name], run_dir, draw, kills - len(made)):
                made.append({"what": subject.title, **kill})
        except Fault as fault:
            faults.append(
                {"what": subject.title, "chain": chain, "kills": made[before:], "fault": str(fault)}
            )
            report(f"FAULT {json.dumps(faults[-1], indent=1)}")
        else:
            shutil.rmtree(run_dir)
            run_dir.with_name(f"{run_dir.name}.txt").unlink()
        words = ", ".join(f"{kill['signal']} in {kill['phase']}" for kill in made[before:])
        report(f"{len(made):3}/{kills} {name}: {words or 'ended before it was killed'}")
        of_title = ([of for of in found if of["what"] == subject.title] for found in (made, faults))
        keep(subject.title, *of_title)
        chain += 1
    return made, faults


def _import_all() -> None:
    """Import what the forks need; no device of JAX is touched, which a fork would not survive."""
    for name in ("train", "sweep", "tables", "evaluation", "papers.engine", "report.page", "report.plots"):
        importlib.import_module(f"gcnxmodal.{name}")


def run_words(words: list[str]) -> int:
    """Run the command of a subject in this process."""
    from gcnxmodal import evaluation, sweeps

    if words[0] == "brief":

        def without(*_: Any, **__: Any) -> dict[str, Any]:
            return {}

        if words[1] != "table":  # which shows them
            evaluation.measure_baselines = sweeps.measure_baselines = without  # pyright: ignore
        evaluation.write_report = without  # pyright: ignore
    if words[1] != "table":
        return importlib.import_module(words[1]).main(words[2:])
    return _small_table(Path(words[2]), Path(words[3]))


def _small_table(data: Path, folder: Path) -> int:
    """GIN's table on a folder: two seeds of GIN, and three of its other methods."""
    from gcnxmodal.config import DataConfig
    from gcnxmodal.console import status_of
    from gcnxmodal.data.cache import keep_compiled_programs
    from gcnxmodal.papers import TABLES
    from gcnxmodal.papers.engine import reproduce
    from gcnxmodal.papers.options import Options

    keep_compiled_programs()
    table: Any = TABLES["gin-1"](Options(root=data, data="corel5k"))
    [part] = table.parts
    e = part.experiment
    experiment = dataclasses.replace(
        e,
        data=DataConfig(name="folder", root=data, image_feature="features"),
        text=dataclasses.replace(e.text, words=40, neighbours=4),
        model=dataclasses.replace(e.model, dimension=8),
        train=dataclasses.replace(e.train, grid_texts=10, grid_images=10),
        epochs=4,
    )
    rows = tuple(row for row in table.rows if row.method in ("model", "cca", "jfssl", "chance"))
    labels = {row.label for row in rows}
    table = dataclasses.replace(
        table,
        parts=(dataclasses.replace(part, experiment=experiment),),
        rows=rows,
        cells={key: cell for key, cell in table.cells.items() if key[0] in labels},
    )
    return status_of(
        lambda: reproduce(table, folder, seeds=2, command="tables gin-1"), "gcnxmodal.tables", []
    )


def _keep_result(
    seed: int, commit: str, title: str, kills: list[dict[str, str]], faults: list[dict[str, Any]]
) -> None:
    """Replace what the last result has of this title."""
    kept = json.loads(LAST_RESULT.read_text())["runs"] if LAST_RESULT.exists() else {}
    kept[title] = {
        **{"date": datetime.date.today().isoformat(), "commit": commit, "seed": seed},
        "kills": len(kills),
        **{f"by {field}": _counted(kill[field] for kill in kills) for field in ("phase", "signal")},
        "outcome": faults or "every chain ended with the same bits",
    }
    of_all = {
        "kills": sum(of["kills"] for of in kept.values()),
        "titles with faults": [title for title, of in kept.items() if isinstance(of["outcome"], list)],
        "by phase": _counted(phase for of in kept.values() for phase in _repeated(of["by phase"])),
    }
    LAST_RESULT.write_text(json.dumps({"all": of_all, "runs": kept}, indent=2) + "\n")


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(words).items()))


def _repeated(counts: dict[str, int]) -> Iterator[str]:
    return collections.Counter(counts).elements()


def main() -> int:
    if sys.argv[1:2] == ["--as-child"]:
        return run_words(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    parser.add_argument("--keep", type=Path, help="where the runs are; those with a fault stay")
    parser.add_argument("--brief", action="store_true", help="without baselines and pages")
    parser.add_argument("--no-result", action="store_true", help=f"do not write {LAST_RESULT.name}")
    options = parser.parse_args()
    git = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(git, cwd=TESTS, capture_output=True, text=True).stdout.strip()
    identity = options.seed, commit
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        os.environ.update(GCNXMODAL_CACHE=str(folder / "cache"), PYTHONPATH=str(TESTS.parent))
        keep: Any = (lambda *_: None) if options.no_result else functools.partial(_keep_result, *identity)
        what = options.only, options.kills, options.seed, folder
        _, faults = find_faults(*what, brief=options.brief, keep=keep)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
