import dataclasses
import json

import pytest

from gcnxmodal.data.load import OPTIONS
from gcnxmodal.errors import InputError
from gcnxmodal.sweeps import SweepFolder, sweep_config
from gcnxmodal.systems.gin import GIN_PRESETS
from gcnxmodal.systems.sspe import SSPE_PRESETS


@pytest.fixture
def begin(tmp_path):
    """A sweep's folder whose sweep.json was changed after it was written."""

    def begin(preset, experiment, change):
        folder = SweepFolder(tmp_path / "sweep")
        folder.start(sweep_config(preset, experiment, {}, 1), [])
        stored = json.loads(folder.config.read_text())
        change(stored)
        folder.config.write_text(json.dumps(stored))
        return folder

    return begin


def without(*fields):
    """As a sweep begun before there were these fields: dotted names in sweep.json."""

    def change(stored):
        for field in fields:
            *path, name = field.split(".")
            branch = stored
            for part in path:
                branch = branch[part]
            del branch[name]

    return change


OLD = {
    "none": ("gin-nus-wide", GIN_PRESETS["gin-nus-wide"][1], [f"experiment.data.{name}" for name in OPTIONS]),
    "a value": ("sspe-emoji", SSPE_PRESETS["sspe-emoji"][1], ["experiment.train.knn"]),
    "a branch": ("sspe-emoji", SSPE_PRESETS["sspe-emoji"][1], ["experiment.model", "kind"]),
}


@pytest.mark.parametrize(("preset", "experiment", "fields"), OLD.values(), ids=OLD)
def test_a_sweep_begun_before_there_were_these_fields_goes_on_with_their_defaults(
    begin, preset, experiment, fields
):
    folder = begin(preset, experiment, without(*fields))
    config = sweep_config(preset, experiment, {}, 1)
    assert folder.difference(config) is None
    folder.check(config, resume=True, overwrite=False)


def test_another_value_than_the_default_of_the_time_is_a_difference(begin):
    preset, experiment = "sspe-emoji", SSPE_PRESETS["sspe-emoji"][1]
    folder = begin(preset, experiment, without("experiment.train.knn"))
    changed = dataclasses.replace(experiment, train=dataclasses.replace(experiment.train, knn="faiss"))
    config = sweep_config(preset, changed, {}, 1)
    assert folder.difference(config) == ("experiment.train.knn", "exact", "faiss")
    with pytest.raises(InputError, match=r"the sweep has experiment\.train\.knn = exact but .* says faiss"):
        folder.check(config, resume=True, overwrite=False)


def test_another_preset_is_named_before_the_fields_that_only_one_of_the_two_has(begin):
    folder = begin("sspe-emoji", SSPE_PRESETS["sspe-emoji"][1], without("kind"))
    config = sweep_config("gin-nus-wide", GIN_PRESETS["gin-nus-wide"][1], {}, 1)
    assert folder.difference(config) == ("preset", "sspe-emoji", "gin-nus-wide")


@pytest.mark.parametrize(
    "change",
    [
        without("experiment"),
        without("preset"),
        lambda stored: stored["experiment"]["train"].update(knn="by hand"),
        lambda stored: stored.update(experiment=[1]),
    ],
)
def test_what_this_version_cannot_read_is_refused_by_file(begin, change):
    preset, experiment = "sspe-emoji", SSPE_PRESETS["sspe-emoji"][1]
    folder = begin(preset, experiment, change)
    with pytest.raises(InputError, match=r"sweep\.json: (the field '.*': |not a sweep's config).*"):
        folder.difference(sweep_config(preset, experiment, {}, 1))


@pytest.mark.parametrize("content", ["", "[1]", "{", "3", "[" * 100_000], ids=range(5))
def test_what_is_no_configuration_is_refused_by_file(begin, content):
    preset, experiment = "sspe-emoji", SSPE_PRESETS["sspe-emoji"][1]
    folder = begin(preset, experiment, lambda stored: None)
    folder.config.write_text(content)
    with pytest.raises(InputError, match=r"sweep\.json.*it is no configuration of a sweep"):
        folder.difference(sweep_config(preset, experiment, {}, 1))
