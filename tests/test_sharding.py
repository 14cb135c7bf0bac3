"""Training on a mesh of devices: the same model whatever its shape, and what crosses between devices."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse as sp
from flax import nnx
from jax.sharding import PartitionSpec as P
from sharded_runs import MESHES, MOVES
from small_folder import write_folder

from benchmarks.sharding import Collective, collectives
from benchmarks.specs import make_gin
from gcnxmodal import train
from gcnxmodal.errors import InputError
from gcnxmodal.graph.layout import pack
from gcnxmodal.training.sharding import make_mesh, named_leaves, one_device, state_shardings
from gcnxmodal.training.state import init_state

# Measured: losses differ by at most 5e-7 of their value, the text head by 2e-6 of its largest entry, MAP not
# at all. The tolerances are ten times that, and for MAP an exchange of two neighbours in a ranking.
LOSS, HEAD, MAP = 5e-6, 2e-5, 1e-3


def name(shape: tuple[int, int]) -> str:
    return "x".join(map(str, shape))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All runs of sharded_runs.py, in one process with 8 devices."""
    root = tmp_path_factory.mktemp("sharded")
    folder, result = write_folder(root / "data"), root / "result.json"
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # LLVM's: a third less to compile, and split the same way
        "PYTHONPATH": f"{here.parent}{os.pathsep}{here}",
        "GCNXMODAL_CACHE": str(root / "cache"),
    }
    command = [sys.executable, str(here / "sharded_runs.py"), str(folder), str(result)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


def assert_same_outcome(run: dict[str, Any], expected: dict[str, Any], map_tolerance: float = MAP) -> None:
    np.testing.assert_allclose(run["losses"], expected["losses"], rtol=LOSS)
    largest = np.abs(expected["head"]).max()
    np.testing.assert_allclose(run["head"], expected["head"], rtol=0, atol=HEAD * largest)
    for direction, value in expected["map"].items():
        assert run["map"][direction] == pytest.approx(value, abs=map_tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "shape"), [(plan, shape) for plan, shapes in MESHES.items() for shape in shapes[1:]]
)
def test_losses_weights_and_map_are_those_of_one_device(found, plan: str, shape: tuple[int, int]):
    runs = found["runs"][plan]
    assert runs["1x1"]["losses"][-1] < 0.9 * runs["1x1"]["losses"][0]  # something was learnt
    # A code's number near zero takes another sign by its rounding, and the item changes its distance by one.
    assert_same_outcome(runs[name(shape)], runs["1x1"], 0.01 if plan == "hashing" else MAP)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), MOVES)
def test_a_run_goes_on_from_a_checkpoint_of_another_mesh(found, before, after):
    assert_same_outcome(found["moved"][f"{name(before)} to {name(after)}"], found["runs"]["pairs"]["1x1"])


@pytest.mark.slow
@pytest.mark.parametrize("shape", MESHES["pairs"])
def test_a_device_holds_its_columns_of_the_head_and_of_its_optimizer_state(found, shape: tuple[int, int]):
    parts = found["programs"][f"pairs {name(shape)}"]["parts of the head"]
    assert parts == [[40, 16 // shape[1]]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("shape", MESHES["pairs"])
def test_only_signals_and_sums_cross_model_and_only_gradients_cross_data(found, shape: tuple[int, int]):
    """N = 40 words, F = 1, K = 2, B = 40 pairs, D = 16, d = 12, float32."""
    data, model = shape
    sent = {"all-gather": [], "reduce-scatter": [], "all-reduce": []}
    for collective in found["programs"][f"pairs {name(shape)}"]["collectives"]:
        sent[collective["kind"]].append(collective["bytes"])
    signals = 4 * (40 // data) * 40
    assert sent["all-gather"] == ([signals] if model > 1 else [])
    assert sent["reduce-scatter"] == ([signals // model] if model > 1 else [])
    # A part of both heads with their biases, what lies whole (filters, one bias), scores of a batch, 8 sums.
    parts = 4 * (40 + 12 + 2 + 1) * (16 // model)
    whole = 4 * (2 * (2 + 1) + 1)
    scores = 4 * (40 // data)
    assert sum(sent["all-reduce"]) <= (data > 1) * parts + whole + (model > 1) * scores + 4 * 8


@pytest.mark.slow
def test_scores_of_all_pairs_are_the_same_on_any_number_of_devices(found):
    expected = np.array(found["scores"]["1"])
    assert expected.shape == (30, 30)
    for devices in ("3", "8"):
        np.testing.assert_allclose(found["scores"][devices], expected, rtol=1e-5, atol=1e-6 * expected.std())


@pytest.mark.slow
def test_nothing_crosses_on_one_device(found):
    assert all(found["programs"][f"{plan} 1x1"]["collectives"] == [] for plan in MESHES)


def gin_params() -> Any:
    layout = pack(sp.csr_array(np.ones((6, 6))))
    return nnx.state(make_gin(layout, 4, dimension=8, rngs=nnx.Rngs(0)), nnx.Param)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(optax.exponential_decay(1e-3, 10, 0.9)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
        optax.adafactor(1e-3, min_dim_size_to_factor=2),
        optax.sgd(1e-3, momentum=0.9),
    ],
    ids=["adam", "clipped adamw", "adafactor", "momentum"],
)
def test_optimizer_state_lies_where_its_parameter_does(optimizer: optax.GradientTransformation):
    state = init_state(gin_params(), optimizer, ("loss",))
    leaves, specs = named_leaves(state), named_leaves(state_shardings(state, one_device()))
    split = [n for n, sharding in specs.items() if sharding.spec != P()]
    assert {n for n in split if n.startswith("params")} == {
        "params.text_head.kernel.value",
        "params.text_head.bias.value",
        "params.image_head.kernel.value",
        "params.image_head.bias.value",
        "params.score_head.kernel.value",
    }
    for parameter in (n for n in leaves if n.startswith("params.")):
        for other in (n for n in leaves if n.endswith(parameter.removeprefix("params"))):
            same_shape = leaves[other].shape == leaves[parameter].shape
            assert specs[other].spec == (specs[parameter].spec if same_shape else P()), other


def test_one_entry_a_seed_is_not_split():
    state = init_state(jax.tree.map(lambda x: jnp.stack([x, x]), gin_params()), optax.adam(1e-3), ("loss",))
    specs = named_leaves(state_shardings(state, one_device()))
    assert specs["opt_state.0.mu.text_head.kernel.value"].spec == P(None, None, "model")
    assert specs["params.score_head.kernel.value"].spec == P(None, "model", None)


@pytest.mark.parametrize(
    ("model_parallel", "dimension", "rows", "count", "words"),
    [
        (3, 16, {"train.batch": 40}, 8, ["--model-parallel is 3", "8 devices", "one of 1, 2, 4, 8"]),
        (4, 18, {"train.batch": 40}, 8, ["--model-parallel is 4", "--model.dimension 18", "one of 1, 2"]),
        (1, 16, {"train.batch": 50}, 8, ["--model-parallel is 1", "--train.batch 50", "one of 4, 8"]),
        (
            None,
            16,
            {"train.grid-texts": 8, "train.grid-images": 15},
            6,
            ["--train.grid-texts 8 and --train.grid-images 15", "6 devices", "a multiple of 3"],
        ),
    ],
)
def test_what_devices_cannot_share_is_refused_with_the_values_that_they_can(
    model_parallel, dimension, rows, count, words
):
    with pytest.raises(InputError) as refusal:
        make_mesh(model_parallel, dimension=dimension, rows=rows, devices=[None] * count)
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    ("dimension", "rows", "count", "shape"),
    [
        (1024, 200, 1, (1, 1)),
        (1024, 200, 8, (1, 8)),
        (1024, 256, 64, (4, 16)),
        (500, 200, 8, (2, 4)),  # 8 does not divide D
        (1024, 200, 256, (8, 32)),  # 16 devices on `data` cannot share 200 pairs
    ],
)
def test_by_default_as_many_as_fit_share_the_large_layers(monkeypatch, dimension, rows, count, shape):
    made = {}
    monkeypatch.setattr(jax, "make_mesh", lambda shape, *_, **__: made.update(shape=shape))
    make_mesh(dimension=dimension, rows={"train.batch": rows}, devices=[None] * count)
    assert made["shape"] == shape


def test_a_mesh_that_does_not_fit_is_refused_before_anything_is_written(folder: Path, tmp_path: Path, capsys):
    arguments = ["gin-folder", "--data.root", str(folder), "--run-dir", str(tmp_path / "run")]
    assert train.main([*arguments, "--model-parallel", "3"]) == 2
    assert "--model-parallel is 3" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_collectives_are_read_in_each_way_that_xla_writes_them():
    program = """
  %all-reduce.1 = (f32[2,3]{1,0}, bf16[]) all-reduce(%a, %b), replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %all-gather.2 = f32[8]{0} all-gather(%c), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
  %reduce-scatter.3 = f32[5]{0} reduce-scatter(%d), replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}
  %all-gather.4 = f32[6]{0} all-gather(%e), replica_groups=mesh['a'=3,'b'=2], device_ids=([2,3]T(1,0)) {'b'}
  %all-reduce.4 = f32[100]{0} all-reduce(%e), replica_groups={{0},{1}}, to_apply=%add
  %fusion.5 = f32[100]{0} fusion(%all-reduce.4), kind=kLoop
"""
    assert collectives(program) == [
        Collective("all-reduce", 26, 2),
        Collective("all-gather", 32, 4),
        Collective("reduce-scatter", 20, 4),
        Collective("all-gather", 24, 2),
    ]
    assert [collective.sent for collective in collectives(program)] == [26, 24, 60, 12]
