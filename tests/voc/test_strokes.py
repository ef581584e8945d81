"""Masks of strokes: what is still known of the classes, and what a data set says of itself."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from utils.images.writing import write_image, write_mask
from utils.training.data import load_data
from utils.voc.folder import VocFolder
from utils.voc.strokes import complete, find_unlike
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


def draw_stranger() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture and strokes as of `draw_discs`, more of them, and the pixels of a black square without one."""
    image, _, strokes = draw_discs()
    strokes[48, 4:90] = strokes[70, 4:44] = strokes[8:44, 4] = 0
    stranger = np.zeros(image.shape, bool)
    stranger[12:44, 56:88] = True
    return np.where(stranger, 0, image).astype(np.uint8), strokes, stranger


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("times", [1, 5])
def test_what_is_unlike_every_stroke_is_found(times, bits, channels):
    image, strokes, stranger = (
        np.kron(part, np.ones((times, times), part.dtype)) for part in draw_stranger()
    )
    image = image.astype(np.uint16) * 16 if bits == 16 else image
    image = image if channels == 1 else np.dstack([image] * channels)
    unlike = find_unlike(image, strokes)
    assert unlike.size < 1 << 14
    unlike = cv2.resize(unlike, strokes.shape, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    assert unlike[stranger].mean() > 0.9
    # Around the square the edges are unlike the strokes, too.
    near = cv2.dilate(stranger.view(np.uint8), np.ones((16 * times + 1,) * 2)) > 0
    assert unlike[~near].mean() < 0.2


def test_a_single_stroke_has_no_other_to_be_compared_with():
    image, strokes, _ = draw_stranger()
    one, none = np.full_like(strokes, 255), np.full_like(strokes, 255)
    one[4] = strokes[4]
    assert find_unlike(image, one).all()
    assert find_unlike(image, none).all()
    two_classes = one.copy()
    two_classes[4, 40:] = 1
    assert not find_unlike(image, two_classes).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 7), (1, 300)])
def test_tiny_pictures_have_areas_too(size):
    strokes = np.full(size, 255, np.uint8)
    strokes.flat[0], strokes.flat[-1] = 0, 1
    assert find_unlike(np.zeros(size, np.uint8), strokes).size > 0


def test_strokes_of_one_class_tell_of_what_is_much_like_them():
    image, strokes, stranger = draw_stranger()
    ground = np.where(strokes == 0, strokes, 255).astype(np.uint8)
    disc = np.zeros_like(strokes)
    disc[64:73, 64:73] = 1
    whole = {"dsize": strokes.shape, "interpolation": cv2.INTER_NEAREST_EXACT}
    alone, both = (cv2.resize(find_unlike(image, mask), **whole) > 0 for mask in (ground, strokes))
    assert alone[stranger].all() and alone[disc > 0].mean() > 0.9
    assert both.mean() < alone.mean() < 0.9


def test_thin_things_are_left_out_only_where_their_class_may_have_been_left_for_later():
    """A dark line through the ground, as a membrane between cells: with strokes of one class and of two."""
    image, strokes = np.full((96, 96), 160, np.uint8), np.full((96, 96), 255, np.uint8)
    image[:, 46:50] = 40
    for row in range(8, 96, 16):
        strokes[row, 4:34] = strokes[row, 62:92] = 0
    two_classes = strokes.copy()
    two_classes[8:40, 47], two_classes[56:88, 47] = 1, 1
    whole = {"dsize": strokes.shape, "interpolation": cv2.INTER_NEAREST_EXACT}
    one, two = (
        cv2.resize(find_unlike(image, mask), **whole)[:, 46:50].mean() for mask in (strokes, two_classes)
    )
    assert one == 1 and two == 0


def test_strokes_of_other_looks_do_not_make_pixels_unlike():
    """Two strokes in two halves of a picture: each is very unlike the other, so nothing is too unlike."""
    image, strokes = np.full((64, 64), 30, np.uint8), np.full((64, 64), 255, np.uint8)
    image[:, 20:] = 200
    strokes[10:50, 4], strokes[10:50, 40] = 0, 2
    assert not find_unlike(image, strokes).any()


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
