"""What the entry points print: progress, the results table, errors."""

import sys
from typing import Any

from tqdm import tqdm

from gcnxmodal.training.loop import Progress


def say(text: str) -> None:
    """One line for the user, also while a bar is on the screen."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


class TrainingDisplay:
    """A bar with loss, pairs/s and time left on a terminal; one line an epoch everywhere."""

    def __init__(self, epochs: int, steps_per_epoch: int, pairs_per_step: int, first_step: int):
        self._epochs = epochs
        self._steps = steps_per_epoch
        self._pairs = pairs_per_step
        self._left = 0.0
        # disable=None: tqdm draws only where there is a terminal.
        self._bar = tqdm(
            total=epochs * steps_per_epoch, initial=first_step, unit="step", disable=None, leave=False
        )

    def progress(self, progress: Progress) -> None:
        """Take up a report of the training loop."""
        done = progress.epoch * self._steps + progress.steps_done
        self._left = (self._epochs * self._steps - done) / progress.steps_per_second
        self._bar.set_description(f"epoch {progress.epoch + 1}/{self._epochs}", refresh=False)
        self._bar.set_postfix_str(
            f"loss {progress.loss:.4f}, {progress.steps_per_second * self._pairs:,.0f} pairs/s", refresh=False
        )
        self._bar.update(done - self._bar.n)

    def epoch(self, line: dict[str, Any]) -> None:
        """Print the line of an epoch."""
        text = f"epoch {line['epoch']:>3}/{self._epochs}  loss {line['loss']:.4f}"
        text += f"  {line['pairs_per_second']:>11,.0f} pairs/s"
        if "standard" in line:
            standard = line["standard"]
            text += f"  MAP text {standard['text_query']:.3f} image {standard['image_query']:.3f}"
        say(f"{text}  left {tqdm.format_interval(self._left)}")

    def close(self) -> None:
        self._bar.close()


def results_table(system: str, results: dict[str, Any]) -> str:
    """Every protocol, both directions, with the yardsticks below the system.

    >>> row = {"text_query": 0.5, "image_query": 0.25, "average": 0.375}
    >>> results = {"protocols": {"standard": row}, "yardsticks": {"cca": {"standard": row}}}
    >>> print(results_table("gin", results))
    MAP                 standard
               text  image   avg
    gin        .500   .250  .375
    cca        .500   .250  .375
    """
    rows = {system: results["protocols"], **results["yardsticks"]}
    names = list(results["protocols"])
    lines = ["MAP     " + "".join(f"{name:>20}  " for name in names).rstrip()]
    lines.append(" " * 8 + "".join(f"{'text':>7}{'image':>7}{'avg':>6}  " for _ in names).rstrip())
    for row, protocols in rows.items():
        cells = [
            f"{_short(cell['text_query']):>7}{_short(cell['image_query']):>7}{_short(cell['average']):>6}  "
            for cell in protocols.values()
        ]
        lines.append(f"{row:<8}" + "".join(cells).rstrip())
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
