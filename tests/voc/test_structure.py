"""Widths of classes, and which of them separates others."""

import cv2
import numpy as np
import pytest
from scripts import save_as

from utils.voc.folder import VocFolder
from utils.voc.structure import Structure, measure, measure_structures, typical_width


def grid(step: int = 20, width: int = 4, side: int = 200) -> np.ndarray:
    """Lines of `width` pixels every `step` pixels, like walls between square cells."""
    line = np.arange(side) % step < width
    return line[:, None] | line


def test_measures_of_a_bar_by_hand():
    area = np.zeros((100, 100), bool)
    area[40:50] = True
    # 1000 pixels with two long sides of 100; the rest lies in two parts of 4000 and 5000.
    assert measure(area) == (10, 2, pytest.approx(5 / 9))


def test_a_full_area_has_no_rest():
    width, parts, largest = measure(np.ones((8, 8), bool))
    assert (width, parts, largest) == (128, 0, 0)


@pytest.fixture
def folder(tmp_path) -> VocFolder:
    folder = VocFolder(tmp_path)
    folder.masks_dir.mkdir(parents=True)
    return folder


def write_masks(folder: VocFolder, masks: dict[str, np.ndarray]) -> None:
    for name, mask in masks.items():
        save_as(folder.mask_path(name), mask.astype(np.uint8))


@pytest.mark.parametrize(
    ("width", "step", "separates"), [(4, 20, True), (2, 50, True), (16, 40, False), (4, 200, False)]
)
def test_thin_walls_around_many_cells_separate_them(folder, width, step, separates):
    write_masks(folder, {"a": grid(step, width), "b": grid(step, width).T})
    structures = measure_structures(folder, ["a", "b"])
    assert structures[1].separates == separates
    assert not structures[0].separates


def test_objects_rings_and_a_tree_separate_nothing(folder):
    discs, rings, tree = (np.zeros((200, 200), np.uint8) for _ in range(3))
    for y, x in np.ndindex(4, 4):
        cv2.circle(discs, (25 + 50 * x, 25 + 50 * y), 15, 1, -1)
        cv2.circle(rings, (25 + 50 * x, 25 + 50 * y), 15, 1, 3)
    cv2.line(tree, (0, 100), (199, 100), 1, 3)
    for x in range(20, 180, 20):
        cv2.line(tree, (x, 100), (x + 40, 20), 1, 2)
    for mask in (discs, rings, tree):
        write_masks(folder, {"a": mask})
        assert not any(one.separates for one in measure_structures(folder, ["a"]).values())


def test_ignored_pixels_are_no_class(folder):
    write_masks(folder, {"a": np.where(grid(), 255, 0)})
    assert measure_structures(folder, ["a"]).keys() == {0}


def test_the_typical_width_is_a_geometric_mean_over_pixels():
    found = {0: Structure(4, 1, 1), 2: Structure(32, 1, 1)}
    assert typical_width(found, [200, 0, 100]) == pytest.approx(8)
