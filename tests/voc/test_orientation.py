"""Whether the data have an up or a left: by hand, on drawn data, and by the symmetry of the measure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.voc.orientation import GRID, Asymmetry, count_places, measure_asymmetry

SIZE = 32


def sky_above_ground(rng):
    """A horizon between a quarter and three quarters of the height, and a third class anywhere."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[: rng.integers(8, 25)] = 1
    y, x = rng.integers(0, 24, 2)
    mask[y : y + 8, x : x + 8] = 2
    return mask


def blobs(rng):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for y, x in rng.integers(0, 24, (3, 2)):
        mask[y : y + 8, x : x + 8] = 1
    return mask


def stripes(rng):
    """Vertical stripes anywhere: no up, no left, but a direction."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, rng.integers(0, 16) :][:, :16] = 1
    return np.where(rng.random() < 0.5, mask, mask[:, ::-1])


def measure(draw, count=40, seed=0, view=lambda mask: mask):
    rng = np.random.default_rng(seed)
    masks = [np.ascontiguousarray(view(draw(rng))) for _ in range(count)]
    values = [np.unique(mask).tolist() for mask in masks]
    return measure_asymmetry(
        [
            dict(zip(one, count_places(mask, one), strict=True))
            for mask, one in zip(masks, values, strict=True)
        ]
    )


def test_places_by_hand():
    mask = np.full((6, 9), 255, np.uint8)
    mask[0, 0] = mask[5, 8] = 3
    counts = count_places(mask, [3, 255])
    assert counts.shape == (2, GRID, GRID)
    assert counts.sum((1, 2)).tolist() == [2, 52]
    assert counts[0, 0, 0] == counts[0, 3, 3] == 1


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_every_pixel_is_in_one_cell(height, width):
    mask = np.random.default_rng(height).integers(0, 3, (height, width)).astype(np.uint8)
    values = np.unique(mask).tolist()
    expected = [(mask == value).sum() for value in values]
    assert count_places(mask, values).sum((1, 2)).tolist() == expected


def test_a_horizon_is_an_up_and_only_that():
    found = measure(sky_above_ground)
    assert found.top_bottom > 0.3
    assert found.left_right < 0.01


def test_lying_photographs_have_a_left():
    found = measure(sky_above_ground, view=np.rot90)
    assert found.left_right > 0.3
    assert found.top_bottom < 0.01


@pytest.mark.parametrize("count", [1, 5, 20, 200])
@pytest.mark.parametrize("seed", range(3))
def test_blobs_look_the_same_from_all_sides(count, seed):
    found = measure(blobs, count, seed)
    assert max(found.left_right, found.top_bottom, found.turn) < 0.01


def test_stripes_have_a_direction():
    found = measure(stripes, 200)
    assert found.turn > 0.01
    assert max(found.left_right, found.top_bottom) < 0.01


def test_ignored_pixels_say_nothing():
    """Unlabelled lower halves are no lower halves of another class."""

    def draw(rng):
        mask = blobs(rng)
        mask[SIZE // 2 :] = 255
        return mask

    found = measure(draw)
    assert max(found.left_right, found.top_bottom) < 0.01


def test_no_pixels_at_all():
    assert measure_asymmetry([{255: np.ones((GRID, GRID))}] * 5) == Asymmetry(0, 0, 0)


def test_mirrored_data_have_the_same_asymmetry():
    straight, mirrored = measure(sky_above_ground), measure(sky_above_ground, view=np.flipud)
    assert mirrored.top_bottom == pytest.approx(straight.top_bottom)
