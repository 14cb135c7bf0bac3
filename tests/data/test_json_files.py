"""JSON files that runs, sweeps, exports and tables write, when what lies there is another JSON."""

import json
from collections.abc import Sequence

import pytest

from gcnxmodal.data.files import Schema, read_json, read_json_lines
from gcnxmodal.errors import InputError
from gcnxmodal.papers.baselines import read_measurement
from gcnxmodal.retriever import read_about
from gcnxmodal.runs import RunFolder
from gcnxmodal.stores.files import read_items
from gcnxmodal.sweeps import SweepFolder

READERS = {
    "config.json": lambda folder: RunFolder(folder).read_config(),
    "results.json": lambda folder: RunFolder(folder).read_results(),
    "model.json": read_about,
    "items.jsonl": read_items,
    "sweep.json": lambda folder: SweepFolder(folder).read_config(),
    "cca.json": lambda folder: read_measurement(folder / "cca.json"),
}
OTHERS = {
    "list": "[1]",
    "null": "null",
    "number": "3",
    "digits": "9" * 5000,
    "string": '"x"',
    "empty object": "{}",
    "deep list": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "no JSON": "{",
    "no text": "\xff",
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("name", READERS)
def test_another_json_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        READERS[name](tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_a_folder_of_that_name_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=rf"{name}: cannot be read \(Is a directory\)"):
        READERS[name](tmp_path)


class Point(Schema):
    x: int
    of: Sequence[str] = ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "point.json: Input should be a valid dictionary"),
        ('{"y": 1}', "point.json: the field 'x': Field required; write it again"),
        ('{"x": "1"}', "point.json: the field 'x': Input should be a valid integer"),
        ('{"x": 1, "of": ["a", 2]}', "point.json: the field 'of.1': Input should be a valid string"),
    ],
)
def test_the_field_that_is_wrong_is_named(tmp_path, content, message):
    (tmp_path / "point.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "point.json", Point, "write it again")


def test_fields_of_no_concern_are_kept_and_lines_end_at_newlines_only(tmp_path):
    rows = [{"x": 1, "more": {"a": [0.1]}}, {"x": 2, "more": "a\u2028b"}]
    (tmp_path / "points.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )
    assert read_json_lines(tmp_path / "points.jsonl", Point, "write it again") == rows


def test_the_line_that_is_wrong_is_named(tmp_path):
    (tmp_path / "points.jsonl").write_text('{"x": 1}\n3\n')
    with pytest.raises(InputError, match=r"points\.jsonl: line 2: Input should be a valid dict"):
        read_json_lines(tmp_path / "points.jsonl", Point, "write it again")


@pytest.mark.parametrize(
    "content", ["[1]\n", "null\n", '{"epoch": 2}\n', "[" * 100_000, "\xff\xfe"], ids=range(5)
)
def test_a_line_of_metrics_that_is_none_ends_the_history(tmp_path, content):
    line = {"epoch": 1, "step": 7, "loss": 0.5, "seconds": 1.0}
    run = RunFolder(tmp_path)
    run.metrics.write_text(json.dumps(line) + "\n" + content, encoding="latin-1")
    assert run.history() == [line]
