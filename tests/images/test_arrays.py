"""Channels and 8-bit pictures to look at."""

import numpy as np
import pytest
from picture_files import GRAY

from utils.images.arrays import to_channels, to_uint8_rgb


@pytest.mark.parametrize("top", [255, 65535])
def test_channels(top):
    dtype = np.uint8 if top == 255 else np.uint16
    gray = np.arange(top + 1, dtype=dtype)[None]
    rgb = to_channels(gray, 3)
    assert rgb.dtype == dtype
    assert (rgb == gray[..., None]).all()
    # Luminance of gray is that gray, for every value.
    np.testing.assert_array_equal(to_channels(rgb, 1), gray[..., None])
    np.testing.assert_array_equal(to_channels(gray[..., None], 1), gray[..., None])
    np.testing.assert_array_equal(to_channels(rgb, 3), rgb)


def test_luminance_of_the_primaries():
    primaries = np.diag([255, 255, 255]).astype(np.uint8)[None]
    np.testing.assert_array_equal(to_channels(primaries, 1)[0, :, 0], [76, 150, 29])


def test_16_bits_are_stretched_for_showing():
    ramp = np.linspace(1000, 3000, 10000).astype(np.uint16).reshape(100, 100)
    bright = ramp.copy()
    bright[50, 50] = 65535  # a hot pixel must not darken the rest
    expected = (ramp - 1000.0) / 2000 * 255
    for image in (ramp, bright):
        shown = to_uint8_rgb(image)
        assert shown.shape == (100, 100, 3)
        assert shown.dtype == np.uint8
        assert (np.abs(shown - expected[..., None]) < 2).sum() >= 3 * 9999
    assert (to_uint8_rgb(np.full((4, 4), 700, np.uint16)) == 0).all()
    np.testing.assert_array_equal(to_uint8_rgb(GRAY), np.repeat(GRAY[..., None], 3, axis=2))
