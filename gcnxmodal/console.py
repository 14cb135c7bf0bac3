"""What the entry points print: progress, the results table, errors."""

import contextlib
import io
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from gcnxmodal import stopping
from gcnxmodal.config import Experiment
from gcnxmodal.corpus import Corpus
from gcnxmodal.errors import InputError, Stopped
from gcnxmodal.report import kept
from gcnxmodal.retrieval.metrics import PAIR_MEASURE, by_measure, headline_scores
from gcnxmodal.systems import System
from gcnxmodal.training import cluster
from gcnxmodal.training.loop import Interrupted, Progress


def say(text: str) -> None:
    """One line for the user, also while a bar is on the screen."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def status_of(run: Callable[[], Any], module: str, arguments: Sequence[str], *, resume: bool = False) -> int:
    """The exit code of an entry point: 0; 2, after saying what the user can mend; 128 + n stopped by signal
    n, after saying what is saved.

    Args:
        module: of the entry point.
        arguments: its command line.
        resume: whether it goes on with --resume.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal in Latin-1 has not
    try:
        with _stops():
            run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:  # not a path that the user has named
            raise
        print(f"error: {error.filename}: {error.strerror}; name another path", file=sys.stderr)
        return 2
    except Interrupted as stop:
        saved = f"saved at step {stop.step:,}"
        cluster.first_only(lambda: say(how_to_go_on(saved, module, arguments, resume=resume)))
        return 128 + stop.signal
    except KeyboardInterrupt as stop:
        # Without a note the command had changed nothing, or only what it makes anew.
        notes = getattr(stop, "__notes__", [])
        again = how_to_go_on(notes[0], module, arguments, resume=resume) if notes else ""
        print(again or "stopped; the same command starts again", file=sys.stderr)
        return 128 + getattr(stop, "signal", signal.SIGINT)
    return 0


@contextlib.contextmanager
def _stops() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that it can be said what is saved."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of signals
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def describe(system: System) -> str:
    """What is about to be trained, in a few lines."""
    corpus, graph = system.inputs.corpus, system.inputs.graph_report
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in corpus.splits.items())
    wordless = graph.get("documents_without_a_word", 0)
    mesh = system.mesh
    devices = f"{mesh.size} x {mesh.devices.flat[0].device_kind}"
    if mesh.size > 1:
        devices += f" ({' x '.join(f'{size} {axis}' for axis, size in mesh.shape.items())})"
    if jax.process_count() > 1:
        devices += f" of {jax.process_count()} processes"
    return "\n".join(
        [
            f"{corpus.provenance['source']}: {sizes} items, {_matched(corpus)}, "
            f"images {' x '.join(map(str, system.inputs.images.shape[1:]))}",
            _words(graph)
            + (f"; {wordless:,} documents have no vocabulary word and are kept" if wordless else ""),
            *_SEGMENTED.get(corpus.vocabulary.tokenizer.segmenter, ()),
            *_fitted(system),
            f"model: {system.parameters:,} parameters; an epoch is {system.steps_per_epoch:,} steps of "
            f"{system.per_step:,} {system.unit}; on {devices}",
        ]
    )


def _fitted(system: System) -> list[str]:
    """Which options say more items than there are to train on."""
    pairs = (
        (name, getattr(system.experiment.train, name), getattr(system.fitted, name))
        for name in system.within_items
    )
    items = len(system.inputs.corpus.splits["train"])
    return [
        f"--train.{name.replace('_', '-')} is {asked}, but there are {items} training items; {used} is used"
        for name, asked, used in pairs
        if asked != used
    ]


_SEGMENTED = {
    "jieba": ("the texts are Chinese without blanks: jieba cuts them into words",),
    "ngrams": (
        "the texts have no blanks between words: every two and every three neighbouring letters are a word",
    ),
}


def _matched(corpus: Corpus) -> str:
    """By what items match."""
    if corpus.labelled:
        return f"{len(corpus.class_names)} classes"
    if corpus.pairs is None:
        return "without labels: each matches itself"
    numbers = (len(np.unique(of)) for of in (corpus.pairs.text_n, corpus.pairs.image_n, corpus.pairs.group_n))
    texts, images, groups = (f"{number:,}" for number in numbers)
    return f"without labels: {texts} texts and {images} pictures match in {groups} groups"


def _words(graph: dict[str, Any]) -> str:
    if "text_features" in graph:
        return f"texts: {graph['text_features']:,} dense features"
    if "words_with_vector" not in graph:
        return f"texts: counts of {graph['words']:,} words"
    if "edges" not in graph:
        return f"texts: {graph['words']:,} words in order ({graph['words_with_vector']:,} with a vector)"
    return (
        f"word graph: {graph['words']:,} words ({graph['words_with_vector']:,} with a vector), "
        f"{graph['edges']:,} edges"
    )


def presets_table(presets: Mapping[str, tuple[str, Experiment]]) -> str:
    """Name, data set and summary of each preset."""
    width = max(map(len, presets))
    return "\n".join(
        f"{name:<{width}}  {experiment.data.name:<18}  {summary}"
        for name, (summary, experiment) in presets.items()
    )


def how_to_go_on(saved: str, module: str, arguments: Sequence[str], *, resume: bool) -> str:
    """What to say when a run was stopped and saved: the line that goes on, with --resume if it needs that.

    >>> print(how_to_go_on("saved at step 12", "gcnxmodal.train", ["gin-emoji", "--overwrite"], resume=True))
    stopped, saved at step 12. To go on:
      python -m gcnxmodal.train gin-emoji --resume
    """
    again = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
    line = f"  python -m {module} {shlex.join([*again, '--resume'] if resume else again)}"
    return f"stopped, {saved}. To go on:\n{line}"


class TrainingDisplay:
    """A bar with loss, speed and time left on a terminal; one line an epoch everywhere."""

    def __init__(self, system: System, first_step: int, models: int = 1):
        self._epochs, self._steps = system.experiment.epochs, system.steps_per_epoch
        self._per_step, self._unit = system.per_step * models, system.unit
        self._measure = stopping.measure_of(system.experiment, system.inputs.corpus)
        self._left = 0.0
        self._first_step = ""
        # disable=None: tqdm draws only where there is a terminal.
        total = self._epochs * self._steps
        self._bar = tqdm(total=total, initial=first_step, unit="step", disable=None, leave=False)

    def progress(self, progress: Progress) -> None:
        """Take up a report of the training loop."""
        done = progress.epoch * self._steps + progress.steps_done
        if progress.first_step_seconds is not None:
            self._first_step = f"  first step after {progress.first_step_seconds:.1f} s"
        self._left = (self._epochs * self._steps - done) / progress.steps_per_second
        self._bar.set_description(f"epoch {progress.epoch + 1}/{self._epochs}", refresh=False)
        rate = progress.steps_per_second * self._per_step
        self._bar.set_postfix_str(
            f"loss {progress.loss:.4f}, {rate:,.0f} {self._unit}/s{self._first_step}", refresh=False
        )
        self._bar.update(done - self._bar.n)

    def epoch(self, line: dict[str, Any]) -> None:
        """Print the line of an epoch."""
        text = f"epoch {line['epoch']:>3}/{self._epochs}  loss {line['loss']:.4f}"
        text += f"  {line[f'{self._unit}_per_second']:>11,.0f} {self._unit}/s"
        if "standard" in line:
            standard = line["standard"]
            text += f"  MAP text {standard['text_query']:.3f} image {standard['image_query']:.3f}"
        if PAIR_MEASURE in line:
            pairs = line[PAIR_MEASURE]
            text += f"  R@10 text {pairs['text_query']:.3f} image {pairs['image_query']:.3f}"
        if stopping.HELD_OUT in line:
            held_out = line[stopping.HELD_OUT]
            name = "R@10" if self._measure == PAIR_MEASURE else "MAP"
            text += f"  held out: {name} text {held_out['text_query']:.3f}"
            text += f" image {held_out['image_query']:.3f}"
        say(f"{text}  left {tqdm.format_interval(self._left)}{self._first_step}")
        self._first_step = ""

    def close(self) -> None:
        self._bar.close()


def results_table(system: str, results: dict[str, Any]) -> str:
    """Every protocol, both directions, with the yardsticks below the system; without labels, how early the
    own pairs come back.

    >>> row = {"text_query": 0.5, "image_query": 0.25, "average": 0.375}
    >>> results = {"protocols": {"standard": row}, "yardsticks": {"cca": {"standard": row}}}
    >>> print(results_table("gin", results))
    MAP                 standard
               text  image   avg
    gin        .500   .250  .375
    cca        .500   .250  .375
    """
    measured = headline_scores(results)
    asked = {f"for its {key}": of["protocols"] for key, of in results.get("preferences", {}).items()}
    rows = {system: measured, **asked, **results["yardsticks"]}
    # Of codes, what hashing papers measure; the report has all.
    names = ["hashing@500", "hashing", "standard"] if "hashing" in measured else list(measured)
    known = [of for of in results.get("kept", {}).values() if of["protocols"].keys() >= set(names)]
    rows |= {kept.label(of): of["protocols"] for of in known}
    width = max(7, *map(len, rows)) + 1
    title = "MAP" if results["protocols"] else "pairs"
    lines = [f"{title:<{width}}" + "".join(f"{name:>20}  " for name in names).rstrip()]
    lines.append(" " * width + "".join(f"{'text':>7}{'image':>7}{'avg':>6}  " for _ in names).rstrip())
    for row, protocols in rows.items():
        cells = [
            f"{_short(cell['text_query']):>7}{_short(cell['image_query']):>7}{_short(cell['average']):>6}  "
            for cell in map(protocols.__getitem__, names)
        ]
        lines.append(f"{row:<{width}}" + "".join(cells).rstrip())
    if asked:
        lines.append(_pairs_found(system, results))
    if "chosen" in results:
        lines.append(stopping.in_words(results["chosen"]))
    lines += [f"{reason}: left out" for reason in results.get("left_out", {}).values()]
    return "\n".join(lines)


def _pairs_found(system: str, results: dict[str, Any]) -> str:
    """Own pairs among ten, by each way to ask, and of the yardsticks: one line."""
    ways = {"for its pair": results["preferences"]["pair"]["exact_pair"], system: results["exact_pair"]}
    ways |= results.get("yardstick_pairs", {})
    ways |= {kept.label(of): of["exact_pair"] for of in results.get("kept", {}).values()}
    found = {name: by_measure(of)[PAIR_MEASURE] for name, of in ways.items()}
    words = (f"{name} {_short(of['text_query'])} / {_short(of['image_query'])}" for name, of in found.items())
    return f"own pair among ten (text / image): {', '.join(words)}"


def sweep_table(title: str, summary: Sequence[dict[str, Any]], yardsticks: dict[str, Any]) -> str:
    """Mean and standard deviation over seeds of the average MAP of each protocol, by setting; without labels,
    of each measure of exact pairs.

    >>> moments = {"average": {"mean": 0.5, "std": 0.0125}}
    >>> row = {"setting": {"train.margin": 0.6}, "protocols": {"standard": moments}}
    >>> print(sweep_table("gin", [row], {"cca": {"standard": {"average": 0.375}}}))
    average MAP       standard
    margin 0.6     .500 ± .013
    cca            .375
    """
    from gcnxmodal.report.page import setting_name  # with Matplotlib, which a search need not wait for

    names = {setting_name(row["setting"]) if row["setting"] else title: row for row in summary}
    protocols = list(next((row["protocols"] for row in summary if row["protocols"]), {}))
    measure = "average of pairs" if PAIR_MEASURE in protocols else "average MAP"
    width = max(map(len, [*names, *yardsticks, measure])) + 2
    # The longest name of a measure is wider than a number.
    column = max([13, *map(len, protocols)])
    lines = [f"{measure:<{width}}" + "".join(f"{name:>{column}}  " for name in protocols).rstrip()]
    for name, row in names.items():
        cells = [row["protocols"].get(protocol, {}).get("average") for protocol in protocols]
        words = [f"{_short(c['mean'])} ± {_short(c['std'])}" if c else "not a number" for c in cells]
        lines.append(f"{name:<{width}}" + "".join(f"{word:>{column}}  " for word in words).rstrip())
    for name, scores in yardsticks.items():
        words = [f"{_short(scores[protocol]['average']):<11}" for protocol in protocols]
        lines.append(f"{name:<{width}}" + "".join(f"{word:>{column}}  " for word in words).rstrip())
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
