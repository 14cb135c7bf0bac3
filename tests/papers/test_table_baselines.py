"""Baselines that a table measures by itself: what is measured, kept, refused and shown."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_table import published as published_of
from made_up_table import quoted, rows, sources, with_rows
from sklearn.base import BaseEstimator
from small_folder import write_folder

from gcnxmodal import sweeps, tables
from gcnxmodal.baselines import CCA, HASHING_METHODS, METHODS, selection
from gcnxmodal.baselines.base import Items
from gcnxmodal.baselines.linear import PLS
from gcnxmodal.config import Experiment
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.evaluation import evaluate_baseline, evaluate_signs, fit_baseline
from gcnxmodal.papers import TABLES, baselines, engine
from gcnxmodal.papers.engine import PartFolder, reproduce
from gcnxmodal.papers.options import Options
from gcnxmodal.papers.sspe import SSPE_1
from gcnxmodal.papers.table import Column, Source, Table
from gcnxmodal.retrieval.evaluate import evaluate_codes
from gcnxmodal.retrieval.hamming import pack_codes
from gcnxmodal.retrieval.protocols import PROTOCOLS, expected_name
from gcnxmodal.systems import PRESETS, SYSTEMS


def paper_row(name: str, experiment: Experiment) -> dict[str, Any] | None:
    """The published row that a report shows."""
    return SYSTEMS[experiment.kind].published_row(name, experiment)


FIVE: dict[str, Any] = {"components": 5}


class Noise(BaseEstimator):
    """Ranks at random; `weight` is better the nearer to 2."""

    space = {"weight": (1.0, 2.0, 3.0)}  # noqa: RUF012
    fits: list[tuple[int, float, int]] = []  # noqa: RUF012

    def __init__(self, bits: int = 5, *, weight: float = 1.0, random_state: int = 0):
        self.bits, self.weight, self.random_state = bits, weight, random_state

    def fit(self, images, texts, labels, groups=None):
        self.labels_ = labels
        Noise.fits.append((self.bits, self.weight, self.random_state))
        return self

    def encode_images(self, images):
        return np.random.default_rng(self.random_state).standard_normal((images.shape[0], self.bits))

    encode_texts = encode_images


class NoSeveral(BaseEstimator):
    """Takes nothing."""

    def fit(self, images, texts, labels, groups=None):
        raise InputError("labels: this method takes one label an item.")


class Turned:
    """Embeds images as they are and texts with their features moved on by one."""

    def encode_images(self, images):
        return images

    def encode_texts(self, texts):
        return np.roll(texts, 1, axis=1)


class NoSolution(BaseEstimator):
    """Its equations have no solution."""

    def fit(self, images, texts, labels, groups=None):
        raise np.linalg.LinAlgError("Singular matrix")


@pytest.fixture(autouse=True)
def _made_up_methods(monkeypatch: pytest.MonkeyPatch):
    """More methods, and no training of the models."""
    monkeypatch.setitem(METHODS, "noise", Noise)
    monkeypatch.setitem(METHODS, "no-several", NoSeveral)
    monkeypatch.setitem(METHODS, "no-solution", NoSolution)
    monkeypatch.setitem(HASHING_METHODS, "noise", Noise)
    monkeypatch.setattr(sweeps, "run_sweep", lambda *_, **__: None)
    monkeypatch.setattr(
        selection, "average_standard_map", lambda method, *_: -abs(getattr(method, "weight", 2) - 2)
    )
    Noise.fits.clear()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("baselines") / "data", items=45)


def small(root: Path, **more: Source) -> Table:
    """sspe-1 on a small folder with the rows PLS, noise and what else is given."""
    table = TABLES["sspe-1"](Options(data="corel5k", root=root))
    ours = {"PLS": Source("corel5k", system="pls", fixed=FIVE), "noise": Source("corel5k", system="noise")}
    return with_rows(table, ours | more)


def make(table: Table, folder: Path, *, seeds: int = 2, **more) -> Path:
    return reproduce(table, folder, seeds=seeds, command="python -m gcnxmodal.tables ...", **more)


def cell(path: Path, row: str, protocol: str = "standard", direction: str = "average") -> dict[str, str]:
    with (path / "table.csv").open(newline="") as file:
        (found,) = [
            line
            for line in csv.DictReader(file)
            if (line["row"], line["protocol"], line["direction"]) == (row, protocol, direction)
        ]
    return found


def files(path: Path) -> dict[str, bytes]:
    found = [*path.glob("baselines/*/*.json"), *path.glob("table.*")]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in found}


def test_a_method_is_measured_once_and_a_random_one_once_a_seed_and_the_second_time_nothing_is(
    root: Path, tmp_path: Path, capsys, monkeypatch
):
    path = make(small(root), tmp_path)
    assert {file.name for file in path.glob("baselines/corel5k/*.json")} == {
        *("pls.json", "pls-chosen.json", "pls-curves.json"),
        *("noise-seed0.json", "noise-seed1.json", "noise-chosen.json"),
        *("noise-seed0-curves.json", "noise-seed1-curves.json"),
    }
    output = capsys.readouterr().out
    assert "measure 3 baselines" in output
    for words in ("1/3 pls  ", "2/3 noise, seed 0  ", "3/3 noise, seed 1  "):
        assert words in output
    assert output.count(" s  MAP text ") == 3
    before = files(path)
    monkeypatch.setattr(engine, "measure", lambda *_: pytest.fail("something is measured"))
    assert make(small(root), tmp_path) == path
    assert files(path) == before


def test_numbers_are_those_of_the_method_on_the_parts_corpus_and_have_their_origin(
    root: Path, tmp_path: Path
):
    table = small(root)
    path = make(table, tmp_path)
    corpus = load_corpus(table.parts[0].experiment.data, table.parts[0].experiment.text)
    pls = evaluate_baseline(PLS(**FIVE), corpus)["protocols"]
    noise = [evaluate_baseline(Noise(weight=2.0, random_state=seed), corpus)["protocols"] for seed in (0, 1)]
    for protocol in PROTOCOLS:
        for direction in ("text_query", "image_query", "average"):
            row = cell(path, "PLS", protocol, direction)
            assert float(row["mean"]) == pls[protocol][direction]
            assert (row["std"], row["seeds"], row["reason"]) == ("", "", "")
            row = cell(path, "noise", protocol, direction)
            values = [found[protocol][direction] for found in noise]
            assert float(row["mean"]) == np.mean(values)
            assert float(row["std"]) == np.std(values)
            assert row["seeds"] == "0 1"
    kept = json.loads((path / "baselines/corel5k/pls.json").read_text())
    assert {"commit", "device", "date", "versions", "seconds"} <= set(kept)
    assert kept["parameters"] == FIVE
    assert kept["commit"] == cell(path, "PLS")["commit"]
    assert kept["device"] in (path / "table.md").read_text()


def test_hyper_parameters_are_chosen_once_for_all_seeds_and_kept(root: Path, tmp_path: Path):
    path = make(small(root), tmp_path)
    assert Noise.fits == [(5, 1.0, 0), (5, 2.0, 0), (5, 3.0, 0), (5, 2.0, 0), (5, 2.0, 1)]
    kept = json.loads((path / "baselines/corel5k/noise-chosen.json").read_text())
    assert kept["parameters"] == {"weight": 2.0}
    assert len(kept["candidates"]) == 3
    # What the table decides is not chosen.
    fixed = small(root, noise=Source("corel5k", system="noise", fixed={"weight": 3.0}))
    assert len(Noise.fits) == 5
    make(fixed, tmp_path / "fixed")
    assert Noise.fits[5:] == [(5, 3.0, 0), (5, 3.0, 1)]


def test_more_seeds_measure_the_new_ones_only(root: Path, tmp_path: Path):
    path = make(small(root), tmp_path, seeds=1)
    before = files(path)
    Noise.fits.clear()
    make(small(root), tmp_path, seeds=3)
    assert Noise.fits == [(5, 2.0, 1), (5, 2.0, 2)]
    after = files(path)
    assert all(after[name] == before[name] for name in before if name.startswith("baselines"))
    assert cell(path, "noise")["seeds"] == "0 1 2"


def test_a_stopped_table_goes_on_where_it_was(root: Path, tmp_path: Path, monkeypatch):
    def stop(method, images, texts, labels):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(Noise, "fit", stop)
        with pytest.raises(KeyboardInterrupt):
            make(small(root), tmp_path)
    measured = tmp_path / "sspe-1-corel5k/baselines/corel5k/pls.json"
    before = measured.stat().st_mtime_ns
    path = make(small(root), tmp_path)
    assert measured.stat().st_mtime_ns == before
    assert cell(path, "noise")["seeds"] == "0 1"


@pytest.mark.parametrize(
    ("system", "reason"),
    [("no-several", "labels: this method takes one label an item."), ("no-solution", "Singular matrix")],
)
def test_a_method_that_cannot_take_the_data_is_a_cell_with_its_reason(
    system: str, reason: str, root: Path, tmp_path: Path
):
    table = small(root, LDA=Source("corel5k", system=system))
    path = make(table, tmp_path)
    row = cell(path, "LDA")
    assert (row["mean"], row["reason"]) == ("", reason)
    for name in ("table.md", "table.html"):
        assert f"LDA: {reason}" in (path / name).read_text()
    # And is not tried again.
    assert not PartFolder(table.parts[0], table, path, 2).to_measure()


def test_a_code_is_the_signs_of_a_hashing_method_at_the_length_of_its_column(root: Path, tmp_path: Path):
    table = small(root, code=Source("corel5k", system="noise", fixed={"bits": 9}))
    table = dataclasses.replace(
        table,
        protocols=(*PROTOCOLS, expected_name("hashing")),
        columns=(Column("Corel5k", drawn="Corel5k"),),
    )
    path = make(table, tmp_path, seeds=1)
    corpus = load_corpus(table.parts[0].experiment.data, table.parts[0].experiment.text)
    chosen = json.loads((path / "baselines/corel5k/noise-9bits-chosen.json").read_text())["parameters"]
    assert chosen["bits"] == 9
    found = evaluate_signs(*fit_baseline(Noise(**chosen), corpus), corpus)
    assert float(cell(path, "code")["mean"]) == found["protocols"]["standard"]["average"]
    assert (
        float(cell(path, "code", expected_name("hashing"))["mean"]) == found["expected"]["hashing"]["average"]
    )
    curves = json.loads((path / "baselines/corel5k/noise-9bits-seed0-curves.json").read_text())
    assert curves["lookup"]["text_query"]["radius"] == list(range(10))
    assert float(cell(path, "noise")["mean"]) != float(cell(path, "code")["mean"])


def test_codes_are_chosen_by_hashing_at_500_of_the_items_held_out_among_those_fitted_on():
    random = np.random.default_rng(0)
    fitted, held = (
        Items(random.standard_normal((n, 9)), random.standard_normal((n, 9)), random.random((n, 3)) < 0.4)
        for n in (600, 40)
    )
    texts = pack_codes(np.roll(np.concatenate([fitted.counts, held.counts]), 1, axis=1))
    images = pack_codes(np.concatenate([fitted.images, held.images]))
    splits = {"train": np.arange(600), "test": np.arange(600, 640)}
    found = evaluate_codes(texts, images, np.concatenate([fitted.labels, held.labels]), splits, 9)
    expected = found["protocols"]["hashing@500"]["average"]
    assert baselines._map_of_signs(Turned(), held, fitted) == pytest.approx(expected, abs=1e-9)
    for other in ("hashing", "standard"):
        assert abs(found["protocols"][other]["average"] - expected) > 1e-4


def test_numbers_of_other_options_are_not_mixed_in_and_overwrite_replaces_them(root: Path, tmp_path: Path):
    path = make(small(root), tmp_path)
    other = small(root, PLS=Source("corel5k", system="pls", fixed={**FIVE, "unit_length": False}))
    with pytest.raises(InputError, match=r"fixed.unit_length = None but the command says False.*--overwrite"):
        make(other, tmp_path)
    make(other, tmp_path, overwrite=True)
    assert json.loads((path / "baselines/corel5k/pls.json").read_text())["parameters"]["unit_length"] is False


def test_what_only_leaves_out_is_not_measured(root: Path, tmp_path: Path):
    table = small(root, elsewhere=Source("other", system="pls", fixed=FIVE))
    (part,) = table.parts
    table = dataclasses.replace(table, parts=(part, dataclasses.replace(part, name="other")))
    path = make(table, tmp_path, only=("corel5k",))
    assert cell(path, "PLS")["mean"]
    assert (cell(path, "elsewhere")["mean"], cell(path, "elsewhere")["reason"]) == (
        "",
        "not run yet: left out by --only",
    )


def test_rows_of_wikipedia_are_of_the_official_features_beside_those_that_the_model_reads(
    root: Path, tmp_path: Path, monkeypatch
):
    (tmp_path / "raw_features.mat").touch()
    for name, system in (("gin-1", "GIN"), ("scanet-2", "SCANet")):
        table, without = TABLES[name](Options(root=tmp_path)), TABLES[name](Options(root=root))
        same = f"Eng-Wiki as {system}"
        assert [column.label for column in table.columns[:2]] == ["Eng-Wiki", same]
        assert same not in {column.label for column in without.columns}
        assert published_of(table) == published_of(without)
        ours, ours_without = sources(table), sources(without)
        assert "raw_features.mat is not in --root" in without.caption
        for row in ("SCM", "CCA", "GMLDA"):
            assert ours[row, "Eng-Wiki"].official
            assert not ours[row, same].official
            assert not ours_without[row, "Eng-Wiki"].official
        assert ours[system, "Eng-Wiki"] == ours[system, same] == Source("wikipedia")
        assert ours["CCA", same].of_runs
        # The published CCA neither weighs its axes nor scales features.
        assert CCA(**ours["CCA", "Eng-Wiki"].fixed).power == 0
    random = np.random.default_rng(0)
    sides = {"tr": 30, "te": 15}
    official = {
        f"{name}_{side}": random.standard_normal((n, 7)) for name in "IT" for side, n in sides.items()
    }
    official |= {f"labels_{side}": np.eye(3, dtype=bool)[np.arange(n) % 3] for side, n in sides.items()}
    monkeypatch.setattr(baselines, "official_features", lambda _: official)
    table = small(root, official=Source("corel5k", system="pls", fixed=FIVE, official=True))
    path = make(table, tmp_path / "tables")
    images, texts, labels = (
        np.concatenate([official[f"{name}_tr"], official[f"{name}_te"]]) for name in ("I", "T", "labels")
    )
    items = Items(images, texts, labels, {"train": np.arange(30), "test": np.arange(30, 45)})
    expected = evaluate_baseline(PLS(**FIVE), items)["protocols"]["standard"]["average"]
    assert float(cell(path, "official")["mean"]) == expected
    assert float(cell(path, "PLS")["mean"]) != expected


@pytest.mark.parametrize(
    ("row", "column", "published"),
    [
        ("SSPE", "Pascal", (0.741, 0.745, None)),
        ("CCA", "NUS-WIDE", (0.377, 0.409, None)),
        ("PLS", "Pascal", (0.501, 0.633, None)),
        ("MMNN", "MIRFLICKR", (0.731, 0.712, None)),
        ("CMOS", "NUS-WIDE", (0.485, 0.533, None)),
        ("DSPE", "Pascal", (0.717, 0.727, None)),
    ],
)
def test_published_numbers_are_the_papers(row, column, published):
    table = TABLES["sspe-1"](Options())
    assert table.cells[row, column].paper == published
    assert len(published_of(table)) == 27


def test_in_the_papers_table_sspe_is_best_in_every_column_as_its_text_says():
    for direction in ("text_query", "image_query"):
        for place in range(3):
            values = {row: found[direction][place] for row, found in SSPE_1.items()}
            assert max(values, key=lambda row: values[row]) == "SSPE"


def test_every_space_of_sspe_1_has_32_dimensions():
    table = TABLES["sspe-1"](Options())
    for row in ("CCA", "PLS", "GMLDA", "ml-CCA", "MMNN", "DSPE"):
        source = sources(table)[row, "NUS-WIDE"]
        assert source.fixed.get("components", source.fixed.get("widths", (0,))[-1]) == 32
        assert set(source.fixed) <= set(METHODS[source.system]().get_params())
    assert set(quoted(table)) == {"LGCFL", "CMOS"} - {row for row, _ in sources(table)}


def test_where_the_paper_has_no_numbers_quoted_rows_are_left_out_and_named():
    for name, left_out in (("sspe-1", "CMOS"), ("gin-1", "AUSL")):
        for data in ("emoji", "corel5k"):
            table = TABLES[name](Options(data=data, root=Path("there") if data == "corel5k" else None))
            assert not published_of(table)
            assert not quoted(table)
            assert {row for row, _ in sources(table)} == set(rows(table))
            assert left_out not in rows(table)
            assert left_out in " ".join(table.notes)
            assert table.name == f"{name}-{data}"
            assert {"CCA", "SM", "chance"} < set(rows(table))
    assert TABLES["gin-1"](Options(data="emoji")).parts[0].experiment.data.name == "emoji"


def test_every_hashing_method_is_a_row_of_gch_at_each_length_of_code():
    table = TABLES["gch-1"](Options())
    ours = sources(table)
    assert ours["SePH", "COCO 32"] == Source("coco-paper", {"model.bits": 32}, "seph", {"bits": 32})
    assert table.cells["SePH", "COCO 64"].paper == (0.650, 0.648, None)
    for column in (column.label for column in table.columns):
        at = {row: source for (row, of), source in ours.items() if of == column and source.fixed}
        assert sorted(source.system for source in at.values()) == sorted({*HASHING_METHODS} - {"noise"})
        assert {source.fixed["bits"] for source in at.values()} == {int(column.split()[-1])}
        assert not {*at} & {*quoted(table)}


def test_what_the_user_can_mend_is_said_and_exits_with_2(tmp_path: Path, capsys):
    for line, words in (
        (["sspe-1"], "give --pascal ROOT"),
        (["sspe-1", "--data", "corel5k"], "give --root ROOT"),
        (["sspe-1", "--coco", str(tmp_path)], "--coco is of no data set"),
        (["sspe-1", "--data", "emoji", "--root", str(tmp_path)], "--root is of no data set"),
        (["sspe-1", "--data", "emoji", "--image-feature", "cnn"], "--image-feature is of data sets with"),
        (["sspe-1", "--data", "emoji", "--faithful"], "--faithful: sspe-1 has no use for it"),
        (["sspe-1", "--data", "emoji", "--only", "pascal"], "sspe-1-emoji has the parts emoji"),
    ):
        assert tables.main([*line, "--folder", str(tmp_path / "tables")]) == 2, line
        assert words in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()


def test_a_run_of_sspe_on_the_papers_data_has_its_row_in_the_report():
    row = paper_row("sspe-mirflickr", PRESETS["sspe-mirflickr"][1])
    assert row is not None
    assert (row["text_query"], row["image_query"], row["average"]) == (0.766, 0.749, None)
    assert "Table 1" in row["source"]
    for name in ("sspe-emoji", "sspe-corel5k", "sspe-folder"):
        assert paper_row(name, PRESETS[name][1]) is None
