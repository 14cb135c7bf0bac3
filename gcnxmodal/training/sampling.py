"""Which text meets which image: the training pairs, drawn on the device as a function of a key.

A plan for one epoch is two index arrays, texts [S, B] and images [S, M]: row s is the batch of step s.
For pairs M = B and text b meets image b; for a grid every text of a row meets every image of it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int


class ClassMembers(NamedTuple):
    """The items of each class, one class after another: class c owns items[start[c] : start[c] + size[c]]."""

    items: Int[Array, " m"]
    start: Int[Array, " C"]
    size: Int[Array, " C"]


class Plan(NamedTuple):
    """The batches of an epoch, as rows of item numbers."""

    texts: Int[Array, "S B"]
    images: Int[Array, "S M"]


def class_members(labels_nC: np.ndarray) -> ClassMembers:
    """List the items of each class (an item with two labels is in two lists)."""
    size = labels_nC.sum(axis=0)
    items = np.nonzero(labels_nC.T)[1]
    start = np.cumsum(size) - size
    return ClassMembers(*(jnp.asarray(a, jnp.int32) for a in (items, start, size)))


def balanced_pairs(key: Array, members: ClassMembers, items: int, positives: int, negatives: int) -> tuple:
    """Class-balanced pairs.

    Positives: the `items` true pairs, then as many random same-class pairs from each class. Negatives: as
    many from each ordered pair of two classes. Counts that do not divide go to the first classes.

    Returns:
        texts, images: int [positives + negatives].

    Source: later code of GIN's authors.
    """
    classes = len(members.size)
    # Paper: "randomly select matched and non-matched pairs"; here the balanced draw of the surviving code,
    # because it is what the published systems of this group ran (`uniform_pairs` is the paper's sentence).
    same = jnp.arange(max(positives - items, 0)) % classes
    text_class = jnp.arange(negatives) // max(classes - 1, 1) % classes
    image_class = (text_class + 1 + jnp.arange(negatives) % max(classes - 1, 1)) % classes
    keys = jax.random.split(key, 4)
    true = jnp.arange(min(items, positives))
    texts = (true, _member(keys[0], members, same), _member(keys[1], members, text_class))
    images = (true, _member(keys[2], members, same), _member(keys[3], members, image_class))
    return jnp.concatenate(texts), jnp.concatenate(images)


def uniform_pairs(key: Array, labels_nC: Array, positives: int, negatives: int) -> tuple:
    """Pairs at random: a uniform text, then an image uniform among those that match (or do not).

    Returns:
        texts, images: int [positives + negatives].

    Source: GIN Section 3.2, "we randomly select matched and non-matched text-image pairs".
    """
    draws = positives + negatives
    labels = labels_nC.astype(jnp.float32)
    text_key, image_key = jax.random.split(key)
    texts = jax.random.randint(text_key, (draws,), 0, len(labels))
    wanted = jnp.arange(draws) < positives

    uniform = jax.random.uniform(image_key, (draws,))

    def image(row):
        text, wanted, u = row
        matches = jnp.cumsum((labels @ labels[text] > 0) == wanted)
        return (matches <= jnp.floor(u * matches[-1])).sum()

    # A block of texts at a time: a [draws, items] table of matches would not fit for the larger data sets.
    return texts, jax.lax.map(image, (texts, wanted, uniform), batch_size=256)


@partial(jax.jit, static_argnames=("batch",))
def plan_pairs(key: Array, texts: Int[Array, " P"], images: Int[Array, " P"], batch: int) -> Plan:
    """Shuffle the pairs and cut them into batches; a last incomplete batch is left out."""
    order = jax.random.permutation(key, len(texts))[: len(texts) // batch * batch]
    return Plan(texts[order].reshape(-1, batch), images[order].reshape(-1, batch))


@partial(jax.jit, static_argnames=("items", "texts", "images", "paired"))
def plan_grid(key: Array, items: int, texts: int, images: int, paired: bool = False) -> Plan:
    """Blocks of `texts` texts by `images` images: an epoch meets each text once, and images at random.

    If `paired`, the images of a block's own texts come first: without labels hardly any others match them.
    """
    steps = items // texts
    text_key, image_key = jax.random.split(key)
    order = jax.random.permutation(text_key, items)[: steps * texts]

    def draw(key):
        return jax.random.choice(key, items, (images,), replace=False)

    texts_SB, keys_S = order.reshape(steps, texts), jax.random.split(image_key, steps)
    if not paired:
        return Plan(texts_SB, jax.lax.map(draw, keys_S))

    def draw_beside(row):
        own_B, key = row
        return jnp.argsort(jax.random.uniform(key, (items,)).at[own_B].set(-1.0))[:images]

    return Plan(texts_SB, jax.lax.map(draw_beside, (texts_SB, keys_S)))


@partial(jax.jit, static_argnames=("items", "batch"))
def plan_items(key: Array, items: int, batch: int) -> Plan:
    """Shuffle the items and cut them into batches, text and image alike; an incomplete one is left out."""
    rows = jax.random.permutation(key, items)[: items // batch * batch].reshape(-1, batch)
    return Plan(rows, rows)


def _member(key: Array, members: ClassMembers, classes: Array) -> Array:
    """A uniform member of each of the given classes."""
    return members.items[
        members.start[classes] + jax.random.randint(key, classes.shape, 0, members.size[classes])
    ]
