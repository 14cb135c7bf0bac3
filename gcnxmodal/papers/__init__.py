"""The papers' tables and figures, made again; only the entry points `tables` and `figures` import it."""

from collections.abc import Callable

from gcnxmodal.papers.gch import gch_1, gch_2, gch_3
from gcnxmodal.papers.gin import gin_1
from gcnxmodal.papers.options import Options
from gcnxmodal.papers.scanet import scanet_2, scanet_3, scanet_4
from gcnxmodal.papers.sspe import sspe_1, sspe_4, sspe_5, sspe_6, sspe_7, sspe_8
from gcnxmodal.papers.table import Figure, Table

TABLES: dict[str, Callable[[Options], Table]] = {
    "scanet-2": scanet_2,
    "scanet-3": scanet_3,
    "scanet-4": scanet_4,
    "gin-1": gin_1,
    "gch-1": gch_1,
    "gch-2": gch_2,
    "gch-3": gch_3,
    "sspe-1": sspe_1,
}
FIGURES: dict[str, Callable[[Options], Figure]] = {
    "sspe-4": sspe_4,
    "sspe-5": sspe_5,
    "sspe-6": sspe_6,
    "sspe-7": sspe_7,
    "sspe-8": sspe_8,
}
"""By name: what the user's options make. A new one is its function in its paper's file, and a line here."""
