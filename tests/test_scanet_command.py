"""SCANet as a user meets it: every text path, attention, and pictures from their pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_folder import write_folder

from gcnxmodal import evaluate, train

SMALL = [
    *("scanet-emoji-authors-grid", "--data.name", "folder", "--text.words", "40", "--text.neighbours", "4"),
    *("--model.dimension", "16", "--epochs", "3", "--train.grid-texts", "10", "--train.grid-images", "10"),
    *("--train.learning-rate", "0.02", "--train.l2", "0"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`write_folder`'s data set, and a picture an item whose colour tells the class, more or less."""
    root = write_folder(tmp_path_factory.mktemp("scanet") / "data")
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    random = np.random.default_rng(0)
    for number, row in enumerate(rows):
        row["file_name"] = f"{number}.png"
        pixels = random.integers(0, 120, (40, 40, 3))
        pixels[..., int(row["label"].removeprefix("class"))] += 60
        Image.fromarray(pixels.astype(np.uint8)).save(root / row["file_name"])
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.mark.parametrize(
    "options",
    [
        ["--data.image-feature", "features", "--model.text", "gcn"],
        [
            *("--data.image-feature", "features", "--model.text", "lstm", "--model.hidden", "8"),
            *("--model.attention-layers", "1", "--train.learning-rate", "0.003", "--epochs", "30"),
        ],
        [
            *("--data.image-feature", "pixels", "--data.resolution", "32", "--model.text", "cnn"),
            *("--model.attention-layers", "1", "--train.learning-rate", "0.003", "--epochs", "15"),
        ],
    ],
    ids=["gcn", "lstm", "cnn-and-pixels"],
)
def test_it_learns_and_is_measured_again_to_the_same_numbers(
    folder: Path, tmp_path: Path, options: list[str]
):
    run = tmp_path / "run"
    assert train.main([*SMALL, *options, "--data.root", str(folder), "--run-dir", str(run)]) == 0
    results = json.loads((run / "results.json").read_text())
    assert results["protocols"]["standard"]["average"] > results["chance"]["standard"]["average"] + 0.1
    assert "SCANet" in (run / "report.html").read_text()
    assert evaluate.main([str(run)]) == 0
    assert json.loads((run / "results.json").read_text())["protocols"] == results["protocols"]
