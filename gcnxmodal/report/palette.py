"""The report's colours: one list that the style sheet and the plots share, a light and a dark value each.

The series colours are a blue, a vermilion and a green that stay apart for the common kinds of colour
blindness; every series differs in its dashes and its marker as well.
"""

import dataclasses

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
    """How one retrieval system is shown everywhere on the page: its name, colour role, dashes, marker."""

    label: str
    role: str
    dashes: Dashes = ()
    marker: str = "o"

    @property
    def colour(self) -> str:
        return COLOURS[self.role][0]


def series(key: str, system: str) -> Series:
    """The series of `key`: "model" (labelled with the system's name) or a baseline."""
    known = {
        "model": Series(system, "model"),
        "sm": Series("SM", "sm", dashes=(5, 2), marker="D"),
        "cca": Series("CCA", "cca", dashes=(1.5, 1.5), marker="o"),
        "cca-sign": Series("CCA + sign", "cca", dashes=(1.5, 1.5), marker="o"),
    }
    return known.get(key, Series(key.upper(), "other", dashes=(6, 2, 1, 2), marker="s"))


def css_variables() -> str:
    """The colours as custom properties, dark ones where the reader's system asks for them."""
    light, dark = (
        "".join(f"--{role}:{values[mode]};" for role, values in COLOURS.items()) for mode in (0, 1)
    )
    return f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
