"""Splits: disjoint, complete, no group torn, rare classes on both sides, every name once in the folds."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.core.console import UserError
from utils.voc.drawing import draw, draw_folds, group_keys, join_groups, sizes_of

KINDS = st.sampled_from(["random", "stratified", "contiguous"])
GROUPS = st.lists(st.integers(1, 7), min_size=1, max_size=30)


def make_groups(lengths):
    ends = np.cumsum(lengths)
    return [list(range(end - length, end)) for length, end in zip(lengths, ends.tolist(), strict=True)]


def make_present(count, seed, classes=4):
    return np.random.default_rng(seed).random((count, classes)) < [1, 0.5, 0.2, 0.05]


@given(GROUPS, KINDS, st.floats(0, 60), st.floats(0, 39), st.integers(0, 9))
def test_parts_are_disjoint_complete_and_tear_no_group(lengths, kind, val, test, seed):
    groups, count = make_groups(lengths), sum(lengths)
    parts = draw(groups, sizes_of(count, val, test), kind, make_present(count, seed), seed)
    assert sorted(chain(*parts)) == list(range(count))
    for part in parts:
        assert part == sorted(part)
        for group in groups:
            assert len(set(group) & set(part)) in (0, len(group))


@given(st.integers(2, 60), KINDS, st.floats(0, 60), st.floats(0, 39), st.integers(0, 9))
def test_single_names_give_exact_sizes(count, kind, val, test, seed):
    sizes = sizes_of(count, val, test)
    parts = draw(make_groups([1] * count), sizes, kind, make_present(count, seed), seed)
    assert [len(part) for part in parts] == sizes
    assert min(sizes[:2]) >= 1


@given(st.lists(st.integers(1, 9), min_size=3, max_size=20), KINDS, st.integers(0, 9))
def test_no_part_is_left_empty_where_there_are_groups_enough(lengths, kind, seed):
    count = sum(lengths)
    parts = draw(make_groups(lengths), sizes_of(count, 20, 20), kind, make_present(count, seed), seed)
    assert all(part for part, size in zip(parts, sizes_of(count, 20, 20), strict=True) if size)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=30), KINDS, st.integers(2, 10), st.integers(0, 9))
def test_folds_hold_every_name_once(lengths, kind, folds, seed):
    groups, count = make_groups(lengths), sum(lengths)
    folds = min(folds, len(groups))
    parts = draw_folds(groups, folds, kind, make_present(count, seed), seed)
    assert sorted(chain(*parts)) == list(range(count))
    assert all(parts)
    assert all(len(set(group) & set(part)) in (0, len(group)) for group in groups for part in parts)


@given(st.integers(0, 50), st.integers(2, 6))
def test_a_class_in_few_pictures_reaches_training_and_validation(seed, carriers):
    rng = np.random.default_rng(seed)
    present = np.ones((40, 3), bool)
    present[:, 2] = False
    present[rng.choice(40, carriers, replace=False), 2] = True
    train, val, _ = draw(make_groups([1] * 40), [32, 8, 0], "stratified", present, seed)
    assert present[train, 2].any()
    assert present[val, 2].any()


def test_stratified_shares_are_those_of_the_whole():
    present = make_present(400, 3)
    _, val, test = draw(make_groups([1] * 400), [280, 80, 40], "stratified", present, 0)
    for part in (val, test):
        assert np.allclose(present[part].mean(0), present.mean(0), atol=0.02)


def test_random_groups_of_unequal_size_come_near_the_sizes_wanted():
    lengths = [50, 40, 5, 5]
    for seed in range(5):
        train, val, _ = draw(make_groups(lengths), [80, 20, 0], "random", np.zeros((100, 0), bool), seed)
        assert sorted([len(train), len(val)]) == [10, 90]
        assert len(val) == 10


def test_seed_decides():
    groups, present = make_groups([1] * 30), np.ones((30, 1), bool)
    drawn = [draw(groups, [20, 10, 0], "random", present, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({tuple(draw(groups, [20, 10, 0], "random", present, seed)[1]) for seed in range(20)}) == 20


def test_contiguous_cut_falls_between_groups():
    parts = draw(make_groups([3, 3, 3, 3]), [8, 4, 0], "contiguous", np.zeros((12, 0), bool), 0)
    assert parts == [list(range(9)), [9, 10, 11], []]
    parts = draw(make_groups([1] * 12), [8, 2, 2], "contiguous", np.zeros((12, 0), bool), 0)
    assert parts == [list(range(8)), [8, 9], [10, 11]]


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        (None, ["a_1", "a_2", "b 7.x_1", "图_9"]),
        (r"^[^_]+", ["a", "a", "b 7.x", "图"]),
        (r"_(\d)", ["1", "2", "1", "9"]),
        (r"^(.)", ["a", "a", "b", "图"]),
    ],
)
def test_groups_by_pattern(pattern, keys):
    assert group_keys(["a_1", "a_2", "b 7.x_1", "图_9"], pattern) == keys


@pytest.mark.parametrize(
    ("pattern", "found"), [("[", "no regular expression"), ("^a", "no match in the name b_1")]
)
def test_bad_group_pattern(pattern, found):
    with pytest.raises(UserError, match=found) as caught:
        group_keys(["a_1", "b_1"], pattern)
    assert caught.value.subject == f"--group {pattern}"


def test_bracket_that_is_not_met_is_no_group():
    with pytest.raises(UserError, match="no match in the name b_1"):
        group_keys(["a_1", "b_1"], "(a)?_1")


def test_keys_of_two_kinds_are_joined():
    assert join_groups(["a", "a", "b", "c", "d"], ["1", "2", "2", "3", "4"]) == [[0, 1, 2], [3], [4]]
    assert join_groups(["a", "b", "c", "d"], ["1", "2", "3", "1"], ["x", "y", "y", "z"]) == [[0, 3], [1, 2]]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_joined_groups_share_no_key(pairs):
    first, second = ([str(value) for value in values] for values in zip(*pairs, strict=True))
    groups = join_groups(first, second)
    assert sorted(chain(*groups)) == list(range(len(pairs)))
    for keys in (first, second):
        assert max(Counter(key for group in groups for key in {keys[index] for index in group}).values()) == 1


@pytest.mark.parametrize("folds", [1, 4, -1])
def test_folds_that_cannot_be(folds):
    with pytest.raises(UserError, match=f"{folds} folds of 3 groups"):
        draw_folds(make_groups([2, 2, 2]), folds, "random", np.ones((6, 1), bool), 0)
