import pytest

from gcnxmodal.console import results_table
from gcnxmodal.report.comparison import main_protocol, protocol_rows, verdict
from gcnxmodal.retrieval.metrics import PAIR_MEASURES

DIRECTIONS = ("text_query", "image_query", "average")


def results(model, **yardsticks):
    names = ("text_query", "image_query", "average")

    def protocol(values):
        return {"standard": dict(zip(names, values, strict=True))}

    return {
        "protocols": protocol(model),
        "yardsticks": {key: protocol(values) for key, values in yardsticks.items()},
    }


def test_losing_to_sm_is_the_headline_with_the_amount():
    found = verdict("GIN", results((0.4, 0.42, 0.41), sm=(0.43, 0.45, 0.44), cca=(0.2, 0.3, 0.25)))
    assert (found.tone, found.headline) == ("behind", "GIN loses to SM by 0.030.")
    assert found.details == ("It beats CCA by 0.160.",)


def test_losing_to_both_names_the_stronger_first():
    found = verdict("GIN", results((0.1, 0.1, 0.1), cca=(0.2, 0.2, 0.2), sm=(0.4, 0.4, 0.4)))
    assert found.headline == "GIN loses to SM by 0.300 and CCA by 0.100."
    assert found.details == ()


def test_winning_names_the_hardest_baseline_first():
    found = verdict("GIN", results((0.5, 0.5, 0.5), cca=(0.2, 0.2, 0.2), sm=(0.4, 0.4, 0.4)))
    assert (found.tone, found.headline) == ("ahead", "GIN beats SM by 0.100 and CCA by 0.300.")
    assert found.details == ()


def test_a_win_on_average_still_tells_of_the_direction_it_loses():
    found = verdict("GIN", results((0.40, 0.60, 0.50), sm=(0.45, 0.45, 0.45)))
    assert found.headline == "GIN beats SM by 0.050."
    assert found.details == ("On text queries alone it loses to SM by 0.050.",)


def test_a_difference_that_the_digits_do_not_show_is_no_win():
    found = verdict("GIN", results((0.4, 0.4, 0.4002), sm=(0.4, 0.4, 0.4), cca=(0.1, 0.1, 0.1)))
    assert (found.tone, found.headline) == ("level", "GIN is only level with SM.")
    assert found.details == ("It beats CCA by 0.300.",)


@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_was_not_measured_is_not_judged(value):
    assert verdict("GIN", results((0.4, 0.4, value), sm=(0.4, 0.4, 0.4))).tone == "unknown"
    assert verdict("GIN", results((0.4, 0.4, 0.4), sm=(value, value, value))).tone == "unknown"
    assert verdict("GIN", {"protocols": {}}).headline == "There is no baseline to judge GIN by."


def test_without_labels_the_share_of_own_pairs_among_ten_decides():
    pairs = {"recall@1": 0.9, "recall@10": 0.2, "median_rank": 3.0}
    measured = {
        "protocols": {},
        "exact_pair": {"text_query": pairs, "image_query": {**pairs, "recall@10": 0.4}},
        "yardsticks": {"cca": {"recall@10": {"text_query": 0.25, "image_query": 0.5, "average": 0.375}}},
    }
    assert main_protocol(measured) == "recall@10"
    assert verdict("GIN", measured).headline == "GIN loses to CCA by 0.075."
    ours, cca = protocol_rows(measured, "GIN", "recall@10")
    assert (ours.values["average"], cca.values["average"]) == (pytest.approx(0.3), 0.375)
    assert "average" in cca.best


def test_results_table_leads_with_pairs_where_there_are_no_labels():
    pairs = dict.fromkeys(PAIR_MEASURES, 0.5)
    measured = {
        "protocols": {},
        "exact_pair": {"text_query": pairs, "image_query": pairs},
        "yardsticks": {"cca": {name: dict.fromkeys(DIRECTIONS, 0.25) for name in PAIR_MEASURES}},
        "left_out": {"sm": "SM needs class labels"},
    }
    title, _, ours, cca, left_out = results_table("gin", measured).splitlines()
    assert title.split() == ["pairs", *PAIR_MEASURES]
    assert ours.split() == ["gin", *[".500"] * 18]
    assert cca.split() == ["cca", *[".250"] * 18]
    assert left_out == "SM needs class labels: left out"


@pytest.mark.parametrize(
    ("pair", "tone", "where"),
    [
        (0.5, "ahead", "both in MAP and in finding the pair"),
        (0.3, "level", "in MAP, not in finding the pair"),
    ],
)
def test_a_model_that_answers_two_questions_is_judged_by_both(pair: float, tone: str, where: str):
    by_class, mixed = results((0.6, 0.6, 0.6), sm=(0.5, 0.5, 0.5)), results((0.4, 0.4, 0.4))
    ours, theirs = ({way: {"recall@10": value} for way in DIRECTIONS[:2]} for value in (pair, 0.4))
    preferences = {
        "class": {"protocols": by_class["protocols"], "exact_pair": theirs},
        "pair": {"protocols": mixed["protocols"], "exact_pair": ours},
    }
    both = {**mixed, "yardsticks": by_class["yardsticks"], "preferences": preferences}
    found = verdict("Joint", {**both, "yardstick_pairs": {"cca": theirs}})
    assert (found.tone, found.headline) == (tone, f"Joint beats SM by 0.100: {where}.")
    assert found.details[0] == (
        f"Asked for the pair, it has it among the first ten for {pair:.1%} of the queries, CCA for 40.0%. "
        "MAP is of queries for the class."
    )
