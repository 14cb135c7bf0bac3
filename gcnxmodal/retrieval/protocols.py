"""The named evaluation protocols. Every published number belongs to one, and says which."""

import dataclasses
from collections.abc import Collection
from typing import Literal

from gcnxmodal.retrieval.metrics import Norm


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How MAP is measured; queries are always the test items of one modality.

    Attributes:
        database: the split whose items of the other modality are ranked; see `database_split`.
        cutoff: R, the ranks that count; None for all.
        norm: the divisor Z of the average precision.
    """

    database: Literal["test", "train", "retrieval"]
    cutoff: int | None
    norm: Norm


PROTOCOLS = {
    "standard": Protocol(database="test", cutoff=None, norm="hits"),
    "test@100": Protocol(database="test", cutoff=100, norm="hits"),
    # What the surviving evaluation code of GIN's and SCANet's authors measures: the database side has been
    # fitted, so that text-query MAP is about the accuracy of the text side alone.
    "authors": Protocol(database="train", cutoff=100, norm="hits"),
}

HASHING_PROTOCOLS = {
    # What the text of GCH says (Section 4.1), and what its code measures.
    "hashing@500": Protocol(database="retrieval", cutoff=500, norm="hits"),
    "hashing": Protocol(database="retrieval", cutoff=None, norm="hits"),
}


def database_split(protocol: Protocol, splits: Collection[str]) -> str:
    """The split that the protocol ranks: without a split `retrieval`, that is the training split.

    Hashing papers train on a part of what they search; elsewhere every item but the queries is trained on.

    >>> database_split(HASHING_PROTOCOLS["hashing"], ("test", "train"))
    'train'
    """
    if protocol.database == "retrieval" and "retrieval" not in splits:
        return "train"
    return protocol.database


def expected_name(protocol: str) -> str:
    """What the MAP of binary codes under a protocol is called that is expected if ties come in random order.

    >>> expected_name("hashing@500")
    'hashing@500 expected'
    """
    return f"{protocol} expected"
