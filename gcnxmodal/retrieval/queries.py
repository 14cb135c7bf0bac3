"""Queries as people type them: a few words of a test text, what they bring back, and which items are hubs.

Whole documents are not what a search field gets. So every system is asked with one, two, four and eight words
of the test texts too, the same words whatever the system, and two things are measured by length: whether
right pictures are among the first ten, and how much of all hits ten items take. An item that comes back for
everything is a hub (Radovanovic et al. 2010): it takes places from the items that were meant.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from gcnxmodal.corpus import Pairs

WHOLE = "whole"
LENGTHS = (8, 4, 2, 1)
"""Words of a query."""
FIRST = 10  # hits that are looked at
HUBS = 10  # items whose share of all hits is told
MOST_TEXTS = 2_000  # that are asked with, of large test splits


@dataclasses.dataclass(frozen=True)
class Queries:
    """Queries of several lengths, and the items that they rank.

    Attributes:
        whole_W: corpus rows of the texts that are asked as they are.
        rows_S: corpus row of the text that each short query is made of.
        words_S: its words by their numbers in the vocabulary.
        items_M: corpus rows of the pictures that are ranked, each different picture once.
    """

    whole_W: Int[np.ndarray, " W"]
    rows_S: Int[np.ndarray, " S"]
    words_S: tuple[Int[np.ndarray, " length"], ...]
    items_M: Int[np.ndarray, " M"]

    @classmethod
    def draw(
        cls,
        counts_nN: sp.csr_array,
        words: Sequence[str],
        test: Int[np.ndarray, " rows"],
        pairs: Pairs | None = None,
    ) -> "Queries":
        """Words of the test texts, a function of the text and the length only.

        A text is asked with as many words as it has different ones, or fewer. The numbers of the words, which
        depend on the word graph, decide nothing.
        """
        texts, items = test, test
        if pairs is not None:  # each different text and picture once, as in exact pairs
            of_test = pairs.take(test)
            texts, items = test[of_test.first_rows("text")], test[of_test.first_rows("image")]
        if len(texts) > MOST_TEXTS:
            texts = np.sort(np.random.default_rng(0).choice(texts, MOST_TEXTS, replace=False))
        of_texts = {int(row): counts_nN[[row]].indices for row in texts}
        alphabetic = {row: sorted(numbers, key=words.__getitem__) for row, numbers in of_texts.items()}
        rows, drawn = [], []
        for length in LENGTHS:
            for row, numbers in alphabetic.items():
                if len(numbers) >= length:
                    chosen = np.random.default_rng((0, row, length)).permutation(len(numbers))[:length]
                    rows.append(row)
                    drawn.append(np.array([numbers[place] for place in chosen], np.int32))
        whole = np.array([row for row, numbers in of_texts.items() if len(numbers)], int)
        return cls(whole, np.array(rows, int), tuple(drawn), items)

    def __len__(self) -> int:
        return len(self.whole_W) + len(self.rows_S)

    def measure(
        self,
        found_Qk: Int[np.ndarray, "Q k"],
        labels_nC: Bool[np.ndarray, "n C"],
        pairs: Pairs | None = None,
    ) -> dict[str, dict[str, float]]:
        """By length ("whole", "8", "4", "2", "1"), of the first k items that each query found.

        Args:
            found_Qk: places in `items_M`, best first; the whole texts' first, then the short queries'.

        Returns:
            queries: how many there are; precision@10: the share of the hits that share a label with the text
            (without labels recall@10: how often the text's own picture is among them); hubs: the share of all
            hits that the ten most frequent items take. A length that no text has is left out.
        """
        asked_Q = np.concatenate([self.whole_W, self.rows_S])
        lengths_Q = np.concatenate([np.zeros(len(self.whole_W), int), list(map(len, self.words_S))])
        items_Qk = self.items_M[found_Qk]
        if labels_nC.shape[1]:
            name, right_Qk = f"precision@{FIRST}", _share_a_label(labels_nC, asked_Q, items_Qk)
            score_Q = right_Qk.mean(axis=1)
        else:
            group_n = np.arange(len(labels_nC)) if pairs is None else pairs.group_n
            name, score_Q = f"recall@{FIRST}", (group_n[items_Qk] == group_n[asked_Q][:, None]).any(axis=1)
        measured = {}
        for length in (0, *LENGTHS):
            these = lengths_Q == length
            if not these.any():
                continue
            hits_M = np.bincount(found_Qk[these].reshape(-1), minlength=len(self.items_M))
            measured[str(length) if length else WHOLE] = {
                "queries": int(these.sum()),
                name: float(score_Q[these].mean()),
                "hubs": float(np.sort(hits_M)[-HUBS:].sum() / hits_M.sum()),
            }
        return measured

    def measure_rows(
        self,
        whole_Wk: np.ndarray,
        short_Sk: np.ndarray,
        database: Any,
        labels_nC: Bool[np.ndarray, "n C"],
        pairs: Pairs | None = None,
    ) -> dict[str, dict[str, float]]:
        """`measure` of what a database of all items of the corpus finds for the rows of these queries.

        Args:
            whole_Wk, short_Sk: what the database searches by, of the whole texts and of the short queries.
        """
        ranked = database.take(self.items_M)
        found, _ = ranked.search(np.concatenate([whole_Wk, short_Sk]), FIRST, by="text")
        return self.measure(found, labels_nC, pairs)


def _share_a_label(
    labels_nC: np.ndarray, asked_Q: np.ndarray, items_Qk: np.ndarray
) -> Float[np.ndarray, "Q k"]:
    right_Qk = np.empty(items_Qk.shape, bool)
    for start in range(0, len(asked_Q), 1024):  # [1024, k, C] at a time
        part = slice(start, start + 1024)
        right_Qk[part] = (labels_nC[items_Qk[part]] & labels_nC[asked_Q[part], None]).any(axis=2)
    return right_Qk
