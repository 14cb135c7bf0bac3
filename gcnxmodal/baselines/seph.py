"""SePH: codes whose distances are distributed as the similarities of labels; a kernel regression a bit."""

import dataclasses
import functools
import warnings
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

from gcnxmodal.baselines.base import Count, NonNegative, Positive, Seed, Side
from gcnxmodal.baselines.hashing import HashCodes, unit_labels
from gcnxmodal.baselines.two_branches import product
from gcnxmodal.errors import InputError

BLOCK = 512
"""Items whose pairs with all others are held at once: 4 BLOCK n bytes a matrix, some ten of them."""


@dataclasses.dataclass(eq=False, repr=False)
class SePH(HashCodes):
    """Semantics-preserving hashing (Lin, Ding, Hu, Wang, CVPR 2015), with anchors from k-means (SePH_km).

    First real codes y_i [K] of the training items, whose signs are h_i:

        min sum_(i != j) p_ij log(p_ij / q_ij) + alpha / (n K) sum_i || |y_i| - 1 ||^2

        p_ij = cos(l_i, l_j) / sum_(a != b) cos(l_a, l_b),   l_i the labels of item i
        q_ij = t_ij / sum_(a != b) t_ab,                     t_ij = 1 / (1 + ||y_i - y_j||^2 / 4)

    by gradient descent with momentum and a gain for each number, as in t-SNE. Then, for each modality and
    bit, logistic regression with a Gaussian kernel k(x, a) = exp(-||x - a||^2 / (2 sigma^2)) over anchors a,
    sigma^2 the mean squared distance of items:

        min sum_i log(1 + exp(-h_i f(x_i))) + regularisation w^T K w,    f(x) = sum_a w_a k(x, a)

    whose f are the numbers here. p and q are made in blocks of rows: memory is linear in n. The equations,
    step sizes and weights are those of the authors' public code; the 2 in the kernel is from memory.

    Args:
        bits, axes: see `HashCodes`.
        alpha: weight of the quantisation.
        anchors: of the kernel, at most; all items if there are fewer.
        regularisation: of the regressions.
        iterations: of the descent; the codes of least cost are kept.
        random_state: of the real codes and of k-means.

    Attributes:
        objective_: of the real codes, before each iteration.
        codes_: [n, K], the real codes of the training items.
    """

    space: ClassVar = {"regularisation": (0.01, 0.001, 0.1)}

    _: KW_ONLY
    alpha: NonNegative = 0.01
    anchors: Count = 500
    regularisation: Positive = 0.01
    iterations: Count = 100
    random_state: Seed = 0

    def _learn(self, P: np.ndarray, Q: np.ndarray, labels_nC: np.ndarray) -> None:
        labels = unit_labels(labels_nC)
        if np.sum(np.sum(labels, axis=0) ** 2) - np.sum(labels**2) < 1e-6:
            raise InputError("labels: no two training items share one; seph learns from pairs that do")
        codes, objective = learn_codes(
            jnp.asarray(labels, jnp.float32),
            jax.random.key(self.random_state),
            self.alpha,
            bits=self.bits,
            iterations=self.iterations,
        )
        self.codes_, self.objective_ = np.asarray(codes), np.asarray(objective)
        values = self.codes_ > 0, self.anchors, self.regularisation, self.random_state
        self._regressions: dict[Side, KernelRegressions] = {
            "images": KernelRegressions.fit(P, *values),
            "texts": KernelRegressions.fit(Q, *values),
        }

    # Paper: an item of the database has one code, from the probabilities of both modalities; here one for
    # each modality, because a query must not be answered by what the other modality of an item says.
    def _numbers(self, components_np: np.ndarray, side: Side) -> Float[np.ndarray, "n K"]:
        return self._regressions[side].decide(components_np)


@functools.partial(jax.jit, static_argnames=("bits", "iterations"))
def learn_codes(
    labels_nC: Float[Array, "n C"], key: Array, alpha: float, *, bits: int, iterations: int
) -> tuple[Float[Array, "n K"], Float[Array, " iterations"]]:
    """The real codes of least cost, and the cost before each iteration; labels have length 1 or 0."""
    n = len(labels_nC)

    def step(state: Any, _: Any) -> Any:
        codes, speed, gains, best, least = state
        cost, gradient = cost_and_gradient(codes, labels_nC, alpha / (n * bits))
        best, least = jnp.where(cost < least, codes, best), jnp.minimum(cost, least)
        gains = jnp.where(jnp.sign(gradient) != jnp.sign(speed), gains + 0.2, 0.8 * gains)
        gains = jnp.maximum(gains, 0.01)
        speed = 0.5 * speed - 500.0 * gains * gradient
        codes = codes + speed
        return (codes - codes.mean(axis=0), speed, gains, best, least), cost

    codes = 1e-4 * jax.random.normal(key, (n, bits))
    start = (codes, jnp.zeros_like(codes), jnp.ones_like(codes), codes, jnp.float32(jnp.inf))
    (codes, _, _, best, least), costs = jax.lax.scan(step, start, length=iterations)
    last, _ = cost_and_gradient(codes, labels_nC, alpha / (n * bits))
    return jnp.where(last < least, codes, best), costs


def cost_and_gradient(
    codes_nK: Float[Array, "n K"], labels_nC: Float[Array, "n C"], alpha: Any
) -> tuple[Float[Array, ""], Float[Array, "n K"]]:
    """What `SePH` minimises in its codes, alpha as the weight of the whole second term, and its gradient:

    sum_j (p_ij - q_ij) t_ij (y_i - y_j) + 2 alpha (|y_i| - 1) sgn(y_i)
    """
    n = len(codes_nK)
    total = jnp.sum(jnp.sum(labels_nC, axis=0) ** 2) - jnp.sum(labels_nC**2)
    norms_n = jnp.sum(codes_nK**2, axis=1)

    def block(row: Array) -> Any:
        # The last block starts early enough to be a whole one; rows that an earlier block had do not count.
        first = jnp.minimum(row, n - size)
        items_B = first + jnp.arange(size)
        codes_BK, labels_BC = codes_nK[items_B], labels_nC[items_B]
        other_Bn = (items_B[:, None] != jnp.arange(n)) & (items_B >= row)[:, None]
        p_Bn = jnp.where(other_Bn, product(labels_BC, labels_nC.T) / total, 0.0)
        squared_Bn = norms_n[items_B][:, None] - 2 * product(codes_BK, codes_nK.T) + norms_n
        t_Bn = jnp.where(other_Bn, 1 / (1 + jnp.maximum(squared_Bn, 0.0) / 4), 0.0)

        def pulls(weight_Bn: Array) -> Array:
            return jnp.sum(weight_Bn, axis=1)[:, None] * codes_BK - product(weight_Bn, codes_nK)

        zero_nK = jnp.zeros_like(codes_nK)
        like = zero_nK.at[items_B].set(pulls(p_Bn * t_Bn))
        all_ = zero_nK.at[items_B].set(pulls(t_Bn * t_Bn))
        divergence = jnp.sum(jax.scipy.special.xlogy(p_Bn, p_Bn) - jax.scipy.special.xlogy(p_Bn, t_Bn))
        return divergence, jnp.sum(t_Bn), like, all_

    size = min(BLOCK, n)

    def add(sums: Any, row: Array) -> Any:
        return jax.tree.map(jnp.add, sums, block(row)), None

    start = (jnp.float32(0), jnp.float32(0), jnp.zeros_like(codes_nK), jnp.zeros_like(codes_nK))
    (divergence, mass, like, all_), _ = jax.lax.scan(add, start, jnp.arange(0, n, size))
    away_nK = jnp.abs(codes_nK) - 1
    cost = divergence + jnp.log(mass) + alpha * jnp.sum(away_nK**2)
    return cost, like - all_ / mass + 2 * alpha * away_nK * jnp.sign(codes_nK)


@dataclasses.dataclass(frozen=True)
class KernelRegressions:
    """f(x) = sum_a w_a k(x, a) of every bit."""

    anchors_Ap: np.ndarray
    gamma: float
    weights_AK: np.ndarray

    @classmethod
    def fit(
        cls, x_np: np.ndarray, bits_nK: np.ndarray, anchors: int, regularisation: float, seed: int
    ) -> "KernelRegressions":
        """With x = phi(x) = K_AA^(-1/2) k_A(x), whose plain logistic regression has the penalty w^T K w."""
        anchors_Ap = _anchors(x_np, anchors, seed)
        gamma = 1 / (4 * np.mean(np.sum(x_np**2, axis=1)))  # 1 / (2 sigma^2); the mean of x is 0
        values, vectors = scipy.linalg.eigh(rbf_kernel(anchors_Ap, gamma=gamma))
        large = values > 1e-7 * values[-1]
        root_AD = vectors[:, large] / np.sqrt(values[large])
        phi_nD = (rbf_kernel(x_np, anchors_Ap, gamma=gamma) @ root_AD).astype(np.float32)
        regression = LogisticRegression(C=1 / (2 * regularisation), fit_intercept=False, max_iter=1000)
        weights_KD = [
            regression.fit(phi_nD, bit_n).coef_[0]
            if 0 < bit_n.sum() < len(bit_n)
            else np.zeros(phi_nD.shape[1])
            for bit_n in bits_nK.T
        ]
        return cls(anchors_Ap, gamma, root_AD @ np.array(weights_KD, np.float64).T)

    def decide(self, x_np: np.ndarray) -> Float[np.ndarray, "n K"]:
        """f of each bit: the log of the odds that it is one."""
        return rbf_kernel(x_np, self.anchors_Ap, gamma=self.gamma) @ self.weights_AK


def _anchors(x_np: np.ndarray, anchors: int, seed: int) -> np.ndarray:
    if len(x_np) <= anchors:
        return x_np
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of items that are equal
        start: dict[str, Any] = {"init": "random", "n_init": 1, "random_state": seed}
        kmeans = KMeans(anchors, max_iter=100, **start)
        return kmeans.fit(x_np).cluster_centers_
