"""Changes of the gray values of training crops: brightness, contrast, colour, noise, erasing."""

from dataclasses import replace

import numpy as np
import pytest

from utils.training.augmentation import STRENGTHS, Augmentation, change_values

COLOUR = {"saturation": 0.5, "hue": 60.0}
NONE = STRENGTHS["none"]
RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 200, (40, 60)).astype(np.uint8)
IMAGE = RNG.integers(0, 256, (40, 60, 3), np.uint8)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_change_of_values_without_settings(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)[None]
    np.testing.assert_array_equal(change_values(values, NONE, rng(0)), values)


def test_brightness_and_contrast_stay_in_their_ranges():
    flat = np.full((8, 8), 128, np.uint8)
    levels = [int(change_values(flat, replace(NONE, brightness=0.1), rng(seed))[0, 0]) for seed in range(200)]
    assert 128 - 26 <= min(levels) < 128 - 20
    assert 128 + 20 < max(levels) <= 128 + 26
    # Contrast turns about the picture's mean.
    assert all(
        (change_values(flat, replace(NONE, contrast=1.0), rng(seed)) == 128).all() for seed in range(20)
    )
    two = np.array([[100, 156]], np.uint8)
    spread = [
        int(np.ptp(change_values(two, replace(NONE, contrast=1.0), rng(seed)).astype(int)))
        for seed in range(200)
    ]
    assert 27 <= min(spread) < 32
    assert 100 < max(spread) <= 113


def test_contrast_leaves_the_mean_of_a_colour_picture():
    picture = np.full((20, 20, 3), (170, 60, 70), np.uint8)
    picture[:10] += 20
    for seed in range(10):
        changed = change_values(picture, replace(NONE, contrast=0.4), rng(seed))
        assert changed.mean() == pytest.approx(picture.mean(), abs=0.6)


@pytest.mark.parametrize("part", COLOUR)
def test_colour_changes_keep_gray_and_brightness(part):
    settings = replace(NONE, **{part: COLOUR[part]})
    gray = np.repeat(MASK[..., None], 3, axis=2)
    soft = (IMAGE // 3 + 80).astype(np.uint8)
    for seed in range(5):
        assert np.abs(change_values(gray, settings, rng(seed)).astype(int) - gray).max() <= 1
        changed = change_values(soft, settings, rng(seed))
        assert np.abs(changed.mean(2) - soft.mean(2)).max() < 2


def test_shot_noise_grows_with_the_light():
    halves = np.full((100, 200), 40, np.uint8)
    halves[:, 100:] = 160
    noisy = [change_values(halves, replace(NONE, shot=0.1), rng(seed)) for seed in range(10)]
    dark, light = np.mean([(n[:, :100].std(), n[:, 100:].std()) for n in noisy], axis=0)
    assert light == pytest.approx(2 * dark, rel=0.1)


def test_erasing_paints_one_rectangle_half_of_the_time():
    areas = []
    for seed in range(60):
        changed = change_values(IMAGE, replace(NONE, erase=0.3), rng(seed))
        rows, columns = np.nonzero((changed != IMAGE).any(2))
        areas.append(len(rows) / MASK.size)
        if len(rows):
            patch = changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert (patch == patch[0, 0]).all()
    assert 0.3 < np.mean(np.array(areas) == 0) < 0.7
    assert 0.2 < max(areas) <= 0.31


def test_noise_and_blur_leave_the_mean():
    flat = np.full((200, 200), 128, np.uint8)
    for seed in range(5):
        noisy = change_values(flat, replace(NONE, noise=0.05), rng(seed))
        assert noisy.mean() == pytest.approx(128, abs=0.2)
        blurred = change_values(noisy, replace(NONE, blur=2.0), rng(seed))
        assert blurred.mean() == pytest.approx(noisy.mean(), abs=0.2)


def test_values_stay_within_the_type_instead_of_wrapping_round():
    settings = Augmentation(brightness=1.0, contrast=3.0, noise=0.5, illumination=1.0)
    white, black = np.full((16, 16), 255, np.uint8), np.zeros((16, 16), np.uint8)
    assert (
        np.mean([change_values(white, replace(settings, brightness=0), rng(s)).mean() for s in range(20)])
        > 150
    )
    assert (
        np.mean([change_values(black, replace(settings, brightness=0), rng(s)).mean() for s in range(20)])
        < 60
    )
