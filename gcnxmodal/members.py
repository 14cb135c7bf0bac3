"""The members of a sweep: every combination of values and seeds, and which of them train as one program."""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from gcnxmodal.config import Experiment, experiment_dict, flat, validate
from gcnxmodal.errors import InputError
from gcnxmodal.runs import EXPERIMENTS


@dataclasses.dataclass(frozen=True)
class Member:
    """One experiment of a sweep.

    Attributes:
        name: of its folder, such as "margin=0.5,seed=3".
        setting: the values it was given, by field, without the seed.
    """

    name: str
    setting: dict[str, Any]
    experiment: Experiment


def parse_over(experiment: Experiment, words: Sequence[str]) -> dict[str, list[Any]]:
    """Fields and their values, from words like "train.margin=0.5,0.6" or "filters=[1,1],[4,4]".

    A field may be given by the end of its name, if that is one field's only.

    Raises:
        InputError: if there is no such field, or no values.
    """
    names = list(flat(experiment_dict(experiment)))
    over: dict[str, list[Any]] = {}
    for word in words:
        given, equals, text = word.partition("=")
        given = given.replace("-", "_")
        found = [name for name in names if name == given or name.endswith(f".{given}")]
        if given in ("seed", "epochs", "evaluate_every", "checkpoint_every") or len(found) != 1:
            several = f"it may be {' or '.join(found)}" if len(found) > 1 else "fields are as in --help"
            raise InputError(f"--over {word}: {given} is not one field that can be swept; {several}")
        if not equals or not text:
            raise InputError(f"--over {word}: no values; write {given}=VALUE,VALUE")
        over[found[0]] = _values(text)
    return over


def expand(experiment: Experiment, over: Mapping[str, Sequence[Any]], seeds: int) -> list[Member]:
    """Every combination of the values, each with `seeds` seeds from the experiment's own on.

    Raises:
        InputError: if a value is not one the field can have, or two members are the same.
    """
    members = []
    for values in itertools.product(*over.values()):
        changed = dict(zip(over, values, strict=True))
        for seed in range(experiment.seed, experiment.seed + seeds):
            member = _changed(experiment, {**changed, "seed": seed})
            validate(member)
            fields = flat(experiment_dict(member))
            setting = {field: fields[field] for field in over}
            words = [f"{field.split('.')[-1]}={_word(value)}" for field, value in setting.items()]
            members.append(Member(",".join([*words, f"seed={seed}"]), setting, member))
    if len({member.name for member in members}) < len(members):
        raise InputError("--over: two of the values are the same; name each once")
    return members


def groups(members: Sequence[Member]) -> list[list[Member]]:
    """The members that train as one program, in order: they differ in `Experiment.arguments` only."""
    found: dict[str, list[Member]] = {}
    for member in members:
        fields = flat(experiment_dict(member.experiment))
        free = ("seed", *member.experiment.arguments)
        shape = json.dumps({name: value for name, value in fields.items() if name not in free})
        found.setdefault(shape, []).append(member)
    return list(found.values())


def _values(text: str) -> list[Any]:
    try:
        return json.loads(f"[{text}]")
    except ValueError:
        return text.split(",")


def _word(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value).replace("/", "_")


def _changed(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    tree = experiment_dict(experiment)
    for field, value in values.items():
        *path, name = field.split(".")
        branch = tree
        for part in path:
            branch = branch[part]
        branch[name] = value
    try:
        return EXPERIMENTS[experiment.kind].validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"--over {field}={first['input']}: {first['msg'].lower()}") from error
