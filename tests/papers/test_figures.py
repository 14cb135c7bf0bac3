"""SSPE's figures made again: what is trained and fitted, used again, drawn and written."""

import csv
import dataclasses
import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up_table import sources
from small_folder import write_folder

from gcnxmodal import evaluation, figures, sweeps
from gcnxmodal.baselines import METHODS
from gcnxmodal.config import Experiment, validate
from gcnxmodal.errors import InputError
from gcnxmodal.papers import FIGURES, TABLES, baselines, engine, sspe
from gcnxmodal.papers.engine import PartFolder, reproduce, show
from gcnxmodal.papers.options import Options
from gcnxmodal.papers.table import Figure
from gcnxmodal.runs import RunFolder
from gcnxmodal.sweeps import expand, groups
from gcnxmodal.systems import PRESETS

ALPHAS = (0.0, 0.4)


def small(name: str, root: Path) -> Figure:
    """The figure `name` on a small folder: narrow models of two epochs, two values of each alpha."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sspe, "ALPHAS", ALPHAS)
        figure = FIGURES[name](Options(data="corel5k", root=root, epochs=2))
    parts = []
    for part in figure.parts:
        e = part.experiment
        text = dataclasses.replace(e.text, words=40)
        model = dataclasses.replace(e.model, hidden=8, dimension=8)
        # Measured on the way as for sspe-8, so that the others can use its runs.
        e = dataclasses.replace(e, text=text, model=model, evaluate_every=1)
        parts.append(dataclasses.replace(part, experiment=e))
    return dataclasses.replace(figure, parts=tuple(parts))


def make(name: str, root: Path, folder: Path, *, seeds: int, **more) -> Path:
    return reproduce(small(name, root), folder, seeds=seeds, command="python -m gcnxmodal.figures", **more)


def rows_of(path: Path) -> list[dict[str, str]]:
    with (path / "figure.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in [*path.glob("figure.*"), *path.glob("plots/*")]}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Without the reports of members, which have tests of their own; networks of few steps."""

    def few_steps(method: type) -> type:
        def init(self, **values):
            method.__init__(self, **{"steps": 20, **values})

        # The signature says what the method takes.
        init.__signature__ = inspect.signature(method.__init__)  # pyright: ignore
        return type(method.__name__, (method,), {"__init__": init, "space": {}})

    quick = {name: few_steps(METHODS[name]) for name in ("mmnn", "dspe")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "write_report", lambda *_, **__: None)
        patch.setattr(baselines, "METHODS", {**METHODS, **quick})
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("figures-data"))


@pytest.fixture(scope="module")
def history(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sspe-8 with two seeds."""
    return make("sspe-8", data, tmp_path_factory.mktemp("figures"), seeds=2)


@pytest.fixture(scope="module")
def scope(data: Path, history: Path) -> Path:
    """The folder of sspe-4 with two seeds, from the same runs."""
    shutil.copytree(history / "runs", history.parent / "sspe-4-corel5k" / "runs")
    return make("sspe-4", data, history.parent, seeds=2)


@pytest.fixture(scope="module")
def surface(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sspe-5 with one seed."""
    return make("sspe-5", data, tmp_path_factory.mktemp("figures"), seeds=1)


def test_precision_by_scope_is_mean_and_spread_of_the_curves_of_the_runs(scope: Path):
    members = scope / "runs" / "corel5k" / "seeds0-1" / "members"
    curves = [json.loads((members / f"seed={s}" / "curves.json").read_text()) for s in (0, 1)]
    for direction, words in (("text_query", "text queries"), ("image_query", "image queries")):
        drawn = [r for r in rows_of(scope) if r["line"] == "SSPE" and r["measure"].endswith(words)]
        assert [int(row["x"]) for row in drawn] == list(range(1, 31))  # all test items
        each = [of["model"]["scope"][direction]["precision"] for of in curves]
        np.testing.assert_array_equal([float(row["mean"]) for row in drawn], np.mean(each, axis=0))
        np.testing.assert_array_equal([float(row["std"]) for row in drawn], np.std(each, axis=0))
        assert {row["seeds"] for row in drawn} == {"0 1"}


def test_baselines_stand_beside_and_only_the_random_ones_have_seeds(scope: Path):
    rows = rows_of(scope)
    assert list(dict.fromkeys(r["line"] for r in rows)) == ["SSPE", "GMLDA", "ml-CCA", "MMNN", "DSPE", "CCA"]
    seeds = {row["line"]: row["seeds"] for row in rows}
    assert [name for name, found in seeds.items() if found == "0 1"] == ["SSPE", "MMNN", "DSPE"]
    assert {row["std"] for row in rows if row["line"] == "CCA"} == {""}
    # Everything is retrieved at the last place: a third is relevant, whatever the method.
    for row in rows:
        if row["x"] == "30":
            assert float(row["mean"]) == pytest.approx(1 / 3, abs=1e-5)


def test_a_runs_scope_is_what_was_measured_to_five_decimals_and_every_rank_up_to_fifty():
    precision = np.random.default_rng(0).random(1100)
    curves = {
        "text_query": {"scope": [*range(1, 1001), *range(1100, 11_100, 100)], "precision_at_scope": precision}
    }
    kept = evaluation.kept_scope(curves)["text_query"]
    assert kept["n"][:50] == list(range(1, 51))
    assert kept["n"][-1] == 11_000
    assert len(kept["n"]) <= 150
    assert kept["n"] == sorted(set(kept["n"]))
    places = [curves["text_query"]["scope"].index(n) for n in kept["n"]]
    np.testing.assert_allclose(kept["precision"], precision[places], atol=5.1e-6)


def test_the_surface_is_one_program_and_has_a_number_at_every_setting(data: Path, surface: Path):
    (part,) = small("sspe-5", data).parts
    members = expand(part.experiment, part.over, 3)
    assert len(members) == 12
    assert len(groups(members)) == 1
    rows = [row for row in rows_of(surface) if row["panel"] == "alphas-corel5k-average"]
    found = {(row["line"], float(row["x"])): float(row["mean"]) for row in rows}
    assert set(found) == {(f"alpha1 = {a:g}", b) for a in ALPHAS for b in ALPHAS}
    assert np.isfinite(list(found.values())).all()  # where alpha2 = 0, the paper had NaN
    for (label, alpha2), value in found.items():
        alpha1 = float(label.removeprefix("alpha1 = "))
        name = f"runs/corel5k/seeds0-0/members/alpha1={alpha1},alpha2={alpha2},seed=0/results.json"
        assert value == json.loads((surface / name).read_text())["protocols"]["standard"]["average"]
    page = (surface / "figure.html").read_text()
    assert "Here, of 2 runs with alpha2 = 0, 2 ended with a number." in page
    assert page.count("<svg") == 3


def test_members_of_a_surface_have_no_reports_and_no_links_to_any(data: Path, surface: Path):
    page = (surface / "runs/corel5k/seeds0-0/report.html").read_text()
    assert "gcnxmodal.evaluate" in page
    assert 'href="members' not in page
    assert "--no-member-reports" in page
    assert 'href="runs/corel5k/seeds0-0/report.html"' in (surface / "figure.html").read_text()


def test_a_run_without_a_number_is_counted_and_left_out(data: Path, surface: Path, tmp_path: Path):
    shutil.copytree(surface, tmp_path / surface.name)
    member = tmp_path / surface.name / "runs/corel5k/seeds0-0/members/alpha1=0.4,alpha2=0.0,seed=0"
    (member / "results.json").unlink()
    (member / "diverged.json").write_text('{"step": 3}')
    path = make("sspe-5", data, tmp_path, seeds=1)
    assert len(rows_of(path)) == 3 * 3
    page = (path / "figure.html").read_text()
    assert "Here, of 2 runs with alpha2 = 0, 1 ended with a number." in page
    assert "corel5k alpha1 = 0.4, alpha2 = 0: the loss was not a number with seed 0" in page


def test_the_second_time_trains_and_fits_nothing_and_writes_the_same_bytes(
    data: Path, scope: Path, monkeypatch: pytest.MonkeyPatch
):
    before = bytes_of(scope)
    assert {file.suffix for file in before} == {".csv", ".html", ".png"}
    monkeypatch.setattr(sweeps, "run_sweep", lambda *_, **__: pytest.fail("something is trained"))
    monkeypatch.setattr(engine, "load_corpus", lambda *_: pytest.fail("data are read"))
    assert make("sspe-4", data, scope.parent, seeds=2) == scope
    assert bytes_of(scope) == before


def test_more_seeds_train_and_fit_the_new_ones_only(
    data: Path, scope: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(scope, tmp_path / scope.name)
    trained, fitted = [], []
    evaluate = baselines._evaluate

    def copy(preset: str, experiment: Experiment, *, seeds: int, folder: Path, **_):
        """What a sweep would leave behind; trained elsewhere."""
        trained.append((experiment.seed, seeds))
        shutil.copytree(folder.parent / "seeds0-1", folder)
        members = folder / "members"
        (members / "seed=0").rename(members / "seed=2")

    def recorded(measurement, *rest):
        fitted.append((measurement.source.system, measurement.seed))
        return evaluate(measurement, *rest)

    monkeypatch.setattr(sweeps, "run_sweep", copy)
    monkeypatch.setattr(baselines, "_evaluate", recorded)
    path = make("sspe-4", data, tmp_path, seeds=3)
    assert trained == [(2, 1)]
    assert fitted == [("mmnn", 2), ("dspe", 2)]
    assert {row["seeds"] for row in rows_of(path) if row["line"] in ("SSPE", "MMNN")} == {"0 1 2"}


def test_a_point_has_the_seeds_that_are_there_and_a_reason_where_they_are_fewer_than_asked(
    data: Path, history: Path, tmp_path: Path
):
    figure = small("sspe-7", data)
    runs = tmp_path / "runs"
    for part, sweep_name in (
        ("corel5k-4", "seeds0-1"),
        ("corel5k-8", "seeds0-0"),
        ("corel5k-12", "seeds0-1"),
    ):
        shutil.copytree(history / "runs/corel5k/seeds0-1", runs / part / sweep_name)
    member = runs / "corel5k-12/seeds0-1/members/seed=1"
    (member / "results.json").unlink()
    (member / "diverged.json").write_text('{"step": 3}')
    path = show(figure, tmp_path, 2, "python -m gcnxmodal.figures")
    rows = [row for row in rows_of(path) if row["line"] == "image queries"]
    found = {row["x"]: (row["seeds"], bool(row["std"])) for row in rows}
    assert found == {"4": ("0 1", True), "8": ("0", False), "12": ("0", False)}
    page = (path / "figure.html").read_text()
    assert "corel5k-8: seed 0 only, of the 2 that were asked for." in page
    assert "corel5k-12: the loss was not a number with seed 1." in page
    assert "corel5k-16; corel5k-20: not run yet" in page
    assert "0 to 1, of some points fewer" in page
    assert "corel5k-4:" not in page


def test_numbers_of_other_data_are_refused_and_the_same_data_elsewhere_are_not(
    data: Path, history: Path, scope: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweeps, "run_sweep", lambda *_, **__: pytest.fail("something is trained"))
    make("sspe-8", shutil.copytree(data, tmp_path / "elsewhere"), history.parent, seeds=2)
    other = write_folder(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"seed=0/results\.json: these numbers are of other data: items and"):
        make("sspe-8", other, history.parent, seeds=2)
    figure = small("sspe-4", data)
    kept = json.loads((scope / "baselines/corel5k/cca-32.json").read_text())["corpus"]
    shutil.rmtree(shutil.copytree(scope, tmp_path / "scope") / "runs")
    folder = PartFolder(figure.parts[0], figure, tmp_path / "scope", 2)
    folder.check_data(kept)
    with pytest.raises(
        InputError, match=r"baselines/corel5k/.*: images of the corpus differ; name the folder"
    ):
        folder.check_data({**kept, "images": "other"})


def test_baselines_are_those_of_the_table():
    table = TABLES["sspe-1"](Options(data="emoji"))
    figure = FIGURES["sspe-4"](Options(data="emoji"))
    assert figure.parts[0].experiment == table.parts[0].experiment  # the same data, read in the same way
    lines = {row.label: cell.source for row, _, cell in figure.panels[0]}
    for label in ("GMLDA", "ml-CCA", "MMNN", "DSPE", "CCA"):
        source, ours = lines[label], sources(table)[label, "emoji"]
        assert source is not None
        assert (source.system, source.fixed) == (ours.system, ours.fixed)
        assert not source.of_runs


def test_losses_and_map_by_iteration_are_mean_and_spread_of_the_lines_of_the_runs(history: Path):
    members = history / "runs/corel5k/seeds0-1/members"
    lines = [RunFolder(members / f"seed={seed}").history() for seed in (0, 1)]
    rows = rows_of(history)
    for label, value in (("semantic graph", "semantic"), ("labels", "labels"), ("text graph", "text_graph")):
        drawn = [row for row in rows if row["line"] == label]
        assert [int(row["x"]) for row in drawn] == [12, 24]  # 60 items, 5 a batch, 2 epochs
        each = [[line[value] for line in of] for of in lines]
        np.testing.assert_array_equal([float(row["mean"]) for row in drawn], np.mean(each, axis=0))
        np.testing.assert_array_equal([float(row["std"]) for row in drawn], np.std(each, axis=0))
    drawn = [float(row["mean"]) for row in rows if row["line"] == "text queries"]
    each = [[line["standard"]["text_query"] for line in of] for of in lines]
    np.testing.assert_array_equal(drawn, np.mean(each, axis=0))
    names = {file.name for file in (history / "plots").iterdir()}
    assert names == {"losses-corel5k.png", "map-corel5k.png"}


def test_a_dimension_and_a_number_of_neighbours_are_one_program_each_over_the_seeds():
    (part,) = FIGURES["sspe-6"](Options(data="emoji")).parts
    assert [len(group) for group in groups(expand(part.experiment, part.over, 3))] == [3] * 5
    for part in FIGURES["sspe-7"](Options(data="emoji")).parts:
        assert len(groups(expand(part.experiment, part.over, 3))) == 1


def test_a_quarter_of_the_neighbours_is_of_the_items_own_modality():
    parts = FIGURES["sspe-7"](Options(data="emoji")).parts
    found = [
        (p.name, p.experiment.train.other, p.experiment.train.same, p.experiment.train.near) for p in parts
    ]
    assert found == [
        ("emoji-4", 3, 1, 4),
        ("emoji-8", 6, 2, 8),
        ("emoji-12", 9, 3, 12),
        ("emoji-16", 12, 4, 16),
        ("emoji-20", 15, 5, 20),
    ]
    preset = PRESETS["sspe-emoji"][1].train
    assert (preset.other, preset.same, preset.near) == found[1][1:]  # the point that the preset is


@pytest.mark.parametrize("name", FIGURES)
def test_on_the_papers_data_sets_what_has_no_folder_is_named_with_its_option(name: str, tmp_path: Path):
    figure = FIGURES[name](Options())
    for part in figure.parts:
        validate(part.experiment)
    with pytest.raises(InputError, match=r"nothing can be run\. .*--mirflickr ROOT, or --data emoji"):
        reproduce(figure, tmp_path, seeds=1, command="")
    assert not list(tmp_path.iterdir())


def test_runs_of_other_options_are_refused(data: Path, scope: Path):
    figure = small("sspe-4", data)
    parts = tuple(
        dataclasses.replace(part, experiment=dataclasses.replace(part.experiment, epochs=3))
        for part in figure.parts
    )
    with pytest.raises(InputError, match=r"have experiment\.epochs = 2 but the command says 3"):
        reproduce(dataclasses.replace(figure, parts=parts), scope.parent, seeds=2, command="")


def test_bad_arguments_are_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = ["--folder", str(tmp_path)]
    assert figures.main(["sspe-4", "--data", "corel5k", "--root", str(data), "--only", "emoji", *folder]) == 2
    assert "--only emoji: sspe-4-corel5k has the parts corel5k" in capsys.readouterr().err
    assert figures.main(["sspe-8", "--data", "emoji", "--seeds", "0", *folder]) == 2
    assert "--seeds is 0; it must be at least 1" in capsys.readouterr().err
    assert figures.main(["sspe-8", "--data", "emoji", "--image-feature", "pixels", *folder]) == 2
    assert "--image-feature is of data sets with a folder, but --data is emoji" in capsys.readouterr().err
    corel5k = ["--data", "corel5k", "--root", str(data)]
    assert figures.main(["sspe-8", *corel5k, "--image-feature", "pixels", *folder]) == 2
    assert "SSPE has no network for pixels" in capsys.readouterr().err
    assert figures.main(["sspe-4", "--root", str(data), *folder]) == 2
    assert "--root is of no data set of sspe-4 --data paper; give --data corel5k" in capsys.readouterr().err
    assert figures.main(["sspe-6", "--nus-wide", str(data), *folder]) == 2
    assert "--nus-wide is of no data set of sspe-6 --data paper; leave it out" in capsys.readouterr().err
