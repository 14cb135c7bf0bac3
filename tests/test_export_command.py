"""Exports as a user meets them: every format, asked without the run, never half written."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_folder import write_folder
from untrained_runs import untrained

from gcnxmodal import export, search, train
from gcnxmodal.errors import InputError
from gcnxmodal.retriever import SHORTLISTS, Retriever, save_run_model
from gcnxmodal.runs import FinishedRun, RunFolder, restore
from gcnxmodal.stores.files import describe_items

SMALL = [
    *("gin-emoji", "--data.name", "folder", "--data.image-feature", "features", "--text.words", "40"),
    *("--text.neighbours", "4", "--model.dimension", "16", "--epochs", "1", "--train.pairing", "grid"),
    *("--train.grid-texts", "10", "--train.grid-images", "10"),
]
FORMATS = ("npz", "safetensors", "faiss")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_folder(tmp_path_factory.mktemp("export") / "data")
    lines = (root / "metadata.jsonl").read_text().splitlines()
    odd = json.loads(lines[2])
    odd["text"] += " \u2028 \u00fc"  # a line separator inside a line
    lines[2] = json.dumps(odd)
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    assert train.main([*SMALL, "--data.root", str(data), "--run-dir", str(run)]) == 0
    return run


def finished(data: Path, tmp_path: Path, name: str) -> tuple[FinishedRun, Path]:
    """A run without its training, with the model that it would have written."""
    run = untrained(data, name)
    folder = RunFolder(tmp_path / "run")
    folder.start("preset", run.system.experiment, overwrite=False)
    save_run_model(folder, Retriever.of_run(run).with_items(run.system.inputs))
    return run, folder.path


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", ["gin", "scanet of two layers", "gch"])
def test_every_format_holds_the_bits_of_the_run(data, tmp_path: Path, capsys, name: str, to: str):
    if to == "faiss":
        pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    run, path = finished(data, tmp_path, name)
    assert export.main([str(path), "--to", to, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    found, retriever = Retriever.from_pretrained(tmp_path / "out"), Retriever.of_run(run)
    expected = retriever.embeddings(retriever.encode_items(run.system.inputs))
    assert ("codes of 40 bits" in said) == (name == "gch")
    np.testing.assert_array_equal(found.database.texts, expected.texts, strict=True)
    np.testing.assert_array_equal(found.database.images, expected.images, strict=True)
    scores = {"gin": "inner product", "gch": "hamming", "scanet of two layers": SHORTLISTS}
    assert found.about["score"] == scores[name]
    assert ("only shortlists" in said) == (name == "scanet of two layers")


@pytest.mark.parametrize("name", ["trained", "gch"])
def test_an_export_is_asked_without_run_and_data_and_finds_the_same(
    trained: Path, data: Path, tmp_path: Path, name: str
):
    if name != "trained":
        _, trained = finished(data, tmp_path, name)
    options = [{"text": "word01 word30 word02", "k": 7, "among": among} for among in ("all", "test")]
    expected = [search.run(search.Arguments(trained, **chosen)) for chosen in options]
    export.run(export.Arguments(trained, "npz", out=tmp_path / "out"))
    data.rename(data.with_name("hidden"))
    try:
        found = [search.run(search.Arguments(tmp_path / "out", **chosen)) for chosen in options]
    finally:
        data.with_name("hidden").rename(data)
    for one, other in zip(found, expected, strict=True):
        assert [hit.id for hit in one] == [hit.id for hit in other]
        np.testing.assert_allclose([item.score for item in one], [item.score for item in other], rtol=1e-6)
    assert min(hit.metadata["row"] for hit in found[1]) >= 60


def test_items_are_described_line_by_line_and_a_part_of_them_can_be_chosen(trained: Path, tmp_path: Path):
    export.run(export.Arguments(trained, "npz", out=tmp_path / "all"))
    export.run(export.Arguments(trained, "npz", out=tmp_path / "test", among="test"))
    every, test = (Retriever.from_pretrained(tmp_path / name) for name in ("all", "test"))
    assert [item["row"] for item in every.items] == list(range(90))
    assert [item["row"] for item in test.items] == list(range(60, 90))
    np.testing.assert_array_equal(test.database.texts, every.database.texts[60:])
    assert every.items[2]["text"].endswith(" \u2028 \u00fc")
    assert every.items[4] | {"text": ""} == {
        "id": "4",
        "row": 4,
        "text": "",
        "labels": ["class1"],
        "splits": ["train"],
    }
    with pytest.raises(InputError, match=r"--among is retrieval; this run has all, .*: choose one"):
        export.run(export.Arguments(trained, "npz", out=tmp_path / "other", among="retrieval"))
    assert not (tmp_path / "other").exists()


def test_pictures_are_named_below_the_folder_they_share(trained: Path):
    corpus = restore(trained, None, print).system.inputs.corpus
    names = tuple(f"/somewhere/pictures/{'a' if row % 2 else 'b'}/{row}.png" for row in range(90))
    items = describe_items(dataclasses.replace(corpus, pictures=names), np.array([3, 8]))
    assert [item["id"] for item in items] == ["a/3.png", "b/8.png"]


def test_an_export_is_never_written_over_unasked(trained: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    command = [str(trained), "--to", "npz", "--out", str(out)]
    assert export.main(command) == 0
    before = (out / "embeddings.npz").stat().st_mtime_ns
    assert export.main(command) == 2
    assert "already has an export; add --overwrite" in capsys.readouterr().err
    assert (out / "embeddings.npz").stat().st_mtime_ns == before
    assert export.main([*command, "--overwrite"]) == 0
    assert (out / "embeddings.npz").stat().st_mtime_ns > before
    other = tmp_path / "mine"
    other.mkdir()
    (other / "precious.txt").write_text("kept")
    assert export.main([*command[:3], "--out", str(other), "--overwrite"]) == 2
    assert "--out has files in it but no export" in capsys.readouterr().err
    assert (other / "precious.txt").read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "mine"}


def test_an_export_that_fails_leaves_the_one_before_and_nothing_else(
    trained: Path, tmp_path: Path, monkeypatch
):
    out = tmp_path / "out"
    export.run(export.Arguments(trained, "npz", out=out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_items", full)
    with pytest.raises(InputError, match=r"out: cannot be written \(No space left on device\); make room"):
        export.run(export.Arguments(trained, "npz", out=out, overwrite=True))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_by_default_it_lies_in_the_run(trained: Path):
    out = export.run(export.Arguments(trained, "safetensors"))
    assert out == trained / "export-safetensors"
    assert (out / "embeddings.safetensors").is_file()
    shutil.rmtree(out)


def test_faiss_is_asked_for_by_name_where_it_is_missing(trained: Path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert export.main([str(trained), "--to", "faiss"]) == 2
    assert "pip install 'gcnxmodal[faiss]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("export.json", b"{}", r"export\.json: the field 'format': Field required"),
        ("export.json", b"{", r"export\.json: is not JSON"),
        ("items.jsonl", b"", "0 items, 90 texts, 90 images"),
        ("items.jsonl", None, r"items\.jsonl: cannot be read"),
        ("embeddings.npz", b"PK", r"embeddings\.npz: cannot be read"),
    ],
)
def test_a_damaged_export_is_named(
    trained: Path, tmp_path: Path, name: str, content: bytes | None, message: str
):
    export.run(export.Arguments(trained, "npz", out=tmp_path / "out"))
    path = tmp_path / "out" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Retriever.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"among": "retrieval"}, "no item is in 'retrieval'"),
        ({"text": "unheard-of"}, "none of its words is among the 40"),
        (
            {"text": None, "picture": Path("a.png")},
            "its images are 'features', which is not made from a picture",
        ),
    ],
)
def test_a_question_that_an_export_cannot_answer_is_refused(
    trained: Path, tmp_path: Path, arguments, message
):
    export.run(export.Arguments(trained, "npz", out=tmp_path / "out"))
    with pytest.raises(InputError, match=message):
        search.run(search.Arguments(tmp_path / "out", **({"text": "word01"} | arguments)))
