"""The train state, one step, and many steps as one compiled loop."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse as sp
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, UInt8

from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.sharding import DATA, over_rows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SparseRows:
    """A sparse matrix [n, N] on the device, 8 bytes an entry; `matrix[rows_B]` is some of its rows, dense.

    The entries of a batch are written into zeros [N, B], each row of B a column: vertex-major, as the graph
    filter reads it, so that no dense row is gathered and nothing is transposed. Every row takes the time of
    the longest. Rows of no entry are zero; no row has a column twice.

    Attributes:
        starts: row i has the entries starts[i] to starts[i + 1].
        columns, values: of each entry.
        width: N.
        longest: entries of the longest row.
        mesh: of several devices, which share the rows of a batch and each hold the whole matrix.
    """

    starts: Int[Array, " n+1"]
    columns: Int[Array, " entries"]
    values: Float[Array, " entries"]
    width: int = dataclasses.field(metadata={"static": True})
    longest: int = dataclasses.field(metadata={"static": True})
    mesh: Mesh | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def of(cls, matrix: sp.csr_array, mesh: Mesh | None = None) -> "SparseRows":
        """A matrix of the host, each entry once, as arrays of the host."""
        csr: Any = matrix
        starts, columns = (part.astype(np.int32, copy=False) for part in (csr.indptr, csr.indices))
        longest = int(np.diff(starts).max(initial=0))
        values = csr.data.astype(np.float32, copy=False)
        return cls(starts, columns, values, csr.shape[1], longest, mesh)

    def __getitem__(self, rows_B: Int[Array, " B"]) -> Float[Array, "B N"]:
        if self.mesh is None or self.mesh.size == 1:
            return self._dense(rows_B)
        alone = dataclasses.replace(self, mesh=None)
        # By hand: left to itself, XLA also splits the entries over `model` and sends them.
        read = jax.shard_map(
            SparseRows._dense,
            mesh=self.mesh,
            in_specs=(jax.tree.map(lambda _: P(), alone), P(DATA)),
            out_specs=P(DATA),
        )
        return read(alone, rows_B)

    def _dense(self, rows_B: Int[Array, " B"]) -> Float[Array, "B N"]:
        starts_B, ends_B = self.starts[rows_B], self.starts[rows_B + 1]
        entries_LB = starts_B + jnp.arange(self.longest)[:, None]
        # Entries past the end of a row go to a word that is not there, which is passed over.
        columns_LB = jnp.where(entries_LB < ends_B, self.columns.at[entries_LB].get(mode="clip"), self.width)
        values_LB = self.values.at[entries_LB].get(mode="clip")
        zeros_NB = jnp.zeros((self.width, len(rows_B)), values_LB.dtype)
        return zeros_NB.at[columns_LB, jnp.arange(len(rows_B))].set(values_LB, mode="drop").T


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Data:
    """What a step reads: the training items, resident on the device for the whole run, and the epoch's plan.

    Of several devices each holds all of it, 4 d bytes an image and 8 a distinct word of a text (Eng-Wiki: 3
    MB): the rows of a batch are drawn from all items, and each device gathers its part of them without a word
    to the others.

    Attributes:
        texts_nT: what the text encoder reads of the training items: weighted word counts, dense features, or
            word numbers.
        images_nd: their image features, or pixels.
        labels_nC: their classes; of a corpus without labels, C = 0.
        constants: the arrays of the model that are not trained (the word graph, word vectors).
        plan: the batches of the present epoch.
        extra: what a system reads besides.
        groups_n: their groups by number, those of the same number matching each other where there are no
            labels; an item without others is alone in its own.
    """

    texts_nT: SparseRows | Float[Array, "n e"] | Int[Array, "n L"]
    images_nd: Float[Array, "n d"] | UInt8[Array, "n R R 3"]
    labels_nC: Bool[Array, "n C"]
    constants: Any
    plan: Plan | None = None
    extra: Any = None
    groups_n: Int[Array, " n"] | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Best:
    """The model of the best epoch so far.

    Attributes:
        params: what is measured and saved of it.
        step: after how many steps it was; 0 before the first measurement.
    """

    params: Any
    step: Int[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that changes from step to step; a checkpoint is this value.

    Attributes:
        params: trained arrays of the model.
        opt_state: the optimizer's.
        step: steps done.
        totals: metrics summed over the steps of the present epoch.
        first_nan: the first step whose loss was not finite, or -1.
        best: of a run that ends with its best epoch; so every checkpoint has that model too.
    """

    params: Any
    opt_state: Any
    step: Int[Array, ""]
    totals: dict[str, Float[Array, ""]]
    first_nan: Int[Array, ""]
    best: Best | None = None


def init_state(params: Any, optimizer: optax.GradientTransformation, metrics: tuple[str, ...]) -> TrainState:
    """The state before the first step."""
    return start_of(params, optimizer.init(params), metrics)


def start_of(params: Any, opt_state: Any, metrics: tuple[str, ...]) -> TrainState:
    """The state before the first step, of parameters and of the state of their optimizer or optimizers."""
    return TrainState(
        params=params,
        opt_state=opt_state,
        step=jnp.zeros((), jnp.int32),
        totals={name: jnp.zeros(()) for name in metrics},
        first_nan=jnp.full((), -1, jnp.int32),
    )


def make_adam(
    learning_rate: float | Array,
    *,
    decay: float | Array = 1.0,
    decay_steps: int = 1,
    first_moment: str = "float32",
) -> optax.GradientTransformation:
    """Adam with the rate of `make_rate`.

    `first_moment` is the type in which the mean of the gradients is kept; the arithmetic is float32.
    """
    return optax.adam(make_rate(learning_rate, decay=decay, decay_steps=decay_steps), mu_dtype=first_moment)


def make_rate(
    learning_rate: float | Array, *, decay: float | Array, decay_steps: int
) -> Callable[[Any], Array]:
    """A staircase decay: learning_rate * decay ** (step // decay_steps)."""

    def rate(step: Any) -> Array:
        return learning_rate * jnp.power(decay, jnp.asarray(step // decay_steps, jnp.float32))

    return rate


class Averaged(NamedTuple):
    """The state of `averaged`."""

    inner: Any
    average: Any


def averaged(optimizer: optax.GradientTransformation, decay: float | Array) -> optax.GradientTransformation:
    """The optimizer, which keeps a running average of the parameters beside its own state.

        average <- decay_t average + (1 - decay_t) params,    decay_t = min(decay, (1 + t) / (10 + t))

    so that the first steps are soon forgotten. `average_of` reads it.
    """

    def start(params: Any) -> Any:
        # A copy, because the state is donated, and no buffer can be donated twice.
        average = jax.tree.map(jnp.copy, params)
        return Averaged((optimizer.init(params), jnp.zeros((), jnp.int32)), average)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Averaged]:
        inner, steps = state.inner
        updates, inner = optimizer.update(updates, inner, params)
        decay_t = jnp.minimum(decay, (1.0 + steps) / (10.0 + steps))
        after = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda a, p: decay_t * a + (1 - decay_t) * p, state.average, after)
        return updates, Averaged((inner, steps + 1), average)

    return optax.GradientTransformation(start, update)


def average_of(state: TrainState) -> Any:
    """The running average of the parameters, of an optimizer that is `averaged`."""
    return state.opt_state.average


Step = Callable[[TrainState, Data, Any], tuple[TrainState, dict[str, Array]]]


def planned_rows(
    state: TrainState, data: Data, mesh: Mesh | None
) -> tuple[Int[Array, " B"], Int[Array, " M"]]:
    """Texts and images of the next step: row `state.step` of the plan (modulo its length), over the mesh."""
    assert data.plan is not None
    row = state.step % len(data.plan.texts)
    texts, images = data.plan.texts[row], data.plan.images[row]
    return (texts, images) if mesh is None else (over_rows(texts, mesh), over_rows(images, mesh))


def make_gradient_step(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    loss: Callable,
    read_batch: Callable[[TrainState, Data, Array], tuple[Any, ...]],
    *,
    small_first: bool = False,
) -> Step:
    """One optimizer step: `state, metrics = step(state, data, key)`.

    Args:
        graphdef: the model's structure, from `nnx.split(model, nnx.Param, ...)`.
        optimizer: an optax transformation.
        loss: `loss(model, *batch) -> (objective, metrics)`.
        read_batch: `batch = read_batch(state, data, key)`; what is random in it is a function of
            (key, state.step).
        small_first: no gradient is used before those of the smallest parameters are there, see `_complete`.
    """

    gradient = nnx.grad(functools.partial(loss), has_aux=True)  # else keywords may have no defaults

    def step(state: TrainState, data: Data, key: Array) -> tuple[TrainState, dict[str, Array]]:
        batch = read_batch(state, data, key)
        # A copy: `nnx.grad` takes no variables that were made outside of the compiled loop.
        model = nnx.merge(graphdef, state.params, data.constants, copy=True)
        gradients, metrics = gradient(model, *batch)
        if small_first:
            gradients = _complete(gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return dataclasses.replace(state, params=params, opt_state=opt_state, step=state.step + 1), metrics

    return step


def make_step(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    loss: Callable,
    *,
    grid: bool,
    mesh: Mesh | None = None,
) -> Step:
    """`make_gradient_step` on pairs of a text and an image.

    It takes row `state.step` (modulo the length) of the plan; dropout is a function of (key, step).

    Args:
        loss: `loss(model, texts_BT, images_Md, match, key) -> (objective, metrics)`.
        grid: every text of a batch meets every image, instead of text b meeting image b.
        mesh: the devices, which share the rows of a batch; one device if not given.
    """

    def read_pairs(state: TrainState, data: Data, key: Array) -> tuple[Any, ...]:
        texts, images = planned_rows(state, data, mesh)
        match = match_of(data, texts, images, grid=grid)
        dropout = jax.random.fold_in(key, state.step)
        return data.texts_nT[texts], data.images_nd[images], match, dropout

    alone = mesh is None or mesh.size == 1
    return make_gradient_step(graphdef, optimizer, loss, read_pairs, small_first=alone)


def _complete(gradients: Any) -> Any:
    """The same gradients, none of which can be used before those of the smallest parameters are there.

    The filters' gradients come last, through products with the weights of the heads. Without this order XLA
    sees an update in place and a read of the old weights side by side, and copies the weights in every step:
    82 MB at Eng-Wiki's size. (An optimization barrier would say it plainly; the CPU compiler drops it first.)
    """
    small = [leaf for leaf in jax.tree.leaves(gradients) if leaf.size < 1000]
    # Zero, but not to the compiler: a gradient may be infinite.
    zero = 0 * sum((jnp.sum(leaf) for leaf in small), start=jnp.zeros(()))
    return jax.tree.map(lambda leaf: leaf + zero, gradients)


def make_block(
    step: Step, shardings: Any = None
) -> Callable[[TrainState, Data, Array, Int[Array, ""]], TrainState]:
    """`state = block(state, data, key, steps)`: that many steps as one compiled loop.

    The state is donated. The number of steps is an argument of the compiled program, not a part of it, so
    one compilation serves any block, and a run cut into other blocks gives the same bits.

    Args:
        step: from `make_step`.
        shardings: where the state shall lie after the block, which is where it lay before; None leaves it to
            the compiler.
    """

    def block(state: TrainState, data: Data, key: Array, steps: Int[Array, ""]) -> TrainState:
        def body(_: Any, state: TrainState) -> TrainState:
            before = state.step
            state, metrics = step(state, data, key)
            broken = (state.first_nan < 0) & ~jnp.isfinite(metrics["loss"])
            return dataclasses.replace(
                state,
                totals={name: total + metrics[name] for name, total in state.totals.items()},
                first_nan=jnp.where(broken, before, state.first_nan),
            )

        return jax.lax.fori_loop(0, steps, body, state)

    return jax.jit(block, donate_argnums=0, out_shardings=shardings)


def match_of(data: Data, texts: Int[Array, " B"], images: Int[Array, " M"], *, grid: bool) -> Array:
    """Do text and image share a class, or without labels a group: for aligned rows [B], or for every text
    with every image [B, M]."""
    if not data.labels_nC.shape[1]:
        assert data.groups_n is not None
        text_groups, image_groups = data.groups_n[texts], data.groups_n[images]
        return text_groups[:, None] == image_groups if grid else text_groups == image_groups
    text_labels, image_labels = data.labels_nC[texts], data.labels_nC[images]
    if grid:
        return text_labels.astype(jnp.float32) @ image_labels.astype(jnp.float32).T > 0
    return (text_labels & image_labels).any(axis=1)


def keep_if_better(state: TrainState, params: Any, better: bool | Bool[np.ndarray, " members"]) -> TrainState:
    """The same state with these parameters as the best so far, if they are.

    Args:
        params: what is measured and saved of the state.
        better: whether they are; of several models trained together, each.
    """
    assert state.best is not None

    def chosen(new: Array, old: Array) -> Array:
        which = jnp.asarray(better).reshape(np.shape(better) + (1,) * (old.ndim - np.ndim(better)))
        return jax.device_put(jnp.where(which, new, old), old.sharding)

    best = jax.tree.map(chosen, Best(params, state.step), state.best)
    return dataclasses.replace(state, best=best)


def start_epoch(state: TrainState) -> TrainState:
    """The same state with the epoch's sums at zero."""
    return dataclasses.replace(state, totals=jax.tree.map(jnp.zeros_like, state.totals))
