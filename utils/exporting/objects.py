"""The objects of a mask, as formats for detection list them, and their polygons."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.measure import find_contours

from utils.images.palette import IGNORE_INDEX
from utils.images.rle import decode
from utils.labelme.writing import find_parts

LEAST_IOU = 0.99  # of an object and its polygon
TOLERANCES = 1.0, 0.5, 0.25, 0.0  # pixels that a polygon may deviate, in trial order


@dataclass(frozen=True)
class MaskObject:
    """value: its class; pixels: (h, w) bool in the box that begins at `corner` (left, top)."""

    value: int
    pixels: np.ndarray
    corner: tuple[int, int]

    def full(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W) bool."""
        mask = np.zeros(size, bool)
        left, top = self.corner
        mask[top : top + self.pixels.shape[0], left : left + self.pixels.shape[1]] = self.pixels
        return mask


def find_objects(mask: np.ndarray, objects: np.ndarray | None) -> Iterator[MaskObject]:
    """Objects by their numbers, (H, W) with 0 and 255 for none; those without a number by connected parts."""
    rest = mask
    if objects is not None:
        numbered = np.where((mask == IGNORE_INDEX) | (objects == IGNORE_INDEX), 0, objects)
        for number, place in enumerate(ndimage.find_objects(numbered), 1):
            if place is None:
                continue
            inside = numbered[place] == number
            corner = place[1].start, place[0].start
            for value in np.unique(mask[place][inside]).tolist():
                if value:
                    yield MaskObject(value, inside & (mask[place] == value), corner)
        rest = np.where(numbered > 0, 0, mask)
    for value, pixels, corner in find_parts(rest):
        if 0 < value < IGNORE_INDEX:
            yield MaskObject(value, pixels, corner)


def to_polygon(found: MaskObject) -> np.ndarray:
    """One polygon (n, 2), x and y in pixels, which pycocotools paints with an IoU ≥ 0.99.

    Holes and separate parts are joined by bridges without width, as Ultralytics joins them.
    """
    # Between the centers of pixels; the shift makes them corners and edges of pixels, as in COCO.
    contours = find_contours(np.pad(found.pixels, 1).astype(np.float32), 0.5)
    rings = [contour[:-1, ::-1].astype(np.float32) - 0.5 for contour in contours]
    for tolerance in TOLERANCES:
        simple = [simplify(ring, tolerance) for ring in rings]
        polygon = join_rings([ring for ring in simple if len(ring) > 2])
        if len(polygon) > 2 and iou_of(polygon, found.pixels) >= LEAST_IOU:
            break
    return polygon + found.corner


def simplify(ring: np.ndarray, tolerance: float) -> np.ndarray:
    return cv2.approxPolyDP(ring[:, None], tolerance, closed=True)[:, 0] if tolerance else ring


def join_rings(rings: list[np.ndarray]) -> np.ndarray:
    """Rings (n, 2) joined one after the other, each where it is nearest."""
    rings = sorted(rings, key=len, reverse=True)
    joined = rings[0] if rings else np.empty((0, 2))
    for ring in rings[1:]:
        distances, places = KDTree(joined).query(ring)
        start = int(distances.argmin())
        place = int(places[start])
        turned = np.roll(ring, -start, axis=0)
        joined = np.concatenate([joined[: place + 1], turned, turned[:1], joined[place:]])
    return joined


def iou_of(polygon: np.ndarray, pixels: np.ndarray) -> float:
    painted, (top, bottom, left, right) = decode([polygon.ravel().tolist()], pixels.shape)
    both = np.count_nonzero(painted & pixels[top:bottom, left:right])
    return both / (np.count_nonzero(painted) + np.count_nonzero(pixels) - both)
