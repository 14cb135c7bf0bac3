"""What do eight seeds at once cost, against one?

    python -m benchmarks.seeds [--seeds 8] [--rounds 7] [--steps 1]

One training step of GIN at Eng-Wiki's shape, and the same step under `jax.vmap` for as many seeds: each has
its own weights, optimizer state and batches; the texts, images and the word graph are shared. Milliseconds a
step, medians of interleaved rounds. On an accelerator a round should be many steps (`--steps 50`).
Writes results/seeds.json.
"""

import argparse
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.graphs import synthetic_words
from benchmarks.harness import MATMULS, interleave, set_matmul, table, write_result
from benchmarks.specs import DATASETS, STEP_CASES
from benchmarks.step_peers import (
    METRICS,
    StepPeer,
    StepProblem,
    make_data,
    make_plan,
    make_problem,
    optimizer,
    our_step,
    ours,
)
from gcnxmodal.sweeps import over_members, stack_plans, stack_states
from gcnxmodal.training.state import init_state, make_block, start_epoch


def seed_problem(problem: StepProblem, seed: int) -> StepProblem:
    """The same data with the weights and the batches of another seed."""
    random = np.random.default_rng(seed)
    other = make_problem(problem.case, problem.words, seed)
    rows = [random.permutation(len(problem.texts_SB)) for _ in range(2)]
    texts, images = problem.texts_SB[rows[0]], problem.images_SB[rows[1]]
    return dataclasses.replace(problem, params=other.params, texts_SB=texts, images_SB=images)


def all_at_once(problems: list[StepProblem]) -> StepPeer:
    """`train(steps)` of all seeds in one program; their losses."""
    block = make_block(over_members(our_step(problems[0].graphdef)))
    plan = stack_plans([make_plan(problem) for problem in problems])
    data = dataclasses.replace(make_data(problems[0]), plan=plan)
    state = stack_states([init_state(problem.params, optimizer(), METRICS) for problem in problems])
    keys = jax.random.split(jax.random.key(0), len(problems))

    def train(steps: int) -> jax.Array:
        nonlocal state
        state = block(start_epoch(state), data, keys, jnp.int32(steps))
        return state.totals["loss"] / steps

    return train


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1, help="steps in each round; milliseconds are of one")
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    case = dataclasses.replace(STEP_CASES[0], precision=arguments.matmul)
    problem = make_problem(case, synthetic_words(DATASETS[case.dataset].words))
    problems = [seed_problem(problem, seed) for seed in range(arguments.seeds)]
    peers = {"1": ours(problem), str(arguments.seeds): all_at_once(problems)}
    timings = interleave(
        {name: lambda train=train: train(arguments.steps) for name, train in peers.items()}, arguments.rounds
    )
    rows = [
        {
            "seeds at once": name,
            "step ms": timings[name].median / arguments.steps,
            "x one seed": timings[name].median / timings["1"].median,
            "timing": dataclasses.asdict(timings[name]),
        }
        for name in peers
    ]
    print(f"{case.name}\n\n{table(rows)}")
    shared = {"case": dataclasses.asdict(case), "steps": arguments.steps, "matmul": arguments.matmul}
    path = write_result("seeds", {**shared, "rows": rows})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
