import doctest
import inspect

import numpy as np
import pytest
from nus_wide_folder import write_nus_wide
from picture_files import noise

from gcnxmodal.config import TextConfig
from gcnxmodal.data import emoji, load
from gcnxmodal.data.load import LOADERS, load_dataset
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_emoji_need_no_other_argument_and_have_the_words_of_the_configuration(monkeypatch):
    monkeypatch.setattr(emoji, "rasterise", lambda pictures, resolution, folder: pictures)
    monkeypatch.setattr(
        "gcnxmodal.data.picture_features.picture_features",
        lambda pictures, resolution, cache_dir: np.ones((len(pictures), 2), np.float32),
    )
    corpus = load_dataset("emoji")
    assert corpus.provenance["source"] == "emoji"
    assert corpus.provenance["options"]["words"] == TextConfig().words
    assert len(corpus.splits["train"]) > len(corpus.splits["test"]) > 0


def test_the_example_of_its_documentation_runs():
    assert doctest.testmod(load) == (0, 4)


def test_a_folder_is_read_by_its_path_as_by_its_loader(folder, cache):
    expected = LOADERS["folder"](
        folder,
        words=30,
        tokenizer=Tokenizer(stop_words=True),
        image_feature="features",
        cache_dir=cache,
    )
    for path in (folder, str(folder)):
        corpus = load_dataset(path, image_feature="features", words=30, stop_words=True)
        assert corpus.provenance == expected.provenance
    named = load_dataset("folder", root=str(folder), image_feature="features", words=30, stop_words=True)
    assert named.provenance == expected.provenance


def test_fields_of_both_configurations_and_arguments_of_the_loader_are_options(tmp_path):
    root = write_nus_wide(tmp_path / "nus-wide")
    given = {"root": root, "image_feature": "bow", "classes": 2, "lemmatise": False, "neighbours": 3}
    corpus = load_dataset("nus-wide", **given, training_pairs=3, split_seed=1, words=7)
    assert len(corpus.splits["train"]) == 3
    options = corpus.provenance["options"]
    assert (options["split_seed"], options["words"], options["training_pairs"]) == (1, 7, 3)
    held_out = load_dataset("nus-wide", **given, validation=0.5)
    assert "validation: 50%" in held_out.provenance["source"]


def test_pictures_of_a_folder_may_be_pixels_of_a_side(tmp_path):
    for number in range(4):
        noise(tmp_path / f"{number}.png", number)
    rows = [f"{n}.png,word {n},{'ab'[n % 2]},{('train', 'test')[n // 2]}\n" for n in range(4)]
    (tmp_path / "metadata.csv").write_text("file_name,text,label,split\n" + "".join(rows))
    assert load_dataset(tmp_path, image_feature="pixels", resolution=32).images.shape == (4, 32, 32, 3)


def test_unknown_data_set_lists_those_there_are():
    with pytest.raises(InputError, match=r"'emojis' is neither a data set nor a folder; .* emoji, .*coco"):
        load_dataset("emojis")


def test_unknown_option_or_one_of_another_data_set_lists_those_there_are(folder):
    with pytest.raises(
        InputError, match=r"image_features is 'x', but 'folder' has no such option; it has .*"
    ):
        load_dataset(folder, image_features="x")
    with pytest.raises(InputError) as error:
        load_dataset("wikipedia", selection="all")
    has = str(error.value).partition("it has ")[2].split(", ")
    assert {"root", "image_feature", "resolution", "validation", "words", "stop_words"} <= set(has)
    assert not {"selection", "classes", "name", "cache_dir", "shared"} & set(has)
    with pytest.raises(InputError, match=r"classes is 20, but .* nus-wide-21 stands for 21"):
        load_dataset("nus-wide-21", classes=20)


def test_every_argument_of_a_loader_is_an_option_of_its_data_set():
    for name, loader in LOADERS.items():
        with pytest.raises(InputError) as error:
            load_dataset(name, nothing=1)
        has = str(error.value).partition("it has ")[2].split(", ")
        assert set(inspect.signature(loader).parameters) - {"shared"} <= set(has), name
