"""Which epoch is kept: how far mIoU may differ by chance."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from utils.scoring.confusion import Scores
from utils.training.keeping import margin, pack, scores_of_groups, unpack


def random_counts(seed: int, groups: int, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, (groups, classes, classes))


def test_by_hand():
    # Two pictures of two pixels, one of each class. The first network is right but for one pixel.
    one = scores_of_groups(np.array([[[1, 0], [0, 1]], [[1, 0], [1, 0]]]))
    other = scores_of_groups(np.array([[[1, 0], [0, 1]], [[1, 0], [0, 1]]]))
    # Without the first picture mIoU is (1/2 + 0) / 2 and 1, without the second 1 and 1.
    differences = np.array([0.25 - 1, 0.0])
    expected = 12.706 * math.sqrt(1 / 2 * ((differences - differences.mean()) ** 2).sum())
    assert margin(one.groups, other.groups) == pytest.approx(expected, rel=1e-4)


@given(seed=st.integers(0, 100), groups=st.integers(2, 16))
def test_equals_a_jackknife_by_loops(seed, groups):
    one, other = random_counts(seed, groups), random_counts(seed + 1000, groups)
    left = []
    for out in range(groups):
        rest = [counts[[place for place in range(groups) if place != out]].sum(0) for counts in (one, other)]
        left.append(Scores(rest[0]).miou - Scores(rest[1]).miou)
    error = math.sqrt((groups - 1) / groups * sum((each - np.mean(left)) ** 2 for each in left))
    expected = stats.t.interval(0.95, groups - 1, scale=error)[1] if error else 0.0
    found = margin(scores_of_groups(one).groups, scores_of_groups(other).groups)
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_difference_that_all_pictures_agree_on_has_no_error():
    one = scores_of_groups(np.repeat(random_counts(0, 1), 5, 0)).groups
    other = scores_of_groups(np.repeat(random_counts(1, 1), 5, 0)).groups
    assert margin(one, other) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (random_counts(0, 1), random_counts(1, 1)),
        (random_counts(0, 3), random_counts(1, 4)),
        (np.zeros((3, 2, 2), int), np.zeros((3, 2, 2), int)),
    ],
    ids=["one picture", "other pictures", "no pixel"],
)
def test_without_an_error(one, other):
    assert margin(scores_of_groups(one).groups, scores_of_groups(other).groups) == 0
    assert margin(scores_of_groups(one).groups, None) == 0


def test_scores_are_those_of_all_groups_and_empty_groups_do_not_count():
    counts = random_counts(3, 4)
    counts[2] = 0
    scores = scores_of_groups(counts)
    np.testing.assert_array_equal(scores.matrix, counts.sum(0))
    assert len(scores.groups.hits) == 3
    for name in ("hits", "truth", "predicted"):
        np.testing.assert_array_equal(getattr(scores.groups, name).sum(0), getattr(scores, name))


def test_counts_come_back_from_a_checkpoint():
    groups = scores_of_groups(random_counts(5, 3)).groups
    for name in ("hits", "truth", "predicted"):
        np.testing.assert_array_equal(getattr(unpack(pack(groups)), name), getattr(groups, name))
    assert unpack(None) is None
