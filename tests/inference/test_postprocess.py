"""Post-processing of masks: each step on a made case, and against scipy and scikit-image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.morphology import disk
from skimage.segmentation import watershed

from utils.inference.postprocess import Postprocessing, contact_lines, postprocess, split

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 2))
EIGHT = np.ones((3, 3), bool)


def disks(shape, *circles):
    """(H, W) bool: the union of (y, x, radius)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 <= r * r for cy, cx, r in circles], axis=0)


def processed(mask, classes=(1,), **steps):
    return postprocess(np.asarray(mask, np.uint8), classes, Postprocessing(**steps))


def count(shape):
    return ndimage.label(shape, EIGHT)[1]


@given(MASKS)
def test_all_off_changes_nothing_and_all_on_stays_a_mask(mask):
    assert np.array_equal(processed(mask, (1, 2)), mask)
    before = mask.copy()
    steps = {"fill_holes": True, "split_touching": True, "largest_only": True, "convex_hull": True}
    result = processed(mask, (1, 2), opening=1, closing=1, min_area=3, **steps)
    assert np.array_equal(mask, before)
    assert (result.shape, result.dtype) == (mask.shape, np.uint8)
    # With no class to become there is background, also where there was none.
    assert set(np.unique(result)) <= {0, *np.unique(mask)}


def test_active_only_if_there_is_a_step():
    assert not Postprocessing().active
    assert Postprocessing(min_area=1).active


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_opening_and_closing_are_those_of_scipy(radius):
    shape = ndimage.gaussian_filter(np.random.default_rng(radius).standard_normal((80, 90)), 2) > 0.05
    element = disk(radius).astype(bool)
    # What lies beyond the border: more of the object for opening, background for closing.
    eroded = ndimage.binary_erosion(shape, element, border_value=1)
    assert np.array_equal(processed(shape, opening=radius), ndimage.binary_dilation(eroded, element))
    wide = np.pad(shape, radius)
    closed = ndimage.binary_closing(wide, element)[radius:-radius, radius:-radius]
    assert np.array_equal(processed(shape, closing=radius), closed)


@given(MASKS)
def test_holes_are_those_of_scipy(mask):
    assert np.array_equal(processed(mask == 1, fill_holes=True), ndimage.binary_fill_holes(mask == 1))


def test_hole_is_filled_where_it_shows_the_background():
    mask = np.zeros((20, 20), np.uint8)
    mask[2:18, 2:18] = 1
    mask[5:10, 5:10] = 0
    mask[6:8, 6:8] = 2  # a nucleus in the hole
    mask[12, 17:] = 0  # a bay, not a hole
    result = processed(mask, (1, 2), fill_holes=True)
    expected = mask.copy()
    expected[5:10, 5:10][mask[5:10, 5:10] == 0] = 1
    assert np.array_equal(result, expected)


def test_smallest_object_counts_pixels_and_corners_connect():
    mask = np.zeros((9, 12), np.uint8)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = 1  # three pixels that touch by their corners
    mask[6, 1:3] = 1
    assert processed(mask, min_area=2).sum() == 5
    result = processed(mask, min_area=3)
    assert result.sum() == 3
    assert result[2, 2] == 1
    assert processed(mask, min_area=4).sum() == 0


def test_removed_speck_becomes_what_surrounds_it():
    mask = np.zeros((30, 30), np.uint8)
    mask[5:25, 5:25] = 1
    mask[10:12, 10:12] = 2  # in the cell
    mask[1, 1] = 2  # in the background
    result = processed(mask, (1, 2), min_area=5)
    assert (result[10:12, 10:12] == 1).all()
    assert result[1, 1] == 0
    assert (result == 1).sum() == 400


def test_largest_object_of_each_class():
    mask = np.zeros((20, 40), np.uint8)
    mask[2:6, 2:6], mask[2:9, 12:19], mask[12:15, 2:5], mask[12:14, 20:22] = 1, 1, 2, 2
    result = processed(mask, (1, 2), largest_only=True)
    assert [count(result == 1), count(result == 2)] == [1, 1]
    assert [(result == 1).sum(), (result == 2).sum()] == [49, 9]
    only_first = processed(mask, (1,), largest_only=True)
    assert [count(only_first == 1), count(only_first == 2)] == [1, 2]


def test_convex_hull_of_each_object():
    mask = np.zeros((20, 40), np.uint8)
    mask[2:10, 2:4] = mask[8:10, 2:10] = 1  # an L
    mask[3:6, 20:26] = 1  # convex already
    mask[4, 4] = 2
    result = processed(mask, convex_hull=True)
    assert np.array_equal(result[:, 15:], mask[:, 15:])
    # Of the L, the triangle between the corners (y, x) = (2, 3) and (8, 9) is filled, but for the other
    # class.
    y, x = np.mgrid[:20, :15]
    expected = np.where((x >= 2) & (y <= 9) & (y >= 2) & (x <= 9) & (x - 3 <= y - 2), 1, 0)
    expected[4, 4] = 2
    assert np.array_equal(result[:, :15], expected)


@pytest.mark.parametrize(("radius", "distance"), [(8, 12), (12, 18), (20, 26), (20, 34), (40, 56)])
@pytest.mark.parametrize("angle", [0, 30, 45, 80])
def test_two_overlapping_disks_become_two_objects(radius, distance, angle):
    size = 4 * radius + 20
    dy, dx = distance / 2 * np.sin(np.radians(angle)), distance / 2 * np.cos(np.radians(angle))
    first, second = (size / 2 - dy, size / 2 - dx, radius), (size / 2 + dy, size / 2 + dx, radius)
    mask = disks((size, size), first, second).astype(np.uint8)
    result = processed(mask, split_touching=True)
    labels, number = ndimage.label(result, EIGHT)
    assert number == 2
    # Each within 4 % of half the union, and almost nothing lost but a thin line.
    areas = np.bincount(labels.ravel())[1:]
    assert np.abs(areas / (mask.sum() / 2) - 1).max() < 0.04 + 1.5 / radius
    # A line that no corners cross has √2 pixels a pixel of length where it runs obliquely.
    assert int(mask.sum()) - int(result.sum()) <= np.sqrt(2) * 2 * np.sqrt(radius**2 - distance**2 / 4) + 4
    # On either side of the middle of the neck.
    y, x = ndimage.center_of_mass(result, labels, [1, 2])[0]
    assert (
        np.hypot(y - first[0], x - first[1]) < 0.3 * radius
        or np.hypot(y - second[0], x - second[1]) < 0.3 * radius
    )


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 10, 20.4, 50.7])
def test_single_disk_is_not_split(radius):
    mask = disks((120, 120), (59.6, 60.3, radius)).astype(np.uint8)
    assert np.array_equal(processed(mask, split_touching=True), mask)


@pytest.mark.parametrize("width", [1, 2, 5, 9, 15, 30])
@pytest.mark.parametrize("angle", [0, 7, 26, 45, 63])
def test_elongated_rod_is_not_split(width, angle):
    y, x = np.mgrid[:180, :180] - 90.0
    along = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    across = y * np.cos(np.radians(angle)) - x * np.sin(np.radians(angle))
    mask = ((np.abs(along) <= 75) & (np.abs(across) <= width / 2)).astype(np.uint8)
    assert count(mask) == 1
    assert np.array_equal(processed(mask, split_touching=True), mask)


def test_many_touching_disks():
    centres = [(y, x, 11) for y in range(20, 180, 20) for x in range(20, 180, 20)]
    mask = disks((200, 200), *centres).astype(np.uint8)
    assert count(mask) == 1
    labels = ndimage.label(processed(mask, split_touching=True), EIGHT)[0]
    assert labels.max() == len(centres)
    assert len({labels[y, x] for y, x, _ in centres} - {0}) == len(centres)


def test_split_cells_keep_their_nuclei_in_one_piece():
    mask = disks((80, 120), (40, 40, 25), (40, 80, 25)).astype(np.uint8)
    mask[disks(mask.shape, (40, 36, 8), (40, 84, 8))] = 2
    mask[disks(mask.shape, (18, 40, 4))] = 2  # one that reaches the edge of its cell
    result = processed(mask, (1, 2), split_touching=True)
    assert count(result == 1) == 2
    assert np.array_equal(result == 2, mask == 2)
    assert set(np.unique(result[(result != mask)])) == {0}


def test_watershed_agrees_with_scikit_image():
    rng = np.random.default_rng(3)
    shape = disks((160, 160), *[(*rng.uniform(15, 145, 2), rng.uniform(7, 14)) for _ in range(30)])
    labels = split(shape)
    height = ndimage.gaussian_filter(ndimage.distance_transform_edt(np.pad(shape, 0)), 1)
    summits = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        summits.flat[np.argmax(np.where(labels == label, height, -1))] = label
    assert len(np.unique(labels)) > 10
    reference = watershed(-height, summits, mask=shape)
    assert (labels == reference)[shape].mean() > 0.97


@given(MASKS)
def test_lines_keep_labels_apart(mask):
    labels = mask.astype(np.int32)
    kept = labels * ~contact_lines(labels)
    for value in (1, 2):
        beside = ndimage.binary_dilation(kept == value, EIGHT)
        assert not (beside & (kept > 0) & (kept != value)).any()
    assert np.array_equal(kept == 2, labels == 2)


def test_hulls_of_split_objects_stay_apart():
    mask = disks((60, 90), (30, 30, 18), (30, 58, 18)).astype(np.uint8)
    result = processed(mask, split_touching=True, convex_hull=True)
    assert count(result) == 2


def test_the_first_class_can_be_the_object_class():
    mask = np.ones((40, 40), np.uint8)  # membrane
    mask[5:20, 5:20] = 0  # a cell
    mask[30, 30] = 0  # a speck
    result = processed(mask, (0,), min_area=10)
    assert result[30, 30] == 1
    assert (result == 0).sum() == 225


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("value", [0, 1])
def test_smallest_pictures(shape, value):
    mask = np.full(shape, value, np.uint8)
    steps = {"opening": 2, "closing": 2, "fill_holes": True, "split_touching": True, "convex_hull": True}
    assert np.array_equal(processed(mask, **steps), mask)
    assert not processed(mask, min_area=100).any()


def test_all_steps_measured_on_a_made_case():
    truth = disks((220, 220), *[(y, x, 17) for y in range(30, 220, 54) for x in range(30, 220, 54)])
    rng = np.random.default_rng(0)
    found = truth.copy()
    for y in range(30, 220, 54):
        found[y - 3 : y + 4, 30:190] = True  # bridges along the rows
    found |= rng.random(found.shape) > 0.995  # specks
    found &= ~disks(
        found.shape, *[(y + 9, x, 1) for y in range(30, 220, 54) for x in range(30, 220, 54)]
    )  # holes

    def score(shape):
        return round(float((shape & truth).sum() / (shape | truth).sum()), 3), count(shape)

    # IoU with the truth, and objects: 16 are true.
    assert score(found) == (0.878, 161)
    assert score(processed(found, fill_holes=True) > 0) == (0.883, 161)
    assert score(processed(found, min_area=100) > 0) == (0.887, 4)
    assert score(processed(found, fill_holes=True, split_touching=True, min_area=100) > 0) == (0.896, 16)
    assert score(processed(found, fill_holes=True, opening=5) > 0) == (0.934, 16)
    assert score(processed(found, fill_holes=True, opening=5, convex_hull=True) > 0) == (0.95, 16)
    assert score(processed(found, opening=5, largest_only=True) > 0)[1] == 1
