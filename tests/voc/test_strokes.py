"""Masks of strokes: what is still known of the classes, and what a data set says of itself."""

from dataclasses import replace

import numpy as np
import pytest

from utils.images.writing import write_image, write_mask
from utils.training.data import load_data
from utils.voc.folder import VocFolder
from utils.voc.strokes import complete
from utils.voc.structure import Structure


def draw_discs(size: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, dense mask and strokes: two bright discs on a dark ground, each with a line in its middle."""
    y, x = np.mgrid[:size, :size]
    dense = np.zeros((size, size), np.uint8)
    for middle in (28, 68):
        dense[(y - middle) ** 2 + (x - middle) ** 2 < 15**2] = 1
    image = np.where(dense, 190, 60).astype(np.uint8) + ((3 * x + 7 * y) % 9).astype(np.uint8)
    strokes = np.full_like(dense, 255)
    strokes[28, 22:34] = strokes[68, 62:74] = 1
    strokes[4, 4:90] = strokes[92, 4:90] = 0
    return image, dense, strokes


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_strokes_grow_to_the_edges_of_the_picture(bits, channels):
    image, dense, strokes = draw_discs()
    image = image.astype(np.uint16) * 16 if bits == 16 else image
    image = image if channels == 1 else np.dstack([image] * channels)
    completed = complete(image, strokes)
    assert (completed == dense).mean() > 0.97
    np.testing.assert_array_equal(completed[strokes != 255], strokes[strokes != 255])


def test_other_masks_stay_as_they_are():
    image, dense, _ = draw_discs()
    border = dense.copy()
    border[:, :30] = 255
    for mask in (dense, border, np.full_like(dense, 255)):
        assert complete(image, mask) is mask


def test_a_data_set_of_strokes_knows_its_shares_and_widths_and_leaves_out_what_has_none(tmp_path, capsys):
    image, dense, strokes = draw_discs()
    folder = VocFolder(tmp_path)
    for name, mask in {"a": strokes, "b": strokes, "none": np.full_like(dense, 255), "val": dense}.items():
        write_image(folder.images_dir / f"{name}.png", image)
        write_mask(folder.mask_path(name), mask)
    folder.write_split("train", ["a", "b", "none"])
    folder.write_split("val", ["val"])
    data = load_data(folder)
    assert data.train == ["a", "b"]
    assert len(data.train_sizes) == 2
    assert "1 training picture without an annotated pixel, such as none" in capsys.readouterr().err
    assert data.labelled == ((strokes != 255).mean(), 1.0)
    # Twice the area of a disc by its perimeter, which squares enlarge; its stroke has a width of 1.
    assert data.typical_width == data.structures[1].width == pytest.approx(15 * np.pi / 4, rel=0.1)
    # Of many classes one that is thin does not decide, of two it does.
    widths = {index: Structure(width, 1, 1) for index, width in enumerate([90, 5, 40, 50, 30])}
    assert replace(data, structures=widths).typical_width == 40
    assert replace(data, structures={0: widths[0], 1: widths[1]}).typical_width == 5
