"""Borders by hand, against MONAI, and against the definition of the boundary IoU in slow motion."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from masks import blobs, disturbed, seeds
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from utils.scoring.borders import BAND, measure_borders
from utils.scoring.confusion import ratio
from utils.scoring.scores import CLASS_SCORES

BY_KEY = {score.key: score for score in CLASS_SCORES}


def square(top: int, left: int, side: int = 10, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def of_class(key: str, *masks: np.ndarray, classes: int = 2, tolerance: float = 2) -> np.ndarray:
    return BY_KEY[key].of(measure_borders(*masks, classes, tolerance))


def test_a_mask_fits_itself():
    mask = blobs(0)
    for key, expected in (
        ("boundary_iou", 1),
        ("boundary_f", 1),
        ("hausdorff95", 0),
        ("surface_distance", 0),
    ):
        np.testing.assert_array_equal(of_class(key, mask, mask, classes=3), expected)


def test_a_shifted_square_by_hand():
    """By three columns: of 36 contour pixels, 8 upper and 8 lower ones and half of their ends stay close."""
    one, other = square(10, 10), square(10, 13)
    sums = measure_borders(one, other, 2, 1.0)
    assert (sums.truth[1], sums.predicted[1]) == (36, 36)
    # Upper and lower sides overlap in 7 columns, and one more column is one pixel away; the side within the
    # other square is 3 px off, but for its pixels beside the upper and lower sides of that.
    assert sums.truth_near[1] == 2 * 7 + 2 * 1 + 2
    assert sums.truth_near[1] == sums.predicted_near[1]
    assert sums.hausdorff[1] == 3


def test_a_class_on_one_side_has_no_distance():
    empty = np.zeros((40, 40), np.uint8)
    sums = measure_borders(square(10, 10), empty, 3, 2)
    assert (sums.measured[1], sums.one_sided[1]) == (0, 1)
    assert (sums.measured[2], sums.one_sided[2]) == (0, 0)
    for key in ("hausdorff95", "surface_distance"):
        assert np.isnan(of_class(key, square(10, 10), empty, classes=3)[1:]).all()
    for key in ("boundary_iou", "boundary_f"):
        _, missed, nowhere = of_class(key, square(10, 10), empty, classes=3)
        assert missed == 0
        assert np.isnan(nowhere)


def test_ignored_pixels_are_no_border():
    """A square beside an ignored stripe ends there in both masks: no contour, no band."""
    truth = square(10, 10)
    truth[:, 15:] = 255
    cut = square(10, 10)
    cut[:, 15:] = 255
    sums = measure_borders(truth, cut, 2, 2)
    # Its left side and the half of the upper and lower ones.
    assert sums.truth[1] == 10 + 4 + 4
    assert sums.truth[0] == 40 + 14 + 14 + 10 + 2 * 5


@settings(max_examples=20)
@given(seeds)
def test_swapping_truth_and_prediction_changes_no_score(seed):
    truth = blobs(seed)
    prediction = disturbed(truth, seed)
    for key in ("boundary_iou", "boundary_f", "hausdorff95", "surface_distance"):
        one, other = of_class(key, truth, prediction, classes=3), of_class(key, prediction, truth, classes=3)
        np.testing.assert_allclose(one, other)


@settings(max_examples=20)
@given(seeds)
def test_other_numbers_of_the_classes_change_no_score(seed):
    truth, order = blobs(seed, ignored=True), np.array([2, 0, 1])
    prediction = np.where(truth == 255, truth, disturbed(truth, seed))
    table = np.append(order, np.full(253, 255)).astype(np.uint8)
    for key in ("boundary_iou", "boundary_f", "hausdorff95"):
        scores = of_class(key, truth, prediction, classes=3)
        np.testing.assert_allclose(of_class(key, table[truth], table[prediction], classes=3)[order], scores)


def one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(mask).long(), 3).movedim(-1, 0)[None]


@pytest.mark.filterwarnings("ignore:monai")
@pytest.mark.parametrize("seed", range(5))
def test_distances_equal_those_of_monai(seed):
    truth = blobs(seed)
    prediction = disturbed(truth, seed)
    true, found = one_hot(truth), one_hot(prediction)
    flags = {"include_background": True}
    expected = compute_hausdorff_distance(found, true, percentile=95, **flags)[0]
    np.testing.assert_allclose(of_class("hausdorff95", truth, prediction, classes=3), expected, rtol=1e-5)
    expected = compute_average_surface_distance(found, true, symmetric=True, **flags)[0]
    np.testing.assert_allclose(
        of_class("surface_distance", truth, prediction, classes=3), expected, rtol=1e-5
    )
    sums = measure_borders(truth, prediction, 3, 1.5)
    surface_dice = ratio(sums.truth_near + sums.predicted_near, sums.truth + sums.predicted)
    expected = compute_surface_dice(found, true, [1.5] * 3, **flags)[0]
    np.testing.assert_allclose(surface_dice, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [(40, 53), (120, 100)])
def test_boundary_iou_equals_its_definition(size):
    """Of each class: what is left of a mask after erosions by 3×3, as in the authors' code."""
    truth = blobs(3, size=size)
    prediction, depth = disturbed(truth, 3), round(BAND * np.hypot(*size))
    assert depth == {(40, 53): 1, (120, 100): 3}[size]
    expected = []
    for index in range(3):
        one, other = (
            mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), depth)
            for mask in (truth == index, prediction == index)
        )
        expected.append((one & other).sum() / (one | other).sum())
    np.testing.assert_allclose(of_class("boundary_iou", truth, prediction, classes=3), expected)
