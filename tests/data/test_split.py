import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.data.split import describe_split, iterative_split, retrieval_split, stratified_split
from gcnxmodal.errors import InputError


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 60), st.integers(1, 4), st.integers(0, 3))
def test_groups_stay_whole_and_every_row_lands_on_one_side(data, n, n_classes, seed):
    groups = [str(data.draw(st.integers(0, 20))) for _ in range(n)]
    labels = np.array([[data.draw(st.booleans()) for _ in range(n_classes)] for _ in range(n)])
    for make in (stratified_split, iterative_split):
        split = make(labels, groups, 0.3, seed)
        assert sorted([*split["train"], *split["test"]]) == list(range(n))
        assert not {groups[row] for row in split["train"]} & {groups[row] for row in split["test"]}


def test_every_one_of_several_labels_gives_its_share_to_the_test_side():
    random = np.random.default_rng(0)
    # Labels of 5 % to 50 % of 400 items, in groups of 1 to 4.
    labels = random.random((400, 12)) < np.linspace(0.05, 0.5, 12)
    groups = [f"group {row}" for row in np.repeat(np.arange(400), random.integers(1, 5, 400))[:400]]
    split = iterative_split(labels, groups, 0.2, 0)
    share = labels[split["test"]].sum(axis=0) / labels.sum(axis=0)
    # The rarest label has 22 items: one of them moves its share by .05.
    np.testing.assert_allclose(share, 0.2, atol=0.06)
    assert np.abs(share - 0.2).mean() < 0.02
    assert len(split["test"]) == pytest.approx(80, abs=4)


def test_group_too_large_for_the_test_side_is_trained_on():
    labels = np.ones((10, 1), bool)
    split = iterative_split(labels, ["large"] * 7 + ["a", "b", "c"], 0.3, 0)
    np.testing.assert_array_equal(split["train"], np.arange(7))


def test_items_without_a_label_are_split_too():
    labels = np.zeros((20, 2), bool)
    labels[:4, 0] = True
    split = iterative_split(labels, [str(row) for row in range(20)], 0.25, 0)
    assert len(split["test"]) == 5
    assert (split["test"] < 4).sum() == 1


def test_every_class_gives_its_share_to_the_test_side():
    classes = np.repeat([0, 1, 2], [100, 50, 10])
    labels = np.eye(3, dtype=bool)[classes]
    split = stratified_split(labels, [str(row) for row in range(160)], 0.2, 0)
    np.testing.assert_array_equal(np.bincount(classes[split["test"]]), [20, 10, 2])


def test_rare_label_of_a_multi_label_item_decides_where_it_counts():
    common, rare = np.ones((100, 1), bool), np.zeros((100, 1), bool)
    rare[:10] = True
    split = stratified_split(np.hstack([common, rare]), [str(row) for row in range(100)], 0.2, 3)
    assert (split["test"] < 10).sum() == 2
    assert len(split["test"]) == 20


def test_class_of_one_group_stays_in_training():
    split = stratified_split(np.eye(2, dtype=bool)[[0, 1, 1, 1]], ["a", "b", "c", "d"], 0.9, 0)
    assert split["train"][0] == 0
    assert len(split["test"]) == 2


def test_split_depends_on_the_seed_alone():
    labels, groups = np.ones((20, 1), bool), [f"item {row}" for row in range(20)]
    # Written down from the first run: another machine, Python or NumPy must give the same rows.
    assert stratified_split(labels, groups, 0.2, 0)["test"].tolist() == [1, 3, 8, 10]
    assert stratified_split(labels, groups, 0.2, 1)["test"].tolist() == [7, 14, 15, 16]
    assert iterative_split(labels, groups, 0.2, 0)["test"].tolist() == [9, 12, 15, 16]
    assert iterative_split(labels, groups, 0.2, 1)["test"].tolist() == [8, 10, 17, 18]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 20, float("nan")])
def test_fraction_outside_0_and_1_is_refused(fraction):
    for make in (stratified_split, iterative_split):
        with pytest.raises(InputError, match=r"test_fraction is .* choose it between 0 and 1"):
            make(np.ones((2, 1), bool), ["a", "b"], fraction, 0)


def test_queries_are_outside_of_the_database_and_training_items_inside():
    split = retrieval_split(50, queries=8, training=20, seed=0)
    assert {name: len(rows) for name, rows in split.items()} == {"train": 20, "test": 8, "retrieval": 42}
    assert sorted([*split["test"], *split["retrieval"]]) == list(range(50))
    assert set(split["train"]) < set(split["retrieval"])
    for rows in split.values():
        assert (np.diff(rows) > 0).all()


def test_retrieval_split_depends_on_the_seed_alone():
    # Written down from the first run: another machine, Python or NumPy must give the same rows.
    split = retrieval_split(20, 4, 5, 0)
    assert split["test"].tolist() == [4, 7, 15, 18]
    assert split["train"].tolist() == [3, 9, 10, 14, 17]
    assert retrieval_split(20, 4, 5, 1)["test"].tolist() == [4, 7, 8, 11]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=10, max_size=60), st.integers(0, 3))
def test_groups_are_queries_or_database_as_a_whole(numbers, seed):
    groups = [f"picture {number}" for number in numbers]
    if min(collections.Counter(groups).values()) > 4:
        with pytest.raises(InputError, match="no group of items has 4 items or fewer"):
            retrieval_split(len(groups), 4, 3, seed, groups)
        return
    split = retrieval_split(len(groups), 4, 3, seed, groups)
    assert len(split["test"]) <= 4
    assert not {groups[row] for row in split["test"]} & {groups[row] for row in split["retrieval"]}
    assert sorted([*split["test"], *split["retrieval"]]) == list(range(len(groups)))


@pytest.mark.parametrize(
    ("queries", "training", "message"),
    [
        (6, 5, "there are 10 items to split, fewer than 6 queries and 5 for training; fetch .* fewer"),
        (0, 5, "data: queries is 0; it must be at least 1"),
        (5, 0, "data: training is 0; it must be at least 1"),
    ],
)
def test_sizes_that_the_items_cannot_give_are_refused(queries, training, message):
    with pytest.raises(InputError, match=message):
        retrieval_split(10, queries, training, 0, source="data")


def test_description_names_order_and_sizes():
    split = retrieval_split(10, 2, 3, 7)
    assert describe_split(split, 7, "image number") == {
        "order": "by SHA-256 of '7:<image number>'",
        "seed": 7,
        "train": 3,
        "test": 2,
        "retrieval": 8,
    }
