"""The named evaluation protocols. Every published number belongs to one, and says which."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gcnxmodal.retrieval.metrics import Norm


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How MAP is measured; queries are always the test items of one modality.

    Attributes:
        database: the split whose items of the other modality are ranked.
        cutoff: R, the ranks that count; None for all.
        norm: the divisor Z of the average precision.
    """

    database: Literal["test", "train"]
    cutoff: int | None
    norm: Norm


PROTOCOLS = {
    "standard": Protocol(database="test", cutoff=None, norm="hits"),
    "test@100": Protocol(database="test", cutoff=100, norm="hits"),
    # What the surviving evaluation code of GIN's and SCANet's authors measures: the database side has been
    # fitted, so that text-query MAP is about the accuracy of the text side alone.
    "authors": Protocol(database="train", cutoff=100, norm="hits"),
}
