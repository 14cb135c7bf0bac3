"""Wikipedia's official features in a table: a fault of them, or other ones, shows before anything is done."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from made_up_table import with_rows
from small_folder import write_folder

from gcnxmodal import sweeps
from gcnxmodal.errors import InputError
from gcnxmodal.papers import TABLES
from gcnxmodal.papers.engine import reproduce
from gcnxmodal.papers.options import Options
from gcnxmodal.papers.table import Source, Table

SIDES = {"tr": 30, "te": 15}


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeps, "run_sweep", lambda *_, **__: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small folder with the lists and the official features of Wikipedia's archive beside."""
    root = write_folder(tmp_path / "data", items=45)
    (root / "categories.list").write_text("art\nbiology\n")
    for side, n in SIDES.items():
        lines = [f"{side}{row}\t{side}{row}\t{1 + row % 2}\n" for row in range(n)]
        name = {"tr": "train", "te": "test"}[side]
        (root / f"{name}set_txt_img_cat.list").write_text("".join(lines))
    write_official(root)
    return root


def write_official(root: Path, **more: np.ndarray) -> None:
    random = np.random.default_rng(0)
    arrays = {f"{name}_{side}": random.random((n, 7)) for name in "IT" for side, n in SIDES.items()}
    scipy.io.savemat(root / "raw_features.mat", {**arrays, **more})


def small(root: Path) -> Table:
    table = TABLES["sspe-1"](Options(data="corel5k", root=root))
    rows = {
        "PLS": Source("corel5k", system="pls", fixed={"components": 5}),
        "official": Source("corel5k", system="pls", fixed={"components": 5}, official=True),
    }
    return with_rows(table, rows)


def make(root: Path, folder: Path, **more) -> Path:
    return reproduce(small(root), folder, seeds=1, command="python -m gcnxmodal.tables ...", **more)


@pytest.mark.parametrize(
    ("array", "name"), [("I_te", "images"), ("T_tr", "texts"), ("", "labels")], ids=["I_te", "T_tr", "labels"]
)
def test_numbers_of_other_official_features_are_refused_and_overwrite_replaces_them(
    array: str, name: str, root: Path, tmp_path: Path
):
    path = make(root, tmp_path / "tables")
    kept = path / "baselines/corel5k/official/pls.json"
    before = json.loads(kept.read_text())
    assert set(before["corpus"]) == {"official images", "official texts", "official labels"}
    assert make(root, tmp_path / "tables") == path  # what is unchanged goes on
    if array:
        write_official(root, **{array: np.random.default_rng(1).random((SIDES[array[-2:]], 7))})
    else:
        lines = root / "testset_txt_img_cat.list"
        lines.write_text(lines.read_text().replace("te0\t1\n", "te0\t2\n"))
    with pytest.raises(
        InputError,
        match=rf"official/pls.*\.json: .* of other data: official {name} of the corpus differ; name",
    ):
        make(root, tmp_path / "tables")
    assert json.loads(kept.read_text()) == before
    make(root, tmp_path / "tables", overwrite=True)
    after = json.loads(kept.read_text())["corpus"]
    assert {which for which in after if after[which] != before["corpus"][which]} == {f"official {name}"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"T_te": np.ones((3, 7))}, r"'T_te' has 3 rows"),
        ({"I_te": np.ones((15, 6))}, r"'I_te' has 6 features an item but 'I_tr' has 7"),
        ({"I_tr": np.full((30, 7), np.nan)}, r"I_tr"),
    ],
    ids=["rows", "columns", "nan"],
)
def test_a_fault_of_the_official_features_shows_before_anything_is_trained_or_deleted(
    arrays, words: str, overwrite: bool, root: Path, tmp_path: Path, monkeypatch
):
    make(root, tmp_path / "tables")
    kept = sorted((tmp_path / "tables").rglob("pls.json"))
    assert len(kept) == 2
    write_official(root, **arrays)
    monkeypatch.setattr(sweeps, "run_sweep", lambda *_, **__: pytest.fail("something is trained"))
    with pytest.raises(InputError, match=rf"raw_features\.mat: .*{words}"):
        make(root, tmp_path / "tables", overwrite=overwrite)
    assert sorted((tmp_path / "tables").rglob("pls.json")) == kept
