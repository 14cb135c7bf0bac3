"""Encoders apart from their run: the same bits, from files that are checked."""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from reference.hamming_numpy import unpack_codes
from safetensors.numpy import load_file, save_file
from small_folder import WORDS, write_folder
from untrained_runs import RUNS, untrained

from gcnxmodal.encoder import Encoder, as_exported, save_encoder
from gcnxmodal.errors import InputError
from gcnxmodal.finished_run import FinishedRun
from gcnxmodal.retriever import Retriever


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`write_folder`'s data set with a picture an item."""
    root = write_folder(tmp_path_factory.mktemp("encoder") / "data")
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    random = np.random.default_rng(0)
    for number, row in enumerate(rows):
        row["file_name"] = f"{number}.png"
        pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / row["file_name"])
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="module", params=RUNS)
def saved(request, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FinishedRun, Path]:
    """A run and the folder of its encoder."""
    run = untrained(folder, request.param)
    path = tmp_path_factory.mktemp("saved") / "encoder"
    save_encoder(path, run, Retriever(run.system, run.params).reading)
    return run, path


def test_an_encoder_has_the_bits_of_the_run(saved):
    run, path = saved
    retriever, corpus = Retriever(run.system, run.params), run.system.inputs.corpus
    texts, images = (as_exported(run.system, rows) for rows in retriever.embed())
    encoder = Encoder.load(path)
    np.testing.assert_array_equal(encoder.encode_texts(corpus.texts[:40]), texts[:40], strict=True)
    np.testing.assert_array_equal(encoder.encode_images(corpus.images[:40]), images[:40], strict=True)
    assert (texts[0] != texts[1]).any()
    assert (images[0] != images[1]).any()


def test_the_word_graph_and_the_vectors_are_whole_with_what_gradients_need(saved):
    run, path = saved
    found = Encoder.load(path)._retriever.system.constants
    assert jax.tree.structure(found) == jax.tree.structure(run.system.constants)
    jax.tree.map(np.testing.assert_array_equal, found, run.system.constants)


def test_a_new_text_and_a_new_image_have_the_bits_of_the_run(saved):
    run, path = saved
    retriever, encoder = Retriever(run.system, run.params), Encoder.load(path)
    for text in ("word05, and word31 (unheard-of) WORD05", " ".join(WORDS * 6)):
        expected = retriever.fold_texts(retriever.encode_new_text(text))
        found = encoder.encode_texts([text], batch=1)
        np.testing.assert_array_equal(found, as_exported(run.system, expected), strict=True)
    image = run.system.inputs.corpus.images[3:4] + np.ones((), run.system.inputs.corpus.images.dtype)
    expected = retriever.fold_images(retriever.encode_new_image(image))
    found = encoder.encode_images(image, batch=1)
    np.testing.assert_array_equal(found, as_exported(run.system, expected), strict=True)


def test_codes_are_the_signs_of_the_students(folder: Path, tmp_path: Path):
    run = untrained(folder, "gch")
    retriever = Retriever(run.system, run.params)
    about = save_encoder(tmp_path / "e", run, retriever.reading)
    assert (about["rows"], about["bits"], about["score"]) == ("codes", 40, "hamming")
    texts = run.system.inputs.corpus.texts[:5]
    codes = Encoder.load(tmp_path / "e").encode_texts(texts)
    assert codes.shape == (5, 2)
    expected = retriever.encode_texts(np.arange(5)) > 0
    np.testing.assert_array_equal(unpack_codes(codes, 40), expected)


def test_pictures_are_encoded_from_their_files(folder: Path, tmp_path: Path):
    run = untrained(folder, "cnn of pixels")
    retriever = Retriever(run.system, run.params)
    save_encoder(tmp_path / "e", run, retriever.reading)
    pictures = [folder / "3.png", folder / "8.png"]
    expected = retriever.embed(np.array([3, 8]))[1]
    np.testing.assert_array_equal(Encoder.load(tmp_path / "e").encode_images(pictures), expected)


def test_no_path_of_the_training_machine_is_written(folder: Path, tmp_path: Path):
    run = untrained(folder, "gch")
    about = save_encoder(tmp_path / "e", run, Retriever(run.system, run.params).reading)
    assert str(folder) not in json.dumps(about)
    assert about["source"] == "data/metadata.jsonl"


@pytest.fixture
def gin(folder: Path, tmp_path: Path) -> Path:
    run = untrained(folder, "gin")
    save_encoder(tmp_path / "e", run, Retriever(run.system, run.params).reading)
    return tmp_path / "e"


def rewritten(folder: Path, **changes) -> None:
    """Other parameters, with a description that says so."""
    path = folder / "parameters.safetensors"
    arrays = load_file(path)
    for name, array in changes.items():
        arrays.pop(name) if array is None else arrays.update({name: array})
    save_file(arrays, path)
    about = json.loads((folder / "encoder.json").read_text())
    about["sha256"] = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.safetensors")
    }
    (folder / "encoder.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_head.bias": np.zeros(9, np.float32)}, r"image_head\.bias is float32 \[9\], expected float"),
        ({"image_head.bias": np.zeros(8)}, r"image_head\.bias is float64 \[8\], expected float32 \[8\]"),
        ({"image_head.bias": None}, r"has no array 'image_head\.bias'"),
        ({"more": np.zeros(3, np.float32)}, "has another array 'more'"),
    ],
)  # fmt: skip
def test_other_parameters_are_refused_by_name(gin: Path, changes, message):
    rewritten(gin, **changes)
    with pytest.raises(InputError, match=rf"parameters\.safetensors: {message}.*export again"):
        Encoder.load(gin)


@pytest.mark.parametrize("name", ["encoder.json", "parameters.safetensors", "constants.safetensors"])
def test_a_file_that_is_missing_cut_off_or_changed_is_named(gin: Path, name: str):
    path = gin / name
    data = path.read_bytes()
    changed = b"[]" if name.endswith("json") else data[:-1] + bytes([data[-1] ^ 1])
    for damaged in (None, data[: len(data) // 2], changed):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            Encoder.load(gin)


def test_a_description_without_its_parts_or_of_another_version_is_refused(gin: Path):
    path = gin / "encoder.json"
    about = json.loads(path.read_text())
    for part in ("kind", "experiment", "vocabulary", "texts", "images", "class_names"):
        path.write_text(json.dumps({name: value for name, value in about.items() if name != part}))
        with pytest.raises(InputError, match=r"encoder\.json: does not describe an encoder"):
            Encoder.load(gin)
    path.write_text(json.dumps(about | {"format": 2}))
    with pytest.raises(InputError, match=r"encoder\.json: is not of format 1"):
        Encoder.load(gin)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 11), np.float32), r"images are float32 \[2, 11\]; this encoder takes float32 \[n, 1"),
        (np.zeros((2, 12), np.int32), r"images are int32 \[2, 12\]"),
        (np.zeros((0, 12), np.float32), "images: there is none to encode"),
        ([Path("a.png")], "its images are 'features', which is not made from a picture here"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_are_refused(gin: Path, images, message):
    with pytest.raises(InputError, match=message):
        Encoder.load(gin).encode_images(images)


def test_texts_without_a_known_word_are_refused_by_number(gin: Path):
    encoder = Encoder.load(gin)
    with pytest.raises(InputError, match=r"'unheard-of' \(text 1 of 2\): none of its words is among the 40"):
        encoder.encode_texts(["word01", "unheard-of"])
    with pytest.raises(InputError, match="texts: there is none to encode"):
        encoder.encode_texts([])
