r"""The Chebyshev filter of signals on a graph and its gradient; its sparse product; a layer; jraph's graphs.

Defferrard et al. 2016, Eq. 4; GIN (Yu et al. 2018), Eq. 5-6:

    y = \sum_{k=0}^{K-1} T_k(L~) x theta_k,    T_0 = I,  T_1 = L~,  T_k = 2 L~ T_{k-1} - T_{k-2}

K is the number of orders: K = 3 means T_0, T_1, T_2, two hops.

The polynomial may stand on either side of the weights. On the inputs: the basis T_k(L~) x, then the weights.
On the outputs: c_k = x theta_k, then Clenshaw's recurrence for \sum_k T_k(L~) c_k, without any basis. Either
takes K - 1 products with L~, of F_in or of F_out columns a document, so the narrower side is taken. The two
are each other's adjoint, and that is the whole gradient: with g the cotangent of y,

    dtheta_k = (T_k(L~) x)^T g = x^T (T_k(L~^T) g),      dx = \sum_k T_k(L~^T) g theta_k^T
"""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import jraph
from flax import nnx
from jaxtyping import Array, Float, Int

from gcnxmodal.graph.layout import SparseLayout, pack
from gcnxmodal.graph.word_graph import scaled_laplacian

# --- The sparse product: all that touches the graph ---


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


# --- The filter ---


@jax.custom_vjp
@jax.jit
def chebyshev_filter_batch(
    x_NFB: Float[Array, "N F_in B"], theta: Float[Array, "K F_in F_out"], layout: SparseLayout
) -> Float[Array, "N F_out B"]:
    """Filter B documents at once, vertex-major: what the models call.

    Differentiable in `x_NFB` and `theta`; the graph is data and its gradient zero. The backward pass takes
    K - 1 products more (as many again for dx if F_in < F_out, unless nobody asks for dx) and keeps x and
    theta only. Where it needs the forward pass's basis it asks for it again; one program shares the two.
    """
    orders = theta.shape[0]
    if _on_inputs(theta):
        T_kNFB = _basis(x_NFB, orders, layout)
        return pairwise_sum(_weight(T_NFB, theta_FO) for T_NFB, theta_FO in zip(T_kNFB, theta, strict=True))
    return _clenshaw([_weight(x_NFB, theta_FO) for theta_FO in theta], layout)


@jax.custom_vjp
def chebyshev_filter(
    x_NF: Float[Array, "N F_in"], theta: Float[Array, "K F_in F_out"], layout: SparseLayout
) -> Float[Array, "N F_out"]:
    """Filter one document.

    `jax.vmap` over documents runs the vertex-major kernel of `chebyshev_filter_batch` on all of them, in any
    order with `jax.grad`. Other axes (theta, one a seed) are correct, and batched as JAX does by default.
    """
    return _document(x_NF, theta, layout)


def _on_inputs(theta: Float[Array, "K F_in F_out"]) -> bool:
    _, F_in, F_out = theta.shape
    # A tie goes to the outputs, which keep no basis alive from the forward to the backward pass, except where
    # there is one input: that is a first layer, its dx unused, and sharing its basis halves the products.
    return F_in < F_out or F_in == 1


def _basis(x_NFB: Array, orders: int, layout: SparseLayout) -> list[Array]:
    """[T_k(L~) x for k < orders], by the three-term recurrence."""
    T = [materialise(x_NFB, layout)]
    if orders > 1:
        T.append(multiply(layout, T[0]))
    while len(T) < orders:
        T.append(2 * multiply(layout, T[-1]) - T[-2])
    return T


def _clenshaw(c_kNFB: list[Array], layout: SparseLayout) -> Array:
    """sum_k T_k(L~) c_k, from the highest order down: b_k = c_k + 2 L~ b_{k+1} - b_{k+2}, y = b_0 - L~ b_1.

    Clenshaw 1955, "A note on the summation of Chebyshev series".
    """
    *c, b = c_kNFB
    b = materialise(b, layout)
    b_above = None
    while c:
        product = multiply(layout, b)
        b_below = c.pop() + (2 * product if c else product)
        b, b_above = b_below if b_above is None else b_below - b_above, b
    return b


def _weight(x_NFB: Array, theta_FO: Array) -> Float[Array, "N F_out B"]:
    """x theta, for every vertex and document."""
    filters = theta_FO.shape[0]
    if filters > 32:
        return jnp.einsum("nfb,fo->nob", x_NFB, theta_FO, precision=jax.lax.Precision.HIGHEST)
    # For fewer, terms that XLA fuses into their neighbours beat a product of such small matrices.
    return pairwise_sum(x_NFB[:, f, None, :] * theta_FO[f, :, None] for f in range(filters))


@jax.jit
def _adjoint(x_NFB: Array, theta: Array, layout: SparseLayout, g_NOB: Array) -> tuple[Array, list[Array]]:
    """dx, and the basis that dtheta needs: T_k(L~) x if the filter is on the inputs, else T_k(L~^T) g."""
    orders, transpose = theta.shape[0], transposed(layout)
    theta_OF = jnp.swapaxes(theta, 1, 2)
    if _on_inputs(theta):
        return _clenshaw([_weight(g_NOB, w) for w in theta_OF], transpose), _basis(x_NFB, orders, layout)
    T_kNOB = _basis(g_NOB, orders, transpose)
    return pairwise_sum(_weight(T_NOB, w) for T_NOB, w in zip(T_kNOB, theta_OF, strict=True)), T_kNOB


def _theta_gradient(theta: Array, x: Array, basis: list[Array], g: Array, gram: Callable) -> Array:
    """dtheta [..., K, F_in, F_out], for a `gram` that sums x^T g over the vertices."""
    if _on_inputs(theta):
        return jnp.stack([gram(T, g) for T in basis], axis=-3)
    return jnp.stack([gram(x, T) for T in basis], axis=-3)


@jax.jit
def _gram(x_NFB: Array, g_NOB: Array) -> Float[Array, "F_in F_out"]:
    """x^T g, summed over vertices and documents."""
    # One small product a vertex, and then their sum. Contracting both axes at once would transpose both
    # operands first: 18 times slower at F = 8, and less exact.
    return jnp.einsum("nfb,nob->nfo", x_NFB, g_NOB, precision=jax.lax.Precision.HIGHEST).sum(axis=0)


def _few_filters_gram(x_NFB: Array, g_NOB: Array) -> Float[Array, "B F_in F_out"]:
    """x^T g of each document, without transposing anything."""
    # XLA's CPU backend walks a sum over the outermost axis in strides, one column at a time. Adding 32 blocks
    # of vertices to each other first leaves it a 32nd of the work.
    block = x_NFB.shape[0] // 32

    def products(start: int, stop: int | None) -> Array:
        return x_NFB[start:stop, :, None] * g_NOB[start:stop, None]

    blocks = pairwise_sum(products(i * block, (i + 1) * block) for i in range(32))
    return jnp.moveaxis(blocks.sum(axis=0) + products(32 * block, None).sum(axis=0), -1, 0)


def _many_filters_gram(x_BNF: Array, g_BNO: Array) -> Float[Array, "B F_in F_out"]:
    """x^T g of each document, document-major."""
    return jnp.einsum("bnf,bno->bfo", x_BNF, g_BNO, precision=jax.lax.Precision.HIGHEST)


def _batch_forward(x_NFB, theta, layout):
    return chebyshev_filter_batch(x_NFB, theta, layout), (x_NFB, theta, layout)


def _batch_backward(residuals, g_NOB):
    x_NFB, theta, layout = residuals
    dx_NFB, basis = _adjoint(x_NFB, theta, layout, g_NOB)
    return dx_NFB, _theta_gradient(theta, x_NFB, basis, g_NOB, _gram), None


chebyshev_filter_batch.defvjp(_batch_forward, _batch_backward)


# One document is a batch of one; under `jax.vmap`, the mapped axis becomes the batch. The forward and the
# backward pass each get that rule, because a function with a rule for vmap has no reverse mode of its own.


@jax.custom_batching.custom_vmap
def _document(x_NF, theta, layout):
    return chebyshev_filter_batch(x_NF[:, :, None], theta, layout)[:, :, 0]


@_document.def_vmap
def _documents(axis_size, in_batched, x_BNF, theta, layout):
    if not _only_documents(in_batched, 1):
        return _default_vmap(_document.fun, in_batched, x_BNF, theta, layout), True
    return _unfold(chebyshev_filter_batch(_fold(x_BNF, layout), theta, layout), layout), True


@jax.custom_batching.custom_vmap
def _document_gradient(g_NO, x_NF, theta, layout):
    dx_NFB, dtheta, _ = _batch_backward((x_NF[:, :, None], theta, layout), g_NO[:, :, None])
    return dx_NFB[:, :, 0], dtheta


@_document_gradient.def_vmap
def _documents_gradient(axis_size, in_batched, g_BNO, x_BNF, theta, layout):
    if not _only_documents(in_batched, 2):
        return _default_vmap(_document_gradient.fun, in_batched, g_BNO, x_BNF, theta, layout), (True, True)
    g_NOB, x_NFB = _fold(g_BNO, layout), _fold(x_BNF, layout)
    dx_NFB, basis = _adjoint(x_NFB, theta, layout, g_NOB)
    # A document's own dtheta: `jax.vmap` of a gradient wants it, and the gradient of a vmap sums it.
    if theta[0].size <= 16:
        dtheta = _theta_gradient(theta, x_NFB, basis, g_NOB, _few_filters_gram)
    else:
        basis = [x_BNF if _on_inputs(theta) else g_BNO, *(_unfold(T, layout) for T in basis[1:])]
        dtheta = _theta_gradient(theta, x_BNF, basis, g_BNO, _many_filters_gram)
    return (_unfold(dx_NFB, layout), dtheta), (True, True)


def _document_forward(x_NF, theta, layout):
    return _document(x_NF, theta, layout), (x_NF, theta, layout)


def _document_backward(residuals, g_NO):
    return *_document_gradient(g_NO, *residuals), None


chebyshev_filter.defvjp(_document_forward, _document_backward)


def _only_documents(in_batched: list, signals: int) -> bool:
    """Whether the mapped axis is one of documents: all signals have it, the weights and the graph do not."""
    return all(in_batched[:signals]) and not any(jax.tree.leaves(in_batched[signals:]))


def _default_vmap(function: Callable, in_batched: list, *args):
    in_axes = jax.tree.map(lambda batched: 0 if batched else None, tuple(in_batched))
    return jax.vmap(function, in_axes=in_axes)(*args)


def _fold(x_BNF: Array, layout: SparseLayout) -> Float[Array, "N F B"]:
    return materialise(jnp.moveaxis(x_BNF, 0, -1), layout)


def _unfold(x_NFB: Array, layout: SparseLayout) -> Float[Array, "B N F"]:
    return jnp.moveaxis(materialise(x_NFB, layout), -1, 0)


# --- As a Flax NNX layer, and on jraph's graphs ---

# The K matrices side by side are one matrix [K F_in, F_out] that acts on the basis, as in Defferrard's code.
_glorot_uniform = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2)


class ChebConv(nnx.Module):
    r"""Chebyshev spectral graph convolution (Defferrard et al. 2016, "Convolutional Neural Networks on Graphs
    with Fast Localized Spectral Filtering"; GIN Eq. 5-6).

    For the signals X [N, F_in] of one document, with L~ = 2 L / lambda_max - I:

        Y = \sum_{k=0}^{K-1} T_k(L~) X theta_k + b

    and at a vertex n, which sees the vertices at most K - 1 steps away:

        y_n = \sum_{k=0}^{K-1} theta_k^T \sum_m T_k(L~)_{nm} x_m + b

    No activation. Documents are the last axis: see `chebyshev_filter_batch`.

    Args:
        features_in: F_in.
        features_out: F_out, the number of filters.
        orders: K >= 1; K = 3 means the polynomials T_0, T_1, T_2.
        rngs: its `params` stream draws theta (Glorot uniform); the bias, one a filter, is zero.
    """

    def __init__(self, features_in: int, features_out: int, orders: int, *, rngs: nnx.Rngs):
        shape = (orders, features_in, features_out)
        self.theta = nnx.Param(_glorot_uniform(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features_out))

    def __call__(self, x_NFB: Float[Array, "N F_in B"], layout: SparseLayout) -> Float[Array, "N F_out B"]:
        y_NFB = chebyshev_filter_batch(x_NFB, self.theta.get_value(), layout)
        return y_NFB + self.bias.get_value()[:, None]


def from_graphs_tuple(graph: jraph.GraphsTuple, lambda_max: str = "true") -> SparseLayout:
    """The layout of the graph's scaled Laplacian L~ = 2 L / lambda_max - I; `lambda_max` is "true" or "two".

    `graph.edges` are the weights [E]; an edge carries its sender's signal to its receiver. Runs on the host,
    once a graph: the layout is then an argument of the compiled function.
    """
    return pack(scaled_laplacian(graph, lambda_max))


def filter_graph(
    graph: jraph.GraphsTuple, theta: Float[Array, "K F_in F_out"], layout: SparseLayout
) -> jraph.GraphsTuple:
    """The same graph, its nodes [N, F_in] filtered to [N, F_out]. `layout` is `from_graphs_tuple(graph)`."""
    return graph._replace(nodes=chebyshev_filter(graph.nodes, theta, layout))
