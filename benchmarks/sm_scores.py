"""Which score makes SM the stronger yardstick: the cosine, as in every run, or the inner product?

    python -m benchmarks.sm_scores PRESET [--root ROOT]      # gin-emoji, gch-corel5k-paper, gin-wikipedia

MAP under every protocol on the preset's corpus. Writes benchmarks/results/sm_scores-PRESET.json.
"""

import argparse
import dataclasses
from pathlib import Path

from benchmarks.harness import write_result
from gcnxmodal.baselines import SemanticMatching
from gcnxmodal.data.load import load_corpus
from gcnxmodal.retrieval.evaluate import evaluate_embeddings
from gcnxmodal.systems import PRESETS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--root", type=Path)
    arguments = parser.parse_args()
    _, experiment = PRESETS[arguments.preset]
    data = experiment.data
    if arguments.root:
        data = dataclasses.replace(data, root=arguments.root)
    corpus = load_corpus(data, experiment.text)
    train, result = corpus.splits["train"], {}
    for score in ("cosine", "inner product"):
        method = SemanticMatching(score=score)
        method.fit(corpus.images[train], corpus.counts[train], corpus.labels[train])
        texts, images = method.encode_texts(corpus.counts), method.encode_images(corpus.images)
        result[score] = evaluate_embeddings(texts, images, corpus.labels, corpus.splits)["protocols"]
        for name, found in result[score].items():
            print(f"{score:14}{name:10}{found['text_query']:.3f} / {found['image_query']:.3f}", flush=True)
    print(f"written to {write_result(f'sm_scores-{arguments.preset}', result)}")


if __name__ == "__main__":
    main()
