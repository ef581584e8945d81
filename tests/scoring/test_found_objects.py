"""Objects by hand, against torchmetrics and an optimal assignment; parts and holes against scikit-image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from masks import blobs, disturbed, seeds
from scipy.optimize import linear_sum_assignment
from skimage.measure import euler_number, label
from torchmetrics.detection import PanopticQuality

from utils.scoring.objects import betti_numbers, euler_numbers, label_parts, measure_objects, measure_topology
from utils.scoring.scores import CLASS_SCORES, IOUS
from utils.scoring.sums import ObjectSums

BY_KEY = {score.key: score for score in CLASS_SCORES}


def measure(truth: np.ndarray, prediction: np.ndarray, classes=(1, 2), membrane=None) -> ObjectSums:
    parts = (label_parts(mask, membrane) for mask in (truth, prediction))
    return measure_objects(*parts, 3, classes)


def rectangles(*boxes: tuple[int, int, int, int], size: int = 30) -> np.ndarray:
    """A mask with class 1 in boxes of (top, left, height, width)."""
    mask = np.zeros((size, size), np.uint8)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = 1
    return mask


def test_objects_by_hand():
    """One found with IoU 80 / 120, one with exactly one half, one missed, one invented."""
    truth = rectangles((0, 0, 10, 10), (0, 20, 4, 4), (20, 0, 5, 5))
    prediction = rectangles((0, 2, 10, 10), (0, 20, 4, 2), (20, 20, 3, 3))
    sums = measure(truth, prediction)
    assert (sums.truth[1], sums.predicted[1]) == (3, 3)
    # IoU 0.5 is not above 0.5.
    np.testing.assert_array_equal(sums.hits[1], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    expected = {"object_precision": 1 / 3, "object_recall": 1 / 3, "object_f1": 1 / 3, "object_f1_75": 0}
    expected |= {"object_f1_mean": 4 / 30, "panoptic_quality": (80 / 120) / 3, "count_error": 0}
    for key, value in expected.items():
        assert BY_KEY[key].of(sums)[1] == pytest.approx(value), key
        assert np.isnan(BY_KEY[key].of(sums)[0])


def test_two_joined_objects_count_as_one():
    sums = measure(rectangles((0, 0, 5, 5), (0, 6, 5, 5)), rectangles((0, 0, 5, 11)))
    assert BY_KEY["count_error"].of(sums)[1] == -0.5
    assert BY_KEY["object_f1"].of(sums)[1] == 0


def test_an_object_on_ignored_pixels_is_no_false_alarm():
    truth, prediction = rectangles((0, 0, 5, 5)), rectangles((0, 0, 5, 5), (20, 20, 5, 5))
    assert measure(truth, prediction).predicted[1] == 2
    truth[20:, 20:23] = 255
    assert measure(truth, prediction).predicted[1] == 1
    # Less than half of it ignored: it counts, by the area that is left.
    truth[20:, 22] = 0
    assert measure(truth, prediction).predicted[1] == 2


def test_a_diagonal_line_of_membrane_separates_cells():
    cells = np.eye(20, dtype=np.uint8)
    sums = measure(cells, cells, classes=(0,), membrane=1)
    assert sums.truth[0] == sums.hits[0, 0] == 2
    assert measure(cells, cells, classes=(0,)).truth[0] == 1


@given(seeds)
def test_pairs_equal_the_best_assignment(seed):
    truth = blobs(seed)
    prediction = disturbed(truth, seed)
    sums = measure(truth, prediction)
    for index in (1, 2):
        true, found = (label(mask == index, connectivity=2) for mask in (truth, prediction))
        table = np.histogram2d(
            true.ravel(), found.ravel(), (np.arange(true.max() + 2) - 0.5, np.arange(found.max() + 2) - 0.5)
        )[0]
        union = table.sum(1)[:, None] + table.sum(0) - table
        iou = (table / union)[1:, 1:]
        assert (sums.truth[index], sums.predicted[index]) == iou.shape
        for place, percent in enumerate(IOUS):
            good = iou > percent / 100
            pairs = linear_sum_assignment(good, maximize=True)
            assert sums.hits[index, place] == good[pairs].sum()
        assert sums.overlap[index] == pytest.approx(iou[iou > 0.5].sum())


@pytest.mark.parametrize("ignored", [False, True])
def test_panoptic_quality_equals_torchmetrics(ignored):
    """Whose void is a class of the truth (here 3) that is neither thing nor stuff."""
    for seed in range(5):
        truth = blobs(seed, ignored=ignored)
        prediction = disturbed(truth, seed)
        reference = PanopticQuality({1, 2}, {0}, allow_unknown_preds_category=True, return_per_class=True)
        pairs = []
        for mask in (prediction, truth):
            numbers = label(mask, background=255, connectivity=2)
            pairs.append(torch.from_numpy(np.stack([np.where(mask == 255, 3, mask), numbers], -1))[None])
        expected = dict(zip([1, 2, 0], reference(*pairs).ravel().tolist(), strict=True))
        quality = BY_KEY["panoptic_quality"].of(measure(truth, prediction))
        assert quality[1:].tolist() == pytest.approx([expected[1], expected[2]])


@given(seeds)
def test_swapping_truth_and_prediction_swaps_precision_and_recall(seed):
    truth = blobs(seed)
    prediction = disturbed(truth, seed)
    one, other = measure(truth, prediction), measure(prediction, truth)
    for key, swapped in (("object_precision", "object_recall"), ("panoptic_quality", "panoptic_quality")):
        np.testing.assert_allclose(BY_KEY[key].of(one), BY_KEY[swapped].of(other))


def test_parts_and_holes_by_hand():
    ring = rectangles((5, 5, 7, 7))
    ring[7:9, 7:9] = 0
    parts, holes = betti_numbers(label_parts(ring), 2)
    assert (parts.tolist(), holes.tolist()) == ([2, 1], [1, 1])
    sums = measure_topology(label_parts(ring), label_parts(rectangles((5, 5, 7, 7), (20, 20, 2, 2))), 3)
    # The background loses a part, class 1 gains one and loses a hole; the background has a hole more.
    assert (sums.parts.tolist(), sums.holes.tolist()) == ([1, 1, 0], [1, 1, 0])
    assert sums.pictures.tolist() == [1, 1, 0]


@given(seeds)
def test_euler_numbers_equal_those_of_scikit_image(seed):
    mask = blobs(seed, ignored=True)
    mask[np.random.default_rng(seed).random(mask.shape) < 0.1] = 1
    for connectivity in (4, 8):
        expected = [euler_number(mask == index, 2 if connectivity == 8 else 1) for index in range(3)]
        assert euler_numbers(mask, connectivity)[:3].tolist() == expected
