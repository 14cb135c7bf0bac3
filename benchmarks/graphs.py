"""Word graphs of the benchmarks' sizes, and texts on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jraph
import numpy as np
import scipy.sparse as sp

from benchmarks.specs import NEIGHBOURS
from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.data.load import load_corpus
from gcnxmodal.graph.word_graph import graph_order, laplacian, largest_eigenvalue, relabel, word_graph
from gcnxmodal.text.vectors import vector_matrix, word_vectors

TEXTS = 2_173  # the training texts of Wikipedia


@dataclasses.dataclass(frozen=True)
class Words:
    """N words in the order that training uses.

    Attributes:
        laplacian: L of their graph, float64 [N, N].
        lambda_max: its largest eigenvalue.
        counts: the words of some texts, CSR float32 [n, N].
        source: where words and texts are from.
    """

    laplacian: sp.csr_array
    lambda_max: float
    counts: sp.csr_array
    source: str

    @property
    def size(self) -> int:
        """N."""
        return len(self.laplacian.indptr) - 1

    @property
    def scaled(self) -> sp.csr_array:
        """L~ = 2 L / lambda_max - I."""
        scaled = sp.csr_array(2 / self.lambda_max * self.laplacian - sp.eye_array(self.size))
        scaled.eliminate_zeros()
        return scaled


def real_words(root: Path, words: int, neighbours: int = NEIGHBOURS) -> Words:
    """The most common words of Wikipedia's training texts, by Word2Vec trained on them; and these texts.

    Args:
        root: folder of the Wikipedia data set, with cnn_features.npz.
    """
    data = DataConfig(name="wikipedia", root=root, image_feature="cnn")
    corpus = load_corpus(data, TextConfig(words=words))
    train = corpus.splits["train"]
    vectors = word_vectors("corpus", corpus.vocabulary, [corpus.texts[i] for i in train])
    graph = word_graph(*vector_matrix(vectors, corpus.vocabulary), neighbours)
    counts = sp.csr_array(corpus.counts[train])
    return _in_order(graph, counts, "Wikipedia's training texts, Word2Vec")


def synthetic_words(words: int, neighbours: int = NEIGHBOURS, texts: int = TEXTS) -> Words:
    """Made-up words and texts, for where there is no data set.

    The words are points of a normal distribution off the origin, whose graph has about the degrees of a real
    one (mean 12, a hundredth above 29), though not its clusters. The texts have the lengths of Wikipedia's
    (log-normal, median 158 words) and draw words by Zipf's law, so that 1 % of their counts are not zero.
    """
    random = np.random.default_rng(0)
    vectors = (0.5 + random.standard_normal((words, 30))).astype(np.float32)
    graph = word_graph(vectors, np.ones(words, bool), neighbours)
    frequency = random.permutation(1 / (2.7 + np.arange(words)))
    lengths = np.exp(random.normal(np.log(158), 0.41, texts)).astype(int)
    counts = np.stack([random.multinomial(length, frequency / frequency.sum()) for length in lengths])
    return _in_order(graph, sp.csr_array(counts.astype(np.float32)), "synthetic")


def benchmark_words(words: int, root: Path | None) -> Words:
    """Real words if there is a data set, else synthetic ones."""
    return synthetic_words(words) if root is None else real_words(root, words)


def _in_order(graph: jraph.GraphsTuple, counts: sp.csr_array, source: str) -> Words:
    order = graph_order(graph)
    matrix = laplacian(relabel(graph, order))
    return Words(matrix, largest_eigenvalue(matrix), sp.csr_array(counts[:, order]), source)
