"""GIN: a graph-convolutional text path and a linear image path, scored by a weighted inner product.

Yu et al. 2018, "Textual Relationship Modeling for Cross-Modal Information Retrieval".
"""

from typing import Any

from flax import nnx

from gcnxmodal.graph.layout import SparseLayout
from gcnxmodal.nn.layers import Features
from gcnxmodal.nn.text_encoders import GraphText
from gcnxmodal.systems.dual_path import DualPath


class GIN(DualPath):
    """Dual-path network of GIN, Figure 2.

    Text path, for counts x in R^N on the word graph (Section 2.1, Eq. 5-7):
        f_t = W_t flatten(relu(cheb(relu(cheb(x))))) + b_t        in R^D
    Image path, for a fixed feature v in R^d (Section 2.2, Eq. 8; the paper kept one layer):
        f_i = W_i v + b_i                                         in R^D
    Score (Section 2.3; dropout on the product in training only):
        score(T, I) = w . dropout(f_t * f_i) + b

    Args:
        layout: the scaled Laplacian of the word graph, N vertices.
        image_size: d.
        filters: filters of each graph convolution.
        order: K, the number of Chebyshev orders (K = 3: orders 0, 1, 2).
        options: as `DualPath` takes them.
    """

    def __init__(
        self,
        layout: SparseLayout,
        image_size: int,
        *,
        filters: tuple[int, ...] = (1, 1),
        order: int = 3,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        text = GraphText(layout, filters, order, rngs=rngs)
        super().__init__(text, Features(image_size), rngs=rngs, **options)
