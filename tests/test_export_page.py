"""The worked example of docs/export.md, run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from small_folder import write_folder
from untrained_runs import untrained

from gcnxmodal.export import write_export
from gcnxmodal.retriever import Retriever

PAGE = Path(__file__).parents[1] / "docs" / "export.md"
ASKED = '"a smiling cat"'


def test_the_examples_of_the_page_find_what_the_run_finds(tmp_path: Path, monkeypatch, capsys):
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    text = PAGE.read_text(encoding="utf-8")
    with_numpy, with_faiss, with_codes = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    data = write_folder(tmp_path / "data")
    runs = {"gin-emoji-seed0": untrained(data, "gin"), "gch-emoji-paper-seed0": untrained(data, "gch")}
    monkeypatch.chdir(tmp_path)
    retrievers = {name: Retriever.of_run(run).with_items(run.system.inputs) for name, run in runs.items()}
    for name in runs:
        for to in ("npz", "faiss"):
            out = Path("runs") / name / f"export-{to}"
            write_export(out, retrievers[name], to=to, among="all")
    names: dict = {}

    def run_example(code: str) -> None:
        # The small data set has other words than the page's.
        exec(code.replace(ASKED, '"word01 word02"'), names)

    def expected(name: str) -> tuple[np.ndarray, np.ndarray]:
        hits = retrievers[name].search("word01 word02", k=5)
        return np.array([hit.metadata["row"] for hit in hits]), np.array([hit.score for hit in hits])

    assert ASKED in with_numpy
    run_example(with_numpy)
    rows, scores = expected("gin-emoji-seed0")
    np.testing.assert_array_equal(names["best"], rows)
    assert len(capsys.readouterr().out.splitlines()) == 5
    run_example(with_faiss)
    np.testing.assert_array_equal(names["found"][0], rows)
    np.testing.assert_allclose(names["scores"][0], scores, rtol=1e-5)
    run_example(with_codes)
    rows, scores = expected("gch-emoji-paper-seed0")
    np.testing.assert_array_equal(names["nearest"], rows)
    np.testing.assert_array_equal(40 - 2 * names["distances"][rows].astype(int), scores)
    np.testing.assert_array_equal(names["distances_in_faiss"][0], names["distances"][rows])
