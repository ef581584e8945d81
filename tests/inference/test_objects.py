"""Object tables: disks against the analytic values, everything against scikit-image, and the CSV files."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.measure import label, perimeter_crofton, regionprops

from utils.core.console import UserError
from utils.inference.objects import (
    PixelSize,
    append_row,
    join_tables,
    measure_objects,
    object_rows,
    parse_pixel_size,
    read_table,
    summary_row,
    write_table,
)


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
    assert [(row["picture"], row["number"], row["class"]) for row in rows] == [
        ("a.png", 1, "cell"), ("a.png", 2, "cell"), ("a.png", 3, "nucleus")]  # fmt: skip
    counts = np.bincount(mask.ravel(), minlength=256)
    names = ["ground", "cell", "nucleus"]
    row = summary_row("a.png", counts, 0.75, objects, names, PixelSize(2, "nm"))
    assert row == {
        "picture": "a.png", "mean_certainty": 0.75,
        "ground_share": 42 / 45, "ground_area_px": 42, "ground_area_nm2": 168,
        "cell_share": 2 / 45, "cell_area_px": 2, "cell_area_nm2": 8, "cell_objects": 2,
        "nucleus_share": 1 / 45, "nucleus_area_px": 1, "nucleus_area_nm2": 4, "nucleus_objects": 1,
    }  # fmt: skip
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
    with pytest.raises(UserError, match=r"--pixel-size(?s:.*)0\.5um"):
        parse_pixel_size(text)


def test_tables_open_in_spreadsheets(tmp_path):
    path = tmp_path / "图片" / "a.csv"
    write_table(path, [{"picture": "细胞, 一.png", "share": 1 / 3, "number": 7}])
    append_row(path, {"picture": "b.png", "share": 0.5, "number": 8})
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = [["picture", "share", "number"], ["细胞, 一.png", "0.333333", "7"], ["b.png", "0.5", "8"]]
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == rows
    join_tables(tmp_path / "all.csv", [path, path])
    assert [list(row.values()) for row in read_table(tmp_path / "all.csv")] == rows[1:] * 2
    with pytest.raises(UserError, match="other columns"):
        append_row(path, {"picture": "c.png"})


def test_table_that_cannot_be_written_to(tmp_path, monkeypatch):
    write_table(tmp_path / "a.csv", [{"picture": "a.png"}])
    opened = type(tmp_path).open

    def locked(path, mode="r", **arguments):
        if mode == "a":
            raise PermissionError(13, "Permission denied")
        return opened(path, mode, **arguments)

    monkeypatch.setattr(type(tmp_path), "open", locked)
    with pytest.raises(UserError, match=r"(?s)a\.csv.*Permission denied.*other programs"):
        append_row(tmp_path / "a.csv", {"picture": "b.png"})
