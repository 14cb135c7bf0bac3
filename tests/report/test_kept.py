import dataclasses
import json

import pytest
from made_up_run import make_arguments, make_evaluation
from test_page import words, written

from gcnxmodal import load_dataset
from gcnxmodal.console import results_table
from gcnxmodal.report import kept
from gcnxmodal.report.comparison import exact_pair_rows, protocol_rows, verdict

LABEL = "GIN (kept at 0123456789ab)"


def entry(corpus, level=0.3):
    measured = make_evaluation(level, 8, 5)
    about = {"system": "GIN", "preset": "gin-emoji", "seeds": 3, "epochs": 10, "commit": "0123456789ab"}
    where = {"device": "1 x cpu", "date": "2026-12-01", "data": kept.identity(corpus)}
    return {**about, **where, "protocols": measured["protocols"], "exact_pair": measured["exact_pair"]}


@pytest.fixture
def results(emoji_corpus):
    return make_arguments(emoji_corpus)["results"] | {"kept": {"gin": entry(emoji_corpus)}}


def test_what_is_kept_stands_beside_a_run_on_the_very_same_items_only(emoji_corpus, tmp_path, monkeypatch):
    path = tmp_path / "kept.json"
    path.write_text(json.dumps({"gin": entry(emoji_corpus)}))
    monkeypatch.setattr(kept, "PATH", path)
    assert kept.kept_beside(emoji_corpus, "joint").keys() == {"gin"}
    assert kept.kept_beside(emoji_corpus.with_validation(0.2, 0), "joint").keys() == {"gin"}
    assert kept.kept_beside(emoji_corpus, "gin") == {}
    text, *others = emoji_corpus.texts
    options = {"options": {"image_feature": "pixels"}}
    for other in (
        emoji_corpus.validation(0.2, 0),
        dataclasses.replace(emoji_corpus, texts=(f"{text} again", *others)),
        dataclasses.replace(emoji_corpus, labels=emoji_corpus.labels[::-1]),
        dataclasses.replace(emoji_corpus, provenance=options),
    ):
        assert kept.kept_beside(other, "joint") == {}


@pytest.mark.slow
def test_gin_is_kept_for_the_emoji_corpus_with_its_commit():
    known = kept.kept_beside(load_dataset("emoji"), "joint")["gin"]
    assert (known["system"], known["preset"], known["seeds"]) == ("GIN", "gin-emoji", 3)
    assert len(known["commit"]) == 12  # of a tree without changes
    assert 0.5 < known["protocols"]["standard"]["average"] < 0.6


def test_the_page_has_the_kept_row_and_says_where_it_is_from(results, emoji_corpus, tmp_path):
    text = words(written(tmp_path, emoji_corpus, results=results))
    assert "GIN kept at 0123456 0.279 0.321 0.300" in text
    assert f"{kept.in_words(results['kept']['gin'])}." in text
    without = {name: value for name, value in results.items() if name != "kept"}
    assert "kept" not in words(written(tmp_path, emoji_corpus, results=without))


def test_kept_rows_stand_before_chance_and_are_no_baseline(results):
    rows = protocol_rows(results, "Joint", "standard")
    assert [row.series.label for row in rows] == ["Joint", "CCA", "SM", "GIN", "chance"]
    assert exact_pair_rows(results, {}, "Joint", "text_query")[-1].series.note == "kept at 0123456"
    assert "kept" not in str(verdict("Joint", results))
    # A protocol that was not measured then is no row of dashes.
    hashing = results | {"protocols": {"hashing@500": results["protocols"]["standard"]}}
    assert "GIN" not in [row.series.label for row in protocol_rows(hashing, "GCH", "hashing@500")]


def test_the_printed_table_has_the_kept_row(results):
    lines = results_table("joint-emoji", results).splitlines()
    assert next(line for line in lines if line.startswith(LABEL)).split()[-9:-6] == [".279", ".321", ".300"]
