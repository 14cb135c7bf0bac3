"""Discriminant analysis of two modalities: GMLDA, GMMFA and MvDA."""

import abc
import dataclasses
from dataclasses import KW_ONLY
from typing import ClassVar, Literal

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Bool, Float

from gcnxmodal.baselines.base import Count, NonNegative
from gcnxmodal.baselines.linear import LinearSpace, Maps, class_scatter, class_shares, top_eigenpairs

BLOCK = 512
"""Rows whose distances to all items are held at a time: 4 MB for a thousand items."""


@dataclasses.dataclass(eq=False, repr=False)
class _GeneralizedMultiview(LinearSpace):
    """Generalized multiview analysis (Sharma et al., CVPR 2012).

    With A what shall be large and B what shall be small of each modality, and C = P^T Q / n:

        [[A_img, alpha C], [alpha C^T, A_txt]] w = lambda [[B_img, 0], [0, gamma B_txt]] w

    w = [w_img; w_txt], ridge on each B, gamma = tr B_img / tr B_txt as in the paper and its code.

    Args:
        components: directions kept.
        alpha: weight of the pairs (Sharma's code: 10).
        align: what is a pair: an item's image and text, or a class's mean image and mean text.
        ridge: added to each B.
        energy, unit_length, axes: see `LinearSpace`.
    """

    # Checked against public copies of the authors' code (`Newgma.m`, `myMFA.m`, their Readme): gamma, alpha
    # of 10, axes of 95 % energy, 5 and 20 neighbours unasked; C is of pairs or of class means (`align`).

    space: ClassVar = {"components": (8, 32), "alpha": (1.0, 10.0, 100.0), "ridge": (1e-3, 1e-2, 1e-1)}

    components: Count | None = 32
    _: KW_ONLY
    alpha: NonNegative = 10.0
    align: Literal["pairs", "classes"] = "pairs"
    ridge: NonNegative = 1e-3

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        (A_p, B_p), (A_q, B_q) = (self._criterion(x, labels_nC) for x in (P, Q))
        B_p, B_q = (B + self.ridge * np.eye(len(B)) for B in (B_p, B_q))
        gamma = np.trace(B_p) / np.trace(B_q)
        C = self.alpha * self._pairs(P, Q, labels_nC)
        A = np.block([[A_p, C], [C.T, A_q]])
        B = np.block([[B_p, np.zeros_like(C)], [np.zeros_like(C.T), gamma * B_q]])
        self.eigenvalues_, W = top_eigenpairs(A, B, self.components)
        return W[: P.shape[1]], W[P.shape[1] :]

    def _pairs(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> np.ndarray:
        """C: over the pairs, or over the classes' means as if each of them were n_c pairs."""
        if self.align == "pairs":
            return P.T @ Q / len(P)
        shares_nC = class_shares(labels_nC)
        sums_p, sums_q = shares_nC.T @ P, shares_nC.T @ Q
        return (sums_p.T / np.maximum(shares_nC.sum(axis=0), 1e-12)) @ sums_q / len(P)

    @abc.abstractmethod
    def _criterion(self, x_np: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A and B of one modality, over n."""


@dataclasses.dataclass(eq=False, repr=False)
class GMLDA(_GeneralizedMultiview):
    """Generalized multiview LDA (Sharma et al., CVPR 2012): A the scatter between classes, B that within.

        [[A_img, alpha C], [alpha C^T, A_txt]] w = lambda [[B_img, 0], [0, gamma B_txt]] w,   C = P^T Q / n

    Args:
        components, alpha, align, ridge: see `_GeneralizedMultiview`.
        energy, unit_length, axes: see `LinearSpace`.
    """

    def _criterion(self, x_np: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return class_scatter(x_np, class_shares(labels_nC))


@dataclasses.dataclass(eq=False, repr=False)
class GMMFA(_GeneralizedMultiview):
    """Generalized multiview marginal Fisher analysis (Sharma et al., CVPR 2012; MFA: Yan et al., PAMI 2007).

    As `GMLDA` with scatters of neighbours: B = sum (x_i - x_j)(x_i - x_j)^T / n over items that share a label
    where one is among the other's nearest such, and A the same over items that share none.

    Args:
        like, unlike: neighbours of an item that share a label with it, and that share none.
        others: as of `GMLDA`.
    """

    _: KW_ONLY
    like: Count = 5
    unlike: Count = 20

    def _criterion(self, x_np: np.ndarray, labels_nC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        like, unlike = neighbour_graphs(x_np, labels_nC, self.like, self.unlike)
        # Over the number of neighbours too: both are then means, of the size of GMLDA's scatters.
        return neighbour_scatter(x_np, unlike) / self.unlike, neighbour_scatter(x_np, like) / self.like


@dataclasses.dataclass(eq=False, repr=False)
class MvDA(LinearSpace):
    """Multi-view discriminant analysis (Kan et al., ECCV 2012 and PAMI 2016).

    The maps maximise the scatter between classes over that within them, of all images P W_img and texts
    Q W_txt together, each class having one mean over both modalities. That is Fisher's criterion of the 2n
    rows of

        Z = [[P, 0], [0, Q]]:   S_B w = lambda (S_W + ridge I) w,   w = [w_img; w_txt]

    Args:
        components: directions kept; None for all, one fewer than classes.
        ridge: added to S_W over 2n; without it more features than items have no solution.
        energy, unit_length, axes: see `LinearSpace`.
    """

    space: ClassVar = {"ridge": (1e-4, 1e-3, 1e-2, 1e-1)}

    _: KW_ONLY
    ridge: NonNegative = 1e-3

    def _maps(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> Maps:
        shares_nC = class_shares(labels_nC)
        Z = np.asarray(scipy.linalg.block_diag(P, Q))
        between, within = class_scatter(Z, np.vstack([shares_nC, shares_nC]))
        within += self.ridge * np.eye(len(within))
        self.eigenvalues_, W = top_eigenpairs(between, within, self.components)
        return W[: P.shape[1]], W[P.shape[1] :]


def neighbour_graphs(
    x_np: Float[np.ndarray, "n p"], labels_nC: Bool[np.ndarray, "n C"], like: int, unlike: int
) -> tuple[sp.csr_array, sp.csr_array]:
    """Symmetric 0/1 graphs: i and j, which share a label (share none), are joined if one is among the `like`
    (`unlike`) nearest such items of the other by Euclidean distance."""
    # Paper: of unlike pairs the shortest of each class, and in the authors' code the `unlike` shortest of
    # all; here of each item, because 20 pairs in all leave A with rank 20 at the most.
    n = len(x_np)
    square_n = np.sum(x_np * x_np, axis=1)
    labels = labels_nC.astype(np.float32)
    joined: tuple[list, list] = ([], [])
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        distance = square_n[rows, None] + square_n - 2 * x_np[rows] @ x_np.T
        share = labels[rows] @ labels.T > 0
        itself = rows[:, None] == np.arange(n)
        for edges, allowed, k in zip(
            joined, (share & ~itself, ~share & ~itself), (like, unlike), strict=True
        ):
            among = np.where(allowed, distance, np.inf)
            near = np.argsort(among, axis=1, kind="stable")[:, :k]
            is_allowed = np.take_along_axis(allowed, near, axis=1)
            edges.append(np.stack([np.broadcast_to(rows[:, None], near.shape)[is_allowed], near[is_allowed]]))
    return _symmetric(np.hstack(joined[0]), n), _symmetric(np.hstack(joined[1]), n)


def neighbour_scatter(x_np: Float[np.ndarray, "n p"], graph: sp.csr_array) -> Float[np.ndarray, "p p"]:
    """sum over edges {i, j} of (x_i - x_j)(x_i - x_j)^T / n  =  X^T (D - W) X / n."""
    degree_n = np.asarray(graph.sum(axis=1)).ravel()
    return ((x_np.T * degree_n) @ x_np - x_np.T @ (graph @ x_np)) / len(x_np)


def _symmetric(edges_2e: np.ndarray, n: int) -> sp.csr_array:
    directed = sp.csr_array((np.ones(edges_2e.shape[1]), tuple(edges_2e)), shape=(n, n))
    return sp.csr_array(directed.maximum(directed.T))
