"""Word graphs of the benchmarks' sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from gcnxmodal.text.graph import graph_order, laplacian, largest_eigenvalue, relabel, word_graph
from gcnxmodal.text.tokens import Tokenizer
from gcnxmodal.text.vectors import vector_matrix, word_vectors
from gcnxmodal.text.vocabulary import Vocabulary


def benchmark_laplacian(words: int, neighbours: int, root: Path | None) -> tuple[sp.csr_array, float]:
    """L of a word graph in the order that training uses, and its largest eigenvalue.

    With the folder of the Wikipedia data set: the most common words of its training texts, Word2Vec trained
    on them. Without: points of a normal distribution off the origin, whose graph has about the degrees of a
    real one (mean 12, a hundredth above 29), though not its clusters.
    """
    if root is None:
        vectors = (0.5 + np.random.default_rng(0).standard_normal((words, 30))).astype(np.float32)
        has_vector = np.ones(words, bool)
    else:
        texts = _training_texts(root)
        vocabulary = Vocabulary.fit(texts, words, Tokenizer())
        vectors, has_vector = vector_matrix(word_vectors("corpus", vocabulary, texts), vocabulary)
    graph = word_graph(vectors, has_vector, neighbours)
    matrix = laplacian(relabel(graph, graph_order(graph)))
    return matrix, largest_eigenvalue(matrix)


def _training_texts(root: Path) -> list[str]:
    rows = (root / "trainset_txt_img_cat.list").read_text().splitlines()
    files = [root / "texts" / f"{row.split()[0]}.xml" for row in rows]
    return [file.read_text(errors="replace").split("<text>")[1].split("</text>")[0] for file in files]
