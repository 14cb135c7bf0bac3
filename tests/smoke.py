"""What a user does first, with the versions at hand: `python tests/smoke.py FOLDER`, a folder to be made.

Imports every module, trains, exports and searches three systems, and reads with the package of each extra.
tests/versions.sh runs it with the lowest and with the newest versions that pyproject.toml allows.
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import datasets
import h5py
import numpy as np
from small_folder import write_folder

import gcnxmodal
from gcnxmodal import export, features, search, train
from gcnxmodal.data.arrays import read_mat
from gcnxmodal.data.emoji import emojis
from gcnxmodal.data.pictures import rasterise
from gcnxmodal.data.visual_words import sift
from gcnxmodal.text.vocabulary import Tokenizer

SMALL = ("--data.image-feature", "features", "--text.words", "40", "--epochs", "3", "--evaluate-every", "3")
RUNS = {  # options, and what the run is exported to
    "gin-folder": (("--train.grid-texts", "20", "--train.grid-images", "20"), "npz"),
    "joint-folder": (
        ("--train.batch", "32", "--model.dimension", "16", "--model.members", "2"),
        "safetensors",
    ),
    "gch-folder-paper": (("--train.batch", "20", "--model.bits", "16", "--model.width", "32"), "faiss"),
}


def import_every_module() -> None:
    for module in pkgutil.walk_packages(gcnxmodal.__path__, "gcnxmodal."):
        if module.name != "gcnxmodal.__main__":
            importlib.import_module(module.name)


def read(folder: Path) -> None:
    """Words, pictures and MATLAB's arrays."""
    assert Tokenizer(lemmatise=True)("mice running") == ["mouse", "run"]
    assert Tokenizer(segmenter="jieba")("我们喜欢苹果") == ["我们", "喜欢", "苹果"]
    drawn = rasterise([emoji.picture for emoji in emojis(flags=False)[:4]], 64, folder)
    assert sift(drawn[0]).shape[1] == 128
    written = features.run(features.Arguments(folder, "efficientnet-lite0"))
    assert np.load(written)["images"].shape == (4, 1280)
    with h5py.File(folder / "rows.mat", "w") as file:
        file["rows"] = np.eye(3)
    np.testing.assert_array_equal(read_mat(folder / "rows.mat", "rows"), np.eye(3))


def write_rows_as(folder: Path, kind: str) -> None:
    """metadata.jsonl as Parquet, or as the library `datasets` saves it."""
    jsonl = folder / "metadata.jsonl"
    rows = datasets.Dataset.from_list([json.loads(line) for line in jsonl.read_text().splitlines()])
    if kind == "parquet":
        rows.to_parquet(folder / "metadata.parquet")
    else:
        rows.save_to_disk(folder)
    jsonl.unlink()


def run(preset: str, data: Path, run_dir: Path) -> None:
    """Train, export, and search the run and its export."""
    options, kind = RUNS[preset]
    where = ("--data.root", str(data), "--run-dir", str(run_dir))
    assert train.main([preset, *where, *SMALL, *options]) == 0
    assert export.main([str(run_dir), "--to", kind]) == 0
    for place in (run_dir, run_dir / f"export-{kind}"):
        assert search.main([str(place), "--text", "word01 word02", "--k", "3"]) == 0


def main(folder: Path) -> None:
    import_every_module()
    read(folder / "pictures")
    for preset, rows in zip(RUNS, ("jsonl", "parquet", "datasets"), strict=True):
        data = write_folder(folder / preset)
        if rows != "jsonl":
            write_rows_as(data, rows)
        run(preset, data, folder / f"run-{preset}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
