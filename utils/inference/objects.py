"""Measuring the objects of a mask: one row an object, one row a picture, as CSV."""

import csv
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import UserError
from utils.core.files import replacing
from utils.images.arrays import to_channels
from utils.inference.postprocess import neighbours, without_holes

UNITS = ("nm", "um", "µm", "μm", "mm", "cm", "m", "km")
ENCODING = "utf-8-sig"  # with the mark by which spreadsheet programs know UTF-8


@dataclass(frozen=True)
class PixelSize:
    """Side of a pixel, `value` > 0 in `unit`."""

    value: float
    unit: str


def parse_pixel_size(text: str) -> PixelSize:
    """'0.5um' → PixelSize(0.5, 'um'). Raises UserError for anything that is no length above zero."""
    found = re.fullmatch(r"\s*(\d+\.?\d*(?:e-?\d+)?|\.\d+)\s*(\w+)\s*", text)
    if not found or found[2] not in UNITS or not 0 < float(found[1]) < float("inf"):
        raise UserError(
            "parse-pixel-size",
            "--pixel-size",
            repr(text),
            "a length with its unit, one of " + " ".join(UNITS),
            "for example 0.5um",
        )
    # The micro sign and the Greek letter are both written as in file headers.
    return PixelSize(float(found[1]), found[2].replace("µ", "u").replace("μ", "u"))


@dataclass(frozen=True, eq=False)
class Objects:
    """The 8-connected parts of the object classes of one mask.

    labels: (H, W) int32, 0 or the number of the object, counted from 1 class by class; classes: indices that were looked
    for; columns: name → (n,) array, in the order of the table, one entry an object.
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
    """Find and measure the objects of `classes` in a mask (H, W) uint8.

    image: (H, W) or (H, W, 3), uint8 or uint16; certainty: (H, W) uint8, 255 is certain. Column `class` holds indices.
    Area counts the object's own pixels, so a cell's is without its nucleus; the equivalent diameter is that of a disk of
    this area. Perimeter (see `outlines`) and circularity, 4π·enclosed area/perimeter², 1 for a disk, are of the outer
    outline. Centroids and boxes count from the middle and the corner of the top left pixel, (0, 0). Intensity is that of
    the gray picture (ITU-R 601) in its own values; certainty 0…1. With a pixel size, lengths and areas follow in its unit.
    """
    labels, tables = np.zeros(mask.shape, np.int32), [np.empty((0, 10))]
    for index in classes:
        _, parts, stats, centroids = cv2.connectedComponentsWithStats(
            (mask == index).view(np.uint8), connectivity=8
        )
        np.add(parts, sum(map(len, tables)), out=labels, where=parts > 0)
        shapes = np.reshape(
            [outline_of(parts, number, box) for number, box in enumerate(stats[1:], 1)], (-1, 2)
        )
        tables.append(np.column_stack([np.full(len(shapes), index), stats[1:], centroids[1:], shapes]))
    classes_found, left, top, width, height, area, x, y, perimeter, enclosed = np.concatenate(tables).T
    where = labels > 0
    gray = to_channels(image, 1)[where][:, 0]
    lengths = {
        "perimeter": perimeter,
        "centroid_x": x,
        "centroid_y": y,
        "equivalent_diameter": np.sqrt(4 / np.pi * area),
    }
    columns = {
        "number": np.arange(1, len(area) + 1),
        "class": classes_found.astype(int),
        "area_px": area.astype(int),
        **{f"{name}_px": values for name, values in lengths.items()},
        "left_px": left.astype(int),
        "top_px": top.astype(int),
        "width_px": width.astype(int),
        "height_px": height.astype(int),
        "circularity": 4 * np.pi * enclosed / perimeter**2,
        "mean_intensity": np.bincount(labels[where], gray, len(area) + 1)[1:] / area,
        "mean_certainty": np.bincount(labels[where], certainty[where], len(area) + 1)[1:] / area / 255,
    }
    if pixel_size:
        columns[f"area_{pixel_size.unit}2"] = area * pixel_size.value**2
        columns |= {
            f"{name}_{pixel_size.unit}": values * pixel_size.value for name, values in lengths.items()
        }
    return Objects(labels, tuple(classes), columns)


def outline_of(labels: np.ndarray, number: int, box: np.ndarray) -> tuple[float, int]:
    """Length of an object's outer outline in pixels, and the pixels within; box: left, top, width, height, area.

    By Crofton's formula: π/4 times the runs of pixels that rows, columns and (÷ √2) diagonals meet, as in scikit-image's
    `perimeter_crofton`: 0.3 % above 2πr for a disk of radius 50, 3.8 % for 10.
    """
    left, top, width, height = box[:4]
    filled = without_holes(np.pad(labels[top : top + height, left : left + width] == number, 1))
    runs = [np.count_nonzero(after & ~before) for before, after in neighbours(filled)]
    return np.pi / 4 * (runs[0] + runs[1] + (runs[2] + runs[3]) / np.sqrt(2)), np.count_nonzero(filled)


def object_rows(objects: Objects, picture: str, class_names: Sequence[str]) -> list[dict[str, object]]:
    """The table of one picture, one dictionary an object, classes by name."""
    columns = {**objects.columns, "class": [class_names[index] for index in objects.columns["class"]]}
    return [
        {"picture": picture, **dict(zip(columns, row, strict=True))}
        for row in zip(*columns.values(), strict=True)
    ]


def summary_row(
    picture: str, counts: np.ndarray, certainty: float, objects: Objects | None, class_names: Sequence[str],
    pixel_size: PixelSize | None,
) -> dict[str, object]:  # fmt: skip
    """One picture in one row: mean certainty 0…1, then share (0…1) and area of every class, and number of its objects.

    counts: (256,) pixels of each class.
    """
    row: dict[str, object] = {"picture": picture, "mean_certainty": certainty}
    for index, name in enumerate(class_names):
        row |= {f"{name}_share": counts[index] / counts.sum(), f"{name}_area_px": int(counts[index])}
        if pixel_size:
            row[f"{name}_area_{pixel_size.unit}2"] = counts[index] * pixel_size.value**2
        if objects is not None and index in objects.classes:
            row[f"{name}_objects"] = int(np.count_nonzero(objects.columns["class"] == index))
    return row


def write_table(path: Path, rows: Sequence[dict[str, object]], columns: Iterable[str] | None = None) -> None:
    """Write rows as CSV that spreadsheet programs open, numbers with six digits; columns: needed where there is no row."""
    with replacing(path) as temporary, temporary.open("w", encoding=ENCODING, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns or rows[0])
        writer.writerows(map(as_text, rows))


def append_row(path: Path, row: dict[str, object]) -> None:
    """Add a row to a table, which is begun if there is none. Raises UserError if it has other columns or is locked."""
    if not path.exists():
        write_table(path, [row])
    elif read_columns(path) == list(row):
        size = path.stat().st_size
        try:
            with path.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerow(as_text(row))
        except OSError as error:
            # Half a row would spoil the table for a run that is resumed.
            with suppress(OSError):
                os.truncate(path, size)
            remedy = "close it in other programs, free space on the disk"
            raise UserError(
                "append-row",
                path,
                f"it cannot be written ({error.strerror})",
                "a table to add a row to",
                remedy,
            ) from None
    else:
        found, remedy = (
            "a table with other columns",
            "choose another --output, take the settings of the run before, or begin anew by --overwrite",
        )
        raise UserError("append-row", path, found, f"the columns {', '.join(row)}", remedy)


def read_columns(path: Path) -> list[str]:
    with path.open(encoding=ENCODING, newline="") as file:
        return next(csv.reader(file), [])


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding=ENCODING, newline="") as file:
        return list(csv.DictReader(file))


def as_text(row: dict[str, object]) -> list[object]:
    return [f"{v:.6g}" if isinstance(v, float) else v for v in row.values()]


def join_tables(path: Path, parts: Iterable[Path]) -> None:
    """Write tables of the same columns one below the other, however long they are."""
    with replacing(path) as temporary, temporary.open("w", encoding=ENCODING, newline="") as file:
        for number, part in enumerate(parts):
            with part.open(encoding=ENCODING, newline="") as source:
                header = source.readline()
                file.write("" if number else header)
                shutil.copyfileobj(source, file)
