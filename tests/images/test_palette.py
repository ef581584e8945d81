"""The VOC colours and how they are laid over a picture."""

import numpy as np
import pytest

from utils.images.palette import blend, cutout, outline, voc_palette

# From the colour map of the PASCAL VOC devkit.
KNOWN = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    3: (128, 128, 0),
    4: (0, 0, 128),
    5: (128, 0, 128),
    8: (64, 0, 0),
    15: (192, 128, 128),
    20: (0, 64, 128),
    64: (32, 0, 0),
    255: (224, 224, 192),
}
MASK = np.array([[0, 1, 255], [2, 1, 0]], np.uint8)
IMAGE = np.full((2, 3, 3), 100, np.uint8)


@pytest.mark.parametrize("index", KNOWN)
def test_colours_are_those_of_voc(index):
    assert tuple(voc_palette()[index]) == KNOWN[index]


def test_every_class_has_its_own_colour():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    assert len({tuple(colour) for colour in palette}) == 256
    np.testing.assert_array_equal(voc_palette(21), palette[:21])


def test_blend_mixes_classes_and_leaves_background_and_ignored_pixels():
    mixed = blend(IMAGE, MASK, voc_palette(), alpha=0.5)
    assert mixed.dtype == np.uint8
    assert tuple(mixed[0, 1]) == (114, 50, 50)
    assert tuple(mixed[1, 0]) == (50, 114, 50)
    assert (mixed[(MASK == 0) | (MASK == 255)] == 100).all()


def test_blend_from_nothing_to_everything():
    np.testing.assert_array_equal(blend(IMAGE, MASK, voc_palette(), alpha=0), IMAGE)
    opaque = blend(IMAGE, MASK, voc_palette(), alpha=1)
    np.testing.assert_array_equal(opaque[MASK == 1], [(128, 0, 0)] * 2)
    white = np.full((1, 1, 3), 255, np.uint8)
    assert (blend(white, np.ones((1, 1), np.uint8), np.full((2, 3), 255, np.uint8)) == 255).all()


def test_cutout_blackens_the_background_only():
    cut = cutout(IMAGE, MASK)
    assert (cut[MASK == 0] == 0).all()
    assert (cut[MASK != 0] == 100).all()


def test_outline_runs_inside_an_object_on_all_its_sides():
    mask = np.zeros((6, 6), np.uint8)
    mask[1:5, 1:5] = 1
    inside = np.zeros((6, 6), bool)
    inside[2:4, 2:4] = True
    np.testing.assert_array_equal(outline(mask), (mask == 1) & ~inside)
    touching = np.array([[0, 1, 1, 1, 2, 2]], np.uint8)
    np.testing.assert_array_equal(outline(touching), [[0, 1, 0, 1, 1, 0]])
    assert not outline(np.full((3, 3), 7, np.uint8)).any()
