"""The command line that a report names, read again by the parser."""

import dataclasses

import pytest

from gcnxmodal import train
from gcnxmodal.experiments import PRESETS
from gcnxmodal.experiments.finish import command_line


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("model", {"attention_relu": False, "normalise": True, "filters": (4, 4)}),
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
    words = command_line(preset, experiment).split()
    assert words[:3] == ["python", "-m", "gcnxmodal.train"]
    assert train.parse(words[3:])[1].experiment == experiment
