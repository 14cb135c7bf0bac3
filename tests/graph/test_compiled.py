"""What the compiled filter does and does not do: the claims behind its speed."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax import export

from gcnxmodal.graph.filter import chebyshev_filter, chebyshev_filter_batch
from gcnxmodal.graph.layout import SparseLayout, pack

ARRAY = r"(\w+)\[([\d,]*)\]"


def compiled(function, *arguments) -> str:
    return jax.jit(function).lower(*arguments).compile().as_text()


def scattered_rows(hlo: str) -> list[int]:
    """For each scatter of the program, the number of rows it updates."""
    shapes = {name: dims for name, _, dims in re.findall(rf"%?([\w.-]+) = {ARRAY}", hlo)}
    updates = re.findall(r"scatter\(%?[\w.-]+, %?[\w.-]+, %?([\w.-]+)\)", hlo)
    return [int(shapes[name].split(",")[0]) for name in updates]


def gathers(hlo: str) -> int:
    return len(re.findall(r"= \S+ gather\(", hlo))


def product_by_automatic_differentiation(x, layout: SparseLayout):
    return jnp.einsum("nw,nwfb->nfb", layout.weights, x[layout.neighbours])


@pytest.mark.parametrize("name", ["graph", "directed"])
@pytest.mark.parametrize("mapped", [False, True])
def test_gradient_scatters_into_hub_rows_only(name, mapped, request, normal):
    layout = request.getfixturevalue(name).layout
    assert max(scattered_rows(compiled(jax.grad(naive_loss), normal(60, 2, 5), layout))) >= 60

    def loss(x, theta, layout):
        if mapped:
            return jnp.sin(jax.vmap(chebyshev_filter, in_axes=(0, None, None))(x, theta, layout)).sum()
        return jnp.sin(chebyshev_filter_batch(x, theta, layout)).sum()

    x = normal(5, 60, 2) if mapped else normal(60, 2, 5)
    rows = scattered_rows(compiled(jax.grad(loss, argnums=(0, 1)), x, normal(3, 2, 2), layout))
    assert rows
    assert max(rows) <= 10


def naive_loss(x, layout):
    return jnp.sin(product_by_automatic_differentiation(x, layout)).sum()


def test_no_gather_transposes_what_it_reads(graph, normal):
    def loss(x_BNF, theta, layout):
        y_BNO = jax.vmap(chebyshev_filter, in_axes=(0, None, None))(x_BNF, theta, layout)
        return jnp.sin(y_BNO).sum()

    hlo = compiled(jax.grad(loss, argnums=(0, 1)), normal(5, 60, 1), normal(3, 1, 1), graph.layout)
    gathering = [computation for computation in hlo.split("\n}\n") if gathers(computation)]
    assert gathering
    assert not any(" transpose(" in computation for computation in gathering)


@pytest.mark.parametrize("hubs", [0, 1, 2])
@pytest.mark.parametrize(("F_in", "F_out"), [(1, 4), (3, 3)])
def test_products_are_not_fused_into_each_other(hubs, F_in, F_out, normal):
    random = np.random.default_rng(0)
    matrix = np.where(random.random((60, 60)) < 0.1, 0.1, 0)
    matrix[:hubs, :25] = 0.1
    layout = dataclasses.replace(pack(sp.csr_array(matrix)), transpose=None)

    def loss(x, theta, layout):
        return jnp.sin(chebyshev_filter_batch(x, theta, layout)).sum()

    hlo = compiled(jax.grad(loss, argnums=(0, 1)), normal(60, F_in, 16), normal(3, F_in, F_out), layout)
    by_computation = [gathers(computation) for computation in hlo.split("\n}\n")]
    assert set(by_computation) == {0, 16}
    # Sums of one row are dynamic slices and no gathers.
    assert sum(by_computation) == 16 * 4 * (1 + (hubs > 1))


def test_first_layer_shares_the_basis_of_its_forward_pass(graph, normal):
    x, theta = normal(60, 1, 5), normal(3, 1, 4)

    def loss(x, theta, layout):
        return jnp.sin(chebyshev_filter_batch(x, theta, layout)).sum()

    forward = gathers(compiled(loss, x, theta, graph.layout))
    assert forward > 0
    # Nobody asks for dx, so no product is left in the backward pass.
    assert gathers(compiled(jax.value_and_grad(loss, argnums=1), x, theta, graph.layout)) == forward
    both = gathers(compiled(jax.value_and_grad(loss, argnums=(0, 1)), x, theta, graph.layout))
    assert both == 2 * forward


@pytest.mark.parametrize(("F_in", "F_out"), [(1, 4), (3, 3)])
def test_backward_keeps_the_input_and_not_the_basis(F_in, F_out, graph, normal):
    x, theta = normal(60, F_in, 50), normal(6, F_in, F_out)
    _, pullback = jax.vjp(lambda x, theta: chebyshev_filter_batch(x, theta, graph.layout), x, theta)
    kept = sum(leaf.size for leaf in jax.tree.leaves(pullback))
    packed = sum(leaf.size for leaf in jax.tree.leaves(graph.layout))
    assert kept <= x.size + theta.size + packed


def test_graph_is_an_argument_and_no_constant(graph, normal):
    text = jax.jit(chebyshev_filter_batch).lower(normal(60, 1, 5), normal(3, 1, 1), graph.layout).as_text()
    constants = re.findall(r"stablehlo.constant dense<.*> : tensor<([\dx]*)[a-z]", text)
    assert all(np.prod([int(n) for n in dims.split("x") if n]) <= 16 for dims in constants)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_filter_lowers_and_exports_for(platform, directed, normal):
    def step(x, theta, layout):
        def loss(theta):
            return jnp.sin(jax.vmap(chebyshev_filter, in_axes=(0, None, None))(x, theta, layout)).sum()

        return jax.value_and_grad(loss)(theta)

    # `export` refuses custom calls whose meaning may change, such as a layout constraint.
    exported = export.export(jax.jit(step), platforms=[platform])(
        normal(5, 60, 2), normal(3, 2, 3), directed.layout
    )
    assert exported.platforms == (platform,)
