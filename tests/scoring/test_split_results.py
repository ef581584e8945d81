"""Results of a split: pooled and per picture, intervals over pictures, absent classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils.core.tables import read_table
from utils.scoring.bootstrap import draw_weights, interval
from utils.scoring.confusion import Scores
from utils.scoring.results import SplitResults
from utils.scoring.scores import CLASS_SCORES, OVERALL_SCORES
from utils.scoring.sums import PixelSums
from utils.scoring.tables import write_order

BY_KEY = {score.key: score for score in (*CLASS_SCORES, *OVERALL_SCORES)}
MEANS = {"iou": "miou", "dice": "mdice", "precision": "mprecision", "recall": "mpa"}
matrices = arrays(np.int64, st.tuples(st.integers(1, 5), st.just(3), st.just(3)), elements=st.integers(0, 20))


def results_of(matrices: np.ndarray) -> SplitResults:
    """Results of pictures with these confusion matrices (N, K, K)."""
    pixels = PixelSums(matrices.diagonal(axis1=1, axis2=2), matrices.sum(2), matrices.sum(1))
    names = [f"p{index}" for index in range(len(matrices))]
    ignored = np.zeros(len(matrices), int)
    classes = [f"class {index}" for index in range(matrices.shape[1])]
    return SplitResults(classes, names, ignored, matrices.sum(0), pixels)


@given(matrices)
def test_pooled_scores_are_those_of_the_summed_matrix(pictures):
    results = results_of(pictures)
    for key, mean in MEANS.items():
        *classes, average = results.pooled(BY_KEY[key])
        np.testing.assert_array_equal(classes, getattr(results.scores, key))
        np.testing.assert_array_equal(average, getattr(results.scores, mean))
    for key in ("accuracy", "fwiou", "kappa"):
        np.testing.assert_array_equal(results.pooled(BY_KEY[key]), getattr(results.scores, key))


@given(matrices)
def test_scores_per_picture_are_those_of_its_own_matrix(pictures):
    results = results_of(pictures)
    for key, mean in MEANS.items():
        for row, matrix in zip(results.per_picture(BY_KEY[key]), pictures, strict=True):
            np.testing.assert_array_equal(row, [*getattr(Scores(matrix), key), getattr(Scores(matrix), mean)])


def test_pooled_and_per_picture_by_hand():
    # IoU of class 1: 1 / 2 and 9 / 18 of 10 / 20 pooled; class 0: 98 / 99 and 0 / 9.
    results = results_of(np.array([[[98, 1], [0, 1]], [[0, 0], [9, 9]]]))
    estimate = results.estimate(BY_KEY["iou"])
    np.testing.assert_allclose(estimate.pooled, [98 / 108, 0.5, (98 / 108 + 0.5) / 2])
    np.testing.assert_allclose(
        estimate.per_picture, [49 / 99, 0.5, ((98 / 99 + 0.5) / 2 + (0 + 0.5) / 2) / 2]
    )
    assert estimate.low[1] == estimate.high[1] == 0.5


def test_networks_that_agree_everywhere_rank_no_pictures(tmp_path, capsys):
    results = results_of(np.array([[[8, 2], [1, 1]], [[6, 2], [2, 2]], [[5, 5], [1, 1]]]))
    write_order(tmp_path, results, {"p0": 0.9, "p1": 0.8, "p2": 0.7})
    assert "Spearman 1.00 with the true one, 3 pictures" in capsys.readouterr().out
    write_order(tmp_path, results, dict.fromkeys(results.names, 1.0))
    assert not capsys.readouterr().out
    assert [row["expected_iou"] for row in read_table(tmp_path / "order.csv")] == ["1"] * 3


def test_a_picture_that_is_ignored_as_a_whole_has_no_score():
    results = results_of(np.array([[[6, 2], [1, 1]], [[0, 0], [0, 0]]]))
    for score in (*results.class_scores, *results.overall_scores):
        estimate = results.estimate(score)
        assert np.isnan(results.per_picture(score)[1]).all()
        np.testing.assert_allclose(estimate.per_picture, estimate.pooled)


def test_class_in_no_picture_has_no_score_and_no_bar():
    results = results_of(np.array([[[5, 0, 1], [0, 0, 0], [2, 0, 3]]] * 3))
    estimate = results.estimate(BY_KEY["iou"])
    assert all(np.isnan(values[1]) for values in vars(estimate).values())
    assert estimate.pooled[-1] == pytest.approx((5 / 8 + 3 / 6) / 2)


def test_pictures_that_are_all_alike_have_bars_of_no_width():
    results = results_of(np.array([[[5, 1], [2, 3]]] * 4))
    for score in (*results.class_scores, *results.overall_scores):
        estimate = results.estimate(score)
        np.testing.assert_allclose(estimate.low, estimate.pooled)
        np.testing.assert_allclose(estimate.high, estimate.pooled)
        np.testing.assert_allclose(estimate.per_picture, estimate.pooled)


@pytest.mark.parametrize(("number", "least"), [(5, 0.86), (40, 0.9)])
def test_bars_cover_the_true_score_about_as_often_as_they_say(number, least):
    """Accuracy of pictures of 100 pixels whose own accuracy scatters around 0.8."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        right = rng.binomial(100, rng.beta(8, 2, number))
        nothing = np.zeros_like(right)
        pictures = np.array([[right, 100 - right], [nothing, nothing]]).transpose(2, 0, 1)
        estimate = results_of(pictures).estimate(BY_KEY["accuracy"])
        covered += estimate.low <= 0.8 <= estimate.high
    assert least < covered / 200 < 0.99


def test_resamples_are_the_same_every_time_and_of_as_many_pictures():
    weights = draw_weights(7)
    np.testing.assert_array_equal(weights, draw_weights(7))
    assert (weights.sum(1) == 7).all()
    assert weights.mean() == 1


def test_interval_leaves_out_resamples_without_a_value():
    values = np.column_stack([np.arange(1001.0), np.full(1001, np.nan)])
    values[:100, 0] = np.nan
    low, high = interval(values, 100_000)
    assert (low[0], high[0]) == pytest.approx((122.5, 977.5), abs=0.1)
    assert np.isnan(low[1])


def test_one_picture_has_no_bar():
    estimate = results_of(np.array([[[5, 1], [2, 3]]])).estimate(BY_KEY["iou"])
    assert np.isnan(estimate.low).all()
    assert estimate.pooled[0] == 5 / 8
