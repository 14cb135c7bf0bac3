"""How values are written on the page, and the colours of its text and plots.

What was not measured is a dash, never a NaN. Style sheet and plots share one list of colours, a light and a
dark value each. The series colours are a blue, a vermilion and a green that stay apart for the common kinds
of colour blindness; every series differs in its dashes and its marker as well.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

DASH = "\N{EN DASH}"
DIRECTIONS = {"text_query": "text queries", "image_query": "image queries"}


def measured(value: Any) -> float | None:
    """The number, or None if it is missing, NaN or infinite."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def as_map(value: Any) -> str:
    """MAP and precision: three decimals.

    >>> as_map(0.48049), as_map(float("nan")) == DASH
    ('0.480', True)
    """
    return DASH if (value := measured(value)) is None else f"{value:.3f}"


def as_percent(value: Any) -> str:
    """
    >>> as_percent(0.1234)
    '12.3%'
    """
    return DASH if (value := measured(value)) is None else f"{100 * value:.1f}%"


def as_rank(value: Any) -> str:
    """
    >>> as_rank(12.0), as_rank(12.5)
    ('12', '12.5')
    """
    return DASH if (value := measured(value)) is None else f"{round(value, 1):g}"


def as_duration(seconds: Any) -> str:
    """
    >>> as_duration(4.24), as_duration(372), as_duration(7500)
    ('4.2 s', '6 min 12 s', '2 h 5 min')
    """
    if (seconds := measured(seconds)) is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def excerpt(text: str, length: int) -> str:
    """The first words of a text, in at most `length` letters and the dots.

    >>> excerpt("one  two three", 9), excerpt("one two", 9), excerpt("onetwothree", 6)
    ('one two…', 'one two', 'onetwo…')
    """
    text = " ".join(text[: 20 * length].split())
    if len(text) <= length:
        return text
    return (text[: length + 1].rpartition(" ")[0] or text[:length]) + "\N{HORIZONTAL ELLIPSIS}"


def printable(text: str) -> str:
    r"""The text with a blank for every character that has no place in a name: control codes, lone surrogates.

    >>> printable("rock\x00\nmusic")
    'rock  music'
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON values as (dotted name, text), in order; a list of plain values is one text.

    >>> list(flatten({"model": {"filters": [1, 2], "bias": True}, "root": None}))
    [('model.filters', '1, 2'), ('model.bias', 'true'), ('root', 'null')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        for place, inner in enumerate(value):
            yield from flatten(inner, f"{name}.{place}")
    elif isinstance(value, list | tuple):
        yield name, ", ".join(text for inner in value for _, text in flatten(inner))
    elif isinstance(value, float) and measured(value) is None:
        yield name, DASH
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, default=str)


# role: (light, dark). A plot is drawn in the light values; `svg.inline` replaces each by its CSS variable.
COLOURS: dict[str, tuple[str, str]] = {
    "page": ("#f5f6f8", "#10151c"),
    "card": ("#ffffff", "#181f29"),
    "ink": ("#17212e", "#e6ebf2"),
    "muted": ("#566273", "#9eabbb"),
    "line": ("#e2e6ec", "#2b3543"),
    "model": ("#0b5fb4", "#6cb4ff"),
    "sm": ("#b54708", "#ff9c5b"),
    "cca": ("#0a766c", "#4fd1c0"),
    "other": ("#75509b", "#c3a1e8"),
    "right": ("#12734f", "#5fd6a2"),
    "wrong": ("#b42328", "#ff8d87"),
}

Dashes = tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Series:
    """How one retrieval system is shown everywhere on the page: its name, colour role, dashes, marker; and
    in tables what stands below the name."""

    label: str
    role: str
    dashes: Dashes = ()
    marker: str = "o"
    note: str = ""

    @property
    def colour(self) -> str:
        return COLOURS[self.role][0]


def series(key: str, system: str) -> Series:
    """The series of `key`: "model" (labelled with the system's name), what is preferred, or a baseline."""
    known = {
        "model": Series(system, "model"),
        "class": Series("by class", "model"),
        "pair": Series("by pair", "model"),
        "sm": Series("SM", "sm", dashes=(5, 2), marker="D"),
        "cca": Series("CCA", "cca", dashes=(1.5, 1.5), marker="o"),
        "cca-sign": Series("CCA + sign", "cca", dashes=(1.5, 1.5), marker="o"),
    }
    return known.get(key) or other(key.upper())


def other(label: str, note: str = "") -> Series:
    """The series of a system that the page does not know."""
    return Series(label, "other", dashes=(6, 2, 1, 2), marker="s", note=note)


def css_variables() -> str:
    """The colours as custom properties, dark ones where the reader's system asks for them."""
    light, dark = (
        "".join(f"--{role}:{values[mode]};" for role, values in COLOURS.items()) for mode in (0, 1)
    )
    return f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
