"""Masks that were saved as JPEG: gray values and colors near those that were drawn."""

import numpy as np
import pytest
from doctor_folder import MASK, check, command, find_fault, make_folder
from scripts import save_as

from utils.core.files import write_lines
from utils.images.reading import read_mask
from utils.voc.colors import load_table

COLORS = ["0 0 0", "128 0 0", "0 128 0"]


@pytest.fixture
def folder(tmp_path, without_drawing):
    """Three good pairs, a, b and c."""
    return make_folder(tmp_path / "voc")


def make_jpeg_masks(folder, rgb):
    for name in "abc":
        mask = np.kron(MASK > 0, np.ones((9, 9), np.uint8)) * np.uint8(255)
        save_as(
            folder.images_dir / f"{name}.png",
            np.random.default_rng(ord(name)).integers(0, 256, mask.shape, np.uint8),
        )
        save_as(folder.mask_path(name), np.dstack([mask, 0 * mask, 0 * mask]) // 2 if rgb else mask, "JPEG")


def test_jpeg_masks_in_gray(folder):
    make_jpeg_masks(folder, rgb=False)
    error = find_fault(folder)
    assert error.code == "mask-jpeg"
    assert error.remedy.endswith(command(folder, "--map", "0:0,255:1", "--nearest", "60"))
    check(folder, map="0:0,255:1", nearest=60)
    assert np.array_equal(read_mask(folder.mask_path("a")), np.kron(MASK > 0, np.ones((9, 9))))


def test_jpeg_masks_of_three_gray_levels(folder):
    for name in "abc":
        mask = np.kron(MASK, np.ones((9, 9), np.uint8))
        save_as(
            folder.images_dir / f"{name}.png",
            np.random.default_rng(ord(name)).integers(0, 256, mask.shape, np.uint8),
        )
        save_as(folder.mask_path(name), mask * np.uint8(120) + 10, "JPEG")
    assert find_fault(folder).remedy.endswith(
        command(folder, "--map", "10:0,130:1,250:2", "--nearest", "60").replace("250", "255")
    )


def test_color_table_says_nothing_of_a_gray_jpeg(folder, tmp_path):
    make_jpeg_masks(folder, rgb=False)
    write_lines(tmp_path / "table.txt", ["0 0 0 background", "255 0 0 cell", "0 255 0 nucleus"])
    assert find_fault(folder, colors=str(tmp_path / "table.txt"), nearest=60).code == "mask-jpeg"


def test_jpeg_masks_in_colors(folder, tmp_path):
    folder.class_names_path.unlink()
    make_jpeg_masks(folder, rgb=True)
    error = find_fault(folder)
    assert error.code == "mask-jpeg"
    assert command(folder, "--colors", "colors.txt", "--nearest", "60") in error.remedy
    assert "126 0 1, 0 1 0" in error.remedy
    write_lines(folder.class_names_path, load_table("voc").class_names)
    assert find_fault(folder).remedy.endswith(command(folder, "--colors", "voc", "--nearest", "60"))
    folder.class_names_path.unlink()
    write_lines(tmp_path / "table.txt", ["0 0 0 background", "127 0 0 cell"])
    check(folder, colors=str(tmp_path / "table.txt"), nearest=70)
    # Subsampled colors are smeared over two pixels on either side.
    assert (read_mask(folder.mask_path("a")) == np.kron(MASK > 0, np.ones((9, 9)))).mean() > 0.95
