"""What are LCFS's and JFSSL's defaults worth on Wikipedia: features centred and of unit length, the weights?

    python -m benchmarks.lcfs_jfssl_defaults ROOT

ROOT: the data set of Rasiwasia et al. 2010 with `raw_features.mat` (SIFT-128, LDA-10). Each candidate is
fitted on four fifths of the training items and scored by `standard` MAP, mean of both directions, among the
others (`baselines.selection`): unit length against features as they are at the default weights, then the
grid of weights. Features as they are, at the default weights, are also fitted on all training items and
scored on the test items. Writes benchmarks/results/lcfs_jfssl_defaults.json.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import write_result
from gcnxmodal.baselines import METHODS
from gcnxmodal.baselines.base import Items, fit
from gcnxmodal.baselines.selection import average_standard_map, select
from gcnxmodal.data.wikipedia import official_features
from gcnxmodal.retrieval.evaluate import standard_map

UNIT_LENGTH = {"unit_length": (True, False)}


def held_out_maps(name: str, training: Items) -> Iterator[dict[str, Any]]:
    """A row a candidate; those of `UNIT_LENGTH` first."""
    for space in (UNIT_LENGTH, METHODS[name].space):
        scores: list[tuple[dict[str, Any], float]] = []

        def keep(method: Any, held: Items, fitted: Items, space=space, scores=scores) -> float:
            score = average_standard_map(method, held, fitted)
            scores.append(({key: method.get_params()[key] for key in space}, score))
            return score

        select(METHODS[name], *training[:3], space=space, measure=keep)
        yield from ({"method": name, "candidate": values, "held_out": score} for values, score in scores)


def test_maps(name: str, training: Items, test: Items) -> Iterator[dict[str, Any]]:
    """`standard` MAP of the test items, with and without unit length."""
    for unit_length in UNIT_LENGTH["unit_length"]:
        method = fit(METHODS[name](unit_length=unit_length), training)
        found = standard_map(method.encode_texts(test.counts), method.encode_images(test.images), test.labels)
        yield {"method": name, "candidate": {"unit_length": unit_length}, "test": found}


def line(row: dict[str, Any]) -> str:
    """The row as Markdown."""
    values = ", ".join(f"{key} {value}" for key, value in row["candidate"].items())
    held_out, test = row.get("held_out"), row.get("test")
    cells = (
        "" if held_out is None else f"{held_out:.4f}",
        "" if test is None else f"{test['text_query']:.3f} / {test['image_query']:.3f}",
    )
    return " | ".join(["", row["method"].upper(), values, *cells, ""]).strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    found = official_features(parser.parse_args().root)
    training, test = (
        Items(found[f"I_{side}"], found[f"T_{side}"], found[f"labels_{side}"]) for side in ("tr", "te")
    )
    print("| | candidate | held out | test, text / image query |")
    print("|---|---|---|---|")
    rows = []
    for name in ("lcfs", "jfssl"):
        for row in (*held_out_maps(name, training), *test_maps(name, training, test)):
            rows.append(row)
            print(line(row), flush=True)
    print(f"written to {write_result('lcfs_jfssl_defaults', {'rows': rows})}")


if __name__ == "__main__":
    main()
