"""Colored drawings with smooth edges: the proposed command makes classes of areas, not of edges."""

import re
import shlex

import cv2
import numpy as np
import pytest
import tyro
from doctor_folder import check, make_pairs
from scripts import save_as

from utils.core.console import UserError
from utils.core.files import write_lines
from utils.images.reading import read_mask
from voc2unet import Config, main

pytestmark = pytest.mark.usefixtures("without_drawing")
LINES = ["0 0 0 background", "255 0 0 a", "0 0 255 b"]


def test_edges_are_no_classes(tmp_path):
    folder, drawings = make_pairs(tmp_path / "voc", 4), {}
    for index, path in enumerate(sorted(folder.masks_dir.iterdir())):
        height = width = 96
        save_as(folder.image_path(path.stem), np.full((height, width), index, np.uint8))
        drawing = np.zeros((4 * height, 4 * width, 3), np.uint8)
        cv2.circle(drawing, (width + 9 * index, height), int(0.7 * height), (255, 0, 0), -1)
        cv2.circle(drawing, (3 * width, 3 * height - index), int(0.6 * height), (0, 0, 255), -1)
        drawings[path.name] = cv2.resize(drawing, (width, height), interpolation=cv2.INTER_AREA)
        save_as(path, drawings[path.name])
    with pytest.raises(UserError) as caught:
        check(folder)
    assert caught.value.code == "mask-colors"
    assert "0 0 0, 255 0 0, 0 0 255" in caught.value.remedy
    command = re.search(r"voc2unet\.py (--.*?)   ", caught.value.remedy)[1]
    table = tmp_path / "colors.txt"
    write_lines(table, LINES)
    main(tyro.cli(Config, args=shlex.split(command.replace("colors.txt", shlex.quote(str(table))))))
    for name, drawing in drawings.items():
        expected = np.where(drawing[..., 0] > 127, 1, np.where(drawing[..., 2] > 127, 2, 0))
        np.testing.assert_array_equal(read_mask(folder.masks_dir / name), expected)


def test_few_smooth_colors_are_edges_too(tmp_path):
    folder = make_pairs(tmp_path / "voc", 4)
    for index, path in enumerate(sorted(folder.masks_dir.iterdir())):
        save_as(folder.image_path(path.stem), np.full((64, 64), index, np.uint8))
        drawing = np.zeros((64, 64, 3), np.uint8)
        drawing[10:50, 10:50], drawing[20:40, 20:40] = (255, 0, 0), (0, 0, 255)
        # Two steps from each area to the next: five or six colors at edges in all.
        for top, bottom, color in ((9, 50, (128, 0, 0)), (19, 40, (170, 0, 85)), (20, 39, (85, 0, 170))):
            drawing[top, 10:50], drawing[bottom, 10:50] = color, color
        save_as(path, drawing)
    with pytest.raises(UserError) as caught:
        check(folder)
    assert caught.value.code == "mask-colors"
    assert "drawn areas: " in caught.value.remedy and "--nearest" in caught.value.remedy
    drawn, edges = caught.value.remedy.split("; smooth edges: ")
    assert "128 0 0" in edges and "128 0 0" not in drawn


def test_rare_blends_are_edges_too(tmp_path):
    """Two colors of a few pixels between drawn ones; blue is rare as well, but between none."""
    folder, drawings = make_pairs(tmp_path / "voc", 4), {}
    for index, path in enumerate(sorted(folder.masks_dir.iterdir())):
        save_as(folder.image_path(path.stem), np.full((64, 64), index, np.uint8))
        drawing = np.zeros((64, 64, 3), np.uint8)
        drawing[8:28, 8:28], drawing[36:56, 36:56] = (255, 0, 0), (0, 255, 0)
        if index == 0:
            drawing[8, 10:14], drawing[36, 40:44], drawing[2, 60] = (127, 0, 0), (0, 128, 0), (0, 0, 255)
        drawings[path.name] = drawing
        save_as(path, drawing)
    with pytest.raises(UserError) as caught:
        check(folder)
    purpose = caught.value.remedy.partition("per class")[2]
    drawn, edges = purpose.split("; smooth edges: ")
    assert {"255 0 0", "0 255 0", "0 0 0", "0 0 255"} <= {*re.findall(r"\d+ \d+ \d+", drawn)}
    assert {*re.findall(r"\d+ \d+ \d+", edges)} == {"127 0 0", "0 128 0"}
    table = tmp_path / "colors.txt"
    write_lines(table, [*LINES[:2], "0 255 0 b", "0 0 255 c"])
    check(folder, colors=str(table), nearest=int(re.search(r"--nearest (\d+)", caught.value.remedy)[1]))
    for name, drawing in drawings.items():
        expected = np.select([drawing[..., 0] > 127, drawing[..., 1] > 127, drawing[..., 2] > 127], [1, 2, 3])
        np.testing.assert_array_equal(read_mask(folder.masks_dir / name), expected)


def test_thin_lines_in_a_mixed_color_may_be_a_class(tmp_path):
    folder = make_pairs(tmp_path / "voc", 2)
    for index, path in enumerate(sorted(folder.masks_dir.iterdir())):
        save_as(folder.image_path(path.stem), np.full((64, 64), index, np.uint8))
        drawing = np.zeros((64, 64, 3), np.uint8)
        drawing[8:28, 8:28], drawing[40:42] = (254, 0, 0), (127, 0, 0)
        save_as(path, drawing)
    with pytest.raises(UserError) as caught:
        check(folder)
    assert "127 0 0" in caught.value.remedy and "smooth edges" not in caught.value.remedy
