"""SCANet as a user meets it: every text path, attention, and pictures from their pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_folder import write_folder

from gcnxmodal import evaluate, search, train
from gcnxmodal.errors import InputError
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import restore

SMALL = [
    *("scanet-emoji-authors-grid", "--data.name", "folder", "--text.words", "40", "--text.neighbours", "4"),
    *("--model.dimension", "16", "--epochs", "3", "--train.grid-texts", "10", "--train.grid-images", "10"),
    *("--train.learning-rate", "0.02", "--train.l2", "0", "--model.attention-layers", "1"),
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
        ["--data.image-feature", "features"],
        [
            *("--data.image-feature", "features", "--model.text", "lstm", "--model.hidden", "8"),
            *("--train.learning-rate", "0.003", "--epochs", "30"),
        ],
        [
            *("--data.image-feature", "features", "--model.text", "cnn"),
            *("--train.learning-rate", "0.003", "--epochs", "12"),
        ],
        [
            *("--data.image-feature", "pixels", "--data.resolution", "32", "--train.augment"),
            *("--train.learning-rate", "0.003", "--epochs", "30"),
        ],
    ],
    ids=["gcn", "lstm", "cnn", "pixels"],
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


def test_only_pixels_are_augmented(folder: Path, tmp_path: Path, capsys):
    options = ["--data.image-feature", "features", "--train.augment", "--data.root", str(folder)]
    assert train.main([*SMALL, *options, "--run-dir", str(tmp_path / "run")]) == 2
    assert "--train.augment is True; it must be left out unless" in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two co-attention layers on pixels."""
    run = tmp_path_factory.mktemp("asked") / "run"
    pixels = ["--data.image-feature", "pixels", "--data.resolution", "32"]
    options = [*pixels, "--epochs", "1", "--model.attention-layers", "2"]
    assert train.main([*SMALL, *options, "--data.root", str(folder), "--run-dir", str(run)]) == 0
    return run


def test_a_search_ranks_all_items_by_the_full_score_if_the_shortlist_holds_them(trained: Path):
    run = restore(trained, None, print)
    retriever = Retriever.of_run(run)
    corpus = run.system.inputs.corpus
    row = int(corpus.splits["test"][3])
    items = retriever.encode_items(run.system.inputs)
    scores = retriever.score(items.texts, items.images)
    asked = {
        "text": (search.Arguments(trained, text=corpus.texts[row], k=5, shortlist=90), scores[row]),
        "picture": (
            search.Arguments(trained, picture=Path(corpus.pictures[row]), k=5, shortlist=90),
            scores[:, row],
        ),
    }
    for arguments, expected in asked.values():
        found = search.run(arguments)
        best = np.argsort(-expected, kind="stable")[:5]
        np.testing.assert_allclose([one.score for one in found], expected[best], rtol=1e-4)
    short = search.run(search.Arguments(trained, text=corpus.texts[row], k=5, shortlist=5))
    assert [one.score for one in short] == sorted((one.score for one in short), reverse=True)


def test_a_search_among_the_test_items_finds_test_items(trained: Path):
    found = search.run(search.Arguments(trained, text="word01 word02", k=30, among="test"))
    assert sorted(one.metadata["row"] for one in found) == list(range(60, 90))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of --text, --picture and --interactive"),
        ({"text": "word01", "picture": Path("a.png")}, "give one of --text, --picture and --interactive"),
        ({"text": "unheard-of"}, "none of its words is among the 40 of the run"),
        ({"text": "word01", "k": 0}, "--k is 0"),
        ({"picture": Path("missing.png")}, r"missing\.png"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(trained: Path, arguments, message):
    with pytest.raises(InputError, match=message):
        search.run(search.Arguments(trained, **arguments))
