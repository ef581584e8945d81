"""Masks back to labelme: polygons that people can edit, written as labelme's JSON."""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.core.files import replacing
from utils.images.palette import IGNORE_INDEX
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL, Shape
from utils.labelme.painting import rasterise

LEAST_IOU = 0.99  # of every class, between the mask and its shapes painted again
TOLERANCES = 1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.0  # pixels that a simplified polygon may deviate, in trial order
FORMAT_VERSION = "6.2.0"  # the labelme version that the files state


def write_labelme(path: Path, picture_name: str, mask: np.ndarray, class_names: Sequence[str]) -> None:
    """Write a mask (H, W) uint8 as labelme JSON. picture_name: path of its picture from the JSON's folder."""
    write_shapes(path, picture_name, mask_to_shapes(mask, class_names), mask.shape)


def write_shapes(path: Path, picture_name: str, shapes: Iterable[Shape], size: tuple[int, int]) -> None:
    """Write labelme JSON. size: (height, width) of the picture."""
    content = {
        "version": FORMAT_VERSION,
        "flags": {},
        "shapes": [_as_json(shape) for shape in shapes],
        "imagePath": picture_name,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def mask_to_shapes(mask: np.ndarray, class_names: Sequence[str]) -> list[Shape]:
    """Shapes that reproduce the mask (H, W) uint8 when painted in their order, each class with an IoU ≥ 0.99.

    Each object (8-connected part of a class) is a polygon, simplified by up to 1 pixel, or less where the IoU
    demands it. Holes, which show the background, are polygons labelled `_background_`. Where polygons do not
    reach the IoU, each object is a shape of type `mask` instead, which is exact.
    """
    labels = {**dict(enumerate(class_names)), 0: BACKGROUND_LABEL, IGNORE_INDEX: IGNORE_LABEL}
    class_index = {name: index for index, name in labels.items()}
    contours = outer_contours(mask)
    for tolerance in TOLERANCES:
        shapes = [_polygon(labels[value], contour, tolerance) for value, contour in contours]
        if least_iou(mask, rasterise(shapes, mask.shape, class_index)) >= LEAST_IOU:
            return shapes
    shapes = []
    for value, part, (left, top) in find_parts(mask):
        if value:
            corners = [[left, top], [left + part.shape[1] - 1, top + part.shape[0] - 1]]
            shapes.append(Shape(labels[value], np.array(corners, np.float64), "mask", mask=part))
    return shapes


def _polygon(label: str, contour: np.ndarray, tolerance: float) -> Shape:
    points = cv2.approxPolyDP(contour, tolerance, closed=True)[:, 0] if tolerance else contour[:, 0]
    # labelme wants three points, even for a single pixel.
    return Shape(label, np.resize(points, (max(len(points), 3), 2)).astype(np.float64), "polygon")


def least_iou(a: np.ndarray, b: np.ndarray) -> float:
    """The lowest IoU of all values that occur in two masks (H, W) uint8."""
    both = np.bincount(a[a == b], minlength=256)
    union = np.bincount(a.ravel(), minlength=256) + np.bincount(b.ravel(), minlength=256) - both
    return float((both[union > 0] / union[union > 0]).min())


def find_parts(mask: np.ndarray) -> list[tuple[int, np.ndarray, tuple[int, int]]]:
    """(value, (h, w) bool, (left, top)) of each connected part of a class, and of enclosed background."""
    parts = []
    for value in np.unique(mask).tolist():
        # Objects that touch by corners are one. The background between these corners is therefore separate.
        found = (mask == value).view(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8 if value else 4)
        for number in range(1, count):
            left, top, width, height = stats[number, :4].tolist()
            on_border = not (left and top) or left + width == mask.shape[1] or top + height == mask.shape[0]
            if value or not on_border:
                parts.append((value, labels[top : top + height, left : left + width] == number, (left, top)))
    return parts


def outer_contours(mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(value, contour (n, 1, 2) int32) of each part. Painted in this order, they give the mask again."""
    contours = []
    mode, method = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    for value, part, corner in find_parts(mask):
        found, _ = cv2.findContours(part.view(np.uint8), mode, method, offset=corner)
        contours.append((value, found[0]))
    return sorted(contours, key=lambda one: -cv2.contourArea(one[1]))


def _as_json(shape: Shape) -> dict[str, object]:
    encoded = None
    if shape.mask is not None:
        file = io.BytesIO()
        Image.fromarray(shape.mask.astype(np.uint8) * 255).save(file, "PNG")
        encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return {
        "label": shape.label,
        "points": shape.points.tolist(),
        "group_id": shape.group_id,
        "description": "",
        "shape_type": shape.shape_type,
        "flags": {},
        "mask": encoded,
    }
