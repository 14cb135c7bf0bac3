import pytest

from gcnxmodal import train
from gcnxmodal.experiments.config import DataConfig
from gcnxmodal.experiments.corpora import load_corpus
from gcnxmodal.experiments.gin import GIN_PRESETS


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
