"""The papers' tables made again: what is trained, used again, written and quoted."""

import csv
import dataclasses
import json
import math
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from made_up_table import published as published_of
from made_up_table import quoted, rows, sources
from small_folder import write_folder

from gcnxmodal import evaluation, sweeps, tables
from gcnxmodal.config import DataConfig, Experiment
from gcnxmodal.errors import InputError
from gcnxmodal.papers import TABLES
from gcnxmodal.papers.engine import PartFolder, reproduce
from gcnxmodal.papers.gin import GIN_1_SLIPS
from gcnxmodal.papers.options import Options
from gcnxmodal.papers.table import Table
from gcnxmodal.retrieval.protocols import PROTOCOLS

FILES = ("table.md", "table.csv", "table.html")


def small(root: Path, name: str = "scanet-3", *, epochs: int = 1, rate: float = 0.02) -> Table:
    """The table `name` with its parts on a small folder, D of 8, at few settings."""
    (root / "cnn_features.npz").touch()
    table = TABLES[name](Options(root=root))
    parts = []
    for part in table.parts:
        e = part.experiment
        e = dataclasses.replace(
            e,
            data=DataConfig(name="folder", root=root, image_feature="features", image_scale="raw"),
            text=dataclasses.replace(e.text, words=40, neighbours=4, length=12),
            model=dataclasses.replace(e.model, dimension=8, hidden=8),
            train=dataclasses.replace(
                e.train, grid_texts=10, grid_images=10, learning_rate=rate, l2=0, pairing="grid"
            ),
            epochs=epochs,
        )
        kept = slice(0, 2) if name == "scanet-3" else slice(1, 2)
        over = {field: list(values)[kept] for field, values in part.over.items()}
        parts.append(dataclasses.replace(part, experiment=e, over=over))
    return dataclasses.replace(table, parts=tuple(parts))


def make(table: Table, folder: Path, *, seeds: int = 2, only: tuple[str, ...] = ("gcn",), **more) -> Path:
    return reproduce(table, folder, seeds=seeds, only=only, command="python -m gcnxmodal.tables ...", **more)


def rows_of(path: Path) -> dict[tuple[str, str, str, str], dict[str, str]]:
    with (path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    keys = ("row", "column", "protocol", "direction")
    found = {(row[keys[0]], row[keys[1]], row[keys[2]], row[keys[3]]): row for row in lines}
    assert len(found) == len(lines)
    return found


@pytest.fixture(scope="module", autouse=True)
def _without_reports_of_members():
    """They take most of the time, and have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "write_report", lambda *_, **__: None)
        yield


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """The sweeps that are run from here on: part, first seed, seeds."""
    calls = []
    really = sweeps.run_sweep

    def run(preset: str, experiment: Experiment, *, seeds: int, folder: Path, **more):
        calls.append((folder.parent.name, experiment.seed, seeds))
        return really(preset, experiment, seeds=seeds, folder=folder, **more)

    monkeypatch.setattr(sweeps, "run_sweep", run)
    return calls


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder, and the folder of tables with the GCN row of SCANet's Table 3."""
    root = tmp_path_factory.mktemp("tables")
    data = write_folder(root / "data")
    make(small(data), root / "tables")
    return data, root / "tables"


def test_the_second_time_trains_nothing_and_writes_the_same_bytes(finished, trained):
    data, folder = finished
    path = folder / "scanet-3"
    before = {
        file.relative_to(path): file.read_bytes() for file in [*path.glob("table.*"), *path.glob("plots/*")]
    }
    assert {str(name) for name in before} >= {*FILES, "plots/layers-authors-average.png"}
    make(small(data), folder)
    assert trained == []
    for name, content in before.items():
        assert (path / name).read_bytes() == content, name


def test_a_table_stopped_before_the_report_of_a_sweep_makes_it(finished, tmp_path: Path, trained):
    data, folder = finished
    shutil.copytree(folder, tmp_path / "tables")
    kept = folder / "scanet-3" / "runs" / "gcn" / "seeds0-1"
    cut_off = tmp_path / "tables" / "scanet-3" / "runs" / "gcn" / "seeds0-1"
    for name in ("results.json", "report.html"):
        (cut_off / name).unlink()
    make(small(data), tmp_path / "tables")
    assert trained == [("gcn", 0, 2)]
    summary, before = (json.loads((of / "results.json").read_text())["summary"] for of in (cut_off, kept))
    assert summary == before
    assert (cut_off / "report.html").exists()


def test_csv_is_the_papers_numbers_and_the_mean_and_spread_of_the_members_results(finished):
    _, folder = finished
    path = folder / "scanet-3"
    found = rows_of(path)
    gcn = "GCN + VGG-19 (here cnn)"
    for layers, paper in enumerate(("0.75", "0.76")):
        members = [path / f"runs/gcn/seeds0-1/members/attention_layers={layers},seed={s}" for s in (0, 1)]
        results = [json.loads((member / "results.json").read_text()) for member in members]
        for protocol in PROTOCOLS:
            for direction in ("text_query", "image_query", "average"):
                row = found[gcn, f"A = {layers}", protocol, direction]
                values = [result["protocols"][protocol][direction] for result in results]
                assert float(row["mean"]) == np.mean(values)
                assert float(row["std"]) == np.std(values)
                assert row["seeds"] == "0 1"
                assert row["commit"] == results[0]["commit"]
                assert row["reason"] == ""
        assert found[gcn, f"A = {layers}", "authors", "text_query"]["paper"] == paper


def test_a_row_that_cannot_be_run_is_there_with_the_papers_number_and_its_reason(finished):
    _, folder = finished
    path = folder / "scanet-3"
    row = rows_of(path)["GCN + CNN-5", "A = 2", "authors", "text_query"]
    assert (row["paper"], row["mean"], row["seeds"]) == ("0.33", "", "")
    for part, reason in (("GCN + CNN-5", "no images/ in --root"), ("GCN + ResNet-50", "--resnet50 FILE.npz")):
        for file in FILES:
            text = (path / file).read_text()
            assert part in text
            assert reason in text
    assert (
        "left out by --only"
        in rows_of(path)["LSTM + VGG-19 (here cnn)", "A = 0", "authors", "average"]["reason"]
    )


def test_more_seeds_train_the_new_ones_only(finished, tmp_path: Path, trained):
    data, folder = finished
    shutil.copytree(folder, tmp_path / "tables")
    path = tmp_path / "tables" / "scanet-3"
    old = {file: file.stat().st_mtime_ns for file in path.glob("runs/gcn/*/members/*/results.json")}
    assert len(old) == 4
    make(small(data), tmp_path / "tables", seeds=3)
    assert trained == [("gcn", 2, 1)]
    assert {file: file.stat().st_mtime_ns for file in old} == old
    cell = ("GCN + VGG-19 (here cnn)", "A = 1", "standard", "average")
    assert rows_of(path)[cell]["seeds"] == "0 1 2"
    # And fewer are what they were.
    make(small(data), tmp_path / "tables", seeds=1)
    assert trained == [("gcn", 2, 1)]
    assert (rows_of(path)[cell]["seeds"], rows_of(path)[cell]["std"]) == ("0", "")


def test_a_stopped_table_goes_on_with_the_same_line(
    tmp_path: Path, folder: Path, trained, monkeypatch, capsys
):
    class Stop:
        """A request to stop that is there from the start."""

        signal = signal.SIGTERM

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    table = small(folder, epochs=2)
    line = ["scanet-3", "--only", "gcn", "--seeds", "1", "--folder", str(tmp_path / "tables")]
    monkeypatch.setitem(tables.TABLES, "scanet-3", lambda _: table)
    with monkeypatch.context() as stopping:
        stopping.setattr(sweeps, "Interrupt", Stop)
        assert tables.main([*line, "--overwrite"]) == 128 + signal.SIGTERM
    again = capsys.readouterr().out.splitlines()[-1]
    assert again.split() == ["python", "-m", "gcnxmodal.tables", *line]
    assert tables.main(line) == 0
    assert trained == [("gcn", 0, 1)] * 2
    output = capsys.readouterr().out
    assert "go on with 2 models, seed 0" in output
    assert "resuming at step" in output
    row = rows_of(tmp_path / "tables" / "scanet-3")["GCN + VGG-19 (here cnn)", "A = 1", "standard", "average"]
    assert row["seeds"] == "0"


def test_runs_of_other_options_are_not_mixed_in(finished):
    data, folder = finished
    with pytest.raises(InputError, match=r"experiment.epochs = 1 but the command says 2.*--overwrite"):
        make(small(data, epochs=2), folder)


def test_overwrite_replaces_the_chosen_parts_only(tmp_path: Path, monkeypatch):
    def run(preset: str, experiment: Experiment, *, folder: Path, **_):
        folder.mkdir(parents=True, exist_ok=True)

    data = write_folder(tmp_path / "data")
    monkeypatch.setattr(sweeps, "run_sweep", run)
    runs = tmp_path / "tables" / "scanet-3" / "runs"
    for part in ("gcn", "lstm"):
        (runs / part / "seeds0-1" / "mark").mkdir(parents=True)
    (runs / "gcn" / "seeds0-1" / "sweep.json").write_text("{}")
    make(small(data), tmp_path / "tables", overwrite=True)
    assert [path.parents[1].name for path in runs.glob("*/*/mark")] == ["lstm"]


def test_members_that_diverge_are_named_and_not_trained_again(tmp_path: Path, folder: Path, trained):
    path = make(small(folder, "scanet-4", rate=1e30), tmp_path / "tables", seeds=1, only=())
    assert make(small(folder, "scanet-4", rate=1e30), tmp_path / "tables", seeds=1, only=()) == path
    assert trained == [("grid", 0, 1)]
    found = rows_of(path)
    row = found["m = 0.6", "lambda = 0.35", "authors", "text_query"]
    assert (row["paper"], row["mean"]) == ("0.808", "")
    assert row["reason"] == "the loss was not a number with 1 of 1 seeds"
    assert len(found) == 9 * len(PROTOCOLS) * 3
    assert "diverged" in (path / "table.md").read_text()


def test_margin_and_balance_are_one_program_of_nine_settings():
    (part,) = TABLES["scanet-4"](Options(data="emoji")).parts
    members = sweeps.expand(part.experiment, part.over, 5)
    assert len(members) == 45
    assert len(sweeps.groups(members)) == 1


def test_each_pair_of_encoders_is_one_program_over_depths_and_seeds():
    table = TABLES["scanet-3"](Options(data="emoji"))
    runnable = [part for part in table.parts if not part.missing]
    assert [part.name for part in runnable] == ["lstm", "cnn", "gcn", "gcn-cnn5"]
    for part in runnable:
        members = sweeps.expand(part.experiment, part.over, 5)
        assert [len(group) for group in sweeps.groups(members)] == [20]


@pytest.mark.parametrize(
    ("name", "row", "column", "published"),
    [
        ("scanet-2", "SCANet", "Eng-Wiki", (0.81, 0.46, 0.63)),
        ("scanet-2", "SCANet", "Pascal VOC", (0.48, 0.34, 0.41)),
        ("scanet-2", "AUSL", "NUS-WIDE", (0.41, 0.57, 0.49)),
        ("scanet-3", "LSTM + VGG-19 (here cnn)", "A = 1", (0.64, 0.44, 0.54)),
        ("scanet-3", "CNN + VGG-19 (here cnn)", "A = 2", (0.41, 0.33, 0.37)),
        ("scanet-3", "GCN + ResNet-50", "A = 3", (0.70, 0.40, 0.55)),
        ("scanet-3", "GCN + CNN-5", "A = 0", (0.28, 0.27, 0.28)),
        ("scanet-4", "m = 0.7", "lambda = 0.35", (0.643, 0.473, 0.558)),
        ("scanet-4", "m = 0.6", "lambda = 0.30", (0.795, 0.450, 0.623)),
        ("gin-1", "GIN", "NUS-WIDE", (0.5418, 0.5236, 0.5327)),
        ("gin-1", "JFSSL", "Eng-Wiki", (0.4102, 0.4670, 0.4386)),
        ("gin-1", "CCA-3V", "Pascal", (0.2562, 0.3146, 0.2854)),
        ("gin-1", "c-TCM", "Ch-Wiki", (0.3170, 0.3100, 0.3135)),
    ],
)
def test_published_numbers_are_the_papers(name, row, column, published):
    assert TABLES[name](Options()).cells[row, column].paper == published


@pytest.mark.parametrize(
    ("name", "count"), [("scanet-2", 25), ("scanet-3", 20), ("scanet-4", 5), ("gin-1", 38)]
)
def test_published_averages_are_the_means_of_their_rows_but_for_the_named_slips(name: str, count: int):
    table = TABLES[name](Options())
    paper = published_of(table)
    assert len(paper) == count
    for cell, (text, image, average) in paper.items():
        assert average is not None
        # Both halves and the average are rounded.
        near = math.isclose(average, (text + image) / 2, abs_tol=1.001 * 10**-table.digits)
        assert near == (name != "gin-1" or cell not in GIN_1_SLIPS), cell
    if name == "gin-1":
        for (row, column), right in GIN_1_SLIPS.items():
            text, image, _ = paper[row, column]
            assert right == pytest.approx((text + image) / 2)
            assert f"{row} on {column}" in table.notes[0]


@pytest.mark.parametrize("name", list(TABLES))
def test_every_row_has_a_source_or_a_reason_why_it_is_quoted(name: str):
    table = TABLES[name](Options())
    measured = {row for row, _ in sources(table)}
    assert set(rows(table)) == measured | set(quoted(table))
    assert not measured & set(quoted(table))
    assert {source.part for source in table.sources} == {part.name for part in table.parts}
    columns = [column.label for column in table.columns]
    assert set(table.cells) <= {(row, column) for row in rows(table) for column in columns}
    assert list(table.cells)
    for row, _, cell in table:
        assert cell.source is None or cell.source.system == row.method


def test_what_the_user_can_mend_is_said_and_exits_with_2(tmp_path: Path, capsys):
    for line, words in (
        (["scanet-3"], "give --root ROOT"),
        (["gin-1"], "give --nus-wide ROOT"),
        (["scanet-2", "--data", "emoji"], "scanet-3, scanet-4, gin-1"),
        (["gin-1", "--data", "corel5k"], "give --root ROOT"),
        (["gin-1", "--data", "emoji", "--root", str(tmp_path)], "--root is of English Wikipedia"),
        (["scanet-4", "--data", "emoji", "--root", str(tmp_path)], "--root is of English Wikipedia"),
        (["scanet-3", "--data", "emoji", "--only", "gru"], "lstm, cnn, gcn"),
        (["scanet-4", "--data", "emoji", "--seeds", "0"], "--seeds is 0"),
        (["scanet-4", "--data", "emoji", "--epochs", "0"], "--epochs is 0"),
    ):
        assert tables.main([*line, "--folder", str(tmp_path / "tables")]) == 2, line
        assert words in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()


def test_help_names_every_table(capsys):
    with pytest.raises(SystemExit) as stop:
        tables.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"{name}: " in text for name in TABLES)


def test_tables_that_differ_have_folders_of_their_own():
    options = [
        Options(),
        Options(data="emoji"),
        Options(variant="paper"),
        Options(faithful=True),
        Options(data="emoji", variant="paper", faithful=True),
    ]
    names = [TABLES["scanet-3"](option).name for option in options]
    assert len(set(names)) == len(names)
    assert names[0] == "scanet-3"


def test_missing_seeds_become_as_few_sweeps_as_can_be(tmp_path: Path):
    table = small(write_folder(tmp_path / "data"))
    folder = PartFolder(table.parts[2], table, tmp_path, 5)
    (folder.runs / "seeds2-2").mkdir(parents=True)
    (folder.runs / "seeds2-2" / "sweep.json").write_text("{}")
    jobs = folder.jobs()
    assert [(job.first, job.seeds, job.resume) for job in jobs] == [
        (2, 1, True),
        (0, 2, False),
        (3, 2, False),
    ]
