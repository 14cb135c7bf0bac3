"""GCH's tables made again: what is trained, what is quoted, and the curves that are drawn from the runs."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_table import published as published_of
from made_up_table import quoted, sources
from made_up_table import rows as rows_of
from small_folder import write_folder

from gcnxmodal import evaluation, sweeps, tables
from gcnxmodal.config import Experiment
from gcnxmodal.papers import TABLES
from gcnxmodal.papers.engine import mean_curve, reproduce
from gcnxmodal.papers.gch import GCH_1, GCH_2, GCH_3
from gcnxmodal.papers.options import Options
from gcnxmodal.papers.table import Curve, Table
from gcnxmodal.retrieval.protocols import HASHING_PROTOCOLS, PROTOCOLS, expected_name
from gcnxmodal.sweeps import expand, groups
from gcnxmodal.systems import PRESETS, SYSTEMS
from gcnxmodal.systems.gch import GCHExperiment


def paper_row(name: str, experiment: Experiment) -> dict[str, Any] | None:
    """The published row that a report shows."""
    return SYSTEMS[experiment.kind].published_row(name, experiment)


GCH_TABLES = ("gch-1", "gch-2", "gch-3")
DIRECTIONS = ("text_query", "image_query", "average")


def small(root: Path) -> Table:
    """gch-1 on a small folder: narrow models of one epoch, at 64 bits."""
    table = TABLES["gch-1"](Options(data="corel5k", root=root))
    parts = []
    for part in table.parts:
        e = part.experiment
        e = dataclasses.replace(
            e,
            text=dataclasses.replace(e.text, words=40),
            model=dataclasses.replace(e.model, width=8, beacon_width=8),
            train=dataclasses.replace(e.train, batch=20),
            epochs=1,
        )
        parts.append(dataclasses.replace(part, experiment=e, over={"model.bits": (64,)}))
    # What the table measures by itself has its tests in test_table_baselines.py.
    cells = {key: cell for key, cell in table.cells.items() if cell.source and cell.source.of_runs}
    rows = tuple(row for row in table.rows if row.label in {label for label, _ in cells})
    return dataclasses.replace(table, parts=tuple(parts), cells=cells, rows=rows)


def make(root: Path, folder: Path) -> Path:
    line = "python -m gcnxmodal.tables ..."
    return reproduce(small(root), folder, seeds=2, only=("corel5k-paper",), command=line)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder, and that of its gch-1 with the paper's variant trained."""
    root = tmp_path_factory.mktemp("hashing-tables")
    data = write_folder(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            evaluation, "write_report", lambda *_, **__: None
        )  # it takes long and has its own tests
        return data, make(data, root / "tables")


@pytest.fixture(scope="module")
def rows(finished: tuple[Path, Path]) -> dict[tuple[str, str, str, str], dict[str, str]]:
    with (finished[1] / "table.csv").open(newline="") as file:
        return {
            (row["row"], row["column"], row["protocol"], row["direction"]): row
            for row in csv.DictReader(file)
        }


@pytest.fixture(scope="module")
def results(finished: tuple[Path, Path]) -> list[dict]:
    members = finished[1] / "runs" / "corel5k-paper" / "seeds0-1" / "members"
    return [json.loads((members / f"bits=64,seed={s}" / "results.json").read_text()) for s in (0, 1)]


def test_csv_is_the_mean_and_spread_of_the_results_with_ties_at_random_beside(results, rows):
    for protocol in (*PROTOCOLS, *HASHING_PROTOCOLS):
        for direction in DIRECTIONS:
            row = rows["GCH", "Corel5k 64", protocol, direction]
            values = [result["protocols"][protocol][direction] for result in results]
            assert float(row["mean"]) == np.mean(values)
            assert float(row["std"]) == np.std(values)
            row = rows["GCH", "Corel5k 64", expected_name(protocol), direction]
            values = [result["expected"]["model"][protocol][direction] for result in results]
            assert float(row["mean"]) == np.mean(values)
            assert float(row["std"]) == np.std(values)


def test_yardsticks_are_those_of_the_runs_and_only_chance_depends_on_the_seed(results, rows):
    for name, key in (("CCA + sign", "cca-sign"), ("SM", "sm")):
        row = rows[name, "Corel5k 64", "hashing@500", "average"]
        assert float(row["mean"]) == results[0]["yardsticks"][key]["hashing@500"]["average"]
        assert (row["std"], row["seeds"]) == ("", "")
    row = rows["chance", "Corel5k 64", "hashing@500", "average"]
    assert float(row["mean"]) == np.mean([found["chance"]["hashing@500"]["average"] for found in results])
    assert row["seeds"] == "0 1"
    row = rows["CCA + sign", "Corel5k 64", expected_name("hashing"), "text_query"]
    assert float(row["mean"]) == results[0]["expected"]["cca-sign"]["hashing"]["text_query"]
    assert rows["SM", "Corel5k 64", expected_name("hashing"), "text_query"]["mean"] == ""


def test_a_sweep_of_codes_sums_up_the_hashing_protocols(finished, results):
    sweep_folder = finished[1] / "runs" / "corel5k-paper" / "seeds0-1"
    summary = json.loads((sweep_folder / "results.json").read_text())["summary"]
    for protocol in HASHING_PROTOCOLS:
        mean = summary[0]["protocols"][protocol]["average"]["mean"]
        assert mean == np.mean([found["protocols"][protocol]["average"] for found in results])


def test_what_was_not_trained_has_a_reason(rows):
    for row, column in (("GCH (official)", "Corel5k 64"), ("GCH", "Corel5k 32")):
        found = rows[row, column, "hashing@500", "average"]
        assert found["mean"] == ""
        assert "not run yet" in found["reason"]


def test_the_second_time_trains_nothing_and_writes_the_same_bytes(finished, monkeypatch):
    data, path = finished
    before = {file: file.read_bytes() for file in [*path.glob("table.*"), *path.glob("plots/*")]}
    monkeypatch.setattr(sweeps, "run_sweep", lambda *_, **__: pytest.fail("something is trained"))
    assert make(data, path.parent) == path
    assert {file: file.read_bytes() for file in before} == before


def test_curves_at_64_bits_are_drawn_from_the_files_of_the_runs(finished):
    _, path = finished
    assert {file.name for file in (path / "plots").iterdir()} == {
        f"{kind}-0-{direction}.png"
        for kind in ("lookup", "precision-at")
        for direction in ("text_query", "image_query")
    }
    page = (path / "table.html").read_text()
    assert page.count("<svg") == 4
    assert "Corel5k, 64 bits" in page
    assert "Corel5k, 16 bits" not in page


def test_a_runs_curves_are_what_was_measured_to_five_decimals_and_small(finished):
    files = sorted(finished[1].glob("runs/*/*/members/*/curves.json"))
    assert len(files) == 2
    for file in files:
        curves = json.loads(file.read_text())
        assert set(curves) == {"model", "cca-sign"}
        for found in curves.values():
            for direction in ("text_query", "image_query"):
                lookup, at = found["lookup"][direction], found["precision_at"][direction]
                assert lookup["radius"] == list(range(65))
                assert lookup["recall_of_all"][-1] == 1
                assert at["n"] == list(range(1, 61))  # the training items are the database
                # All 60 are relevant to a third of the queries: the classes are equally large.
                assert at["precision"][-1] == pytest.approx(1 / 3, abs=1e-5)
        assert file.stat().st_size < 100_000


def test_five_decimals_are_kept_of_a_curve_and_what_was_not_measured_stays_none():
    model = {
        "lookup": {"text_query": {"precision": [None, 0.123456789], "queries_with_hits": [0, 2]}},
        "precision_at": {"text_query": {"n": [1], "precision": [0.5]}},
        "protocols": {},
    }
    assert evaluation.kept_curves({"model": model, "sm": {"protocols": {}}}) == {
        "model": {
            "lookup": {"text_query": {"precision": [None, 0.12346], "queries_with_hits": [0, 2]}},
            "precision_at": {"text_query": {"n": [1], "precision": [0.5]}},
        }
    }


def test_mean_curve_has_the_points_that_every_run_has():
    recall, precision = [[None, 0.25, 1.0], [0.1, 0.5, 1.0]], [[None, 0.5, 0.25], [1.0, 0.25, 0.25]]
    assert mean_curve(recall, precision) == Curve((0.375, 1.0), (0.375, 0.25), (0.125, 0.0))
    assert mean_curve(recall[:1], precision[:1]) == Curve((0.25, 1.0), (0.5, 0.25), (None, None))


def test_each_length_of_code_is_one_program_over_the_seeds_and_so_is_each_beacon():
    for name, sizes in (("gch-1", [5, 5, 5]), ("gch-2", [5, 5]), ("gch-3", [5])):
        for part in TABLES[name](Options(data="emoji")).parts:
            assert [len(group) for group in groups(expand(part.experiment, part.over, 5))] == sizes


@pytest.mark.parametrize("name", list(TABLES))
def test_every_cell_of_ours_is_a_setting_that_its_part_trains(name: str):
    table = TABLES[name](Options())
    settings = {
        part.name: [member.setting for member in expand(part.experiment, part.over, 1)]
        for part in table.parts
    }
    for source in table.sources:
        assert dict(source.setting) in settings[source.part]


def test_rows_differ_in_what_they_are_named_after():
    for part in TABLES["gch-1"](Options(data="emoji")).parts:
        official = part.name == "emoji-official"
        assert part.experiment.train.objective == ("official" if official else "paper")
    table = TABLES["gch-2"](Options(data="emoji"))
    for row, source in ((row, source) for (row, _), source in sources(table).items()):
        assert (source.setting["model.beacon"] == "dense") == row.startswith("GCH-A")
        assert ("official" in source.part) == ("official" in row)
    assert {part.experiment.model.bits for part in table.parts} == {16}


@pytest.mark.parametrize(
    ("name", "row", "column", "published"),
    [
        ("gch-1", "GCH", "MIRFLICKR 16", (0.892, 0.833, None)),
        ("gch-1", "GCH", "NUS-WIDE 64", (0.761, 0.753, None)),
        ("gch-1", "GCH", "COCO 32", (0.797, 0.686, None)),
        ("gch-1", "SePH", "COCO 64", (0.650, 0.648, None)),
        ("gch-1", "DCMH", "NUS-WIDE 32", (0.591, 0.561, None)),
        ("gch-1", "STMH", "MIRFLICKR 64", (0.654, 0.650, None)),
        ("gch-1", "CMSSH", "COCO 16", (0.538, 0.538, None)),
        ("gch-2", "GCH-A", "NUS-WIDE", (0.510, 0.525, None)),
        ("gch-2", "GCH", "COCO", (0.754, 0.648, None)),
        ("gch-3", "CMHH", "MIRFLICKR", (0.758, 0.783, None)),
    ],
)
def test_published_numbers_are_the_papers(name, row, column, published):
    assert TABLES[name](Options()).cells[row, column].paper == published


def test_the_papers_tables_contradict_each_other_where_the_notes_say_and_nowhere_else():
    identical = {method for method, found in GCH_1.items() if found["image_query"] == found["text_query"]}
    assert identical == {"SCM", "CMSSH"}
    for direction in ("text_query", "image_query"):
        at_16 = GCH_1["GCH"][direction][::3]
        differ = [a != b for a, b in zip(at_16, GCH_2["GCH"][direction], strict=True)]
        assert differ == [False, False, direction == "text_query"]
        assert (GCH_3["GCH"][direction][0] != at_16[0]) == (direction == "text_query")
    notes = {name: " ".join(TABLES[name](Options()).notes) for name in GCH_TABLES}
    for name, words in (
        ("gch-1", "SCM and CMSSH are digit-identical"),
        ("gch-1", ".745 in Table 1 and .754 in Table 2"),
        ("gch-2", ".745 in Table 1 and .754 in Table 2"),
        ("gch-3", ".892 in Tables 1 and 2 and .891 in Table 3"),
    ):
        assert words in notes[name]


@pytest.mark.parametrize("name", GCH_TABLES)
def test_where_the_paper_has_no_numbers_only_rows_of_ours_are_there_and_the_others_are_named(name: str):
    table, elsewhere = TABLES[name](Options()), TABLES[name](Options(data="emoji"))
    assert not published_of(elsewhere)
    assert not quoted(elsewhere)
    assert set(rows_of(elsewhere)) == set(rows_of(table)) - set(quoted(table))
    for row in quoted(table):
        assert row in " ".join(elsewhere.notes)
    assert elsewhere.name == f"{name}-emoji"
    assert not any("Table 1" in note for note in elsewhere.notes)  # nor the slips of the paper


def test_a_data_set_that_is_not_given_is_named_with_its_option():
    table = TABLES["gch-1"](Options(mirflickr=Path("there")))
    assert {part.name: part.missing for part in table.parts if "paper" in part.name} == {
        "mirflickr-paper": "",
        "nus-wide-paper": "not run: give --nus-wide ROOT",
        "coco-paper": "not run: give --coco ROOT",
    }
    roots = {part.name: part.experiment.data.root for part in table.parts}
    assert roots["mirflickr-official"] == Path("there")


def test_an_image_feature_is_taken_by_every_data_set():
    for part in TABLES["gch-1"](Options(image_feature="fc7.npz")).parts:
        assert part.experiment.data.image_feature == "fc7.npz"


def test_what_the_user_can_mend_is_said_and_exits_with_2(tmp_path: Path, capsys):
    for line, words in (
        (["gch-1"], "give --mirflickr ROOT"),
        (["gch-2", "--data", "corel5k"], "give --root ROOT"),
        (["gch-1", "--data", "emoji", "--coco", str(tmp_path)], "--coco is of no data set"),
        (["gch-3", "--coco", str(tmp_path)], "--coco is of no data set"),
        (["gch-1", "--root", str(tmp_path)], "--root is of no data set"),
        (["gch-1", "--data", "emoji", "--image-feature", "cnn"], "--image-feature is of data sets with"),
        (["gch-1", "--data", "emoji", "--faithful"], "--faithful: gch-1 has no use for it"),
        (["gch-1", "--data", "emoji", "--variant", "paper"], "--variant: gch-1 has no use for it"),
        (["gch-1", "--data", "emoji", "--only", "emoji"], "emoji-paper, emoji-official"),
        (["scanet-3", "--data", "corel5k"], "gin-1, gch-1 to gch-3 and sspe-1 run on it"),
    ):
        assert tables.main([*line, "--folder", str(tmp_path / "tables")]) == 2, line
        assert words in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()


def preset(name: str, **model) -> GCHExperiment:
    experiment = PRESETS[name][1]
    return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **model))


def test_a_run_of_the_papers_data_set_and_bits_has_its_row_in_the_report():
    row = paper_row("gch-coco-official", preset("gch-coco-official", bits=32))
    assert row is not None
    assert (row["text_query"], row["image_query"], row["average"]) == (0.797, 0.686, None)
    assert "32 bits" in row["source"]
    row = paper_row("gch-nus-wide-paper", preset("gch-nus-wide-paper", bits=16, beacon="dense"))
    assert row is not None
    assert (row["text_query"], row["image_query"]) == (0.510, 0.525)
    assert "Table 2" in row["source"]
    for name, model in (
        ("gch-coco-paper", {"bits": 48}),
        ("gch-coco-paper", {"bits": 32, "beacon": "dense"}),
        ("gch-emoji-paper", {"bits": 16}),
        ("gch-corel5k-official", {"bits": 16}),
    ):
        assert paper_row(name, preset(name, **model)) is None
