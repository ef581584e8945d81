"""Windows of pictures that are learned by heart: the richest ones, as a VOC folder of their own."""

import numpy as np
from scripts import make_voc

from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.training.by_heart import choose_rich, cut_windows, richest_window
from utils.training.data import load_data
from utils.voc.folder import VocFolder


def test_the_window_shows_most_classes_and_much_of_each():
    mask = np.zeros((200, 300), np.uint8)
    mask[100:140, 200:260] = 1
    rows, columns = richest_window(mask, (64, 64))
    assert np.count_nonzero(mask[rows, columns]) >= 32 * 32
    mask[:64, :64] = 255
    mask[150:160, 10:20] = 2
    mask[140:150, 10:20] = 1
    rows, columns = richest_window(mask, (64, 64))
    assert set(np.unique(mask[rows, columns])) == {0, 1, 2}


def test_a_picture_smaller_than_the_window_stays_whole():
    mask = np.ones((20, 300), np.uint8)
    assert mask[richest_window(mask, (64, 64))].shape == (20, 64)


def test_windows_are_parts_of_their_pictures(tmp_path):
    folder = make_voc(tmp_path / "voc", size=[(90, 80), (40, 100), (64, 64)], named=False)
    deep = np.random.default_rng(0).integers(0, 60_000, (40, 100), np.uint16)
    write_image(folder.image_path("cells_1"), deep)
    names = folder.read_split("train")
    data = load_data(folder, names=(names, names))
    cut_windows(data, (48, 64), tmp_path / "windows")
    windows = VocFolder(tmp_path / "windows")
    assert windows.read_split("train") == windows.read_split("val") == names
    assert windows.read_class_names() == data.class_names
    for name, size in (("cells_0", (48, 64)), ("cells_1", (40, 64))):
        picture, mask = read_image(windows.image_path(name)), read_mask(windows.mask_path(name))
        assert picture.shape[:2] == mask.shape == size
        whole, truth = data.read_pair(name)
        rows, columns = richest_window(truth, (48, 64))
        np.testing.assert_array_equal(picture, whole[rows, columns])
        np.testing.assert_array_equal(mask, truth[rows, columns])


def test_pictures_with_other_classes_are_chosen(tmp_path):
    folder = make_voc(tmp_path / "voc", count=4)
    for index, value in enumerate((0, 1, 0, 2)):
        write_mask(folder.mask_path(f"cells_{index}"), np.full((48, 48), value, np.uint8))
    assert choose_rich(folder, [f"cells_{index}" for index in range(4)], 3) == [
        "cells_0",
        "cells_1",
        "cells_3",
    ]
