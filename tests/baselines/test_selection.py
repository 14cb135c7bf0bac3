import numpy as np
import pytest
from two_views import two_views

from gcnxmodal.baselines import CCA, METHODS, selection
from gcnxmodal.baselines.base import Items, fit
from gcnxmodal.baselines.selection import average_standard_map, select, validation_split
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.evaluate import standard_map


class Noisy:
    """Embeds an item as its label, so much disturbed as its two arguments are from (2, 5)."""

    space = {"a": (0, 1, 2, 3), "b": (4, 5, 6)}  # noqa: RUF012
    fitted: list = []  # noqa: RUF012

    def __init__(self, a=0, b=0, offset=0):
        self.a, self.b, self.offset = a, b, offset

    def fit(self, images, texts, labels, groups=None):
        Noisy.fitted.append(len(labels))
        if self.a == 3:
            raise InputError("a: 3 is refused")
        return self

    def encode_images(self, images):
        noise = 0.3 * (abs(self.a - 2) + abs(self.b - 5) + self.offset)
        return images + noise * np.random.default_rng(0).standard_normal(images.shape)

    encode_texts = encode_images


@pytest.fixture
def labelled():
    labels = np.eye(4, dtype=bool)[np.arange(200) % 4]
    return labels.astype(float), labels.astype(float), labels


def test_the_best_candidate_of_the_grid_is_chosen_and_each_reported_once(labelled):
    lines = []
    assert select(Noisy, *labelled, report=lines.append) == {"a": 2, "b": 5}
    assert len(lines) == 12
    assert lines[7].startswith("8/12 a 2, b 5: 1.0000")
    assert lines[9] == "10/12 a 3, b 4: left out, a: 3 is refused"


def test_a_large_space_is_searched_coordinate_by_coordinate(labelled, monkeypatch):
    monkeypatch.setattr(selection, "GRID", 11)
    lines = []
    assert select(Noisy, *labelled, report=lines.append) == {"a": 2, "b": 5}
    assert len(lines) == 4 + 3 - 1
    assert lines[-1].startswith("6/6 a 2, b 6")


def test_of_equals_the_first_is_taken(labelled):
    assert select(Noisy, *labelled, space={"a": (1, 0)}, measure=lambda *_: 0.5) == {"a": 1}


def test_fixed_arguments_are_kept_and_not_varied(labelled):
    assert select(Noisy, *labelled, fixed={"a": 0, "offset": 1}) == {"a": 0, "offset": 1, "b": 5}


def test_nothing_is_fitted_where_nothing_is_to_be_chosen(labelled):
    Noisy.fitted.clear()
    assert select(Noisy, *labelled, space={}, fixed={"a": 3}) == {"a": 3}
    assert not Noisy.fitted


def test_a_measure_sees_the_method_the_held_out_and_the_fitted_items(labelled):
    def sizes(method, held, fitted):
        assert len(held.images) == len(held.counts) == len(held.labels) == 40
        assert len(fitted.labels) == 160
        return -method.a

    assert select(Noisy, *labelled, measure=sizes)["a"] == 0


def test_all_candidates_refused_is_an_error_that_says_why(labelled):
    with pytest.raises(InputError, match="all 3 candidates are left out, the last because: a: 3 is refused"):
        select(Noisy, *labelled, fixed={"a": 3})


def test_every_candidate_is_fitted_on_the_rest_of_the_items(labelled):
    Noisy.fitted.clear()
    select(Noisy, *labelled)
    assert Noisy.fitted == [160] * 12


def test_the_default_measure_is_the_standard_map_of_the_held_out_items(labelled):
    images, texts, labels = two_views()
    rows = validation_split(labels, 0.2, 0)["held"]
    held = Items(images[rows], texts[rows], labels[rows])
    method = CCA(3).fit(images, texts, labels)
    expected = standard_map(method.encode_texts(held.counts), method.encode_images(held.images), held.labels)
    assert average_standard_map(method, held, held) == pytest.approx(expected["average"], abs=1e-9)


def test_a_fifth_of_each_class_is_held_out_and_a_single_item_kept():
    labels = np.eye(3, dtype=bool)[np.repeat([0, 1, 2], [50, 10, 1])]
    rows = validation_split(labels, 0.2, 0)
    np.testing.assert_array_equal(labels[rows["held"]].sum(axis=0), [10, 2, 0])
    assert sorted(np.concatenate([rows["held"], rows["fitted"]])) == list(range(61))
    again, other = (validation_split(labels, 0.2, seed)["held"] for seed in (0, 1))
    np.testing.assert_array_equal(again, rows["held"])
    assert (other != rows["held"]).any()


@pytest.mark.parametrize("kind", [int, str])
def test_a_group_is_held_out_as_a_whole(kind):
    """So that variants of one picture never help to choose."""
    groups = np.repeat(np.arange(40), 5).astype(kind)
    labels = np.eye(4, dtype=bool)[np.repeat(np.arange(40), 5) % 4]
    features = labels.astype(float)
    seen = []

    def sides(method, held, fitted):
        seen.append((set(held.images[:, 0]), set(fitted.images[:, 0])))
        return -method.a

    numbers = np.repeat(np.arange(40.0), 5)[:, None]
    select(Noisy, numbers, features, labels, groups=groups, space={"a": (0, 1)}, measure=sides)
    for held, fitted in seen:
        assert len(held) == 8
        assert not held & fitted
    alone = validation_split(labels, 0.2, 0)
    assert set(groups[alone["held"]]) & set(groups[alone["fitted"]])


def test_the_split_for_choosing_depends_on_the_seed_alone():
    # Written down from the first run: another machine, Python or NumPy must give the same rows.
    assert validation_split(np.ones((20, 1), bool), 0.2, 0)["held"].tolist() == [4, 7, 15, 18]


def test_groups_that_do_not_match_are_refused(labelled):
    with pytest.raises(InputError, match="groups: 3 for 200 training items; give one an item"):
        select(Noisy, *labelled, groups=[1, 2, 3])


@pytest.mark.parametrize("score", [np.nan, np.inf])
@pytest.mark.parametrize("grid", [30, 1])
def test_a_measure_that_is_not_finite_never_wins(labelled, score, grid, monkeypatch):
    monkeypatch.setattr(selection, "GRID", grid)
    lines = []

    def measure(method, held, fitted):
        return score if method.a == 0 else method.a

    space = {"a": (0, 1, 2), "b": (4,)}
    chosen = select(Noisy, *labelled, space=space, measure=measure, report=lines.append)
    assert chosen == {"a": 2, "b": 4}
    assert lines[0] == f"1/3 a 0, b 4: left out, its measure is {score}"
    with pytest.raises(InputError, match=f"all 1 candidates .* its measure is {score}"):
        select(Noisy, *labelled, space={"a": (0,)}, measure=measure)


def test_equations_without_a_solution_leave_a_candidate_out(labelled):
    def measure(method, held, fitted):
        return float(np.linalg.inv(np.diag([method.a, 1.0]))[0, 0])

    lines = []
    space = {"a": (0, 1, 2)}
    assert select(Noisy, *labelled, space=space, measure=measure, report=lines.append) == {"a": 1}
    assert lines[0] == "1/3 a 0: left out, Singular matrix"


def test_an_argument_without_values_is_refused_by_name(labelled):
    with pytest.raises(InputError, match="space: b has no values to try"):
        select(Noisy, *labelled, space={"a": (0, 1), "b": ()})


def test_items_of_several_labels_and_of_none_are_spread_by_the_rarest():
    labels = np.zeros((110, 2), bool)
    labels[:100, 0] = labels[:20, 1] = True  # 20 items with both, 80 with the first, 10 with none
    held = validation_split(labels, 0.2, 0)["held"]
    assert [np.sum(held < 20), np.sum((held >= 20) & (held < 100)), np.sum(held >= 100)] == [4, 16, 2]


def test_what_cannot_be_split_is_refused():
    with pytest.raises(InputError, match="none of 3 training items can be held out"):
        validation_split(np.eye(3, dtype=bool), 0.2, 0)
    with pytest.raises(InputError, match=r"validation is 1\.0; choose it between 0 and 1"):
        validation_split(np.eye(3, dtype=bool), 1.0, 0)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_names_what_can_be_chosen(name):
    method = METHODS[name]
    defaults = method().get_params()
    for argument, values in method.space.items():
        assert argument in defaults
        assert len(set(values)) == len(values) > 1


@pytest.mark.parametrize("labelled_as", ["one", "several"])
def test_a_real_method_is_chosen_with_its_own_space(labelled_as):
    images, texts, labels = two_views()
    if labelled_as == "several":
        labels = labels | (np.random.default_rng(9).random(labels.shape) < 0.2)
    lines = []
    chosen = select(METHODS["gmlda"], images, texts, labels, report=lines.append)
    rows = validation_split(labels, 0.2, 0)
    fitted, held = (Items(images[r], texts[r], labels[r]) for r in rows.values())
    score = average_standard_map(fit(METHODS["gmlda"](**chosen), fitted), held, fitted)
    found = [float(line.rpartition(": ")[2]) for line in lines]
    assert score == pytest.approx(max(found), abs=6e-5)
    assert min(found) < max(found) - 1e-3  # there was something to choose
