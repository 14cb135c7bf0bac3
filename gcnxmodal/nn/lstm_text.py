"""The text path that reads words in order: an LSTM over word vectors."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gcnxmodal.nn.layers import Precision, linear
from gcnxmodal.nn.word_sequence import WordSequence


class LSTMText(WordSequence):
    """The state of an LSTM after the last word of a text.

        i, f, g, o = W x_t + U h_{t-1} + b
        c_t = sigmoid(f + 1) * c_{t-1} + sigmoid(i) * tanh(g),   h_t = sigmoid(o) * tanh(c_t)

    with x_t the vector of word t. A text without a word has the state zero.

    Source: Hochreiter & Schmidhuber 1997, with forget gates; SCANet Section 4.4, Table 3.

    Args:
        vectors: word vectors [N, e].
        hidden: size of the state.
        precision: of both products.
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
