"""SSPE's graphs and losses as they stand in the paper, in NumPy float64, dense and in loops."""

import numpy as np


def semantic_weights(labels: np.ndarray, similarity: str = "cosine", sigma: float = 1.0) -> np.ndarray:
    """w_ij between any two label vectors: 0 where they share no label."""
    n = len(labels)
    weights = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            a, b = labels[i].astype(float), labels[j].astype(float)
            if a @ b > 0:
                cosine = a @ b / np.sqrt((a @ a) * (b @ b))
                weights[i, j] = cosine if similarity == "cosine" else np.exp(-((a - b) @ (a - b)) / sigma)
    return weights


def neighbour_chances(weights: np.ndarray, *, same_modality: bool) -> np.ndarray:
    """P(j | i): proportional to the weight, the item itself left out of its own modality."""
    weights = weights * (1 - np.eye(len(weights))) if same_modality else weights
    return weights / weights.sum(axis=1, keepdims=True)


def unconnected_chances(weights: np.ndarray) -> np.ndarray:
    """Uniform over those without an edge, the item itself left out."""
    free = (weights == 0) & ~np.eye(len(weights), dtype=bool)
    return free / free.sum(axis=1, keepdims=True)


def feature_weights(rows: np.ndarray, k: int) -> np.ndarray:
    """1 where one of two items is among the other's k nearest by Euclidean distance."""
    n = len(rows)
    weights = np.zeros((n, n))
    for i in range(n):
        distances = ((rows.astype(float) - rows[i].astype(float)) ** 2).sum(axis=1)
        distances[i] = np.inf
        for j in np.argsort(distances, kind="stable")[:k]:
            weights[i, j] = weights[j, i] = 1
    return weights


def embedded(x: np.ndarray, mean: np.ndarray, weights: dict[str, np.ndarray], output: str) -> np.ndarray:
    """f of some rows: centred, at unit length, then two layers."""
    x = x.astype(float) - mean
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    hidden = np.tanh(x @ weights["hidden.kernel"] + weights["hidden.bias"])
    last = hidden @ weights["last.kernel"] + weights["last.bias"]
    return np.tanh(last) if output == "tanh" else last


def skip_gram(f_i: np.ndarray, near: np.ndarray, far: np.ndarray) -> float:
    """Eq. 2 or 3 of one vertex: each neighbour with its own negative."""

    def sigmoid(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    total = 0.0
    for f_j in near:
        total -= np.log(sigmoid(f_i @ f_j))
    for f_l in far:
        total -= np.log(sigmoid(-(f_i @ f_l)))
    return total
