"""The command line that a report names, read again by the parser."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from gcnxmodal import train
from gcnxmodal.config import validate
from gcnxmodal.errors import InputError
from gcnxmodal.runs import command_line
from gcnxmodal.systems import PRESETS


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("model", {"attention_relu": False, "normalise": True, "filters": (4, 4)}),
        ("data", {"name": "folder", "root": Path("/my data")}),
        ("text", {"stop_words": True, "weighting": "log1p"}),
        ("train", {"pairing": "uniform", "margin": 0.5}),
        (
            "data",
            {"name": "nus-wide", "classes": 20, "selection": "all", "split": "official", "split_seed": 0},
        ),
    ],
)
def test_the_line_of_a_report_gives_its_experiment_again(section, changes):
    preset = "scanet-emoji-paper"
    experiment = PRESETS[preset][1]
    changed = dataclasses.replace(getattr(experiment, section), **changes)
    experiment = dataclasses.replace(experiment, **{section: changed}, seed=3)
    words = shlex.split(command_line(preset, experiment))
    assert words[:3] == ["python", "-m", "gcnxmodal.train"]
    assert train.parse(words[3:])[1].experiment == experiment


@pytest.mark.parametrize("preset", ["gch-emoji-paper", "sspe-emoji"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("vectors", "glove"),
        ("vector-seed", "1"),
        ("length", "20"),
        ("neighbours", "4"),
        ("lambda-max", "two"),
    ],
)
def test_systems_that_read_counts_refuse_options_of_the_word_graph(preset, option, value):
    experiment = train.parse([preset, f"--text.{option}", value])[1].experiment
    with pytest.raises(
        InputError, match=rf"^--text\.{option} is {value}; it must be left out: (GCH|SSPE) reads"
    ):
        validate(experiment)
    validate(train.parse(["gin-emoji", "--text.neighbours", "4", "--text.lambda-max", "two"])[1].experiment)


def test_every_preset_is_in_range():
    for _, experiment in PRESETS.values():
        validate(experiment)
