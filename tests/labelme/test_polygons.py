"""Masks as labelme files: the round trip through our converter and labelme's functions, measured by IoU."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from scripts import run_here

from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image
from utils.labelme.painting import rasterise
from utils.labelme.writing import least_iou, mask_to_shapes, outer_contours, write_labelme
from utils.voc.demo import CLASS_NAMES, draw_sample

NAMES = ["_background_", "a", "b"]
INDEX = {name: index for index, name in enumerate(NAMES)}


def painted(mask):
    return rasterise(mask_to_shapes(mask, NAMES), mask.shape, INDEX)


def textures(smoothness, seed=0):
    """A mask of three classes with blobs of about this size, (70, 80)."""
    noise = np.random.default_rng(seed).standard_normal((3, 70, 80))
    return np.array([ndimage.gaussian_filter(one, smoothness) for one in noise]).argmax(0).astype(np.uint8)


def test_least_iou_is_that_of_the_worst_class():
    a, b = np.array([[0, 0, 1, 1, 2]], np.uint8), np.array([[0, 1, 1, 1, 2]], np.uint8)
    assert least_iou(a, b) == 0.5
    assert least_iou(a, a) == 1
    assert least_iou(a, np.full_like(a, 3)) == 0


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 2)))
def test_any_mask_comes_back(mask):
    assert least_iou(mask, painted(mask)) >= 0.99


@pytest.mark.parametrize("smoothness", [0, 0.7, 1, 2, 4, 8])
def test_textures_come_back(smoothness):
    for seed in range(3):
        mask = textures(smoothness, seed)
        assert least_iou(mask, painted(mask)) >= 0.99


def test_polygons_are_simplified_and_holes_kept():
    mask = np.zeros((100, 100), np.uint8)
    y, x = np.ogrid[:100, :100]
    mask[(y - 50) ** 2 + (x - 50) ** 2 <= 45**2] = 1
    mask[(y - 50) ** 2 + (x - 50) ** 2 <= 30**2] = 0
    mask[(y - 50) ** 2 + (x - 50) ** 2 <= 15**2] = 2
    shapes = mask_to_shapes(mask, NAMES)
    assert [shape.label for shape in shapes] == ["a", "_background_", "b"]
    assert {shape.shape_type for shape in shapes} == {"polygon"}
    corners = sum(len(contour) for _, contour in outer_contours(mask))
    assert sum(len(shape.points) for shape in shapes) < 0.7 * corners
    assert least_iou(mask, painted(mask)) >= 0.99


def test_what_polygons_cannot_say_becomes_masks():
    # Diamonds of both classes that pass through each other by their corners.
    y, x = np.mgrid[:20, :20]
    mask = np.select([np.abs(y - 10) + np.abs(x - 7) == 6, np.abs(y - 10) + np.abs(x - 12) == 6], [1, 2], 0)
    mask = mask.astype(np.uint8)
    assert {shape.shape_type for shape in mask_to_shapes(mask, NAMES)} == {"mask"}
    assert np.array_equal(painted(mask), mask)


def labelme_file(tmp_path, mask, image, names=CLASS_NAMES):
    write_image(tmp_path / "in" / "细胞.png", image)
    write_labelme(tmp_path / "in" / "细胞.json", "细胞.png", mask, names)
    return tmp_path / "in" / "细胞.json"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_round_trip_through_json_to_dataset(tmp_path, monkeypatch, seed):
    image, mask = draw_sample(seed, 256)
    path = labelme_file(tmp_path, mask, image)
    (tmp_path / "labels.txt").write_text("\n".join(CLASS_NAMES[1:]), encoding="utf-8")
    arguments = ["--input", path.parent, "--voc-root", tmp_path / "voc", "--labels", tmp_path / "labels.txt"]
    assert run_here(monkeypatch, "json_to_dataset.py", *arguments) == 0
    assert least_iou(mask, read_mask(tmp_path / "voc" / "SegmentationClass" / "细胞.png")) >= 0.99
    assert np.array_equal(read_image(tmp_path / "voc" / "JPEGImages" / "细胞.png"), image)


@pytest.mark.parametrize("smoothness", [0, 2])
def test_labelme_opens_it_and_paints_the_same_mask(tmp_path, smoothness):
    label_file = pytest.importorskip("labelme._label_file")
    from labelme.utils import shapes_to_label

    mask = textures(smoothness)
    path = labelme_file(tmp_path, mask, np.zeros((*mask.shape, 3), np.uint8), NAMES)
    content = label_file.read_label_file(str(path))
    assert content.image_path == "细胞.png"
    assert len(content.shapes) == len(json.loads(path.read_text("utf-8"))["shapes"])
    theirs, _ = shapes_to_label(mask.shape, content.shapes, INDEX)
    assert np.array_equal(theirs, painted(mask))
    assert least_iou(mask, theirs.astype(np.uint8)) >= 0.99


def test_membranes_of_real_slices_come_back(shared):
    for path in sorted((shared / "isbi" / "labels").iterdir())[:4]:
        mask = (read_image(path) == 0).astype(np.uint8)
        assert least_iou(mask, painted(mask)) >= 0.99
