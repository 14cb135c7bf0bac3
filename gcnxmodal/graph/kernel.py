"""The sparse product, the only part of the filter that touches the graph."""

import dataclasses
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gcnxmodal.graph.layout import SparseLayout


@jax.custom_vjp
@jax.jit
def multiply(layout: SparseLayout, x: Float[Array, "N ..."]) -> Float[Array, "N ..."]:
    """y = L~ x for any trailing axes: one gather moves the whole row of a vertex.

    The gradient in x is L~^T g: the product itself where L~ is symmetric, else the product with the
    transposed layout - gathers again, where the automatic one would be a scatter-add of every entry. The
    graph is data: its gradient is zero.
    """
    y = _along_rows(layout.diagonal, x) * x + _gather_sum(layout.neighbours, layout.weights, x)
    source = x
    for hubs in layout.hubs:
        y = y.at[hubs.rows].add(
            _gather_sum(hubs.neighbours, hubs.weights, source),
            unique_indices=True,
            mode="promise_in_bounds",
            wrap_negative_indices=False,
        )
        source = _gather_sum(hubs.chunk_neighbours, hubs.chunk_weights, source)
    ends_in_scatter = layout.hubs and layout.hubs[-1].rows.shape[0] > 1
    return y if ends_in_scatter else materialise(y, layout)


def materialise(x: Float[Array, "N ..."], layout: SparseLayout) -> Float[Array, "N ..."]:
    """x, as an array that lies in memory, a vertex's row in one piece.

    What gathers read must be that, and XLA does not see it. A transpose is free to it: it leaves the array as
    it was and lets every gather read rows in strides (5 times slower). And it may fuse what makes x, or a
    whole product, into each gather of the next (12 times slower). A scatter is what it neither looks through
    nor fuses, so this adds zero to two rows; where x is used nowhere else, in place. (A layout constraint
    would say half of it plainly, but cannot be exported, and makes the partitioner gather a sharded batch.)
    """
    two_rows = layout.neighbours[:2, 0]
    return x.at[two_rows].add(0, mode="promise_in_bounds", wrap_negative_indices=False)


def pairwise_sum(terms: Iterable[Array]) -> Array:
    """The sum of the terms as a tree: XLA keeps the order it is given, and in a chain each addition waits."""
    level = list(terms)
    while len(level) > 1:
        odd = level[len(level) & ~1 :]
        level = [a + b for a, b in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def transposed(layout: SparseLayout) -> SparseLayout:
    """The layout of L~^T, whose transpose is L~ again."""
    if layout.transpose is None:
        return layout
    return dataclasses.replace(layout.transpose, transpose=dataclasses.replace(layout, transpose=None))


def _forward(layout: SparseLayout, x: Array) -> tuple[Array, SparseLayout]:
    return multiply(layout, x), layout


def _backward(layout: SparseLayout, gradient: Array) -> tuple[None, Array]:
    return None, multiply(transposed(layout), gradient)


multiply.defvjp(_forward, _backward)


def _gather_sum(neighbours: Int[Array, "R W"], weights: Float[Array, "R W"], x: Array) -> Array:
    # Unrolled over the columns of the table, so that XLA fuses all of it into one loop over the rows of y,
    # the last axis innermost. Gathering [R, W, ...] and reducing, in one statement, is 10 times slower.
    return pairwise_sum(
        _along_rows(weights[:, j], x)
        * x.at[neighbours[:, j]].get(mode="promise_in_bounds", wrap_negative_indices=False)
        for j in range(neighbours.shape[1])
    )


def _along_rows(values: Float[Array, " R"], x: Array) -> Array:
    return jnp.expand_dims(values, range(1, x.ndim))
