"""One training step of GIN: ours against its peers and the floor of the machine, and where its time goes.

    python -m benchmarks.step [--root FOLDER_OF_WIKIPEDIA] [--rounds 7] [--cases F=1] [--peers ours]

For each case of `specs.STEP_CASES` (the shape of Eng-Wiki: N = 10,055 words, 4,096 image features, D = 1024,
a batch of 200 pairs): milliseconds a step, medians of interleaved rounds, for each of
`step_peers.STEP_PEERS`, which start from the same weights and see the same batches; our step over the floor
of `benchmarks.floor`, measured in the same rounds; and the stages of our step, each compiled and timed alone:

    graph   gather the counts, both graph convolutions, the gradients of their filters
    dense   both heads, score and loss, their gradients
    Adam    the update of all parameters

`python -m benchmarks.step --cases F=1 --peers ours` says what one faithful epoch costs over its floor.
Images are random; with --root, words, texts and graph are real. On an accelerator a round should be many
steps (`--steps 50`). Writes results/step.json (step-tf32 with --matmul tf32), unless only some cases or peers
run.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.floor import Probes
from benchmarks.graphs import benchmark_words
from benchmarks.harness import MATMULS, interleave, repeated, set_matmul, table, write_result
from benchmarks.specs import DATASETS, STEP_CASES
from benchmarks.step_peers import (
    BALANCE,
    L2,
    MARGIN,
    STEP_PEERS,
    StepProblem,
    make_data,
    make_problem,
    optimizer,
)
from gcnxmodal.chebyshev import chebyshev_filter_batch
from gcnxmodal.nn.losses import pairwise_similarity_loss

OURS = "ours"
FAITHFUL_PAIRS = 80_000  # an epoch (GIN Section 3.2)


def stages(problem: StepProblem) -> dict[str, Callable[[], Any]]:
    """The stages of our step, each alone."""
    data, weights = make_data(problem), problem.weights
    assert data.plan is not None
    texts, images = data.plan.texts[0], data.plan.images[0]
    match = (data.labels_nC[texts] & data.labels_nC[images]).any(axis=1)
    layout = data.constants["text"]["graph"].get_value()
    filters = {name: jnp.asarray(w) for name, w in weights.items() if name.startswith("text.convolutions")}
    dense = {name: jnp.asarray(w) for name, w in weights.items() if name not in filters}

    def encode(filters, counts_nN, texts, layout):
        x_NFB = counts_nN[texts].T[:, None, :]
        for layer in range(2):
            theta, bias = (filters[f"text.convolutions.{layer}.{name}"] for name in ("theta", "bias"))
            x_NFB = jax.nn.relu(chebyshev_filter_batch(x_NFB, theta, layout) + bias[:, None])
        return x_NFB.reshape(-1, len(texts))

    @jax.jit
    def graph(filters, counts_nN, texts, layout, g_VB):
        _, pullback = jax.vjp(lambda filters: encode(filters, counts_nN, texts, layout), filters)
        return pullback(g_VB)

    def objective(dense, x_VB, images_nd, images, match):
        text_BD = x_VB.T @ dense["text_head.kernel"] + dense["text_head.bias"]
        image_BD = images_nd[images] @ dense["image_head.kernel"] + dense["image_head.bias"]
        scores_B1 = (text_BD * image_BD) @ dense["score_head.kernel"] + dense["score_head.bias"]
        value, _ = pairwise_similarity_loss(scores_B1[:, 0], match, margin=MARGIN, balance=BALANCE)
        penalty = sum(jnp.vdot(weight, weight) for weight in dense.values())
        return value + L2 * 0.5 * penalty

    heads = jax.jit(jax.grad(objective, argnums=(0, 1)))
    adam = optimizer()

    def update(params, opt_state, gradients):
        updates, opt_state = adam.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    update = jax.jit(update, donate_argnums=(0, 1))
    x_VB = jax.jit(encode)(filters, data.texts_nT, texts, layout)
    params = jax.tree.map(jnp.copy, {**filters, **dense})
    gradients = jax.tree.map(jnp.copy, params)
    state = params, adam.init(params)

    def train_adam():
        nonlocal state
        state = update(*state, gradients)
        return state

    return {
        "graph": lambda: graph(filters, data.texts_nT, texts, layout, x_VB),
        "dense": lambda: heads(dense, x_VB, data.images_nd, images, match),
        "Adam": train_adam,
    }


def measure(problem: StepProblem, rounds: int, steps: int, chosen: str) -> dict[str, Any]:
    """Times of ours, of the peers whose name contains `chosen`, of the stages and of the floor's probes."""
    alternatives: dict[str, Callable[[], Any]] = {}
    for name, build in STEP_PEERS.items():
        if name == OURS or chosen in name:
            try:
                train = build(problem)
            except ImportError as missing:
                print(f"skipped {name}: {missing}")
                continue
            alternatives[name] = lambda train=train: train(steps)
    for name, stage in stages(problem).items():
        alternatives[name] = repeated(stage, steps)
    probes = Probes(problem.case)
    timings = interleave(alternatives | probes.alternatives, rounds)
    machine = probes.machine(timings)
    step = {name: timings[name].median / steps for name in alternatives}
    floor, byte_floor = (1e3 * seconds(problem.case) for seconds in (machine.floor, machine.byte_floor))
    peers = [name for name in step if name in STEP_PEERS]
    return {
        "case": dataclasses.asdict(problem.case),
        "peers": [{"": name, "step ms": step[name], "x ours": step[name] / step[OURS]} for name in peers],
        "stages": [
            {"": name, "ms": step[name], "share of the step": step[name] / step[OURS]}
            for name in step
            if name not in STEP_PEERS
        ],
        "floor": {
            "GFLOP/s": machine.flops / 1e9,
            "GB/s": machine.bandwidth / 1e9,
            "floor ms": floor,
            "step over floor": step[OURS] / floor,
            "byte floor ms": byte_floor,
            "step over byte floor": step[OURS] / byte_floor,
        },
        "timings": {name: dataclasses.asdict(timing) for name, timing in timings.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder of the Wikipedia data set, for real words")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1, help="steps in each round; milliseconds are of one")
    parser.add_argument("--cases", default="", help="only cases whose name contains this, such as F=1")
    parser.add_argument("--peers", default="", help="beside ours, only peers named so")
    parser.add_argument("--matmul", choices=MATMULS, default="float32", help="what accelerators may do")
    arguments = parser.parse_args()
    set_matmul(arguments.matmul)
    cases = [
        dataclasses.replace(case, precision=arguments.matmul)
        for case in STEP_CASES
        if arguments.cases in case.name
    ]
    words = benchmark_words(DATASETS["eng-wiki"].words, arguments.root)
    results = []
    for case in cases:
        found = measure(make_problem(case, words), arguments.rounds, arguments.steps, arguments.peers)
        results.append(found)
        print(f"\n{case.name}, {case.parameters:,} parameters\n")
        for part in ("peers", "stages"):
            print(table(found[part]) + "\n")
        print(table([found["floor"]]), flush=True)
        step = found["peers"][0]["step ms"] / 1e3
        print(f"\nan epoch of {FAITHFUL_PAIRS:,} pairs: {step * FAITHFUL_PAIRS / case.batch:.3g} s")
    if arguments.cases or arguments.peers:
        return
    shared = {"words": words.source, "steps": arguments.steps, "matmul": arguments.matmul}
    name = "step" if arguments.matmul == "float32" else f"step-{arguments.matmul}"
    path = write_result(name, {**shared, "cases": results})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
