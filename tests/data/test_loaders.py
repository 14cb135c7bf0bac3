import inspect
import typing

from gcnxmodal.config import DataConfig
from gcnxmodal.data.load import LOADERS
from gcnxmodal.data.loader import Shared


def test_every_loader_has_a_name_on_the_command_line():
    names = typing.get_args(typing.get_type_hints(DataConfig)["name"])
    assert set(names) == set(LOADERS)
    assert len(names) == len(set(names))


def test_every_loader_takes_what_an_experiment_gives_and_has_defaults_for_the_rest():
    given = {"image_feature", "resolution"}
    for name, load in LOADERS.items():
        root, *options = inspect.signature(load).parameters.values()
        assert root.name == "root", name
        *options, shared = options
        assert shared.kind == inspect.Parameter.VAR_KEYWORD, name
        assert shared.annotation == typing.Unpack[Shared], name
        assert given <= {option.name for option in options}, name
        rest = [option for option in options if option.name not in given]
        assert all(option.default is not inspect.Parameter.empty for option in rest), name
