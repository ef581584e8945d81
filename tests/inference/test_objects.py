"""Object tables: disks against analytic values, everything against scikit-image and known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.measure import label, perimeter_crofton, regionprops

from utils.core.console import UserError
from utils.core.tables import as_text
from utils.inference.objects import PixelSize, measure_objects, object_rows, parse_pixel_size, summary_row


def disk(radius, size=120, centre=(60.0, 60.0)):
    y, x = np.ogrid[:size, :size]
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).astype(np.uint8)


def measured(mask, image=None, certainty=None, classes=(1,), pixel_size=None):
    image = np.zeros(mask.shape, np.uint8) if image is None else image
    certainty = np.zeros(mask.shape, np.uint8) if certainty is None else certainty
    return measure_objects(mask, image, certainty, classes, pixel_size)


@pytest.mark.parametrize("radius", [10, 20, 35, 50])
def test_disk_has_the_measures_of_a_circle(radius):
    columns = measured(disk(radius)).columns
    assert columns["area_px"][0] == pytest.approx(np.pi * radius**2, rel=0.01)
    assert columns["perimeter_px"][0] == pytest.approx(2 * np.pi * radius, rel=0.04)
    assert columns["equivalent_diameter_px"][0] == pytest.approx(2 * radius, rel=0.01)
    assert columns["circularity"][0] == pytest.approx(1, abs=0.07)
    assert (columns["centroid_x_px"][0], columns["centroid_y_px"][0]) == (60, 60)
    box = [columns[f"{name}_px"][0] for name in ("left", "top", "width", "height")]
    assert box == [60 - radius, 60 - radius, 2 * radius + 1, 2 * radius + 1]


def test_perimeter_of_a_large_disk_and_of_a_bar():
    assert measured(disk(50)).columns["perimeter_px"][0] == pytest.approx(100 * np.pi, rel=0.004)
    bar = np.zeros((30, 130), np.uint8)
    bar[10:12, 10:110] = 1
    columns = measured(bar).columns
    assert columns["perimeter_px"][0] == pytest.approx(204, rel=0.2)
    assert columns["circularity"][0] < 0.1


# Measured by an implementation of its own, before scikit-image took over.
KNOWN_COLUMNS = (
    "picture,number,class,area_px,perimeter_px,centroid_x_px,centroid_y_px,equivalent_diameter_px,"
    "left_px,top_px,width_px,height_px,circularity,mean_intensity,mean_certainty"
)
KNOWN_ROWS = [
    "a.png,1,cell,628,96.4557,22.258,20.258,28.2771,7,5,31,31,0.957636,49.1497,0.833271",
    "a.png,2,cell,168,67.0379,60,40,14.6255,48,28,25,25,0.875212,117.726,0.607843",
    "a.png,3,cell,144,74.1787,13.7917,50.2083,13.5406,5,40,25,15,0.328862,68.5139,0.74902",
    "a.png,4,cell,1,2.68152,79,59,1.12838,79,59,1,1,1.74763,161,0.458824",
    "a.png,5,nucleus,10,19.7466,74.5,0,3.56825,70,0,10,1,0.322274,95.9,0.707843",
    "a.png,6,nucleus,81,33.9396,20,18,10.1554,15,13,11,11,0.883654,43.9877,0.85098",
]


def test_known_answers():
    """A cell with a nucleus, a ring, a bar with an angle, single pixels and objects at the border."""
    y, x = np.mgrid[:60, :80]
    mask = np.zeros((60, 80), np.uint8)
    mask[(y - 20) ** 2 + (x - 22) ** 2 <= 15**2] = 1
    mask[(y - 18) ** 2 + (x - 20) ** 2 <= 5**2] = 2
    mask[40:55, 5:9] = mask[51:55, 5:30] = 1
    ring = np.abs(y - 40) + np.abs(x - 60)
    mask[(ring <= 12) & (ring >= 9)] = 1
    mask[0, 70:], mask[59, 79] = 2, 1
    image = np.stack([3 * y, 2 * x, y + x], axis=-1).astype(np.uint8)
    objects = measured(mask, image, (255 - y - x).astype(np.uint8), (1, 2))
    rows = object_rows(objects, "a.png", ["ground", "cell", "nucleus"])
    assert ",".join(rows[0]) == KNOWN_COLUMNS
    assert [",".join(map(str, as_text(row))) for row in rows] == KNOWN_ROWS


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 2)))
def test_measures_are_those_of_scikit_image(mask):
    rng = np.random.default_rng(0)
    image, certainty = (
        rng.integers(0, 65536, mask.shape, np.uint16),
        rng.integers(0, 256, mask.shape, np.uint8),
    )
    objects = measured(mask, image, certainty, classes=(1, 2))
    columns = objects.columns
    expected = {1: label(mask == 1, connectivity=2), 2: label(mask == 2, connectivity=2)}
    assert len(columns["number"]) == sum(one.max() for one in expected.values())
    assert np.array_equal(objects.labels > 0, mask > 0)
    for row in range(len(columns["number"])):
        found = objects.labels == row + 1
        parts = expected[columns["class"][row]]
        same = parts == parts[found][0]
        assert np.array_equal(found, same)
        (region,) = regionprops(same.astype(np.uint8), np.dstack([image, certainty]))
        filled = ndimage.binary_fill_holes(same)
        perimeter = perimeter_crofton(filled)
        values = {
            "area_px": region.area,
            "perimeter_px": perimeter,
            "centroid_y_px": region.centroid[0],
            "centroid_x_px": region.centroid[1],
            "left_px": region.bbox[1],
            "top_px": region.bbox[0],
            "width_px": region.bbox[3] - region.bbox[1],
            "height_px": region.bbox[2] - region.bbox[0],
            "equivalent_diameter_px": region.equivalent_diameter_area,
            "circularity": 4 * np.pi * filled.sum() / perimeter**2,
            "mean_intensity": region.intensity_mean[0],
            "mean_certainty": region.intensity_mean[1] / 255,
        }
        for name, value in values.items():
            assert columns[name][row] == pytest.approx(value, rel=1e-9), name


def test_ring_is_measured_by_its_outer_outline():
    ring = disk(30) - disk(15)
    cell = ring + 2 * disk(15)
    full = measured(disk(30)).columns
    for mask in (ring, cell):
        columns = measured(mask).columns
        assert columns["area_px"][0] == ring.sum()
        assert columns["perimeter_px"][0] == full["perimeter_px"][0]
        assert columns["circularity"][0] == full["circularity"][0]


def test_colours_are_measured_as_gray_and_units_are_named():
    mask = np.zeros((10, 10), np.uint8)
    mask[2:4, 3:7] = 1
    image = np.zeros((10, 10, 3), np.uint8)
    image[2:4, 3:7] = (100, 200, 50)
    columns = measured(mask, image, np.full((10, 10), 51, np.uint8), pixel_size=PixelSize(0.5, "um")).columns
    assert columns["mean_intensity"][0] == round(0.299 * 100 + 0.587 * 200 + 0.114 * 50)
    assert columns["mean_certainty"][0] == pytest.approx(0.2)
    assert columns["area_um2"][0] == 8 * 0.25
    assert columns["centroid_x_um"][0] == 4.5 * 0.5
    assert columns["perimeter_um"][0] == columns["perimeter_px"][0] / 2
    assert columns["equivalent_diameter_um"][0] == columns["equivalent_diameter_px"][0] / 2


def test_no_objects():
    objects = measured(np.zeros((5, 6), np.uint8), classes=(1, 2))
    assert all(len(values) == 0 for values in objects.columns.values())
    assert object_rows(objects, "a.png", ["x", "y", "z"]) == []


def test_rows_name_picture_and_class():
    mask = np.zeros((5, 9), np.uint8)
    mask[1, 1], mask[1, 4], mask[3, 7] = 2, 1, 1
    objects = measured(mask, classes=(1, 2))
    rows = object_rows(objects, "a.png", ["ground", "cell", "nucleus"])
    expected = [("a.png", 1, "cell"), ("a.png", 2, "cell"), ("a.png", 3, "nucleus")]
    assert [(row["picture"], row["number"], row["class"]) for row in rows] == expected
    counts = np.bincount(mask.ravel(), minlength=256)
    names = ["ground", "cell", "nucleus"]
    row = summary_row("a.png", counts, 0.75, objects, names, PixelSize(2, "nm"))
    assert row == {
        "picture": "a.png",
        "mean_certainty": 0.75,
        **{"ground_share": 42 / 45, "ground_area_px": 42, "ground_area_nm2": 168},
        **{"cell_share": 2 / 45, "cell_area_px": 2, "cell_area_nm2": 8, "cell_objects": 2},
        **{"nucleus_share": 1 / 45, "nucleus_area_px": 1, "nucleus_area_nm2": 4, "nucleus_objects": 1},
    }
    assert "cell_objects" not in summary_row("a.png", counts, 0.75, None, names, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0.5um", (0.5, "um")),
        ("2.3nm", (2.3, "nm")),
        ("1mm", (1, "mm")),
        (".25 µm", (0.25, "um")),
        ("1e-3m", (1e-3, "m")),
    ],
)
def test_pixel_sizes(text, size):
    assert parse_pixel_size(text) == PixelSize(*size)


@pytest.mark.parametrize("text", ["0.5", "um", "0um", "-1um", "0,5um", "5 inch", "nanum", "1.2.3um"])
def test_pixel_sizes_that_are_none(text):
    with pytest.raises(UserError) as caught:
        parse_pixel_size(text)
    assert (caught.value.code, caught.value.subject) == ("pixel-size", "--pixel-size")
