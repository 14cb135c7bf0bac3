"""Does Joint beat SM, and CCA? Finished runs of several seeds against both, with a paired test over queries.

    python -m gcnxmodal.train joint-emoji --seeds 5     # also joint-wikipedia, joint-corel5k
    python -m benchmarks.joint runs/joint-emoji-seeds0-4 [--root ROOT]

Of each way to ask (both parts of the score, the class, the pair): average `standard` MAP, and recall@1 and
recall@10 of own pairs, mean and deviation over the seeds. The test is of the class: AP of an item, mean of
both directions and over the seeds, minus SM's, with signs flipped at random. Writes
benchmarks/results/PRESET.json.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.harness import write_result
from gcnxmodal.baselines import CCA, SemanticMatching
from gcnxmodal.corpus import Corpus
from gcnxmodal.data.load import load_corpus
from gcnxmodal.evaluation import fit_baseline
from gcnxmodal.retrieval.evaluate import pairs_of_embeddings, protocol_average_precisions
from gcnxmodal.retrieval.protocols import PROTOCOLS
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import RunFolder

FLIPS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder that --seeds wrote")
    parser.add_argument("--root", type=Path, help="folder of the data set")
    arguments = parser.parse_args()
    members = sorted(path for path in (arguments.runs / "members").iterdir() if (path / "model").is_dir())
    preset, experiment = RunFolder(members[0]).read_config()
    data = experiment.data
    if arguments.root:
        data = dataclasses.replace(data, root=arguments.root)
    corpus = load_corpus(data, experiment.text)
    seeds = [measured_ways(member, corpus) for member in members]
    baselines = {}
    for name, method in {"sm": SemanticMatching(), "cca": CCA()}.items():
        texts, images = fit_baseline(method, corpus)
        test = corpus.splits["test"]
        baselines[name] = measured(texts[test], images[test], corpus)
    result: dict[str, Any] = {"seeds": len(seeds), "runs": [member.name for member in members]}
    for way in seeds[0]:
        of = {
            name: np.array([seed[way][name] for seed in seeds]) for name in ("map", "recall@1", "recall@10")
        }
        result[way] = {
            name: {"mean": v.mean(axis=0).tolist(), "std": v.std(axis=0, ddof=len(seeds) > 1).tolist()}
            for name, v in of.items()
        }
        result[way]["average map"] = {
            "mean": float(of["map"].mean()),
            "std": float(of["map"].mean(axis=1).std(ddof=1)),
        }
    for name, found in baselines.items():
        result[name] = {key: value for key, value in found.items() if key != "ap"}
    ours = np.mean([seed["class"]["ap"] for seed in seeds], axis=0)
    result["class minus sm"] = paired(ours - baselines["sm"]["ap"])
    for name in (*seeds[0], *baselines):
        print(name, result[name], flush=True)
    print("class minus sm", result["class minus sm"])
    print(f"written to {write_result(preset, result)}")


def measured_ways(member: Path, corpus: Corpus) -> dict[str, dict[str, Any]]:
    """What a run finds by each way to ask it."""
    retriever, test = Retriever.from_pretrained(member), corpus.splits["test"]
    ways = {"both": retriever.database}
    ways |= {prefer: retriever.preferring(prefer) for prefer in retriever.model.preferences}
    return {way: measured(items.texts[test], items.images[test], corpus) for way, items in ways.items()}


def measured(texts_MD: np.ndarray, images_MD: np.ndarray, corpus: Corpus) -> dict[str, Any]:
    """MAP under `standard`, recall of own pairs, text and image queries; AP by query, mean of both."""
    test = corpus.splits["test"]
    labels, standard = corpus.labels[test], PROTOCOLS["standard"]
    aps = [
        protocol_average_precisions(queries, jnp.asarray(items), labels, labels, standard)
        for queries, items in ((texts_MD, images_MD), (images_MD, texts_MD))
    ]
    pairs = pairs_of_embeddings(texts_MD, images_MD, corpus.pairs and corpus.pairs.take(test))
    ways = ("text_query", "image_query")
    return {
        "map": [float(ap.mean(dtype=np.float64)) for ap in aps],
        **{name: [pairs[way][name] for way in ways] for name in ("recall@1", "recall@10")},
        "ap": np.mean(aps, axis=0),
    }


def paired(differences_Q: np.ndarray, seed: int = 0) -> dict[str, float]:
    """The mean difference, and the share of random signs whose mean is at least as far from zero."""
    random = np.random.default_rng(seed)
    mean = float(differences_Q.mean())
    signs = random.choice([-1.0, 1.0], size=(FLIPS, len(differences_Q)))
    at_least = (np.abs((signs * differences_Q).mean(axis=1)) >= abs(mean)).sum()
    return {"mean": mean, "p": float((at_least + 1) / (FLIPS + 1)), "queries": len(differences_Q)}


if __name__ == "__main__":
    main()
