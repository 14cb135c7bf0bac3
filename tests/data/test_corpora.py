import dataclasses
import inspect
import json

import pytest
from nus_wide_folder import write_nus_wide

from gcnxmodal import train
from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.data.load import LOADERS, OPTIONS, load_corpus, loader_options
from gcnxmodal.errors import InputError
from gcnxmodal.runs import RunFolder
from gcnxmodal.systems.gin import GIN_PRESETS


def test_segmenter_of_the_command_line_cuts_the_texts(folder, tmp_path, monkeypatch):
    pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path))
    path = folder / "metadata.jsonl"
    path.write_text(path.read_text().replace("word00", "我们在图书馆学习"), "utf-8")
    options = ["--data.root", str(folder), "--data.image-feature", "features"]
    for more, expected in (([], "我们在图书馆学习"), (["--text.segmenter", "jieba"], "图书馆")):
        _, arguments = train.parse(["gin-folder", *options, *more])
        corpus = load_corpus(arguments.experiment.data, arguments.experiment.text)
        assert expected in corpus.vocabulary.words


def test_chinese_preset_cuts_its_texts():
    assert GIN_PRESETS["gin-ch-wiki"][1].text.segmenter == "jieba"


@pytest.mark.parametrize(
    ("preset", "data"),
    [
        ("gin-nus-wide", DataConfig(name="nus-wide", image_feature="bow")),
        ("gin-pascal", DataConfig(name="pascal-voc", image_feature="features")),
    ],
)
def test_presets_read_the_official_distributions(preset, data):
    assert GIN_PRESETS[preset][1].data == data


def test_every_option_is_one_of_a_loader_and_left_alone_by_default():
    fields = {field.name: field.default for field in dataclasses.fields(DataConfig)}
    for name in OPTIONS:
        assert fields[name] is None, name
        assert any(name in inspect.signature(load).parameters for load in LOADERS.values()), name
    assert loader_options(DataConfig()) == {}


def test_options_of_the_command_line_reach_the_loader(monkeypatch):
    asked = {}
    monkeypatch.setitem(
        LOADERS,
        "nus-wide",
        lambda root, *, classes=10, split_seed=0, **rest: asked.update(
            rest, classes=classes, split_seed=split_seed
        ),
    )
    line = ["sspe-nus-wide", "--data.selection", "None", "--data.tag-list", "None", "--data.split", "None"]
    _, arguments = train.parse([*line, "--data.classes", "12", "--data.split-seed", "3"])
    load_corpus(arguments.experiment.data, arguments.experiment.text)
    assert (asked["classes"], asked["split_seed"], asked["words"]) == (12, 3, 1_000)
    assert not set(OPTIONS) - {"classes", "split_seed"} & set(asked)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            DataConfig(name="mirflickr", classes=20),
            r"--data\.classes is 20, but --data\.name mirflickr has no such option \(it has --data\.labels, "
            r"--data\.tags, --data\.split, --data\.split-seed\); leave it out, or .* --data\.classes None",
        ),
        (DataConfig(name="wikipedia", split="official"), r"no such option \(it has none of this kind\)"),
        (DataConfig(name="folder", tag_list="1k"), r"--data\.tag-list is 1k, but --data\.name folder has no"),
        (
            DataConfig(name="nus-wide-21", classes=20),
            r"--data\.classes is 20, but --data\.name nus-wide-21 stands for 21 \(it has --data\.split-s",
        ),
    ],
)
def test_an_option_that_the_data_set_has_not_is_refused_before_anything_is_read(data, message):
    with pytest.raises(InputError, match=message):
        load_corpus(data, TextConfig())


def test_options_give_corpora_of_their_own_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path / "cache"))
    root = write_nus_wide(tmp_path / "nus-wide")
    base = DataConfig(name="nus-wide", root=root, image_feature="bow", classes=2)
    text = TextConfig(words=20)
    made = {"selection": "all", "tag_list": "1k", "split": "official", "split_seed": 1, "classes": 3}
    found = [load_corpus(dataclasses.replace(base, **{name: value}), text) for name, value in made.items()]
    assert len(list((tmp_path / "cache/corpora").iterdir())) == len(made)
    assert [len(corpus) for corpus in found] == [7, 5, 6, 6, 6]


def test_a_run_stored_before_there_were_these_options_is_read_as_it_was(tmp_path):
    preset = "gin-nus-wide"
    experiment = GIN_PRESETS[preset][1]
    run = RunFolder(tmp_path / "run")
    run.start(preset, experiment, overwrite=False)
    config = json.loads(run.config.read_text())
    for name in OPTIONS:
        del config["experiment"]["data"][name]
    run.config.write_text(json.dumps(config))
    assert run.read_config() == (preset, experiment)
    run.check(experiment, resume=True, overwrite=False)
    changed = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, classes=20))
    with pytest.raises(InputError, match=r"the run has data\.classes = None but the command says 20"):
        run.check(changed, resume=True, overwrite=False)
