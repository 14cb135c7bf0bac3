"""Why a pair scores as it does: the share of each word, and what each modality attends to."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gcnxmodal.nn.text_encoders import WordSequence
from gcnxmodal.systems.scanet_model import SCANet, score_aligned


class Explanation(NamedTuple):
    """Of B aligned pairs.

    Attributes:
        scores: as they rank.
        words: gradient times input of the score, for each entry of the text as it is given: each word of the
            vocabulary, or each place of the text.
        text_attention, image_attention: p_T and p_I of each layer.
    """

    scores: Float[Array, " B"]
    words: Float[Array, "B T"]
    text_attention: Float[Array, "A B D"]
    image_attention: Float[Array, "A B D"]


def explain(model: SCANet, texts_BT: Array, images_Bd: Array) -> Explanation:
    """Scores of aligned pairs, and what they come from.

        word t: x_t . d score / d x_t

    with x_t the (weighted) count of a word, or the vector of the word at a place. Where the text path is
    homogeneous and has no bias these add up to the score; else they tell what moves it.

    Source: gradient times input, Shrikumar et al. 2017, Section 2.
    """
    images_BD = model.encode_images(images_Bd)
    path = model.text

    def from_inputs(inputs: Array) -> tuple[Array, tuple[Array, Array]]:
        signals = path.read(inputs, texts_BT >= 0) if isinstance(path, WordSequence) else path(inputs)
        texts_BD = model.scaled(model.text_head(signals))
        scores_B = score_aligned(model, texts_BD, images_BD)
        return jnp.sum(scores_B), (scores_B, texts_BD)

    inputs = path.look_up(texts_BT) if isinstance(path, WordSequence) else texts_BT
    gradient, (scores_B, texts_BD) = jax.grad(from_inputs, has_aux=True)(inputs)
    words_BT = gradient * inputs
    p_T, p_I = [], []
    for layer in model.attention:
        p_T.append(layer.attend_texts(texts_BD))
        p_I.append(layer.attend_images(images_BD))
        texts_BD, images_BD = layer(texts_BD, images_BD)
    none = jnp.zeros((0, *images_BD.shape))
    return Explanation(
        scores_B,
        words_BT.sum(axis=-1) if words_BT.ndim == 3 else words_BT,
        jnp.stack(p_T) if p_T else none,
        jnp.stack(p_I) if p_I else none,
    )
