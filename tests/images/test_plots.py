"""Numbers, legend and cut-outs drawn for people."""

import cv2
import numpy as np
import pytest

from utils.images.palette import cutout_of, voc_palette
from utils.images.plots import draw_numbered, with_legend


def test_numbers_stand_inside_their_objects():
    labels = np.zeros((120, 240), np.int32)
    cv2.circle(labels, (60, 60), 50, 1, -1)
    cv2.circle(labels, (70, 60), 30, 2, -1)  # inside the first, whose centre it covers
    cv2.rectangle(labels, (150, 20), (220, 100), 3, -1)
    blank = np.full((120, 240, 3), 90, np.uint8)
    drawn = draw_numbered(blank, labels)
    assert (blank == 90).all()
    changed = (drawn != 90).any(axis=-1)
    assert not changed[cv2.dilate((labels > 0).astype(np.uint8), np.ones((5, 5))) == 0].any()
    # Within each object, away from its outline, something is written.
    for number in (1, 2, 3):
        inner = cv2.erode((labels == number).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert 10 < changed[inner].sum() < 200


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_numbers_are_seen_on_any_ground_and_whole_at_the_edge(gray):
    labels = np.zeros((60, 60), np.int32)
    labels[20:40, 20:40], labels[58:, 58:] = 1, 2
    drawn = draw_numbered(np.full((60, 60, 3), gray, np.uint8), labels)
    for part in (drawn[23:37, 23:37], drawn[50:58, 52:]):
        colours = part.reshape(-1, 3)
        assert ((colours[:, 0] > 140) & (colours[:, 2] < 80)).sum() > 5
        assert (colours.max(axis=1) < 90).sum() > 5
    one = draw_numbered(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.int32))
    assert one.shape == (1, 1, 3)


def test_no_objects_change_nothing():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    assert np.array_equal(draw_numbered(image, np.zeros((30, 40), np.int32)), image)


@pytest.mark.parametrize("height", [1, 60, 900])
def test_legend_has_all_classes_but_the_background(height):
    names = ["background", "cell", "a rather long name of a class", "$50 & 3 %"]
    image = np.full((height, 50, 3), 7, np.uint8)
    sheet = with_legend(image, names, voc_palette())
    assert (sheet[:height, :50] == 7).all()
    assert sheet.shape[1] % 2 == 0  # as codecs of videos need it
    legend = sheet[:, 50:].reshape(-1, 3)
    areas = [(legend == colour).all(axis=1).sum() for colour in voc_palette(5)]
    assert min(areas[1:4]) > 50
    assert areas[4] == 0
    # Nothing is cut off at the right.
    assert (sheet[:, -1] == 255).all()


def test_legend_without_classes():
    image = np.full((20, 20, 3), 7, np.uint8)
    assert (with_legend(image, ["background"], voc_palette())[:, :20] == 7).all()


def test_cutout_of_a_class():
    image = np.full((2, 3, 3), 9, np.uint8)
    result = cutout_of(image, np.array([[0, 1, 2], [1, 1, 0]], np.uint8), 1)
    assert result[..., 3].tolist() == [[0, 255, 0], [255, 255, 0]]
    assert result[0, 1].tolist() == [9, 9, 9, 255]
    assert result[0, 0].tolist() == [0, 0, 0, 0]
