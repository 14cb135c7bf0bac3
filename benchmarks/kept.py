"""How good is GIN as the paper has it? Finished runs of several seeds, kept with the package.

    python -m gcnxmodal.train gin-emoji --seeds 3
    python -m benchmarks.kept runs/gin-emoji-seeds0-2

Writes gcnxmodal/report/kept.json: MAP by protocol and how early own pairs come, means and deviations over the
seeds, with commit, device and date of the runs. Reports of other systems on the same items have it as a row.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gcnxmodal.data.load import load_corpus
from gcnxmodal.report import kept
from gcnxmodal.runs import RunFolder
from gcnxmodal.systems import SYSTEMS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder that --seeds wrote")
    runs = [RunFolder(path) for path in sorted((parser.parse_args().runs / "members").iterdir())]
    preset, experiment = runs[0].read_config()
    results = [run.read_results() for run in runs]
    first, scores = results[0], [{name: r[name] for name in ("protocols", "exact_pair")} for r in results]
    entry = {
        "system": SYSTEMS[experiment.kind].title(experiment),
        "preset": preset,
        "seeds": len(results),
        "epochs": first["epochs"],
        "commit": first["commit"],
        "device": first["device"],
        "date": first["date"][:10],
        "data": kept.identity(load_corpus(experiment.data, experiment.text)),
        **over_seeds(scores, np.mean),
        "deviation": over_seeds(scores, lambda values: np.std(values, ddof=1)),
    }
    known = json.loads(kept.PATH.read_text("utf-8")) if kept.PATH.exists() else {}
    kept.PATH.write_text(json.dumps({**known, experiment.kind: entry}, indent=1) + "\n", "utf-8")
    standard, deviation = entry["protocols"]["standard"], entry["deviation"]["protocols"]["standard"]
    for way in ("text_query", "image_query", "average"):
        print(f"{way}: MAP {standard[way]:.3f} ± {deviation[way]:.3f}")
    print(f"written to {kept.PATH}")


def over_seeds(scores: Sequence[Any], statistic: Any) -> Any:
    """The statistic of each number of some trees of one form, to five decimals."""
    if isinstance(scores[0], dict):
        return {name: over_seeds([of[name] for of in scores], statistic) for name in scores[0]}
    return round(float(statistic(scores)), 5)


if __name__ == "__main__":
    main()
