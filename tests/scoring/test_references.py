"""Pixel scores, thresholds and calibration against scikit-learn and torchmetrics, degenerate cases too."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import blobs, disturbed
from torchmetrics.classification import (
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
    MulticlassSpecificity,
)

from utils.scoring.confusion import ConfusionMatrix, Scores
from utils.scoring.scorer import count_probabilities
from utils.scoring.scores import calibration_error
from utils.scoring.thresholds import reliability, threshold_curve

CASES = {
    "random": (blobs(0, ignored=True), disturbed(blobs(0), 0)),
    "class never found": (blobs(1), np.minimum(blobs(2), 1)),
    "class found where it never is": (np.minimum(blobs(1), 1), blobs(2)),
    "one class in both": (np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)),
    "one class everywhere": (blobs(1), np.ones_like(blobs(1))),
    "all wrong": (blobs(1), (blobs(1) + 1) % 3),
    "a single pixel": (np.array([[2]], np.uint8), np.array([[2]], np.uint8)),
}


def scores_of(truth: np.ndarray, prediction: np.ndarray) -> Scores:
    matrix = ConfusionMatrix(3)
    matrix.update(truth, prediction)
    return matrix.scores()


@pytest.mark.parametrize("case", CASES)
def test_pixel_scores_equal_scikit_learn(case):
    truth, prediction = CASES[case]
    scores, counted = scores_of(truth, prediction), truth != 255
    true, found = truth[counted], prediction[counted]
    labels = {"labels": range(3), "zero_division": np.nan}
    np.testing.assert_array_equal(
        scores.matrix, sklearn.metrics.confusion_matrix(true, found, labels=range(3))
    )
    precision, recall, dice, _ = sklearn.metrics.precision_recall_fscore_support(true, found, **labels)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.dice, dice)
    # jaccard_score has no NaN: it says 0 of a class in neither.
    iou = sklearn.metrics.jaccard_score(true, found, labels=range(3), average=None, zero_division=0)
    np.testing.assert_allclose(np.nan_to_num(scores.iou), iou)
    assert scores.accuracy == pytest.approx(sklearn.metrics.accuracy_score(true, found))
    if len(np.unique([true, found])) > 1:
        assert scores.kappa == pytest.approx(sklearn.metrics.cohen_kappa_score(true, found))
    else:
        # Chance is always right, too.
        assert np.isnan(scores.kappa)


@pytest.mark.parametrize("case", CASES)
def test_pixel_scores_equal_torchmetrics(case):
    truth, prediction = CASES[case]
    scores = scores_of(truth, prediction)
    true, found = torch.from_numpy(truth).long(), torch.from_numpy(prediction).long()
    metrics = {"num_classes": 3, "ignore_index": 255}
    np.testing.assert_array_equal(scores.matrix, MulticlassConfusionMatrix(**metrics)(found, true))
    iou = MulticlassJaccardIndex(average=None, **metrics)(found, true)
    np.testing.assert_allclose(np.nan_to_num(scores.iou), iou, rtol=1e-6)
    specificity = MulticlassSpecificity(average=None, **metrics)(found, true)
    np.testing.assert_allclose(np.nan_to_num(scores.specificity), specificity, rtol=1e-6)


def probabilities(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A truth (H, W) of two classes and probabilities (H, W) float64 in thousandths."""
    rng, truth = np.random.default_rng(seed), np.minimum(blobs(seed), 1)
    return truth, np.round(np.clip(0.3 + 0.4 * truth + rng.normal(0, 0.2, truth.shape), 0, 1), 3)


def counts_of(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    return count_probabilities(truth, np.round(probability * 65535).astype(np.uint16)).counts


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_precision_recall_curve_equals_scikit_learn(seed):
    truth, probability = probabilities(seed)
    counts = counts_of(truth, probability)
    assert counts.sum() == truth.size
    curve = threshold_curve(counts)
    precision, recall, at = sklearn.metrics.precision_recall_curve(truth.ravel(), probability.ravel())
    place = np.round(at * 1000).astype(int)
    np.testing.assert_allclose(curve.precision[place], precision[:-1])
    np.testing.assert_allclose(curve.recall[place], recall[:-1])
    expected = sklearn.metrics.average_precision_score(truth.ravel(), probability.ravel())
    assert curve.average_precision == pytest.approx(expected)


def test_best_threshold_is_that_of_the_highest_dice():
    truth, probability = probabilities(3)
    curve = threshold_curve(counts_of(truth, probability))
    dice = [
        sklearn.metrics.f1_score(truth.ravel(), (probability >= t).ravel()) for t in curve.thresholds[::20]
    ]
    best = curve.thresholds[curve.best]
    assert max(dice) <= curve.dice[curve.best] + 1e-12
    found = (probability >= best).ravel()
    assert curve.dice[curve.best] == pytest.approx(sklearn.metrics.f1_score(truth.ravel(), found))


def test_threshold_of_a_class_that_is_not_in_the_truth():
    assert threshold_curve(counts_of(np.zeros((4, 4), np.uint8), np.full((4, 4), 0.2))) is None


def test_ignored_pixels_have_no_probability():
    truth = np.array([[0, 1, 255]], np.uint8)
    counts = counts_of(truth, np.array([[0.2, 1.0, 0.7]]))
    assert counts.sum() == 2
    assert counts[0, 200] == counts[1, 1000] == 1


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_equals_torchmetrics(seed):
    truth, probability = probabilities(seed)
    # Just off the edges of the bins, where floats of 32 bits decide otherwise.
    probability = np.where(np.isin(np.round(15 * probability, 6) % 1, (0, 1)), 0.701, probability)
    probability[probability == 0.5] = 0.501
    both = torch.from_numpy(np.stack([1 - probability.ravel(), probability.ravel()], 1))
    expected = MulticlassCalibrationError(2, n_bins=15)(both, torch.from_numpy(truth.ravel()).long())
    assert float(calibration_error(counts_of(truth, probability))) == pytest.approx(float(expected), abs=1e-6)


def test_reliability_by_hand():
    truth = np.array([[1, 0, 1, 1]], np.uint8)
    mean, share, pixels = reliability(counts_of(truth, np.array([[0.52, 0.58, 0.91, 1.0]])))
    assert pixels.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert (mean[5], share[5]) == pytest.approx((0.55, 0.5))
    assert (mean[9], share[9]) == pytest.approx((0.955, 1))
    assert np.isnan(mean[0])
