"""Measuring the objects of a mask: one row per object, one row per picture."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.measure import perimeter_crofton, regionprops_table

from utils.core.console import UserError
from utils.images.arrays import count_channels, is_photo, to_channels
from utils.inference.postprocess import fill_holes

UNITS = ("nm", "um", "µm", "μm", "mm", "cm", "m", "km")


@dataclass(frozen=True)
class PixelSize:
    """Side of a pixel, `value` > 0 in `unit`."""

    value: float
    unit: str


def parse_pixel_size(text: str) -> PixelSize:
    """'0.5um' → PixelSize(0.5, 'um'). Raises UserError for anything but a length above zero."""
    found = re.fullmatch(r"\s*(\d+\.?\d*(?:e-?\d+)?|\.\d+)\s*(\w+)\s*", text)
    if not found or found[2] not in UNITS or not 0 < float(found[1]) < float("inf"):
        expected = f"a length with its unit, one of {' '.join(UNITS)}"
        raise UserError("pixel-size", "--pixel-size", repr(text), expected, "for example 0.5um")
    # The micro sign and the Greek letter are both written as in file headers.
    return PixelSize(float(found[1]), found[2].replace("µ", "u").replace("μ", "u"))


@dataclass(frozen=True, eq=False)
class Objects:
    """The 8-connected parts of the object classes of one mask.

    labels: (H, W) int32, 0 or the number of the object, counted from 1 class by class; classes: indices that
    were looked for; columns: name → (n,) array, in the order of the table, one entry per object.
    """

    labels: np.ndarray
    classes: tuple[int, ...]
    columns: dict[str, np.ndarray]


def measure_objects(
    mask: np.ndarray,
    image: np.ndarray,
    certainty: np.ndarray,
    classes: Sequence[int],
    pixel_size: PixelSize | None,
) -> Objects:
    """Find and measure the objects of `classes` in a mask (H, W) uint8 by scikit-image's regionprops.

    image: (H, W) or (H, W, C), uint8, uint16 or floats; certainty: (H, W) uint8, 255 is certain. Column
    `class` holds indices. Area counts the object's own pixels, so a cell's is without its nucleus; the
    equivalent diameter is that of a disk of this area. Perimeter and circularity, 4π·enclosed
    area/perimeter² (1 for a disk), are of the outer outline. Centroids and boxes count from the middle and
    the corner of the top left pixel, (0, 0). Intensity is that of the gray picture (ITU-R 601) in its own
    values, or of each channel where they are neither gray nor RGB; certainty 0…1. With a pixel size, lengths
    and areas follow in its unit.

    2,700 objects on 2000×2000 pixels take 0.9 s on two cores, with code of our own 0.4 s.
    """
    labels, class_of_object = label_objects(mask, classes)
    table, intensities = _measure_regions(labels, image, certainty)
    top, left, bottom, right = (table[f"bbox-{number}"] for number in range(4))
    perimeter, enclosed = table["outer_outline-0"], table["outer_outline-1"]
    lengths = {
        "perimeter": perimeter,
        "centroid_x": table["centroid-1"],
        "centroid_y": table["centroid-0"],
        "equivalent_diameter": table["equivalent_diameter_area"],
    }
    columns = {
        "number": np.arange(1, len(top) + 1),
        "class": class_of_object,
        "area_px": table["area"].astype(int),
        **{f"{name}_px": values for name, values in lengths.items()},
        "left_px": left,
        "top_px": top,
        "width_px": right - left,
        "height_px": bottom - top,
        "circularity": 4 * np.pi * enclosed / perimeter**2,
        **intensities,
    }
    if pixel_size:
        columns[f"area_{pixel_size.unit}2"] = table["area"] * pixel_size.value**2
        columns |= {f"{name}_{pixel_size.unit}": each * pixel_size.value for name, each in lengths.items()}
    return Objects(labels, tuple(classes), columns)


def _measure_regions(
    labels: np.ndarray, image: np.ndarray, certainty: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The table of scikit-image, and the columns of the means: of each channel and of the certainty."""
    values = to_channels(image, 1) if is_photo(count_channels(image)) else image
    channels = values.shape[2]
    table = regionprops_table(
        labels,
        np.dstack([values, certainty]),
        properties=("area", "bbox", "centroid", "equivalent_diameter_area", "intensity_mean"),
        extra_properties=(outer_outline,),
    )
    numbers = [""] if channels == 1 else [f"_{number}" for number in range(1, channels + 1)]
    means = {f"mean_intensity{each}": table[f"intensity_mean-{i}"] for i, each in enumerate(numbers)}
    return table, means | {"mean_certainty": table[f"intensity_mean-{channels}"] / 255}


def label_objects(mask: np.ndarray, classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) int32, counted from 1 class by class, and the class (n,) of each object."""
    labels, of_class = np.zeros(mask.shape, np.int32), [np.empty(0, int)]
    for index in classes:
        count, parts = cv2.connectedComponents((mask == index).view(np.uint8), connectivity=8)
        np.add(parts, sum(map(len, of_class)), out=labels, where=parts > 0)
        of_class.append(np.full(count - 1, index))
    return labels, np.concatenate(of_class)


def outer_outline(region: np.ndarray) -> tuple[float, int]:
    """Length of an object's outer outline in pixels (Crofton), and the pixels within; region: (h, w) bool.

    The length is 0.3 % above 2πr for a disk of radius 50, 3.8 % for 10. scikit-image's own `area_filled`
    fills less because it counts the background as connected across corners.
    """
    filled = fill_holes(region)
    return perimeter_crofton(filled), np.count_nonzero(filled)


def object_rows(objects: Objects, picture: str, class_names: Sequence[str]) -> list[dict[str, object]]:
    """The table of one picture, one dictionary per object, classes by name."""
    columns = {**objects.columns, "class": [class_names[index] for index in objects.columns["class"]]}
    return [
        {"picture": picture, **dict(zip(columns, row, strict=True))}
        for row in zip(*columns.values(), strict=True)
    ]


def summary_row(
    picture: str,
    counts: np.ndarray,
    certainty: float,
    objects: Objects | None,
    class_names: Sequence[str],
    pixel_size: PixelSize | None,
    expected_iou: float | None = None,
) -> dict[str, object]:
    """One picture in one row: mean certainty and, of an ensemble, expected IoU, both 0…1.

    Then share 0…1, area and number of objects of every class.
    counts: (256,) pixels of each class.
    """
    row: dict[str, object] = {"picture": picture, "mean_certainty": certainty}
    if expected_iou is not None:
        row["expected_iou"] = expected_iou
    for index, name in enumerate(class_names):
        row |= {f"{name}_share": counts[index] / counts.sum(), f"{name}_area_px": int(counts[index])}
        if pixel_size:
            row[f"{name}_area_{pixel_size.unit}2"] = counts[index] * pixel_size.value**2
        if objects is not None and index in objects.classes:
            row[f"{name}_objects"] = int(np.count_nonzero(objects.columns["class"] == index))
    return row
