"""2,000 texts with classes in a language without blanks between words: train, search by a part of a text."""

import json
from pathlib import Path

import numpy as np
import pytest

from gcnxmodal import search, train
from gcnxmodal.retriever import Retriever

ITEMS, CLASSES = 2_000, 4
# Made-up texts of real letters, a few words a class; Chinese words are in the segmenter's dictionary.
SCRIPTS = {
    "thai": (
        "ngrams",
        ["แมว", "สุนัข", "ทะเล", "ภูเขา", "รถยนต์", "จักรยาน", "ข้าวผัด", "กาแฟ"],
        ["และ", "ที่", "ของ", "สวย"],
    ),
    "japanese": (
        "ngrams",
        ["ねこ", "いぬ", "うみ", "やま", "じどうしゃ", "自転車", "ごはん", "コーヒー"],
        ["とても", "きれい", "まえの"],
    ),
    "chinese": (
        "jieba",
        ["猫咪", "小狗", "大海", "高山", "汽车", "自行车", "米饭", "咖啡"],
        ["我们", "喜欢", "这个", "美丽"],
    ),
}


def write_texts(root: Path, words: list[str], fillers: list[str]) -> Path:
    random = np.random.default_rng(0)
    labels = np.arange(ITEMS) % CLASSES
    with (root / "metadata.jsonl").open("w", encoding="utf-8") as file:
        for number, label in enumerate(labels):
            own = words[2 * label : 2 * label + 2]
            said = random.permutation([*random.choice(own, 3), *random.choice(fillers, 3)])
            split = "test" if number >= ITEMS - 80 else "train"
            row = {"text": "".join(said), "label": f"class{label}", "split": split}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    centres = random.standard_normal((CLASSES, 12))
    images = centres[labels] + 0.5 * random.standard_normal((ITEMS, 12))
    np.savez(root / "features.npz", images=images.astype(np.float32))
    return root


@pytest.mark.parametrize("language", SCRIPTS)
def test_it_trains_by_the_documentation_alone(language: str, tmp_path: Path, capsys):
    segmenter, words, fillers = SCRIPTS[language]
    if segmenter == "jieba":
        pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    root = write_texts(tmp_path, words, fillers)
    small = ["--text.words", "200", "--text.neighbours", "4", "--model.dimension", "16", "--epochs", "5"]
    where = ["--data.root", str(root), "--data.image-feature", "features"]
    run_dir = tmp_path / "run"
    assert train.main(["gin-folder", *where, *small, "--evaluate-every", "0", "--run-dir", str(run_dir)]) == 0
    said = {"ngrams": "every two and every three neighbouring letters are a word", "jieba": "jieba cuts them"}
    assert said[segmenter] in capsys.readouterr().out
    results = json.loads((run_dir / "results.json").read_text())
    assert results["protocols"]["standard"]["average"] > 0.6
    assert results["queries"]["model"]["1"]["precision@10"] > results["chance"]["standard"]["average"]
    assert Retriever.from_pretrained(run_dir).about["vocabulary"]["tokenizer"]["segmenter"] == segmenter
    hits = search.run(search.Arguments(run_dir, text=words[0] + fillers[0] + words[1], k=10, among="test"))
    assert sum(hit.labels == ("class0",) for hit in hits) > 5
