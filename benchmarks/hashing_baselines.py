"""How well do the hashing baselines of GCH's Table 1 do on given features, and what does fitting them cost?

    python -m benchmarks.hashing_baselines [--corel5k DIR] [--methods NAME ...] [--bits 16 32 64] [--seeds 3]

MAP of text and image queries under `hashing@500` and `hashing`, with every method's default values, and of
CMFH and SCM on all principal axes, on the multi-label emoji corpus and Corel5k in the folder layout.
Methods that take a seed are fitted once a seed. Writes results/hashing_baselines.json (-gpu.json on a GPU);
rows of other methods that it has, with their commits, stay.
"""

import argparse
import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import result_path, table, write_result
from gcnxmodal.baselines import HASHING_METHODS
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.environment import environment
from gcnxmodal.evaluation import fit_baseline
from gcnxmodal.retrieval.evaluate import evaluate_codes
from gcnxmodal.retrieval.hamming import pack_codes
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS
from gcnxmodal.systems import PRESETS

NAME = "hashing_baselines"
ALL_AXES = {
    f"{name}-all-axes": functools.partial(HASHING_METHODS[name], axes=None)
    for name in ("cmfh", "scm-orth", "scm-seq")
}
METHODS: dict[str, Any] = {**HASHING_METHODS, **ALL_AXES}
QUERIES = ("text_query", "image_query")


def corpora(corel5k: Path | None) -> dict[str, Corpus]:
    """The corpora as the presets of GCH read them."""
    roots: dict[str, Path | None] = {"emoji": None} | ({"corel5k": corel5k} if corel5k else {})
    found = {}
    for name, root in roots.items():
        _, experiment = PRESETS[f"gch-{name}-paper"]
        found[name] = load_corpus(dataclasses.replace(experiment.data, root=root), experiment.text)
    return found


def measure(method: Any, corpus: Corpus) -> dict[str, Any]:
    """MAP under each protocol, and seconds until all items of the corpus have codes."""
    start = time.perf_counter()
    codes = [pack_codes(numbers) for numbers in fit_baseline(method, corpus)]
    seconds = time.perf_counter() - start
    found = evaluate_codes(
        codes[0], codes[1], corpus.labels, corpus.splits, method.bits, protocols=HASHING_PROTOCOLS
    )
    return {"seconds": seconds, **{name: found["protocols"][name] for name in HASHING_PROTOCOLS}}


def cell(runs: list[dict[str, Any]], protocol: str) -> str:
    """Text / image query, mean and deviation over seeds.

    >>> run, other = ({"hashing": {"text_query": text, "image_query": 0.25}} for text in (0.5, 0.6))
    >>> cell([run], "hashing"), cell([run, other], "hashing")
    ('.500 / .250', '.550 ± .050 / .250 ± .000')
    """
    parts = []
    for query in QUERIES:
        values = np.array([run[protocol][query] for run in runs])
        spread = f" ± {values.std():.3f}".replace("0.", ".") if len(values) > 1 else ""
        parts.append(f"{values.mean():.3f}".replace("0.", ".") + spread)
    return " / ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corel5k", type=Path, default=None, help="folder of Corel5k; without it, emoji only"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--bits", nargs="+", type=int, default=[16, 32, 64])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    before = result_path(NAME)
    rows = json.loads(before.read_text())["rows"] if before.exists() else []
    where = {key: environment()[key] for key in ("commit", "date")}
    for corpus_name, corpus in corpora(arguments.corel5k).items():
        for name in arguments.methods:
            for bits in arguments.bits:
                method = METHODS[name]
                random = "random_state" in method(bits).get_params()
                variants = [{"random_state": seed} for seed in range(arguments.seeds)] if random else [{}]
                runs = [{**variant, **measure(method(bits, **variant), corpus)} for variant in variants]
                row = {"corpus": corpus_name, "method": name, "bits": bits}
                rows = [old for old in rows if any(old[key] != row[key] for key in row)]
                rows.append({**row, "runs": runs, **where})
                seconds = max(run["seconds"] for run in runs)
                shown = "  ".join(f"{protocol} {cell(runs, protocol)}" for protocol in HASHING_PROTOCOLS)
                print(f"{corpus_name} {name} {bits} bits: {shown}  {seconds:.0f} s", flush=True)
                write_result(NAME, {"rows": rows})
    for corpus_name in dict.fromkeys(row["corpus"] for row in rows):
        for protocol in HASHING_PROTOCOLS:
            print(f"\n{corpus_name}, {protocol}\n\n{table(_lines(rows, corpus_name, protocol))}")


def _lines(rows: list[dict[str, Any]], corpus_name: str, protocol: str) -> list[dict[str, Any]]:
    ours = [row for row in rows if row["corpus"] == corpus_name]
    bits = sorted({row["bits"] for row in ours})
    cells = {(row["method"], row["bits"]): cell(row["runs"], protocol) for row in ours}
    return [
        {"": name, **{f"{length} bits": cells.get((name, length)) for length in bits}}
        for name in METHODS
        if any((name, length) in cells for length in bits)
    ]


if __name__ == "__main__":
    main()
