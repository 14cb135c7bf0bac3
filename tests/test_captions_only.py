"""Pictures with captions and no labels, as a user has them: train, report, search, export, sweep."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_folder import WORDS

from gcnxmodal import evaluate, export, search, sweep, train
from gcnxmodal.retrieval.metrics import PAIR_MEASURES
from gcnxmodal.retriever import Retriever

PICTURES = 150


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 pictures by their features, with two captions each of what is on them."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    shown = np.array([random.choice(len(WORDS), 6, replace=False) for _ in range(PICTURES)])
    features = np.zeros((PICTURES, len(WORDS)))
    np.put_along_axis(features, shown, 1.0, axis=1)
    np.savez(root / "features.npz", images=features + 0.1 * random.standard_normal(features.shape))
    with (root / "metadata.jsonl").open("w") as file:
        for number, words in enumerate(shown):
            said = [" ".join(WORDS[word] for word in random.permutation(words)[:5]) for _ in range(2)]
            row = {"file_name": f"{number}.jpg", "captions": said, "url": f"https://shop/{number}"}
            file.write(json.dumps(row) + "\n")
    return root


@pytest.fixture(scope="module")
def run_dir(captions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    small = ["--text.words", "40", "--text.neighbours", "4", "--model.dimension", "32", "--epochs", "8"]
    small += ["--train.learning-rate", "0.02", "--evaluate-every", "4"]
    where = ["--data.root", str(captions), "--data.image-feature", "features", "--run-dir", str(run_dir)]
    assert train.main(["gin-folder", *where, *small]) == 0
    return run_dir


def test_a_run_is_measured_by_its_pairs_and_nothing_is_faked(run_dir: Path):
    results = json.loads((run_dir / "results.json").read_text())
    assert results["protocols"] == results["queries_without_relevant"] == {}
    assert set(results["yardsticks"]) == {"cca"}
    assert results["left_out"] == {"sm": "SM needs class labels"}
    for direction in ("text_query", "image_query"):
        assert set(results["exact_pair"][direction]) == set(PAIR_MEASURES)
        found = results["exact_pair"][direction]["recall@10"]
        assert found > 1.5 * results["chance"]["recall@10"][direction]
        assert results["yardsticks"]["cca"]["recall@10"][direction] == pytest.approx(found, abs=1)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    measured = {line["epoch"]: line["recall@10"] for line in lines if "recall@10" in line}
    assert set(measured) == {4, 8}
    last = {way: results["exact_pair"][way]["recall@10"] for way in results["exact_pair"]}
    assert {way: measured[8][way] for way in last} == pytest.approx(last)
    assert not any("standard" in line for line in lines)
    assert "NaN" not in (run_dir / "results.json").read_text()


def test_the_report_leads_with_the_pairs(run_dir: Path):
    page = (run_dir / "report.html").read_text()
    order = [page.index(part) for part in ("Recall@10 of both", "SM needs class labels", 'id="pairs"')]
    assert order == sorted(order)
    for word in ("R@1", "R@5", "R@10", "Median", "MRR", "nDCG@10", "recall@10 of own pairs by epoch"):
        assert word in page
    for word in ('id="results"', 'id="classes"', 'id="curves"', "shares a class", "nan"):
        assert word not in page
    assert (run_dir / "plots" / "map.png").exists()
    assert 'class="mark right"' in page


def test_a_run_is_measured_again_to_the_same_numbers(run_dir: Path):
    before = json.loads((run_dir / "results.json").read_text())
    evaluate.run(evaluate.Arguments(run_dir))
    after = json.loads((run_dir / "results.json").read_text())
    assert after["exact_pair"] == before["exact_pair"]


def test_search_finds_each_picture_once_and_brings_the_users_fields(run_dir: Path, capsys):
    hits = search.run(search.Arguments(run_dir, text=" ".join(WORDS[:4]), k=PICTURES))
    assert len({hit.id for hit in hits}) == len(hits) == PICTURES
    assert hits[0].labels == ()
    assert hits[0].metadata["url"] == f"https://shop/{hits[0].metadata['row'] // 2}"
    assert f"(url: {hits[0].metadata['url']})" in capsys.readouterr().out
    retriever = Retriever.from_pretrained(run_dir)
    texts = retriever.search(image=np.ones((1, len(WORDS)), np.float32), k=400)
    assert len({hit.text for hit in texts}) == len(texts) > PICTURES


def test_one_process_answers_many_questions(run_dir: Path, capsys, monkeypatch):
    lines = f"{WORDS[0]}\n\nqqqq\n@{run_dir}/none.png\n  {WORDS[9]} {WORDS[8]}\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert search.main([str(run_dir), "--interactive", "--k", "3"]) == 0
    answers = capsys.readouterr().out.split("\n\n")
    one, unknown, picture, last = answers[:4]
    assert "error: 'qqqq': none of its words" in unknown
    assert "error: GIN: its images are 'features'" in picture
    for text, answer in ((WORDS[0], one), (f"{WORDS[9]} {WORDS[8]}", last)):
        assert search.main([str(run_dir), "--text", text, "--k", "3"]) == 0
        assert capsys.readouterr().out.strip("\n") == answer.strip("\n")


def test_a_question_waits_for_no_package_that_it_does_not_need():
    code = "import gcnxmodal.search, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"sklearn", "matplotlib", "gensim", "orbax", "scipy.stats"} & set(loaded.split())


def test_an_export_has_the_users_fields_and_searches_alike(run_dir: Path):
    out = export.run(export.Arguments(run_dir, to="npz"))
    items = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    assert len(items) == 2 * PICTURES
    assert items[2]["metadata"] == {"url": "https://shop/1"}
    assert items[2]["same_picture"] == items[3]["same_picture"]
    asked = {"text": " ".join(WORDS[:4]), "k": 7}
    of_run, of_export = (search.run(search.Arguments(path, **asked)) for path in (run_dir, out))
    assert [hit.id for hit in of_run] == [hit.id for hit in of_export]
    assert [hit.metadata for hit in of_run] == [hit.metadata for hit in of_export]


def test_seeds_are_summarised_by_the_pairs(captions: Path, tmp_path: Path, capsys):
    small = ["--text.words", "40", "--text.neighbours", "4", "--model.dimension", "8", "--epochs", "1"]
    where = ["--data.root", str(captions), "--data.image-feature", "features"]
    arguments = ["gin-folder", *where, *small, "--seeds", "2", "--run-dir", str(tmp_path / "sweep")]
    assert sweep.main([*arguments, "--no-member-reports"]) == 0
    report = json.loads((tmp_path / "sweep" / "results.json").read_text())
    [row] = report["summary"]
    assert set(row["protocols"]) == set(PAIR_MEASURES)
    assert set(report["yardsticks"]) == {"cca"}
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "MAP" not in page.split("</style>")[1].split("How it was made")[0]
    assert "average of pairs" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["gch-folder-paper", "sspe-folder", "scanet-folder-authors"])
def test_systems_that_need_labels_say_so_before_any_compute(captions, tmp_path, capsys, preset):
    where = ["--data.root", str(captions), "--data.image-feature", "features"]
    assert train.main([preset, *where, "--run-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "has no labels" in error
    assert not (tmp_path / "run").exists()
