"""Exact pairs of items that belong together: several texts of a picture, several pictures of a text."""

import numpy as np
import pytest

from gcnxmodal.corpus import Pairs
from gcnxmodal.retrieval import evaluate
from gcnxmodal.retrieval.database import Codes, Embeddings, PairFeatures
from gcnxmodal.retrieval.metrics import PAIR_MEASURES, ndcg

# A picture with three texts, a text with two pictures, two variants with a text each, and a pair.
GROUP = np.array([0, 1, 0, 2, 3, 0, 1, 2])
TEXT = np.array([0, 1, 2, 3, 4, 5, 1, 6])
IMAGE = np.array([0, 1, 0, 2, 3, 0, 4, 5])
PAIRS = Pairs(GROUP, TEXT, IMAGE)
NO_LABELS = np.zeros((8, 0), bool)
SPLITS = {"train": np.array([8, 9]), "test": np.arange(8)}


def brute_force(scores: np.ndarray, pairs: Pairs, direction: str) -> dict[str, float]:
    """By loops over the definition; scores[i, j] of text i with image j."""
    texts = [row for row in range(len(scores)) if row == list(pairs.text_n).index(pairs.text_n[row])]
    images = [row for row in range(len(scores)) if row == list(pairs.image_n).index(pairs.image_n[row])]
    asked, ranked = (texts, images) if direction == "text_query" else (images, texts)
    ranks, gains = [], []
    for query in asked:
        score_of = {
            item: scores[(query, item) if direction == "text_query" else (item, query)] for item in ranked
        }
        order = sorted(ranked, key=lambda item: (-score_of[item], item))
        right = [pairs.group_n[item] == pairs.group_n[query] for item in order]
        ranks.append(1 + right.index(True))
        ideal = sum(1 / np.log2(1 + rank) for rank in range(1, min(10, sum(right)) + 1))
        gains.append(sum(1 / np.log2(2 + place) for place, hit in enumerate(right[:10]) if hit) / ideal)
    ranks = np.array(ranks)
    return {
        **{f"recall@{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)},
        "median_rank": float(np.median(ranks)),
        "mean_reciprocal_rank": float(np.mean(1 / ranks)),
        "ndcg@10": float(np.mean(gains)),
    }


def assert_close(found: dict, scores: np.ndarray, pairs: Pairs) -> None:
    for direction in ("text_query", "image_query"):
        assert tuple(found[direction]) == PAIR_MEASURES
        assert found[direction] == pytest.approx(brute_force(scores, pairs, direction), abs=1e-6)


def embeddings(n: int, seed: int = 0, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Small whole numbers, so that there are ties."""
    random = np.random.default_rng(seed)
    texts, images = (random.integers(-1, 2, (n, width)).astype(np.float32) for _ in range(2))
    return texts, images


@pytest.mark.parametrize("seed", range(3))
def test_any_item_of_the_group_is_right_and_each_picture_is_ranked_once(seed):
    texts, images = embeddings(8, seed)
    found = evaluate.evaluate_embeddings(texts, images, NO_LABELS, SPLITS, pairs=PAIRS)
    assert found["protocols"] == found["curves"] == found["per_class"] == {}
    assert found["queries_without_relevant"] == {}
    assert "caption_protocols" not in found
    assert_close(found["exact_pair"], texts @ images.T, PAIRS)
    assert found["exact_pair"] == Embeddings(texts, images).exact_pairs(PAIRS)


def test_chunks_change_nothing():
    texts, images = embeddings(300)
    group = np.arange(300) // 3
    pairs = Pairs(group, np.arange(300), group)
    whole, parts = (
        evaluate.evaluate_embeddings(
            texts, images, np.zeros((300, 0), bool), {"test": np.arange(300)}, max_bytes=size, pairs=pairs
        )
        for size in (2**28, 2**10)
    )
    assert whole == parts
    assert_close(whole["exact_pair"], texts @ images.T, pairs)


def test_only_test_items_count_and_their_groups_are_those_of_the_corpus():
    texts, images = embeddings(10)
    more = Pairs(np.append(GROUP, [8, 9]), np.append(TEXT, [8, 9]), np.append(IMAGE, [8, 9]))
    rows = {"train": np.array([0, 1]), "test": np.array([9, 4, 3, 7])}
    found = evaluate.evaluate_embeddings(texts, images, np.zeros((10, 0), bool), rows, pairs=more)
    part = rows["test"]
    assert_close(found["exact_pair"], (texts @ images.T)[np.ix_(part, part)], more.take(part))


class Scorer:
    def score(self, texts, images):
        return texts @ images.T


def test_scores_and_codes_are_measured_alike():
    texts, images = embeddings(8)
    alike = PairFeatures(texts, images, Scorer())  # pyright: ignore
    assert alike.exact_pairs(PAIRS) == Embeddings(texts, images).exact_pairs(PAIRS)
    found = alike.evaluate(NO_LABELS, {"train": np.arange(8), "test": np.arange(8)}, PAIRS)
    assert found["exact_pair"] == alike.exact_pairs(PAIRS)
    signs = [np.where(x > 0, 1.0, -1.0).astype(np.float32) for x in embeddings(8, 4, width=40)]
    codes = Codes.of_signs(*signs)
    found = codes.evaluate(NO_LABELS, SPLITS, PAIRS)
    assert_close(found["exact_pair"], signs[0] @ signs[1].T, PAIRS)
    assert found["lookup"] == found["expected"] == found["protocols"] == {}
    assert codes.exact_pairs(PAIRS) == found["exact_pair"]


def test_labels_do_not_decide_exact_pairs_and_without_groups_each_item_is_its_own():
    texts, images = embeddings(8)
    labels = np.eye(2, dtype=bool)[np.arange(8) % 2]
    splits = {"train": np.arange(8), "test": np.arange(8)}
    alone = evaluate.evaluate_embeddings(texts, images, labels, splits)
    same = evaluate.evaluate_embeddings(texts, images, labels, splits, pairs=Pairs.alone(8))
    unlabelled = evaluate.evaluate_embeddings(texts, images, NO_LABELS, splits)
    for direction in alone["exact_pair"]:
        expected = pytest.approx(alone["exact_pair"][direction], abs=1e-6)
        assert same["exact_pair"][direction] == expected
        assert unlabelled["exact_pair"][direction] == expected
    assert_close(alone["exact_pair"], texts @ images.T, Pairs.alone(8))
    grouped = evaluate.evaluate_embeddings(texts, images, labels, splits, pairs=PAIRS)
    assert_close(grouped["exact_pair"], texts @ images.T, PAIRS)
    assert {**grouped, "exact_pair": None} == {**alone, "exact_pair": None}


def test_gain_falls_with_the_logarithm_of_the_rank_and_stops_at_the_cut():
    hits = np.array([[False, True, False], [True, False, True], [False, False, False]])
    third = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3) + 1 / np.log2(4))
    np.testing.assert_allclose(ndcg(hits, np.array([1, 5, 2])), [1 / np.log2(3), third, 0])


def test_caption_protocols_are_folds_of_the_pictures_in_order(monkeypatch):
    monkeypatch.setattr(evaluate, "COCO_PICTURES", 20)
    monkeypatch.setattr(evaluate, "COCO_FOLD", 4)
    random = np.random.default_rng(0)
    picture = random.permutation(np.repeat(np.arange(22), 3))  # not in order of the rows
    pairs = Pairs(picture, np.arange(66), picture)
    texts, images = embeddings(66, 3)
    images = images[picture]
    found = evaluate.evaluate_embeddings(
        texts, images, np.zeros((66, 0), bool), {"test": np.arange(66)}, pairs=pairs
    )["caption_protocols"]
    order = list(dict.fromkeys(picture.tolist()))
    scores = texts @ images.T

    def part(chosen):
        rows = np.flatnonzero(np.isin(picture, chosen))
        return scores[np.ix_(rows, rows)], pairs.take(rows)

    assert_close(found["coco_5k"], *part(order[:20]))
    for direction in ("text_query", "image_query"):
        folds = [brute_force(*part(order[start : start + 4]), direction) for start in range(0, 20, 4)]
        mean = {name: np.mean([fold[name] for fold in folds]) for name in PAIR_MEASURES}
        assert found["coco_1k"][direction] == pytest.approx(mean, abs=1e-6)
    alone = evaluate.evaluate_embeddings(texts, images, np.zeros((66, 0), bool), {"test": np.arange(66)})
    assert "caption_protocols" not in alone
