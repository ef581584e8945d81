"""The built-in demo set: the same on every run, three classes, something to learn."""

import cv2
import numpy as np
import pytest

from utils.images.reading import read_image, read_mask
from utils.training.data import load_data
from utils.voc.demo import draw_sample, make_demo
from utils.voc.folder import VocFolder

SEEDS = range(8)


@pytest.mark.parametrize("size", [64, 100, 256])
def test_pictures_and_masks_fit(size):
    image, mask = draw_sample(3, size)
    assert image.shape == mask.shape == (size, size)
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1, 2}


def test_a_seed_gives_its_picture_whatever_was_drawn_before():
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = draw_sample(5, 64)
    np.random.seed(2)  # noqa: NPY002
    draw_sample(6, 64)
    again, other = draw_sample(5, 64), draw_sample(7, 64)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_every_picture_has_all_classes_and_room_between_them():
    for seed in SEEDS:
        _, mask = draw_sample(seed)
        shares = np.bincount(mask.ravel(), minlength=3) / mask.size
        assert 0.3 < shares[0] < 0.85
        assert shares[1] > 0.1
        assert shares[2] > 0.02


def test_nuclei_lie_inside_cells():
    for seed in SEEDS:
        _, mask = draw_sample(seed)
        around = cv2.dilate((mask == 2).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (mask[around] != 0).all()


def test_classes_differ_in_brightness_on_the_whole_but_not_pixel_by_pixel():
    samples = [draw_sample(seed) for seed in SEEDS]
    values = [np.concatenate([image[mask == k] for image, mask in samples]).astype(float) for k in range(3)]
    background, cell, nucleus = (v.mean() for v in values)
    assert background + 15 < cell
    assert cell + 15 < nucleus
    # A threshold is not enough: the ranges overlap.
    # By percentiles with room between them: another OpenCV rounds otherwise, and draws other noise.
    assert np.percentile(values[0], 99) > np.percentile(values[1], 5)
    assert np.percentile(values[1], 95) > np.percentile(values[2], 10)


def test_the_demo_folder_can_be_trained_on(tmp_path):
    make_demo(tmp_path / "demo", count=5, val=2)
    folder = VocFolder(tmp_path / "demo")
    data = load_data(folder)
    assert (len(data.train), len(data.val)) == (3, 2)
    assert not set(data.train) & set(data.val)
    assert folder.read_split("trainval") == data.train + data.val == sorted(folder.images)
    assert data.class_names == ["background", "cell", "nucleus"]
    for index, name in enumerate(data.train + data.val):
        image, mask = draw_sample(index)
        np.testing.assert_array_equal(read_image(folder.image_path(name)), image)
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), mask)


def test_40_pictures_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.voc.demo.draw_sample", lambda seed: (np.zeros((8, 8), np.uint8),) * 2)
    make_demo(tmp_path)
    folder = VocFolder(tmp_path)
    assert (len(folder.images), len(folder.read_split("train")), len(folder.read_split("val"))) == (40, 32, 8)
