"""Steps that are timed against each other must be the same step."""

import jax
import numpy as np
import pytest
from flax import nnx

from benchmarks import floor, seeds, step, step_peers, whole_run
from benchmarks.specs import STEP_CASES, StepCase
from gcnxmodal.systems.gin import loss

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.mark.parametrize("filters", [1, 4])
@pytest.mark.parametrize("name", step_peers.STEP_PEERS)
def test_every_peer_trains_to_the_losses_of_float64(name, filters, tiny, words):
    pytest.importorskip("torch")
    pytest.importorskip("torch_geometric")
    problem = step_peers.make_problem(StepCase(tiny, filters, 32), words)
    train, exact = step_peers.STEP_PEERS[name](problem), step_peers.torch_csr(problem, "float64", "cpu")
    losses, expected = ([float(peer(1)) for _ in range(3)] for peer in (train, exact))
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    assert abs(expected[2] / expected[0] - 1) > 0.1  # it trains: equal losses are not equal initial weights


def test_a_block_of_steps_reports_its_mean_loss(tiny, words):
    problem = step_peers.make_problem(StepCase(tiny, 1, 32), words)
    one_by_one, at_once = step_peers.ours(problem), step_peers.ours(problem)
    assert float(at_once(3)) == pytest.approx(np.mean([float(one_by_one(1)) for _ in range(3)]), rel=1e-5)


def test_seeds_at_once_train_as_each_alone(tiny, words):
    problem = step_peers.make_problem(StepCase(tiny, 1, 32), words)
    problems = [seeds.seed_problem(problem, seed) for seed in range(3)]
    together = seeds.all_at_once(problems)
    alone = [step_peers.ours(problem) for problem in problems]
    for _ in range(3):
        np.testing.assert_allclose(together(1), [float(train(1)) for train in alone], rtol=1e-4)
    assert len(np.unique(together(1))) == 3


def test_stages_of_the_step_hold_its_gradients_and_all_its_parameters(tiny, words):
    """The stages are written out by hand: they must not fall behind the step."""
    problem = step_peers.make_problem(StepCase(tiny, 1, 32), words)
    stages = step.stages(problem)
    (filters,), (dense, x_VB) = stages["graph"](), stages["dense"]()
    params, _ = stages["Adam"]()
    shapes = {name: leaf.shape for name, leaf in problem.weights.items()}
    assert {name: leaf.shape for name, leaf in params.items()} == shapes
    assert {name: leaf.shape for name, leaf in {**filters, **dense}.items()} == shapes
    assert x_VB.shape == (problem.case.text_inputs, problem.case.batch)
    data, texts, images = step_peers.make_data(problem), problem.texts_SB[0], problem.images_SB[0]

    @jax.jit
    def gradients(params):
        def objective(params):
            model = nnx.merge(problem.graphdef, params, problem.constants)
            match = (data.labels_nC[texts] & data.labels_nC[images]).any(axis=1)
            batch = data.texts_nT[texts], data.images_nd[images], match, jax.random.key(0)
            return loss(model, *batch, l2=step_peers.L2)[0]

        return jax.grad(objective)(params)

    expected = step_peers.named(gradients(problem.params))
    for name, gradient in dense.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", STEP_CASES, ids=lambda case: case.name)
def test_floor_counts_what_the_shapes_say(case):
    N, d, D, B, F = 10_055, 4_096, 1_024, 200, case.filters
    assert floor.dense_flops(case) == 2 * B * D * (3 * N * F + 2 * d)
    assert case.parameters == 3 * F + F + 3 * F * F + F + (N * F + 1) * D + (d + 1) * D + D + 1
    assert floor.adam_bytes(case) == 28 * case.parameters
    signal = 4 * N * B
    # Two products forward and two backward in each layer: of one column a document, then of F.
    assert floor.graph_bytes(case) == 2 * 4 * signal * (1 + F)


def test_floor_of_a_machine_is_operations_and_bytes_at_its_rates():
    machine = floor.Machine(flops=2e10, bandwidth=1e9)
    case = STEP_CASES[0]
    memory = (floor.adam_bytes(case) + floor.graph_bytes(case)) / 1e9
    assert machine.floor(case) == pytest.approx(floor.dense_flops(case) / 2e10 + memory)
    assert machine.byte_floor(case) == pytest.approx(memory + floor.dense_bytes(case) / 1e9)


def test_parameters_are_those_of_the_model(tiny, words):
    case = StepCase(tiny, 4, 32)
    problem = step_peers.make_problem(case, words)
    assert case.parameters == sum(weight.size for weight in problem.weights.values())


def test_whole_run_trains_each_epoch_on_other_batches(tiny, words, monkeypatch):
    monkeypatch.setattr(whole_run, "synthetic_words", lambda size: words)
    found = whole_run.run(StepCase(tiny, 1, 32), epochs=3, pairs=320)
    assert len(found["epoch_seconds"]) == 3
    assert found["losses"][2] < found["losses"][0]
