"""The text path on the word graph: Chebyshev graph convolutions of the word counts."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gcnxmodal.graph.layer import ChebConv
from gcnxmodal.graph.layout import SparseLayout
from gcnxmodal.nn.layers import Constant


class GraphText(nnx.Module):
    """Graph convolutions of counts x in R^N, each with a ReLU, then all vertices in a row.

        x -> relu(cheb(x)) -> relu(cheb(.)) -> flatten                  in R^(N F)

    Source: GIN Section 2.1, Eq. 5-7; SCANet Section 3.1, Eq. 1.

    Args:
        layout: the scaled Laplacian of the word graph, N vertices.
        filters: filters of each graph convolution.
        order: K, the number of Chebyshev orders (K = 3: orders 0, 1, 2).
    """

    def __init__(self, layout: SparseLayout, filters: tuple[int, ...], order: int, *, rngs: nnx.Rngs):
        self.graph = Constant(layout)
        widths = (1, *filters)
        self.convolutions = nnx.List(
            [
                ChebConv(before, after, order, rngs=rngs)
                for before, after in zip(widths, filters, strict=False)
            ]
        )
        for convolution in self.convolutions:
            _start_alive(convolution)
        self.width = layout.neighbours.shape[0] * filters[-1]

    def __call__(self, counts_BN: Float[Array, "B N"]) -> Float[Array, "B V"]:
        """Signals on the vertices of (weighted) word counts."""
        x_NFB = counts_BN.T[:, None, :]
        for convolution in self.convolutions:
            x_NFB = jax.nn.relu(convolution(x_NFB, self.graph.get_value()))
        return x_NFB.reshape(-1, x_NFB.shape[-1]).T


def _start_alive(convolution: ChebConv) -> None:
    """Make the order-0 weight of a layer of one filter positive, so that its ReLU lets counts through."""
    # Paper: nothing; code: Glorot uniform. Here with |theta_0| where there is one filter, because counts are
    # not negative: a negative theta_0 can leave every vertex of every text at zero, and nothing ever trains.
    theta_KFF = convolution.theta.get_value()
    if theta_KFF.shape[-1] == 1:
        convolution.theta.set_value(theta_KFF.at[0].set(jnp.abs(theta_KFF[0])))
