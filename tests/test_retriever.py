"""A model apart from its run: the same bits, from files that are checked."""

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

from gcnxmodal import search
from gcnxmodal.config import TextConfig
from gcnxmodal.errors import InputError
from gcnxmodal.evaluation import measure
from gcnxmodal.retriever import Retriever
from gcnxmodal.runs import FinishedRun


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
    """A run and the folder of its model."""
    run = untrained(folder, request.param)
    return run, Retriever.of_run(run).save_pretrained(tmp_path_factory.mktemp("saved") / "model")


def rows_of(run: FinishedRun, rows: np.ndarray | None = None):
    """What the run makes of items of its corpus, as rows that need no model."""
    retriever = Retriever.of_run(run)
    return retriever.embeddings(retriever.encode_items(run.system.inputs, rows))


def test_a_model_has_the_bits_of_the_run(saved):
    run, path = saved
    expected, corpus = rows_of(run), run.system.inputs.corpus
    loaded = Retriever.from_pretrained(path)
    np.testing.assert_array_equal(loaded.encode_text(corpus.texts[:40]), expected.texts[:40], strict=True)
    np.testing.assert_array_equal(loaded.encode_image(corpus.images[:40]), expected.images[:40], strict=True)
    for rows in (expected.texts, expected.images):
        assert (rows[0] != rows[1]).any()


def test_the_word_graph_and_the_vectors_are_whole_with_what_gradients_need(saved):
    run, path = saved
    _, constants = Retriever.from_pretrained(path)._arrays
    assert jax.tree.structure(constants) == jax.tree.structure(run.system.constants)
    jax.tree.map(np.testing.assert_array_equal, constants, run.system.constants)


def test_a_new_text_and_a_new_image_have_the_bits_of_the_run(saved):
    run, path = saved
    of_run, loaded = Retriever.of_run(run), Retriever.from_pretrained(path)
    for text in ("word05, and word31 (unheard-of) WORD05", " ".join(WORDS * 6)):
        expected = of_run.encode_text([text], batch=1)
        np.testing.assert_array_equal(loaded.encode_text([text], batch=1), expected, strict=True)
    image = run.system.inputs.corpus.images[3:4] + np.ones((), run.system.inputs.corpus.images.dtype)
    expected = of_run.encode_image(image, batch=1)
    np.testing.assert_array_equal(loaded.encode_image(image, batch=1), expected, strict=True)


def test_a_corpus_is_read_anew_to_the_same_measurements(saved):
    run, path = saved
    corpus = run.system.inputs.corpus
    found = Retriever.from_pretrained(path).encode_corpus(corpus).evaluate(corpus.labels, corpus.splits)
    expected = Retriever.of_run(run).encode_items(run.system.inputs).evaluate(corpus.labels, corpus.splits)
    assert found["protocols"] == expected["protocols"]


def test_codes_are_the_signs_of_the_students(folder: Path, tmp_path: Path):
    run = untrained(folder, "gch")
    retriever = Retriever.of_run(run)
    loaded = Retriever.from_pretrained(retriever.save_pretrained(tmp_path / "e"))
    about = loaded.about
    assert (about["rows"], about["bits"], about["score"]) == ("codes", 40, "hamming")
    codes = loaded.encode_text(run.system.inputs.corpus.texts[:5])
    assert codes.shape == (5, 2)
    expected = retriever._encode("encode_texts", run.system.inputs.texts, np.arange(5)) > 0
    np.testing.assert_array_equal(unpack_codes(codes, 40), expected)


def test_pictures_are_encoded_from_their_files(folder: Path, tmp_path: Path):
    run = untrained(folder, "cnn of pixels")
    loaded = Retriever.from_pretrained(Retriever.of_run(run).save_pretrained(tmp_path / "e"))
    expected = rows_of(run, np.array([3, 8])).images
    np.testing.assert_array_equal(loaded.encode_image([folder / "3.png", folder / "8.png"]), expected)
    np.testing.assert_array_equal(loaded.encode_image(folder / "3.png"), expected[:1])


def test_no_path_of_the_training_machine_is_written(folder: Path, tmp_path: Path):
    run = untrained(folder, "gch")
    Retriever.of_run(run).with_items(run.system.inputs).save_pretrained(tmp_path / "e")
    for name in ("model.json", "items.jsonl"):
        assert str(folder) not in (tmp_path / "e" / name).read_text()
    assert json.loads((tmp_path / "e" / "model.json").read_text())["source"] == "data/metadata.jsonl"


def test_items_travel_with_the_model_and_are_found_the_same(saved, tmp_path: Path):
    run, _ = saved
    retriever = Retriever.of_run(run).with_items(run.system.inputs)
    loaded = Retriever.from_pretrained(retriever.save_pretrained(tmp_path / "e"))
    for among in ("all", "test"):
        expected = retriever.search("word01 word30", k=6, among=among)
        found = loaded.search("word01 word30", k=6, among=among)
        assert [hit.id for hit in found] == [hit.id for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected])
    image = run.system.inputs.corpus.images[:1]
    assert [h.id for h in loaded.search(image=image)] == [h.id for h in retriever.search(image=image)]


def test_a_question_is_refused_that_has_no_answer(gin: Path):
    loaded = Retriever.from_pretrained(gin)
    with pytest.raises(InputError, match="has no items to search"):
        loaded.search("word01")
    for options in ({}, {"text": "word01", "image": "a.png"}):
        with pytest.raises(InputError, match="give one of text and image"):
            loaded.search(**options)
    with pytest.raises(InputError, match="k is 0; it must be at least 1"):
        loaded.search("word01", k=0)


def test_a_model_is_not_written_over_something_else(gin: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("kept")
    loaded = Retriever.from_pretrained(gin)
    with pytest.raises(InputError, match="has files in it but no model"):
        loaded.save_pretrained(tmp_path / "mine")
    assert loaded.save_pretrained(gin) == gin


@pytest.fixture
def gin(folder: Path, tmp_path: Path) -> Path:
    return Retriever.of_run(untrained(folder, "gin")).save_pretrained(tmp_path / "e")


def rewritten(folder: Path, **changes) -> None:
    """Other parameters, with a description that says so."""
    path = folder / "parameters.safetensors"
    arrays = load_file(path)
    for name, array in changes.items():
        arrays.pop(name) if array is None else arrays.update({name: array})
    save_file(arrays, path)
    about = json.loads((folder / "model.json").read_text())
    about["sha256"] = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.safetensors")
    }
    (folder / "model.json").write_text(json.dumps(about))


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
        Retriever.from_pretrained(gin)


@pytest.mark.parametrize("name", ["model.json", "parameters.safetensors", "constants.safetensors"])
def test_a_file_that_is_missing_cut_off_or_changed_is_named(gin: Path, name: str):
    path = gin / name
    data = path.read_bytes()
    changed = b"[]" if name.endswith("json") else data[:-1] + bytes([data[-1] ^ 1])
    for damaged in (None, data[: len(data) // 2], changed):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            Retriever.from_pretrained(gin)


def test_a_description_without_its_parts_or_of_another_version_is_refused(gin: Path):
    path = gin / "model.json"
    about = json.loads(path.read_text())
    for part in ("kind", "experiment", "vocabulary", "texts", "images", "class_names"):
        path.write_text(json.dumps({name: value for name, value in about.items() if name != part}))
        with pytest.raises(InputError, match=rf"model\.json: the field '{part}': Field required"):
            Retriever.from_pretrained(gin)
    path.write_text(json.dumps(about | {"format": 1}))
    with pytest.raises(InputError, match=r"model\.json: is not of format 2"):
        Retriever.from_pretrained(gin)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 11), np.float32), r"images are float32 \[2, 11\]; this model takes float32 \[n, 1"),
        (np.zeros((2, 12), np.int32), r"images are int32 \[2, 12\]"),
        (np.zeros((0, 12), np.float32), "images: there is none to encode"),
        (np.full((2, 12), [[0], [np.nan]], np.float32), r"images: row 1 is not finite in float32 \(1 such"),
        (np.full((2, 12), 1e300), r"images: row 0 is not finite in float32 \(2 such rows\); extract"),
        ([Path("a.png")], "its images are 'features', which is not made from a picture here"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_are_refused(gin: Path, images, message):
    with pytest.raises(InputError, match=message):
        Retriever.from_pretrained(gin).encode_image(images)


def test_texts_without_a_known_word_are_refused_by_number(gin: Path):
    loaded = Retriever.from_pretrained(gin)
    texts = ["word01", "unheard-of", "eins", "zwei", "word02", "drei"]
    message = (
        r"4 of 6 texts have no word among the 40 of the run: 'unheard-of' \(text 1\), 'eins' \(text 2\), "
    )
    with pytest.raises(InputError, match=message + r"'zwei' \(text 3\) and 1 more; .* missing=\"mask\""):
        loaded.encode_text(texts)
    with pytest.raises(InputError, match=r"'wort01': none of its words .* did you mean word01 or word"):
        loaded.encode_text("wort01")
    with pytest.raises(InputError, match=r"'zzz': none of its words is among the 40 .*; use other words"):
        loaded.encode_text("zzz")
    with pytest.raises(InputError, match="missing is 'skip'"):
        loaded.encode_text(texts, missing="skip")  # pyright: ignore
    with pytest.raises(InputError, match="texts: there is none to encode"):
        loaded.encode_text([])


def test_one_text_without_a_known_word_refuses_no_batch(saved):
    retriever = Retriever.from_pretrained(saved[1])
    texts = ["word01 word02", "unheard-of", "zzz word03"]
    rows, known = retriever.encode_text(texts, missing="mask")
    assert known.tolist() == [True, False, True]
    assert not rows[1].any()
    expected = retriever.encode_text(["word01 word02", "word03"])
    np.testing.assert_array_equal(rows[[0, 2]], expected, strict=True)
    none, known = retriever.encode_text(["zzz"], missing="mask")
    assert (none.any(), known.any(), none.shape[1:]) == (False, False, rows.shape[1:])


def test_words_outside_the_vocabulary_are_read_by_the_vectors_that_trained_the_run(
    folder: Path, tmp_path, capsys
):
    vectors = dict(zip(WORDS, np.eye(len(WORDS)), strict=True))
    unheard = {"kitten": vectors["word05"] + 0.9 * vectors["word31"], "nowhere": -sum(vectors.values())}
    lines = [" ".join([word, *map(str, row)]) for word, row in (vectors | unheard).items()]
    (tmp_path / "vectors.txt").write_text("\n".join(lines))
    text = TextConfig(vectors="file", vector_file=tmp_path / "vectors.txt", mapped_words=10)
    run = untrained(folder, "gin", text=text)
    assert run.system.inputs.graph_report["mapped_words"] == 1
    of_run = Retriever.of_run(run).with_items(run.system.inputs)
    path = of_run.save_pretrained(tmp_path / "model")
    (tmp_path / "vectors.txt").unlink()
    loaded = Retriever.from_pretrained(path)
    read_as = loaded.words_read("kitten word07")["kitten"]
    assert {"word05", "word31"} <= set(read_as)
    assert loaded.words_read("word07 nowhere") == {}
    np.testing.assert_array_equal(loaded.encode_text("kitten"), of_run.encode_text("kitten"), strict=True)
    assert (loaded.encode_text("kitten word07") != loaded.encode_text("word07")).any()
    np.testing.assert_array_equal(loaded.encode_text("nowhere word07"), loaded.encode_text("word07"))
    hits = search.run(search.Arguments(path, text="kitten", k=2))
    assert len(hits) == 2
    assert f"'kitten' is not among the run's words; read as {', '.join(read_as)}" in capsys.readouterr().out
    expected = of_run.encode_items(run.system.inputs)
    found = loaded.encode_corpus(run.system.inputs.corpus)
    np.testing.assert_array_equal(found.texts, expected.texts)


def test_typed_queries_are_measured_of_every_kind(folder: Path, saved):
    run, _ = saved
    retriever = Retriever.of_run(run).with_items(run.system.inputs)
    results, _ = measure(run.system, retriever)
    baselines = {"cca-sign", "sm"} if retriever.model.bits else {"cca", "sm"}
    assert set(results["queries"]) == {"model", *baselines}
    asked = {
        name: {n: of["queries"] for n, of in lengths.items()} for name, lengths in results["queries"].items()
    }
    assert asked["model"] == asked["sm"]
    assert list(asked["model"]) == ["whole", "8", "4", "2", "1"]
    for lengths in results["queries"].values():
        for of in lengths.values():
            assert 0 < of["precision@10"] <= 1
            assert 10 / 30 <= of["hubs"] <= 1
    words = "word05 word31 word07"
    [numbers] = retriever.reading.texts.vocabulary.sequences([words])
    typed = retriever.without_items().encode_words([numbers])
    np.testing.assert_array_equal(typed, retriever.encode_text(words), strict=True)
