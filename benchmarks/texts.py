"""Sparse texts on the device against dense ones: what a batch of them, and a whole step of GIN, costs.

    python -m benchmarks.texts [--rounds 9] [--steps 5]

For the sizes of Eng-Wiki, NUS-WIDE (8 tags a photo) and emoji (7 words), with made-up words: the signal
[N, 1, B] of a batch, made from a dense matrix on the device (gather rows, transpose) and from
`training.state.SparseRows` (write the entries into zeros); a training step with each; and their memory.
Milliseconds are medians of interleaved rounds; both give the same numbers. Writes results/texts.json.
"""

import argparse
import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from benchmarks.graphs import synthetic_words
from benchmarks.harness import interleave, repeated, table, write_result
from benchmarks.specs import DATASETS, StepCase
from benchmarks.step_peers import make_data, make_problem, ours

CASES = {  # of each: texts, median words of a text, their log-normal deviation
    StepCase("eng-wiki", 1, 200): (2_173, 158, 0.41),
    StepCase("nus-wide", 1, 200): (20_000, 8, 0.5),
    StepCase("emoji", 1, 200): (1_315, 7, 0.4),
}


def made_up_texts(words: int, texts: int, median: float, deviation: float) -> sp.csr_array:
    """Counts of words that are drawn by Zipf's law."""
    random = np.random.default_rng(0)
    lengths = np.maximum(np.exp(random.normal(np.log(median), deviation, texts)), 1).astype(int)
    frequency = random.permutation(1 / (2.7 + np.arange(words)))
    drawn = random.choice(words, lengths.sum(), p=frequency / frequency.sum())
    rows = np.repeat(np.arange(texts), lengths)
    return sp.csr_array((np.ones(len(drawn), np.float32), (rows, drawn)), shape=(texts, words))


def measure(case: StepCase, texts: tuple[int, float, float], rounds: int, steps: int) -> dict[str, Any]:
    """Milliseconds of a batch and of a step, dense and sparse."""
    words = synthetic_words(DATASETS[case.dataset].words, texts=1)
    counts = made_up_texts(DATASETS[case.dataset].words, *texts)
    problem = make_problem(case, dataclasses.replace(words, counts=counts))
    data = make_data(problem)
    assert data.plan is not None
    dense = dataclasses.replace(data, texts_nT=jnp.asarray(counts.toarray()))
    rows_B = data.plan.texts[0]
    signal = jax.jit(lambda matrix, rows_B: matrix[rows_B].T[:, None, :])

    both = {"dense": dense, "sparse": data}
    np.testing.assert_array_equal(*(signal(of.texts_nT, rows_B) for of in both.values()))
    of_batch = {name: repeated(lambda of=of: signal(of.texts_nT, rows_B), steps) for name, of in both.items()}
    batch = interleave(of_batch, rounds)
    of_step = {name: partial(ours(problem, of), steps) for name, of in both.items()}
    step = interleave(of_step, rounds)
    sizes = {name: sum(x.nbytes for x in jax.tree.leaves(of.texts_nT)) / 1e6 for name, of in both.items()}
    return {
        "": case.name,
        **{f"batch {name} ms": of.median / steps for name, of in batch.items()},
        **{f"step {name} ms": of.median / steps for name, of in step.items()},
        "step ratio": step["sparse"].median / step["dense"].median,
        **{f"{name} MB": size for name, size in sizes.items()},
        "timing": {name: dataclasses.asdict(of) for name, of in step.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5, help="steps a round")
    arguments = parser.parse_args()
    rows = []
    for case, texts in CASES.items():
        rows.append(measure(case, texts, arguments.rounds, arguments.steps))
        print(table(rows[-1:]), flush=True)
    print(f"written to {write_result('texts', {'steps': arguments.steps, 'rows': rows})}")


if __name__ == "__main__":
    main()
