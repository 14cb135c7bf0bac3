"""The page as Chromium shows it."""

import re

import pytest
import report_browser
from made_up_run import make_arguments, make_corpus, make_gallery

from gcnxmodal.report.page import write_report

OVERFLOW = """
const wide = document.documentElement.clientWidth;
const inside = element => element.closest('.scroll, .unseen, svg');
return [document.documentElement.scrollWidth - wide, ...[...document.body.querySelectorAll('*')]
  .filter(e => !inside(e) && e.getBoundingClientRect().right > wide + 1).map(e => e.outerHTML.slice(0, 80))];
"""
COLOURS = """
const style = selector => getComputedStyle(document.querySelector(selector));
return [style('body').backgroundColor, style('.plot text').fill];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    reason = report_browser.missing()
    if reason:
        pytest.skip(reason)
    with report_browser.open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(emoji_corpus, wiki_corpus, tmp_path_factory):
    """Pictures, no pictures, and names too long for any line, one of whose pictures is hostile."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "evil.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><image href="http://example.invalid/x.png"/>'
        "<script>top.document.title='hacked'</script><rect width='9' height='9'/></svg>"
    )
    long = "W" * 90
    corpus = make_corpus(
        tuple(f"{long}{i}" for i in range(300)),
        emoji_corpus.labels,
        tuple(f"{long}{name}" for name in emoji_corpus.class_names),
        (str(folder / "evil.svg"),) * 300,
    )
    arguments = {
        "emoji": make_arguments(emoji_corpus),
        "wiki": make_arguments(wiki_corpus, model=0.4),
        "long": make_arguments(corpus),
    }
    row = {"text_query": 0.7672, "image_query": 0.4526, "average": 0.6099, "source": long}
    arguments["wiki"]["paper_row"] = row
    arguments["long"] |= {
        "title": long,
        "system": long,
        "command": long,
        "config": {long: long},
        "paper_row": row,
    }
    arguments["long"]["results"] |= {"commit": long, "device": long, "versions": {long: long}}
    arguments["long"]["gallery"] = make_gallery(corpus)
    return {name: write_report(folder / name, **given) for name, given in arguments.items()}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["emoji", "wiki", "long"])
def test_it_opens_without_errors_and_without_scrolling_sideways(browser, pages, name, width):
    browser.open(pages[name], width)
    assert browser.console() == []
    assert browser.run(OVERFLOW) == [0]


def test_the_verdict_is_on_the_first_screen_of_a_phone(browser, pages):
    browser.open(pages["wiki"], 390, 844)
    assert (
        browser.run("return document.querySelector('.verdict h2').innerText") == "GIN loses to SM by 0.040."
    )
    assert browser.run("return document.querySelector('.verdict').getBoundingClientRect().bottom") < 844


def test_every_picture_is_drawn(browser, pages):
    browser.open(pages["emoji"], 1280)
    drawn = browser.run("return [...document.images].map(image => image.complete && image.naturalWidth > 0)")
    assert len(drawn) == 56
    assert all(drawn)


def test_a_hostile_picture_runs_nothing_and_loads_nothing(browser, pages):
    browser.open(pages["long"], 1280)
    assert browser.run("return document.title") == f"{'W' * 90}: retrieval report"
    assert browser.console() == []


def test_plots_follow_the_dark_mode(browser, pages):
    def colours():
        found = browser.run(COLOURS)
        return [sum(int(part) for part in re.findall(r"\d+", colour)[:3]) for colour in found]

    browser.open(pages["emoji"], 1280)
    ground, ink = colours()
    assert ground > 600
    assert ink < 400
    browser.open(pages["emoji"], 1280, dark=True)
    ground, ink = colours()
    assert ground < 200
    assert ink > 400
