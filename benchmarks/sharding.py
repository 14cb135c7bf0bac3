"""What a training step costs each of 1 to 256 devices, by the compiled program.

    python -m benchmarks.sharding [--root ROOT] [--devices 1 2 4 8 16 32 64 128 256] [--filters 1]

Nothing is run: the step of GIN at Eng-Wiki's size (N = 10,055, d = 4,096, D = 1,024) is lowered and compiled
for simulated devices, and the program of one of them is read. The batch is 256, not the paper's 200, which
256 devices cannot share; scaling is `strong` (256 pairs for all) or `weak` (256 for each). A device's step:

    GFLOP, GB    what its operations compute, and read or write, as XLA estimates
    MB held      parameters, optimizer state and data
    MB temporary at the worst moment
    MB sent      in a ring of g devices, 2 b (g - 1) / g to sum b bytes, half of it to gather them
    waits        operations that wait for other devices

XLA compiles for CPUs here. How it splits the step does not depend on that; how it fuses operations (GB, MB
temporary) does. Writes results/sharding.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.graphs import TEXTS, benchmark_words
from benchmarks.harness import table, write_result
from benchmarks.specs import DATASETS
from gcnxmodal.graph.layout import SparseLayout, pack
from gcnxmodal.nn.layers import Constant
from gcnxmodal.systems.base import Sizes
from gcnxmodal.systems.gin import METRICS, GINExperiment, GINModel, GINSystem, loss
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.sharding import make_mesh, state_shardings
from gcnxmodal.training.state import Data, init_state, make_adam, make_step

SHAPE = DATASETS["eng-wiki"]
BATCH = 256
CLASSES, STEPS = 10, 312  # Eng-Wiki's classes; the batches of 80,000 pairs
MESHES: dict[str, Callable[[int], int]] = {  # devices on `model`
    "all on model": lambda devices: devices,
    "16 on model": lambda devices: min(devices, 16),
    "all on data": lambda devices: 1,
}

_BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
}
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_COLLECTIVE = re.compile(rf" = (?P<shape>.*?) (?P<kind>{_KINDS})(-start)?\(")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One operation of the compiled program that waits for other devices.

    Attributes:
        kind: as XLA names it.
        bytes: of its result, on one device.
        group: how many devices take part.
    """

    kind: str
    bytes: int
    group: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends, in a ring."""
        share = (self.group - 1) / self.group
        return {
            "all-reduce": 2 * share * self.bytes,
            "all-gather": share * self.bytes,
            "reduce-scatter": share * self.bytes * self.group,
            "all-to-all": share * self.bytes,
            "collective-permute": self.bytes,
        }[self.kind]


def collectives(program: str) -> list[Collective]:
    """The collectives among several devices in the text of a compiled program."""
    found = []
    for line in program.splitlines():
        if match := _COLLECTIVE.search(line):
            size = sum(
                _BYTES[dtype] * int(np.prod([int(n) for n in dims.split(",") if n], dtype=np.int64))
                for dtype, dims in re.findall(r"(\w+)\[([\d,]*)\]", match["shape"])
            )
            found.append(Collective(match["kind"], size, _group(line)))
    return [collective for collective in found if collective.group > 1]


def _group(line: str) -> int:
    """Devices in a group, in the three ways that XLA writes it."""
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(iota[1])
    if axes := re.search(r"replica_groups=mesh\[(.*?)\].*?\{(.*?)\}", line):
        sizes = dict(re.findall(r"('\w+')=(\d+)", axes[1]))
        named = re.findall(r"('\w+')(?::\(\d+\)(\d+))?", axes[2])  # an axis, or a part of one
        return int(np.prod([int(part or sizes[name]) for name, part in named]))
    if "source_target_pairs" in line:
        return 2
    raise ValueError(f"no replica groups in: {line}")


def compile_step(layout: SparseLayout, mesh: Mesh, filters: int, batch: int) -> Any:
    """The step for a mesh, compiled from shapes alone."""
    experiment = GINExperiment(model=GINModel(filters=(filters, filters), dimension=SHAPE.dimension))
    sizes = Sizes(SHAPE.words, (SHAPE.image_size,), CLASSES)
    constants = nnx.State({"text": {"graph": Constant(layout)}})
    model = nnx.eval_shape(lambda: GINSystem.make_model(experiment, sizes, constants, nnx.Rngs(0), mesh))
    graphdef, params, _ = nnx.split(model, nnx.Param, ...)
    optimizer = make_adam(1e-3)
    state = jax.eval_shape(lambda p: init_state(p, optimizer, METRICS), params)
    shardings = state_shardings(state, mesh)
    whole = NamedSharding(mesh, PartitionSpec())

    def shape_of(leaf: Any, sharding: NamedSharding = whole) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    def array(dtype: Any, *shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=whole)

    data = Data(
        texts_nT=array(jnp.float32, TEXTS, SHAPE.words),
        images_nd=array(jnp.float32, TEXTS, SHAPE.image_size),
        labels_nC=array(jnp.bool_, TEXTS, CLASSES),
        constants=jax.tree.map(shape_of, constants),
        plan=Plan(array(jnp.int32, STEPS, batch), array(jnp.int32, STEPS, batch)),
    )
    key = shape_of(jax.eval_shape(lambda: jax.random.key(0)))
    step = jax.jit(
        make_step(graphdef, optimizer, loss, grid=False, mesh=mesh),
        donate_argnums=0,
        out_shardings=(shardings, None),
    )
    return step.lower(jax.tree.map(shape_of, state, shardings), data, key).compile()


def measure(layout: SparseLayout, mesh: Mesh, filters: int, batch: int) -> dict[str, Any]:
    """The costs of one device, and how long compiling took."""
    started = time.perf_counter()
    compiled = compile_step(layout, mesh, filters, batch)
    seconds = time.perf_counter() - started
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    found = collectives(compiled.as_text())
    return {
        "GFLOP": cost["flops"] / 1e9,
        "GB": cost["bytes accessed"] / 1e9,
        "MB held": memory.argument_size_in_bytes / 1e6,
        "MB temporary": memory.temp_size_in_bytes / 1e6,
        "MB sent": sum(collective.sent for collective in found) / 1e6,
        "waits": len(found),
        "compile seconds": seconds,
        "collectives": [dataclasses.asdict(collective) for collective in found],
    }


def cases(devices: list[int]) -> Iterator[tuple[str, str, int, Mesh, int]]:
    """Scaling, mesh, number of devices, the mesh itself, and the batch; each program once."""
    for name, on_model in MESHES.items():
        for count in devices:
            size = on_model(count)
            batch = {"train.batch": BATCH}
            if count > size or name != "16 on model":  # else the same as all on model
                mesh = make_mesh(size, dimension=SHAPE.dimension, rows=batch, devices=jax.devices()[:count])
                yield "strong", name, count, mesh, BATCH
                if name == "all on data" and count > 1:
                    yield "weak", name, count, mesh, BATCH * count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder of the Wikipedia data set, for its word graph")
    parser.add_argument("--devices", type=int, nargs="+", default=[2**i for i in range(9)])
    parser.add_argument("--filters", type=int, default=1, help="of both graph convolutions")
    arguments = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(arguments.devices))

    layout = pack(benchmark_words(SHAPE.words, arguments.root).scaled)
    rows = []
    for scaling, name, count, mesh, batch in cases(arguments.devices):
        costs = measure(layout, mesh, arguments.filters, batch)
        rows.append({"scaling": scaling, "mesh": name, "devices": count, "batch": batch, **costs})
        print(f"{scaling} {name} {count}: {costs['compile seconds']:.0f} s to compile", flush=True)
    shown = [{k: v for k, v in row.items() if k not in ("collectives", "compile seconds")} for row in rows]
    print(table(shown))
    path = write_result("sharding", {"filters": arguments.filters, "rows": rows})
    print(f"written to {path}")


if __name__ == "__main__":
    main()
