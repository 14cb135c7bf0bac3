"""The mesh of devices, and what lies where on it.

Two axes. Along `data`, devices share the rows of a batch. Along `model`, they share the D columns of the
large dense layers and of their optimizer's state. One device is the mesh of size one, and the same code.

Both axes are Auto: a program says where its arguments and a few values lie, and the compiler works out the
rest; but for the text encoder (`over_mesh`), which is written by hand.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from gcnxmodal.errors import InputError

Tree = TypeVar("Tree")

DATA, MODEL = "data", "model"

# `model` shares everything, Adam on the large layers above all; `data` shares the batch only. But the signals
# that each device gathers do not shrink with it, while what is summed over `data` does: docs/sharding.md.
MOST_ON_MODEL = 16

# Parameters by the end of their name; all others (the filters: a few numbers) lie whole on every device.
# The D columns are split, not the N F rows. Embeddings and their product then stay in parts, and one number
# a pair is summed; but each device of `model` needs the whole signals [B, N F] of its rows. Split rows would
# need a `model`-th of them, and sums of [B, D], which is less, but N F (10,055) is not divisible.
RULES: dict[str, P] = {
    "text_head.kernel": P(None, MODEL),
    "text_head.bias": P(MODEL),
    "image_head.kernel": P(None, MODEL),
    "image_head.bias": P(MODEL),
    "score_head.kernel": P(MODEL, None),
    "text_attention.kernel": P(None, MODEL),
    "text_attention.bias": P(MODEL),
    "image_attention.kernel": P(None, MODEL),
    "image_attention.bias": P(MODEL),
}


def make_mesh(
    model_parallel: int | None = None,
    *,
    dimension: int,
    rows: Mapping[str, int],
    devices: Sequence[Any] | None = None,
    most_on_model: int = MOST_ON_MODEL,
) -> Mesh:
    """The devices as a mesh `data` x `model`.

    Args:
        model_parallel: size of `model`; by default as many as fit, up to `most_on_model`.
        dimension: D, which `model` splits.
        rows: option: rows of a batch, which `data` splits.
        devices: all those of all processes, if not given.

    Raises:
        InputError: if the devices, D or the rows cannot be shared evenly.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    allowed = [
        size
        for size in range(1, count + 1)
        if not (count % size or dimension % size or any(n % (count // size) for n in rows.values()))
    ]
    batch = " and ".join(f"--{option} {number}" for option, number in rows.items())
    if not allowed:
        share = count // math.gcd(count, dimension)
        raise InputError(
            f"{batch} cannot be shared evenly by {count} devices with --model.dimension {dimension}; make "
            f"the rows of a batch a multiple of {share}, or use fewer devices"
        )
    if model_parallel is None:
        model_parallel = max([size for size in allowed if size <= most_on_model], default=allowed[0])
    if model_parallel not in allowed:
        raise InputError(
            f"--model-parallel is {model_parallel}; it must divide the {count} devices and --model.dimension "
            f"{dimension}, and leave a number of devices that divides {batch}: one of "
            f"{', '.join(map(str, allowed))}"
        )
    shape = (count // model_parallel, model_parallel)
    return jax.make_mesh(shape, (DATA, MODEL), (AxisType.Auto, AxisType.Auto), devices=devices)


def one_device() -> Mesh:
    """The mesh of this process's first device."""
    return make_mesh(1, dimension=1, rows={}, devices=jax.local_devices()[:1])


def over_rows(x: Array, mesh: Mesh) -> Array:
    """`x` with its rows split over `data`."""
    return x if mesh.size == 1 else jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P(DATA)))


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """Where each leaf of a train state lies: by `RULES`, the optimizer's state where its parameter does.

    A leaf belongs to the parameter whose name its own ends in, if it has that parameter's shape; so this
    holds for any optax state. A first axis more than the rule has (one entry a seed) is not split.
    """
    shapes = {name: leaf.shape for name, leaf in named_leaves(state.params).items()}

    def spec(name: str, leaf: Any) -> P:
        owner = next((p for p, shape in shapes.items() if _ends_in(name, p) and leaf.shape == shape), "")
        rule = _rule(owner)
        return P(*[None] * (len(leaf.shape) - len(rule)), *rule) if rule else rule

    leaves = [NamedSharding(mesh, spec(name, leaf)) for name, leaf in named_leaves(state).items()]
    return jax.tree.unflatten(jax.tree.structure(state), leaves)


def place(tree: Tree, shardings: Any) -> Tree:
    """The same values, lying as `shardings` (a tree, or one for all) says.

    Every process must hold the same values, and of them puts on its devices what belongs there.
    """
    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    return jax.tree.map(_place, tree, shardings)


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """The same values, whole on every device."""
    return place(tree, NamedSharding(mesh, P()))


def to_one_device(tree: Tree) -> Tree:
    """The same values on one device of this process; in a job of several, all must take part."""
    device = jax.local_devices()[0]
    if all(leaf.is_fully_addressable for leaf in jax.tree.leaves(tree)):
        return jax.device_put(tree, device)
    whole = jax.tree.map(lambda leaf: NamedSharding(leaf.sharding.mesh, P()), tree)
    tree = jax.jit(lambda leaves: leaves, out_shardings=whole)(tree)
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def over_mesh(
    encode: Callable[[Any, Any, Array, Callable[[Array], Array]], Array],
    mesh: Mesh,
    params: Any,
    constants: Any,
    rows_BN: Array,
) -> Float[Array, "B D"]:
    """A path whose last layer is split over `model`, written for each device.

    Each device takes its part of the rows up to that layer, and then its columns of all rows of its part of
    `data`. Forward, the devices of `model` gather the signals of these rows; backward, they sum and scatter
    the gradients. The gradient of a parameter is summed over the devices that share it where it has reached
    that parameter, and nowhere else. Written by hand because the compiler would let every device of `model`
    compute the signals of all rows, sum [B, N F] gradients over `model`, and sum those of the filters over
    `data` before adding up the vertices: [N, F, F] numbers for each order in place of [F, F].

    Args:
        encode: `encode(params, constants, rows_bN, all_rows) -> [B, D]`, with `all_rows` for its last layer
            to apply to its input, once.
        params: by `RULES`.
        constants: whole on every device.
        rows_BN: the batch. Where the devices cannot share its rows evenly, those of `data` do.
    """
    axes = tuple(axis for axis in mesh.axis_names if mesh.shape[axis] > 1)
    if not axes:
        return encode(params, constants, rows_BN, lambda x: x)
    rows = axes if len(rows_BN) % mesh.size == 0 else tuple(axis for axis in axes if axis == DATA)

    def spec(*names: Any) -> P:
        return P(*(name if name in axes else None for name in names))

    def differs(leaf: Array, spec: P) -> Array:
        # Says that the copies of a parameter go different ways from here on, which puts the sum of their
        # gradients here.
        held = [axis for part in spec for axis in (part if isinstance(part, tuple) else (part,))]
        shared = tuple(axis for axis in axes if axis not in held)
        return jax.lax.pcast(leaf, shared, to="varying") if shared else leaf

    def all_rows(x_bV: Array) -> Array:
        return jax.lax.all_gather(x_bV, MODEL, axis=0, tiled=True) if MODEL in rows else x_bV

    def part(params: Any, constants: Any, rows_bN: Array) -> Array:
        params = jax.tree.map(differs, params, specs)
        return encode(params, constants, differs(rows_bN, P(rows)), all_rows)

    leaves = [spec(*_rule(name)) for name in named_leaves(params)]
    specs = jax.tree.unflatten(jax.tree.structure(params), leaves)
    mapped = jax.shard_map(
        part, mesh=mesh, in_specs=(specs, P(), P(rows)), out_specs=spec(DATA, MODEL), axis_names=set(axes)
    )
    return mapped(params, constants, rows_BN)


def named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by dotted path, whatever the node types of the tree."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def _rule(parameter: str) -> P:
    name = parameter.removesuffix(".value")  # where Flax's variables keep their array
    return next((rule for layer, rule in RULES.items() if _ends_in(name, layer)), P())


def _ends_in(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")


def _place(leaf: Any, sharding: NamedSharding) -> Any:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    # Not device_put: it would send the values to every process, to compare them.
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place(jax.random.key_data(leaf), sharding))
    host = np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
