"""GCH's equations as they stand in the paper, in NumPy float64 and in loops where that is clearer."""

import numpy as np


def similarities(labels: np.ndarray) -> np.ndarray:
    """S: 1 where two items share a label."""
    n = len(labels)
    return np.array([[float((labels[i] & labels[j]).any()) for j in range(n)] for i in range(n)])


def likelihood_terms(a: np.ndarray, b: np.ndarray, half: bool) -> np.ndarray:
    """S Theta - log(1 + exp(Theta)) of every pair needs Theta and its log; both are given back."""
    theta = (0.5 if half else 1.0) * a.astype(float) @ b.astype(float).T
    return np.stack([theta, np.logaddexp(0, theta)])


def paper_similarity_loss(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> float:
    """First term of Eq. 3, 5, 8, divided by the number of pairs."""
    theta, log = likelihood_terms(a, b, half=True)
    return -float((similarities(labels) * theta - log).sum()) / theta.size


def official_similarity_loss(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> float:
    """The public code's: a mean of squares, Theta without 1/2."""
    theta, log = likelihood_terms(a, b, half=False)
    return float(((similarities(labels) * theta - log) ** 2).mean())


def propagation(labels: np.ndarray) -> np.ndarray:
    """D^(-1/2) (A + I) D^(-1/2) of Eq. 7, A_ij the labels that i and j share."""
    n = len(labels)
    A = np.array([[float((labels[i] & labels[j]).sum()) for j in range(n)] for i in range(n)]) + np.eye(n)
    D = np.diag(1 / np.sqrt(A.sum(axis=1)))
    return D @ A @ D


def fused(x: np.ndarray, y: np.ndarray, fusion: str) -> np.ndarray:
    """Eq. 6."""
    W = x.astype(float) @ y.astype(float).T
    if fusion == "frobenius":
        W = W / np.sqrt((W**2).sum())
    elif fusion == "largest":
        W = W / np.abs(W).max()
    else:
        W = np.exp(W - W.max(axis=1, keepdims=True))
        W = W / W.sum(axis=1, keepdims=True)
    return (W @ x + W.T @ y) / 2
