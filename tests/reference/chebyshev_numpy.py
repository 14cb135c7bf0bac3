"""The filter as its definition says, in NumPy float64: what every other implementation is tested against.

Dense, cubic in N: for a few hundred vertices.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.polynomial.chebyshev import chebvander


def spectral_filter(
    laplacian: Float[np.ndarray, "N N"],
    x: Float[np.ndarray, "N F_in *B"],
    theta: Float[np.ndarray, "K F_in F_out"],
    lambda_max: float,
) -> Float[np.ndarray, "N F_out *B"]:
    r"""y = U g(Lambda) U^T x with g(lambda) = \sum_k theta_k T_k(2 lambda / lambda_max - 1).

    Defferrard et al. 2016, Eq. 2 and 4. L = U Lambda U^T is symmetric.
    """
    eigenvalues, U = np.linalg.eigh(laplacian.astype(np.float64))
    T_NK = chebvander(2 * eigenvalues / lambda_max - 1, len(theta) - 1)
    spectrum = np.tensordot(U.T, x.astype(np.float64), axes=1)
    response = np.einsum("nk,kfo,nf...->no...", T_NK, theta.astype(np.float64), spectrum, optimize=True)
    return np.tensordot(U, response, axes=1)


def recurrence_filter(
    scaled_laplacian: Float[np.ndarray, "N N"],
    x: Float[np.ndarray, "N F_in *B"],
    theta: Float[np.ndarray, "K F_in F_out"],
) -> Float[np.ndarray, "N F_out *B"]:
    r"""y = \sum_k T_k(L~) x theta_k by T_k = 2 L~ T_{k-1} - T_{k-2} (GIN Eq. 5-6), for any L~."""
    matrix = scaled_laplacian.astype(np.float64)
    T = [x.astype(np.float64)]
    if len(theta) > 1:
        T.append(np.tensordot(matrix, T[0], axes=1))
    while len(T) < len(theta):
        T.append(2 * np.tensordot(matrix, T[-1], axes=1) - T[-2])
    return np.einsum("knf...,kfo->no...", np.stack(T), theta.astype(np.float64), optimize=True)
