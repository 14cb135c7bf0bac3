"""What the compiled training step costs: operations, bytes and memory at Eng-Wiki's size.

No time is measured and no array is made: the program is compiled from shapes, and its counts are the same on
every machine. Bounds are ratios to what the arithmetic cannot do without, a few percent above what was found;
each check is shown to fail for the regressions it is there for.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import ShapeDtypeStruct, lax

from benchmarks import floor
from benchmarks.specs import DATASETS, ORDERS, STEP_CASES, StepCase, make_gin
from gcnxmodal.chebyshev import multiply
from gcnxmodal.graph import filter as chebyshev_filter
from gcnxmodal.graph.layout import WIDTH, Hubs, SparseLayout
from gcnxmodal.nn.layers import Constant
from gcnxmodal.systems import gin
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.state import Data, init_state, make_adam, make_block, make_step

ITEMS, STEPS, CLASSES, HUBS = 2_173, 400, 10, 1_400
FLOAT = 4  # bytes
ONE, EIGHT = STEP_CASES


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled block of steps, and sizes to hold it against, in bytes."""

    case: StepCase
    compiled: Any
    state: int

    @property
    def parameters(self) -> int:
        return FLOAT * self.case.parameters

    @property
    def signal(self) -> int:
        """What a layer gives, [N, F, B]."""
        return FLOAT * self.case.text_inputs * self.case.batch

    @property
    def gathers(self) -> int:
        """The products with L~, which read a row for each place of the table: WIDTH, the vertex, the result.

        The first layer has K - 1 of them, on one column a document: it shares its basis with its backward
        pass. The second has twice as many.
        """
        first = FLOAT * DATASETS[self.case.dataset].words * self.case.batch
        return (ORDERS - 1) * (WIDTH + 2) * (first + 2 * self.signal)

    def check_flops(self) -> None:
        """Three products of the text head and two of the image head; Adam and the graph are the rest."""
        assert self.compiled.cost_analysis()["flops"] < 1.08 * floor.dense_flops(self.case)

    def check_bytes(self) -> None:
        """Weights and signals go through the dense products once each, and each parameter through Adam."""
        least = floor.dense_bytes(self.case) + floor.adam_bytes(self.case) + self.gathers
        assert self.compiled.cost_analysis()["bytes accessed"] < 1.21 * least

    def check_memory(self) -> None:
        """Beside state and data: the gradients, and a few signals. Not the basis, not the counts again."""
        signals = 9 if self.case.filters == 1 else 7.5
        temporary = self.compiled.memory_analysis().temp_size_in_bytes
        assert temporary < self.parameters + signals * self.signal

    def check_donation(self) -> None:
        """The new state is written over the old one."""
        assert self.compiled.memory_analysis().alias_size_in_bytes >= self.state


def compiled_step(
    case: StepCase, loss: Callable = gin.loss, change: Callable = lambda step: step, donate: bool = True
) -> Program:
    """GIN's step, compiled from shapes."""
    shape = DATASETS[case.dataset]
    graph = layout_shapes(shape.words)
    optimizer, filters = make_adam(1e-3), (case.filters, case.filters)
    model = nnx.eval_shape(
        lambda: make_gin(
            graph, shape.image_size, filters=filters, dimension=shape.dimension, rngs=nnx.Rngs(0)
        )
    )
    graphdef, params, _ = nnx.split(model, nnx.Param, ...)
    metrics = ("loss", "mean_match", "mean_other")
    state = jax.eval_shape(lambda params: init_state(params, optimizer, metrics), params)
    counts, images = (ShapeDtypeStruct((ITEMS, n), jnp.float32) for n in (shape.words, shape.image_size))
    labels = ShapeDtypeStruct((ITEMS, CLASSES), bool)
    plan = Plan(*[ShapeDtypeStruct((STEPS, case.batch), jnp.int32)] * 2)
    data = Data(counts, images, labels, nnx.State({"text": {"graph": Constant(graph)}}), plan)
    block: Any = make_block(change(make_step(graphdef, optimizer, loss, grid=False)))
    if not donate:
        block = jax.jit(block.__wrapped__)
    key = jax.eval_shape(lambda: jax.random.key(0))
    compiled = block.lower(state, data, key, ShapeDtypeStruct((), jnp.int32)).compile()
    return Program(case, compiled, sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)))


def layout_shapes(words: int) -> SparseLayout:
    """A graph of so many words, some of which have more neighbours than the table is wide."""

    def table(rows: int) -> tuple[Any, Any]:
        return ShapeDtypeStruct((rows, WIDTH), jnp.int32), ShapeDtypeStruct((rows, WIDTH), jnp.float32)

    hubs = Hubs(ShapeDtypeStruct((HUBS,), jnp.int32), *table(HUBS), *table(20))
    return SparseLayout(ShapeDtypeStruct((words,), jnp.float32), *table(words), (hubs,), None)


@functools.cache
def healthy(case: StepCase) -> Program:
    return compiled_step(case)


@pytest.mark.parametrize("check", ["flops", "bytes", "memory", "donation"])
@pytest.mark.parametrize("case", STEP_CASES, ids=lambda case: case.name)
def test_step_stays_within_the_bound_of(check, case):
    getattr(healthy(case), f"check_{check}")()


def assert_caught(program: Program, *checks: str) -> None:
    for check in checks:
        with pytest.raises(AssertionError):
            getattr(program, f"check_{check}")()


def test_a_forward_pass_done_twice_is_caught():
    def rematerialised(*arguments):
        return jax.checkpoint(gin.loss)(*arguments)

    assert_caught(compiled_step(ONE, loss=rematerialised), "flops", "bytes")


def test_a_second_copy_of_the_counts_is_caught():
    def change(step):
        def weighted_anew(state, data, key):
            counts = lax.optimization_barrier(jnp.log1p(data.texts_nT).T).T
            return step(state, dataclasses.replace(data, texts_nT=counts), key)

        return weighted_anew

    assert_caught(compiled_step(ONE, change=change), "bytes", "memory")


def test_a_state_that_is_not_donated_is_caught():
    assert_caught(compiled_step(ONE, donate=False), "donation")


def filter_by(product: Callable) -> Callable:
    """The equation, its gradient left to JAX."""

    def basis_then_weights(x_NFB, theta, layout):
        T = [x_NFB, product(layout, x_NFB)]
        T.append(2 * product(layout, T[1]) - T[0])
        return sum(
            jnp.einsum("nfb,fo->nob", T_NFB, theta_FO) for T_NFB, theta_FO in zip(T, theta, strict=True)
        )

    return basis_then_weights


def test_a_product_whose_gradient_scatters_is_caught(monkeypatch):
    def gather_and_reduce(layout, x):
        return layout.diagonal[:, None, None] * x + jnp.einsum(
            "nw,nwfb->nfb", layout.weights, x[layout.neighbours]
        )

    monkeypatch.setattr(chebyshev_filter, "chebyshev_filter_batch", filter_by(gather_and_reduce))
    assert_caught(compiled_step(ONE), "bytes", "memory")


def test_a_basis_kept_for_the_backward_pass_is_caught(monkeypatch):
    monkeypatch.setattr(chebyshev_filter, "chebyshev_filter_batch", filter_by(multiply))
    assert_caught(compiled_step(EIGHT), "bytes", "memory")
