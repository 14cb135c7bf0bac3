"""JFSSL: regressions onto the labels whose outputs are smooth on a graph of the items of both modalities."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from gcnxmodal.baselines.coupled_regression import CoupledRegression, Maps, Problem, View, solve
from gcnxmodal.baselines.features import Features
from gcnxmodal.errors import InputError


class JFSSL(CoupledRegression):
    """Joint feature selection and subspace learning (Wang, He, Wang, Wang, Tan, PAMI 2016).

        min  ||X U - Y||_F^2 + ||T V - Y||_F^2 + sparsity (||U||_21 + ||V||_21)
             + graph (1/2) sum_kl W_kl ||f_k - f_l||^2

    over the 2n outputs f, the rows of F = X U and then of G = T V. W joins an image and a text of one class
    with 1, and within each modality near neighbours by `within` exp(-||x_i - x_j||^2 / (2 sigma^2)). With L
    its Laplacian, a step solves for images and then for texts

        (X^T (I + graph L_xx) X + sparsity diag(1 / (2 ||u_i||))) U = X^T (Y + graph W_xt G)

    The class graph is never formed: W_xt = M M^T with M [n, C] from the labels; the neighbours are sparse.
    The equations are from memory of the paper and from a public re-implementation of it.

    Args:
        sparsity: weight of the l21 norms (lambda_1).
        graph: weight of the graph (lambda_2).
        within: weight of the neighbours within a modality against the classes across (beta).
        neighbours: items that each is joined to within its modality.
        unit_length, tolerance, steps: see `CoupledRegression`.
    """

    space: ClassVar = {"sparsity": (0.1, 1.0, 10.0), "graph": (0.1, 1.0, 10.0)}

    def __init__(
        self,
        sparsity: float = 1.0,
        *,
        graph: float = 1.0,
        within: float = 1.0,
        neighbours: int = 10,
        unit_length: bool = True,
        tolerance: float = 1e-4,
        steps: int = 100,
    ) -> None:
        # Paper: features as they are; here centred and of unit length, because that ranks better: .250 for
        # .229 (average MAP of a fifth of Wikipedia's training items, official features). The weights were
        # chosen on the same fifth.
        self.sparsity = sparsity
        self.graph = graph
        self.within = within
        self.neighbours = neighbours
        self.unit_length = unit_length
        self.tolerance = tolerance
        self.steps = steps

    def _problem(self, images: Features, texts: Features, labels_nC: np.ndarray) -> Problem:
        for name in ("graph", "within"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.neighbours < 1:
            raise InputError(f"neighbours is {self.neighbours}; it must be at least 1")
        M = class_vectors(labels_nC)
        n = len(M)
        across = sp.diags_array(M @ M.sum(axis=0))
        laplacians = []
        for features in (images, texts):
            near = neighbour_weights(features, self.neighbours)
            degree = sp.diags_array(np.asarray(near.sum(axis=1)).ravel())
            laplacians.append(sp.csr_array(across + self.within * (degree - near)))
        image_view, text_view = (
            View(features, sp.csr_array(sp.eye_array(n) + self.graph * L))
            for features, L in zip((images, texts), laplacians, strict=True)
        )
        Y = labels_nC.astype(np.float64)
        return _Graph(
            (image_view, text_view), Y, self.sparsity, self.graph, M, (laplacians[0], laplacians[1])
        )


@dataclasses.dataclass(frozen=True)
class _Graph(Problem):
    graph: float
    classes: np.ndarray  # M [n, C]
    laplacians: tuple[Any, Any]  # diagonal blocks of L, sparse [n, n]

    def step(self, maps: Maps) -> Maps:
        maps = list(maps)
        for here, there in ((0, 1), (1, 0)):
            other = self.views[there].features @ maps[there]
            target = self.labels + self.graph * self.classes @ (self.classes.T @ other)
            maps[here] = solve(self.views[here], self.sparsity_weights(maps[here]), target)
        return maps

    def coupling(self, F: np.ndarray, G: np.ndarray) -> float:
        within = sum(float(np.sum(x * (L @ x))) for x, L in zip((F, G), self.laplacians, strict=True))
        across = float(np.sum((self.classes.T @ F) * (self.classes.T @ G)))
        return self.graph * (within - 2 * across)


def class_vectors(labels_nC: Bool[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """M whose M M^T weighs pairs across the modalities by their labels; an item's sum to 1 on average."""
    # Paper: weight 1 if of one class; here the cosine of the label vectors, which is that where items have
    # one label, over the mean sum of an item's weights, because `graph` then means the same for any n.
    M = np.asarray(normalize(labels_nC.astype(np.float64)))
    return M / np.sqrt(max(float(np.sum(M.sum(axis=0) ** 2)) / len(M), 1e-12))


def neighbour_weights(features: Features, k: int) -> sp.csr_array:
    """Symmetric Gaussian weights of pairs of which one is among the k nearest of the other by distance.

    2 sigma^2 is the mean squared distance of neighbours; an item's weights are 1 in sum on average.
    """
    n = features.shape[0]
    nearest = NearestNeighbors(n_neighbors=min(k, n - 1), algorithm="brute").fit(features)
    directed = nearest.kneighbors_graph(mode="distance")
    square = directed.data**2
    directed.data = np.exp(-square / max(float(np.mean(square)), 1e-300))
    graph = sp.csr_array(directed.maximum(directed.T))
    return sp.csr_array(graph * (n / graph.sum()))
