"""Every format that is read: how to write a valid file of it, and what reads it."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse as sp
from nus_wide_folder import load_nus_wide, write_nus_wide
from PIL import Image
from small_folder import write_folder

from gcnxmodal.data import mirflickr
from gcnxmodal.data.arrays import array_names, features_of, load_mat, load_npz, mat_shapes, read_mat
from gcnxmodal.data.files import read_json
from gcnxmodal.data.load import LOADERS
from gcnxmodal.data.pictures import centre_square, imagenet_crop, rasterise
from gcnxmodal.environment import environment
from gcnxmodal.export import write_export
from gcnxmodal.nn.weights import read_weights
from gcnxmodal.papers.baselines import Measured, read_measurement
from gcnxmodal.report.page import data_uri
from gcnxmodal.retriever import Retriever, save_run_model
from gcnxmodal.runs import Curves, RunFolder, write_json
from gcnxmodal.sweeps import SweepFolder, sweep_config
from gcnxmodal.systems import PRESETS
from gcnxmodal.text.vectors import load_vectors
from gcnxmodal.text.vocabulary import Tokenizer
from gcnxmodal.training.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class Format:
    """Attributes:
    write: makes valid files in a new folder.
    read: reads them as the package does.
    files: which of them are damaged, as a pattern; by default all.
    times: how often, before the factor of a run of the fuzzer; the slow ones less often.
    """

    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    files: str = "**/*"
    times: int = 60


_random = functools.partial(np.random.default_rng, 0)
_WORDS = ("cat", "dog", "apple", "house")


# --- Arrays ---


def _write_npz(folder: Path) -> None:
    names = np.array([f"im{row}.jpg" for row in range(6)])
    np.savez(folder / "features.npz", images=_random().random((6, 5), np.float32), file_names=names)


def _read_npz(folder: Path) -> None:
    path = folder / "features.npz"
    load_npz(path, array_names(path, "fix") or ["images"], "fix")
    features_of(path, ["im1.jpg", "im4.jpg"], np.array([1, 4]), 6, "fix")


def _write_rows(folder: Path) -> None:
    np.savez(folder / "features.npz", images=_random().random((6, 5)))


def _write_mat(folder: Path) -> None:
    cells = np.array([["im1.jpg"], ["im2.jpg"]], object)
    arrays = {"XAll": _random().random((4, 3)), "FAll": cells, "YAll": sp.csc_array(np.eye(4))}
    scipy.io.savemat(folder / "old.mat", arrays)


def _read_mat(folder: Path) -> None:
    (path,) = folder.iterdir()
    for name in mat_shapes(path):
        read_mat(path, name)
    if path.name == "old.mat":
        load_mat(path, ["XAll", "FAll"], "fix")


def _write_mat73(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "new.mat", "w", userblock_size=512) as file:
        file.create_dataset("XAll", data=_random().random((3, 4)))
        file.create_dataset("YAll", data=np.eye(4), compression="gzip")
        file["XAll"].attrs["MATLAB_class"] = np.bytes_("double")
        sparse = file.create_group("SAll")
        sparse.attrs["MATLAB_sparse"] = np.uint64(4)
        for name, values in (("data", np.ones(4)), ("ir", np.arange(4)), ("jc", np.arange(5))):
            sparse[name] = values
    with (folder / "new.mat").open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 1 00:00:00 2018 HDF5")


# --- Pictures ---


def _write_picture(suffix: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        pixels = _random().integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"picture.{suffix}")

    return write


def _read_picture(folder: Path) -> None:
    (path,) = folder.iterdir()
    data_uri(path)
    centre_square(path, 16)
    imagenet_crop(path, 16)


_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72"><defs><g id="a"><circle cx="36" cy="36" '
    'r="23" fill="#fcea2b"/></g></defs><use href="#a"/><path d="M10 10 L20 30 Z" stroke="red"/>'
    '<text x="4" y="9" font-size="8">a</text></svg>'
)


def _read_svg(folder: Path) -> None:
    rasterise([folder / "picture.svg"], 16, folder.parent / "drawn", progress=False)
    (folder.parent / "drawn" / "picture.png").unlink()


# --- Word vectors and weights ---


def _write_vectors(kind: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rows = _random().random((4, 5)).astype("<f4")
        header = f"{len(rows)} {rows.shape[1]}\n".encode()
        if kind == "binary":
            lines = [
                word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(_WORDS, rows, strict=True)
            ]
        else:
            lines = [
                f"{word} {' '.join(map(str, row))}\n".encode() for word, row in zip(_WORDS, rows, strict=True)
            ]
        (folder / "vectors").write_bytes((b"" if kind == "glove" else header) + b"".join(lines))

    return write


def _write_torch(as_zip: bool) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        import torch

        base = torch.arange(24.0).reshape(4, 6)
        weights = {"a.weight": base, "a.bias": base[1], "b": torch.tensor([1, 2]), "c": base.half().T}
        torch.save(weights, folder / "weights.pth", _use_new_zipfile_serialization=as_zip)

    return write


def _write_safetensors(folder: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.ones((3, 2), np.float32), "b": np.arange(4)}, folder / "weights.safetensors")


def _read_weights(folder: Path) -> None:
    (path,) = folder.iterdir()
    read_weights(path)


# --- Data sets ---


def _load(name: str, **options: Any) -> Callable[[Path], Any]:
    """By its loader, from a cache of this reading alone."""

    def load(folder: Path) -> Any:
        given = {"words": 20, "tokenizer": Tokenizer(), "image_feature": "features", **options}
        return LOADERS[name](folder, cache_dir=folder.parent / "cache", **given)

    return load


def _rows(n: int = 12) -> list[dict[str, Any]]:
    return [
        {
            "text": f"{_WORDS[row % 4]} word{row} of this picture",
            "label": f"class{row % 2}",
            "split": "test" if row % 3 == 0 else "train",
            "price": row / 2,
        }
        for row in range(n)
    ]


def _write_own(suffix: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rows = _rows()
        np.savez(folder / "features.npz", images=_random().random((len(rows), 5)))
        path = folder / f"metadata.{suffix}"
        if suffix == "csv":
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
            path.write_text("\n".join(lines) + "\n")
        elif suffix == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="none")

    return write


def _write_captions(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        bars = name == "results.csv"
        lines = ["image_name| comment_number| comment" if bars else "image,caption"]
        for row in range(10):
            _write_picture("jpg")(folder)
            picture = (folder / "picture.jpg").rename(folder / f"{row}.jpg")
            for number in range(2):
                between = f"| {number}| " if bars else ","
                lines.append(f"{picture.name}{between}a {_WORDS[row % 4]} number {number}")
        (folder / name).write_text("\n".join(lines) + "\n")
        if not bars:
            for part, rows in (("train", range(6)), ("dev", range(6, 8)), ("test", range(8, 10))):
                text = "".join(f"{row}.jpg\n" for row in rows)
                (folder / f"Flickr_8k.{part}Images.txt").write_text(text)

    return write


def _write_pascal(folder: Path) -> None:
    voc = folder / "VOCdevkit" / "VOC2007"
    for name in ("Annotations", "ImageSets/Main"):
        (voc / name).mkdir(parents=True)
    lists = {"trainval.txt": range(4), "test.txt": range(4, 6)}
    for name, rows in lists.items():
        (voc / "ImageSets/Main" / name).write_text("".join(f"00000{row}\n" for row in rows))
    for row in range(6):
        found = f"<object><name>{('car', 'dog')[row % 2]}</name><difficult>0</difficult></object>"
        text = f"<annotation><folder>VOC2007</folder>{found}</annotation>"
        (voc / f"Annotations/00000{row}.xml").write_text(text)
    (folder / "tags.txt").write_text("".join(f"00000{row}\t{_WORDS[row % 4]} tag\n" for row in range(6)))
    np.savez(folder / "features.npz", images=_random().random((6, 3)))


def _write_wikipedia(folder: Path) -> None:
    (folder / "texts").mkdir()
    (folder / "categories.list").write_text("art\nbiology\n")
    for split, rows in (("train", range(4)), ("test", range(4, 6))):
        lines = [f"t{row}\ti{row}\t{row % 2 + 1}\n" for row in rows]
        (folder / f"{split}set_txt_img_cat.list").write_text("".join(lines))
    for row in range(6):
        text = f"<document>\n<text>\n{_WORDS[row % 4]} word &gt;\n</text>\n</document>"
        (folder / f"texts/t{row}.xml").write_text(text)
    arrays = {"I_tr": _random().random((4, 6)), "I_te": _random().random((2, 6))}
    scipy.io.savemat(folder / "raw_features.mat", arrays)


def _write_coco(folder: Path) -> None:
    (folder / "annotations").mkdir()
    ids = {"train2014": range(1, 7), "val2014": range(7, 11)}
    for part, numbers in ids.items():
        images = [{"id": n, "file_name": f"COCO_{part}_{n:012d}.jpg", "height": 4} for n in numbers]
        captions = [{"image_id": n, "id": n, "caption": f"A {_WORDS[n % 4]} there."} for n in numbers]
        objects = [{"image_id": n, "id": n, "category_id": n % 2, "bbox": [1.5, 2]} for n in numbers]
        kinds = [{"id": n, "name": name} for n, name in enumerate(("car", "dog"))]
        instances = {"images": images, "annotations": objects, "categories": kinds}
        for kind, content in (("instances", instances), ("captions", {"annotations": captions})):
            (folder / f"annotations/{kind}_{part}.json").write_text(json.dumps(content))
    np.savez(folder / "features.npz", ids=np.arange(1, 11), images=_random().random((10, 3)))


def _write_mirflickr(folder: Path) -> None:
    (folder / "mirflickr/meta/tags").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number in range(1, 17):
        (folder / f"mirflickr/meta/tags/tags{number}.txt").write_bytes(
            f"{_WORDS[number % 2]}\r\nsky\r\n".encode()
        )
    for place, name in enumerate(mirflickr.LABELS[24]):
        rows = [number for number in range(1, 17) if number % 2 == place % 2]
        (folder / f"annotations/{name}.txt").write_text("".join(f"{number}\n" for number in rows))
    np.savez(folder / "features.npz", images=_random().random((16, 3)))


def _write_hashing(folder: Path) -> None:
    labels = (np.arange(9)[:, None] + np.arange(3)) % 3 < 2
    scipy.io.savemat(folder / "lall.mat", {"LAll": labels.astype(np.uint8)})
    scipy.io.savemat(folder / "yall.mat", {"YAll": np.eye(4)[np.arange(9) % 4]})
    scipy.io.savemat(folder / "iall-vgg.mat", {"XAll": _random().random((9, 5))})


# --- Our own files ---


def _trained(folder: Path, kind: str = "gin") -> Any:
    """An untrained run with its model, and the folder of a run with small files as training leaves them."""
    from untrained_runs import untrained

    run = untrained(write_folder(folder.parent / "data-of-run", items=30), kind)
    return run, Retriever.of_run(run).with_items(run.system.inputs)


def _write_model(folder: Path) -> None:
    _, retriever = _trained(folder)
    retriever.save_pretrained(folder / "model")


def _write_exports(to: str, kind: str = "gin") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        _, retriever = _trained(folder, kind)
        write_export(folder / "export", retriever, to=to, among="all")

    return write


def _search(folder: Path) -> None:
    (path,) = folder.iterdir()
    Retriever.from_pretrained(path, report=lambda _: None).search("word01 word02", k=3)


def _write_run(folder: Path) -> None:
    run, retriever = _trained(folder)
    own = RunFolder(folder / "run")
    own.start("gin-folder", run.system.experiment, overwrite=False)
    for epoch in range(1, 4):
        own.append_metrics({"epoch": epoch, "step": 7 * epoch, "loss": 0.5, "seconds": 1.0})
    save_run_model(own, retriever)
    average = {"text_query": 0.5, "image_query": 0.5, "average": 0.5}
    results = {"protocols": {"standard": average}, "epochs": 3, "provenance": {"hash": {}}}
    write_json(own.results, {**results, **environment()})
    (own.checkpoints / "7").mkdir(parents=True)


def _read_run(folder: Path) -> None:
    run = RunFolder(folder / "run")
    experiment = run.read_config()[1]
    run.read_results()
    run.history()
    run.applied_step()
    run.rewind(3, experiment, lambda text: None)


def _write_sweep(folder: Path) -> None:
    experiment = PRESETS["gin-emoji"][1]
    config = sweep_config("gin-emoji", experiment, {"train.margin": [0.1, 0.2]}, 2)
    write_json(folder / "sweep.json", config)


def _read_sweep(folder: Path) -> None:
    experiment = PRESETS["gin-emoji"][1]
    config = sweep_config("gin-emoji", experiment, {"train.margin": [0.1, 0.2]}, 2)
    SweepFolder(folder).difference(config)


def _write_measurement(folder: Path) -> None:
    average = {"text_query": 0.5, "image_query": 0.5, "average": 0.5}
    result = {"method": "cca", "protocols": {"standard": average}, "reason": "", "corpus": {"items": "a"}}
    write_json(folder / "cca.json", {**result, **environment()})
    curve = {"n": [1, 2], "precision": [0.5, None]}
    write_json(folder / "cca-curves.json", {"scope": {"text_query": curve}})


def _read_measurement(folder: Path) -> None:
    read_measurement(folder / "cca.json", Measured)
    read_json(folder / "cca-curves.json", Curves, "fix")


def _state() -> dict[str, Any]:
    import jax.numpy as jnp

    return {"step": jnp.int32(7), "params": jnp.arange(12.0).reshape(3, 4)}


def _write_checkpoints(folder: Path) -> None:
    checkpoints = Checkpoints(folder / "checkpoints", {"model": "m", "corpus": "c"}, report=lambda _: None)
    for step in (7, 14):
        checkpoints.save(step, _state())
    checkpoints.close()


def _read_checkpoints(folder: Path) -> None:
    checkpoints = Checkpoints(folder / "checkpoints", {"model": "m", "corpus": "c"}, report=lambda _: None)
    checkpoints.restore(_state())
    checkpoints.close()


_PIXELS = _load("folder", image_feature="pixels", resolution=8)
PICTURES = ("png", "jpg", "gif", "webp", "tif", "bmp", "ppm", "avif", "jp2")

FORMATS: dict[str, Format] = {
    "npz": Format(_write_npz, _read_npz, times=200),
    "npz rows": Format(_write_rows, _read_npz, times=100),
    "mat": Format(_write_mat, _read_mat, times=200),
    "mat 7.3": Format(_write_mat73, _read_mat, times=200),
    **{suffix: Format(_write_picture(suffix), _read_picture, times=60) for suffix in PICTURES},
    "svg": Format(lambda folder: (folder / "picture.svg").write_text(_SVG), _read_svg),
    **{
        f"vectors {kind}": Format(
            _write_vectors(kind),
            lambda folder: load_vectors(folder / "vectors", _WORDS[:3], others=2),
            times=100,
        )
        for kind in ("text", "binary", "glove")
    },
    "torch zip": Format(_write_torch(True), _read_weights, times=200),
    "torch legacy": Format(_write_torch(False), _read_weights, times=200),
    "safetensors": Format(_write_safetensors, _read_weights),
    **{
        f"metadata.{suffix}": Format(_write_own(suffix), _load("folder"), files="metadata.*")
        for suffix in ("csv", "jsonl", "parquet")
    },
    "captions.txt": Format(
        _write_captions("captions.txt"), _load("folder", image_feature="pixels", resolution=8), "*.txt"
    ),
    "results.csv": Format(
        _write_captions("results.csv"), _load("folder", image_feature="pixels", resolution=8), "*.csv"
    ),
    "pascal-voc": Format(_write_pascal, _load("pascal-voc")),
    "wikipedia": Format(_write_wikipedia, _load("wikipedia", image_feature="sift")),
    "coco": Format(_write_coco, _load("coco", queries=2, training=4)),
    "mirflickr": Format(_write_mirflickr, _load("mirflickr", least_photos=2, queries=2, training=12)),
    "nus-wide": Format(write_nus_wide, lambda folder: load_nus_wide(folder)),
    "mirflickr-mat": Format(_write_hashing, _load("mirflickr-mat", queries=2, training=4)),
    "model": Format(_write_model, _search, times=40),
    "export npz": Format(_write_exports("npz"), _search, times=40),
    "export faiss": Format(_write_exports("faiss"), _search, "export/*", times=40),
    "export of codes": Format(_write_exports("faiss", "gch"), _search, "export/*", times=40),
    "run": Format(_write_run, _read_run, "run/*", times=100),
    "model of a run": Format(_write_run, lambda folder: _search(folder), "run/model/*", times=40),
    "sweep": Format(_write_sweep, _read_sweep),
    "measurement": Format(_write_measurement, _read_measurement),
    "checkpoints": Format(_write_checkpoints, _read_checkpoints, times=40),
}
