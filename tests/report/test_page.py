import copy
import re

import pytest
from made_up_run import DIRECTIONS, make_arguments, make_corpus, make_gallery
from PIL import Image

from gcnxmodal.report.comparison import MIXED_PROTOCOLS
from gcnxmodal.report.page import write_report

NAN = float("nan")
PAPER = {"text_query": 0.7672, "image_query": 0.4526, "average": 0.6099, "source": "Yu et al. 2018, Table 1"}


@pytest.fixture(scope="module")
def emoji_run(emoji_corpus, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("emoji"), **make_arguments(emoji_corpus))


@pytest.fixture(scope="module")
def emoji_page(emoji_run):
    return emoji_run.read_text("utf-8")


def written(folder, corpus, **changes):
    """The page of a run, without plots unless they are given: they take nearly all the time."""
    given = make_arguments(corpus) | {"details": {}, "history": []} | changes
    return write_report(folder, **given).read_text("utf-8")


def words(page):
    """What a reader sees of a page: no tags, no styles, blanks collapsed."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_the_first_screen_says_which_run_and_what_it_is_worth(emoji_page):
    start = words(emoji_page)[:600]
    for part in ("GIN on emoji", "seed 0", "3f9a1c2d7e01", "1 x cpu", "2025-11-23 04:40 UTC"):
        assert part in start
    assert "GIN beats SM by 0.040 and CCA by 0.190." in start


def test_a_model_that_loses_says_so_in_the_first_screen(emoji_corpus, tmp_path):
    results = make_arguments(emoji_corpus, model=0.40, sm=0.44, cca=0.41)["results"]
    page = written(tmp_path, emoji_corpus, results=results)
    assert "GIN loses to SM by 0.040 and CCA by 0.010." in words(page)[:600]
    assert 'class="verdict behind"' in page
    assert "What may help: --stop best" in words(page)


def test_the_first_screen_names_the_data_and_their_size(emoji_corpus, tmp_path):
    results = {**make_arguments(emoji_corpus)["results"], "items": {"train": 3000, "test": 700}}
    config = {"preset": "gin-folder", "data": {"name": "folder", "root": "/home/me/my-data"}}
    page = words(written(tmp_path, emoji_corpus, results=results, config=config))
    assert "report on my-data: 3,000 train, 700 test items" in page[:300]
    assert "What may help" not in page


def test_every_protocol_has_a_row_for_model_baselines_and_chance(emoji_page):
    text = words(emoji_page)
    for name in ("standard", "test@100", "authors"):
        table = text[text.index(f"MAP, protocol {name} System") :].split("MAP, protocol")[1]
        assert re.match(
            rf" {name} System Text query Image query Average GIN [\d. ]+CCA [\d. ]+SM [\d. ]+chance", table
        )
    assert "GIN 0.446 0.514 0.480" in text


def test_the_best_of_a_column_is_marked_but_never_chance(emoji_corpus, tmp_path):
    results = make_arguments(emoji_corpus, model=0.40, sm=0.44)["results"]
    results["chance"]["standard"]["average"] = 0.9
    page = written(tmp_path, emoji_corpus, results=results)
    assert '<td class="best">0.440</td>' in page
    assert '<td class="best">0.900</td>' not in page


def test_everything_is_inside_the_file(emoji_page):
    assert "<script" not in emoji_page
    loaded = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)', emoji_page)
    loaded = ["".join(either) for either in loaded]
    assert {address[:5] for address in loaded if not address.startswith("#")} == {"data:"}
    assert "default-src 'none'" in emoji_page
    assert "@import" not in emoji_page


def test_plots_lie_beside_the_page(emoji_run):
    kinds = ("precision-recall", "precision-scope", "classes")
    paths = list((emoji_run.parent / "plots").glob("*.png"))
    both = {f"{kind}-{way}" for kind in kinds for way in ("text", "image")}
    assert {path.stem for path in paths} == both | {"loss", "map"}
    for path in paths:
        with Image.open(path) as plot:
            assert plot.width == 800


def test_pictures_are_images_with_a_text_for_those_who_cannot_see_them(emoji_page):
    pictures = re.findall(r"<img ([^>]*)>", emoji_page)
    assert len(pictures) == 6 * 8 + 6 + 2
    assert all(re.search(r'src="data:image/svg\+xml;base64,', attributes) for attributes in pictures)
    assert all(re.search(r'alt="[^"]+"', attributes) for attributes in pictures)


def test_right_and_wrong_differ_by_more_than_colour(emoji_page):
    right, wrong = emoji_page.count('href="#icon-right"'), emoji_page.count('href="#icon-wrong"')
    text = words(emoji_page)
    assert right + wrong == 6 * (8 + 5) + 2  # and the legend
    assert (text.count("right: "), text.count("wrong: ")) == (right - 1, wrong - 1)


def test_without_pictures_an_item_is_its_words_and_its_class(wiki_corpus, tmp_path):
    page = written(tmp_path, wiki_corpus)
    assert "<img" not in page
    assert "There are no picture files here" in words(page)
    hit = make_gallery(wiki_corpus).text_queries[0].hits[0].item
    assert " ".join(hit.text.split()[:12]) in page
    assert hit.classes[0].replace("&", "&amp;") in page


def test_a_picture_lost_since_is_a_gap_and_not_a_crash(emoji_corpus, tmp_path):
    lost = make_corpus(
        emoji_corpus.texts, emoji_corpus.labels, emoji_corpus.class_names, ("/nowhere/lost.svg",) * 300
    )
    assert "no readable picture" in written(tmp_path, lost)


def test_the_paper_stands_beside_ours_with_the_doubt_about_its_protocol(wiki_corpus, tmp_path):
    text = words(written(tmp_path, wiki_corpus, paper_row=PAPER))
    assert MIXED_PROTOCOLS.replace("'", "&#39;") in text
    assert "inference" in MIXED_PROTOCOLS
    assert "published Yu et al. 2018, Table 1 0.767 0.453 0.610 ours, authors 0.670" in text


def test_another_paper_may_carry_its_own_note(wiki_corpus, tmp_path):
    row = {"text_query": 0.5, "image_query": 0.4, "average": 0.45, "note": "Same protocol as ours."}
    text = words(written(tmp_path, wiki_corpus, paper_row=row))
    assert "Same protocol as ours." in text
    assert "seems to mix two" not in text


def test_without_a_published_row_there_is_no_word_of_a_paper(emoji_page):
    assert "Beside the paper" not in emoji_page


def test_all_texts_are_escaped(wiki_corpus, tmp_path):
    evil = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    classes = tuple(f"{name}{evil}" for name in wiki_corpus.class_names)
    corpus = make_corpus(
        tuple(f"{evil} {text}" for text in wiki_corpus.texts), wiki_corpus.labels, classes, None
    )
    arguments = make_arguments(corpus)
    for key in ("title", "system", "command", "date"):
        arguments[key] += evil
    for key in ("seed", "commit", "device"):
        arguments["results"][key] = evil
    arguments["results"]["provenance"] = {evil: evil, "licence": evil}
    arguments["results"]["versions"] = {evil: evil}
    arguments["config"] = {evil: [evil]}
    arguments["paper_row"] = PAPER | {"source": evil, "note": evil}
    page = write_report(tmp_path, **arguments).read_text("utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def test_unprintable_names_and_texts_do_not_stop_the_report(wiki_corpus, tmp_path):
    texts = tuple(f"\x00 {text}" for text in wiki_corpus.texts)
    classes = tuple(f"{name}\x00\n$" for name in wiki_corpus.class_names)
    corpus = make_corpus(texts, wiki_corpus.labels, classes, None)
    assert "Music" in write_report(tmp_path, **make_arguments(corpus)).read_text("utf-8")


def test_nothing_measured_is_a_dash_and_never_a_nan(emoji_corpus, tmp_path):
    arguments = make_arguments(emoji_corpus)
    results = copy.deepcopy(arguments["results"])
    for direction in (*DIRECTIONS, "average"):
        results["protocols"]["standard"][direction] = NAN
        results["yardsticks"]["sm"]["standard"][direction] = None
        results["chance"]["standard"][direction] = float("inf")
    results["exact_pair"]["text_query"] = {}
    results["seconds"] = {"compile": None, "train": NAN}
    results["provenance"] = {"mean": NAN}
    details = copy.deepcopy(arguments["details"])
    details["model"]["per_class"]["text_query"][0] = NAN
    details["sm"]["curves"]["text_query"]["precision"][3] = NAN
    details["cca"]["exact_pair"]["image_query"]["median_rank"] = NAN
    history = [*arguments["history"], {"epoch": 21, "step": 1, "loss": NAN, "standard": {"average": NAN}}]
    page = written(tmp_path, emoji_corpus, results=results, details=details, history=history)
    assert not re.search(r"\b(nan|inf|None|null|Undefined)\b", words(page), flags=re.I)
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", page), flags=re.I)
    assert "\N{EN DASH}" in page


def test_a_run_without_baselines_history_details_or_pairs_still_has_a_page(emoji_corpus, tmp_path):
    arguments = make_arguments(emoji_corpus)
    results = {
        key: value for key, value in arguments["results"].items() if key not in ("yardsticks", "chance")
    }
    results["exact_pair"] = {}
    text = words(written(tmp_path, emoji_corpus, results=results, details={}, history=[]))
    assert "There is no baseline to judge GIN by." in text
    assert "No epoch of training is on record." in text
    assert "No curves were measured." in text


def test_queries_that_nothing_could_answer_are_reported(emoji_corpus, tmp_path):
    details = {"model": {"queries_without_relevant": {"standard": 0, "authors": 4}}}
    text = words(written(tmp_path, emoji_corpus, details=details))
    assert "Queries without a relevant item, each counted as 0: 4 (authors)." in text


def test_typed_queries_are_shown_by_length_and_a_run_of_before_them_has_no_such_part(emoji_corpus, tmp_path):
    text = words(written(tmp_path, emoji_corpus))
    assert "Queries as people type them" in text
    assert "asked were 90 whole texts, 90 queries of 4, 90 queries of 2, 90 queries of 1." in text
    assert "Whole 4 words 2 words 1 word GIN 48.0% 33.6% 24.0% 19.2%" in text
    assert "Whole 4 words 2 words 1 word GIN 22.0%" in text  # hubs
    results = dict(make_arguments(emoji_corpus)["results"])
    del results["queries"]
    assert "type them" not in written(tmp_path, emoji_corpus, results=results)


def test_how_it_was_made_can_be_read_off(emoji_page):
    text = words(emoji_page)
    for part in (
        "python -m gcnxmodal.train gin-emoji --seed 0",
        "train 1 min 23 s",
        "jax 0.10.2",
        "CC BY-SA 4.0",
        "options.resolution 128",
        "experiment.model.filters 1, 1",
    ):
        assert part in text


def test_the_same_input_gives_the_same_page(emoji_corpus, emoji_page, tmp_path):
    assert write_report(tmp_path, **make_arguments(emoji_corpus)).read_text("utf-8") == emoji_page


def test_every_table_names_its_rows_and_columns(emoji_page):
    tables = re.findall(r"<table.*?</table>", emoji_page, flags=re.S)
    assert len(tables) == 7
    for table in tables:
        assert "<caption" in table
        assert "<th>" not in table
        assert table.count('scope="row"') == table.count("<tr") - 1


def test_protocols_of_captions_have_a_card_for_each_direction(emoji_corpus, tmp_path):
    arguments = make_arguments(emoji_corpus)
    pairs = arguments["results"]["exact_pair"]
    both = {"coco_1k": pairs, "coco_5k": pairs}
    for measured in (arguments["results"], *arguments["details"].values()):
        measured["caption_protocols"] = both
    page = written(tmp_path, emoji_corpus, results=arguments["results"], details=arguments["details"])
    for direction in ("text query", "image query"):
        assert page.count(f"COCO 1K, {direction}") == page.count(f"COCO 5K, {direction}") == 1


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (
            {"items": 1_131, "chosen": {"epochs": 34}, "found": {"tuned": {"MAP": 0.5}}},
            "Options were chosen on 1,131 held-out training items before training.",
        ),
        (
            {"items": 12, "chosen": {}, "found": {}},
            "Options were not tuned: only 12 training items could be held out to choose them by.",
        ),
    ],
)
def test_the_first_screen_says_on_how_many_items_options_were_chosen(
    emoji_corpus, tmp_path, choice, sentence
):
    results = make_arguments(emoji_corpus)["results"]
    assert sentence in words(written(tmp_path, emoji_corpus, results=results | {"tuning": choice}))
    assert "Options were" not in words(written(tmp_path, emoji_corpus, results=results))
