"""The sweep's page: its numbers, its links, and what Chromium makes of it."""

import re
from pathlib import Path
from typing import Any

import pytest
import report_browser

from gcnxmodal.report.page import write_sweep_report

HOSTILE = "<script>alert(1)</script>"


def cell(mean: float, std: float) -> dict[str, dict[str, float]]:
    return {name: {"mean": mean, "std": std} for name in ("text_query", "image_query", "average")}


def make_report() -> dict[str, Any]:
    first, second, third = ([f"margin={m},seed={s}" for s in (0, 1)] for m in (0.5, 0.6, 9))
    rows = [
        ({"train.margin": 0.5}, first, [], {"standard": cell(0.4, 0.01)}),
        ({"train.margin": 0.6}, second, second[1:], {"standard": cell(0.45, 0.0)}),
        ({"train.margin": HOSTILE}, third[:1], third[:1], {}),
    ]
    names = ("setting", "members", "diverged", "protocols")
    return {
        "summary": [dict(zip(names, row, strict=True)) for row in rows],
        "yardsticks": {
            "sm": {"standard": {"text_query": 0.5, "image_query": 0.5, "average": 0.5}},
        },
        "seeds": 2,
        "commit": "0123456789ab",
        "device": "1 x test",
        "versions": {"jax": "0.10"},
        "experiment": {"data": {"name": HOSTILE}},
    }


def make_histories() -> dict[str, list[dict[str, Any]]]:
    names = [name for row in make_report()["summary"] for name in row["members"]]
    return {
        name: [{"epoch": e, "standard": {"average": 0.1 * e + 0.01 * i}} for e in (1, 2, 3)]
        for i, name in enumerate(names)
    }


def write(folder: Path) -> str:
    command = "python -m gcnxmodal.sweep gin-emoji"
    write_sweep_report(folder, "gin-emoji", make_report(), make_histories(), command, "2026-01-01")
    return (folder / "report.html").read_text()


def test_page_has_mean_and_spread_and_a_link_for_each_member(tmp_path: Path):
    page = write(tmp_path)
    assert "0.400 ± 0.010" in page
    assert '<td class="best">0.450 ± 0.000</td>' in page
    assert re.findall(r'href="(members/[^"]+)"', page) == [
        f"members/margin%3D{value}%2Cseed%3D{seed}/report.html"
        for value, seed in ((0.5, 0), (0.5, 1), (0.6, 0))
    ]
    assert page.count("the loss was not a number") == 2
    assert HOSTILE not in page
    assert (tmp_path / "plots" / "map.png").exists()


def test_page_of_a_sweep_without_a_finished_member_says_so(tmp_path: Path):
    report = make_report()
    report["summary"] = report["summary"][-1:]
    write_sweep_report(tmp_path, "gin-emoji", report, {}, "command", "2026-01-01")
    page = (tmp_path / "report.html").read_text()
    assert "the loss was not a number" in page
    assert "<svg" not in page


@pytest.mark.parametrize("width", [1280, 390])
def test_page_opens_without_errors_and_without_scrolling_sideways(tmp_path: Path, width: int):
    reason = report_browser.missing()
    if reason:
        pytest.skip(reason)
    write(tmp_path)
    with report_browser.open_browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "report.html", width)
        assert browser.console() == []
        assert browser.run("return document.documentElement.scrollWidth") <= width
