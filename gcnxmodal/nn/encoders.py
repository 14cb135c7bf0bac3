"""Encoders that are trained with the model.

Of texts: on the word graph, and by an LSTM or convolutions over the vectors of words in order. Of pictures:
CNN-5, from pixels, and the augmentation of its pictures.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8

from gcnxmodal.graph.filter import ChebConv
from gcnxmodal.graph.layout import SparseLayout
from gcnxmodal.nn.layers import Constant, Precision, Window, linear

WIDTHS = (3, 4, 5)
MAPS = 100  # feature maps of each width


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
        sizes = zip((1, *filters), filters, strict=False)
        self.convolutions = nnx.List([ChebConv(before, after, order, rngs=rngs) for before, after in sizes])
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


class WordSequence(nnx.Module):
    """A text encoder on the vectors of a text's words: `read` of what `look_up` finds.

    Args:
        vectors: word vectors [N, e]; they are not trained.
    """

    width: int

    def __init__(self, vectors: Float[Array, "N e"]):
        self.vectors = Constant(vectors)

    def __call__(self, words_BL: Int[Array, "B L"]) -> Float[Array, "B V"]:
        """Features of texts given as word numbers; -1 fills up."""
        return self.read(self.look_up(words_BL), words_BL >= 0)

    def look_up(self, words_BL: Int[Array, "B L"]) -> Float[Array, "B L e"]:
        """The vectors of the words; zero where there is none."""
        vectors_BLe = self.vectors.get_value()[jnp.maximum(words_BL, 0)]
        return jnp.where(words_BL[..., None] >= 0, vectors_BLe, 0.0)

    def read(self, vectors_BLe: Float[Array, "B L e"], there_BL: Bool[Array, "B L"]) -> Any:
        """Features [B, V] of the vectors of words in order, of those that are there."""
        raise NotImplementedError


class LSTMText(WordSequence):
    """The state of an LSTM after the last word of a text.

        i, f, g, o = W x_t + U h_{t-1} + b
        c_t = sigmoid(f + 1) * c_{t-1} + sigmoid(i) * tanh(g),   h_t = sigmoid(o) * tanh(c_t)

    with x_t the vector of word t. A text without a word has the state zero.

    Source: Hochreiter & Schmidhuber 1997, with forget gates; SCANet Section 4.4, Table 3.

    Args:
        hidden: size of the state.
    """

    # Paper: nothing but "LSTM" on word2vec vectors; here they stay fixed, and the size of the state is an
    # option, because neither is told.
    def __init__(
        self, vectors: Float[Array, "N e"], hidden: int, *, precision: Precision = "float32", rngs: nnx.Rngs
    ):
        super().__init__(vectors)
        self.input = linear(vectors.shape[1], 4 * hidden, precision, rngs)
        self.recurrent = linear(hidden, 4 * hidden, precision, rngs, bias=False)
        self.width = hidden

    def read(self, vectors_BLe: Float[Array, "B L e"], there_BL: Bool[Array, "B L"]) -> Float[Array, "B H"]:
        """The state after the last word."""
        B, L, _ = vectors_BLe.shape
        gates_BLG = self.input(vectors_BLe.reshape(B * L, -1)).reshape(B, L, -1)

        def step(state: tuple[Array, Array], word: tuple[Array, Array]):
            (h_BH, c_BH), (gates_BG, there_B) = state, word
            i, f, g, o = jnp.split(gates_BG + self.recurrent(h_BH), 4, axis=1)
            new_c_BH = jax.nn.sigmoid(f + 1) * c_BH + jax.nn.sigmoid(i) * jnp.tanh(g)
            new_h_BH = jax.nn.sigmoid(o) * jnp.tanh(new_c_BH)
            there_B1 = there_B[:, None]
            return (jnp.where(there_B1, new_h_BH, h_BH), jnp.where(there_B1, new_c_BH, c_BH)), None

        zeros_BH = jnp.zeros((B, self.width))
        words = gates_BLG.swapaxes(0, 1), there_BL.T
        (h_BH, _), _ = jax.lax.scan(step, (zeros_BH, zeros_BH), words)
        return h_BH


class CNNText(WordSequence):
    """Feature maps of windows of 3, 4 and 5 words, each with a ReLU, then the maximum over the text.

        c_t = relu(w . x_{t:t+h-1} + b),   feature = max_t c_t

    with x the vectors of the words one after another; a text shorter than a window is filled up with zeros.

    Source: Kim 2014, Section 2 and 3.1 (CNN-static: 100 maps of each width, fixed vectors); SCANet Table 3.
    """

    # Paper (Kim): dropout of .5 on the features; here none, because SCANet has its own on the product.
    def __init__(self, vectors: Float[Array, "N e"], *, precision: Precision = "float32", rngs: nnx.Rngs):
        super().__init__(vectors)
        glorot = nnx.initializers.glorot_uniform()
        options: Any = {"padding": "VALID", "kernel_init": glorot, "precision": precision, "rngs": rngs}
        self.convolutions = nnx.List(
            [Window((width,), vectors.shape[1], MAPS, **options) for width in WIDTHS]
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


CHANNELS = (32, 64, 128, 128, 256)
SMALLEST = 2 ** len(CHANNELS)  # pixels: one is left after all layers
SHIFT = 8  # a picture moves by up to an eighth of its side


class CNN5(nnx.Module):
    """Five times a 3 x 3 convolution, a ReLU and a 2 x 2 maximum; then all that is left in a row.

    Source: SCANet Section 4.4, "CNN with five convolution layers (CNN-5) ... trained end-to-end".

    Args:
        resolution: side of the pictures in pixels, at least 32.
    """

    # Paper: nothing but the number of layers; here the usual widths of so small a network, without
    # normalisation by batch and without augmentation.
    def __init__(self, resolution: int, *, precision: Precision = "float32", rngs: nnx.Rngs):
        options: Any = {"kernel_init": nnx.initializers.he_uniform(), "precision": precision, "rngs": rngs}
        layers = [
            Window((3, 3), before, after, padding="SAME", **options)
            for before, after in zip((3, *CHANNELS), CHANNELS, strict=False)
        ]
        self.convolutions = nnx.List(layers)
        self.width = (resolution // SMALLEST) ** 2 * CHANNELS[-1]

    def __call__(self, pixels_BRR3: UInt8[Array, "B R R 3"]) -> Float[Array, "B V"]:
        """Features of RGB pictures, 0 to 255."""
        x_BHWC = pixels_BRR3.astype(jnp.float32) / 127.5 - 1
        for convolution in self.convolutions:
            x_BHWC = _halved(jax.nn.relu(convolution(x_BHWC)))
        return x_BHWC.reshape(len(x_BHWC), -1)


def _halved(x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """The largest of each 2 x 2; an odd last row or column is left out."""
    B, H, W, C = x_BHWC.shape
    x_BHWC = x_BHWC[:, : H // 2 * 2, : W // 2 * 2]
    # Not a reduce_window: its gradient, a select-and-scatter, is slow on every platform.
    return x_BHWC.reshape(B, H // 2, 2, W // 2, 2, C).max(axis=(2, 4))


def flip_and_shift(key: Array, pixels_BRR3: UInt8[Array, "B R R 3"]) -> UInt8[Array, "B R R 3"]:
    """Each picture mirrored or not, and moved by up to R/8 pixels either way; its edge fills the gap."""
    B, R = pixels_BRR3.shape[:2]
    reach = R // SHIFT
    flip_key, shift_key = jax.random.split(key)
    flip_B = jax.random.bernoulli(flip_key, shape=(B, 1, 1, 1))
    pixels_BRR3 = jnp.where(flip_B, pixels_BRR3[:, :, ::-1], pixels_BRR3)
    padded = jnp.pad(pixels_BRR3, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    start_B2 = jax.random.randint(shift_key, (B, 2), 0, 2 * reach + 1)

    def cut(picture: Array, start_2: Array) -> Array:
        return jax.lax.dynamic_slice(picture, (start_2[0], start_2[1], 0), (R, R, 3))

    return jax.vmap(cut)(padded, start_B2)
