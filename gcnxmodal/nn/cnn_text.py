"""The text path of Kim (2014): convolutions over word vectors, and their largest value over the text."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gcnxmodal.nn.layers import Precision
from gcnxmodal.nn.window import Window
from gcnxmodal.nn.word_sequence import WordSequence

WIDTHS = (3, 4, 5)
MAPS = 100  # feature maps of each width


class CNNText(WordSequence):
    """Feature maps of windows of 3, 4 and 5 words, each with a ReLU, then the maximum over the text.

        c_t = relu(w . x_{t:t+h-1} + b),   feature = max_t c_t

    with x the vectors of the words one after another; a text shorter than a window is filled up with zeros.

    Source: Kim 2014, Section 2 and 3.1 (CNN-static: 100 maps of each width, fixed vectors); SCANet Table 3.

    Args:
        vectors: word vectors [N, e].
        precision: of the convolutions' products.
    """

    # Paper (Kim): dropout of .5 on the features; here none, because SCANet has its own on the product.
    def __init__(self, vectors: Float[Array, "N e"], *, precision: Precision = "float32", rngs: nnx.Rngs):
        super().__init__(vectors)
        self.convolutions = nnx.List(
            [
                Window(
                    (width,),
                    vectors.shape[1],
                    MAPS,
                    padding="VALID",
                    kernel_init=nnx.initializers.glorot_uniform(),
                    precision=precision,
                    rngs=rngs,
                )
                for width in WIDTHS
            ]
        )
        self.width = MAPS * len(WIDTHS)

    def read(self, vectors_BLe: Float[Array, "B L e"], there_BL: Bool[Array, "B L"]) -> Float[Array, "B V"]:
        """The largest value of each feature map."""
        # Room for the widest window in the shortest text.
        x_BLe = jnp.pad(vectors_BLe, ((0, 0), (0, max(WIDTHS) - 1), (0, 0)))
        length_B = there_BL.sum(axis=1)
        features = []
        for convolution, width in zip(self.convolutions, WIDTHS, strict=True):
            maps_BWC = jax.nn.relu(convolution(x_BLe))
            # Windows that lie in the text whole, or the first one of a text that is shorter.
            last_B1 = jnp.maximum(length_B - width, 0)[:, None]
            inside_BW = jnp.arange(maps_BWC.shape[1]) <= last_B1
            features.append(jnp.max(maps_BWC * inside_BW[..., None], axis=1))
        return jnp.concatenate(features, axis=1)
